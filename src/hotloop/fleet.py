"""What the hub knows of its lines, and how far a release on another backbone has got with them.

In memory: reports come again within seconds, and what the log says of rollouts and pins is given back at the start
(`resume`). May be used from several threads.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field

import msgspec

from hotloop.config import RolloutConfig
from hotloop.ports import Clock
from hotloop.rollout.waves import LineState, Wave, next_wave
from hotloop.types import Declined, LineReport, Live, Model, Staged

_LINES_MAX = 100_000
_BACKBONES_MAX = 1000
_DECLINED_MAX = 16  # of a line, that are remembered


class FleetLine(msgspec.Struct, frozen=True):
    """A line as it is shown. `silent_s`: since it was last heard of."""

    line: str
    site: str
    version: int
    silent_s: float
    declined: str
    report: LineReport | None
    pinned: bool = False


class FleetView(msgspec.Struct, frozen=True):
    """The fleet as it is shown. `newest`: the version that goes out; `settled`: the one that every line may take."""

    newest: int
    settled: int
    rollout: str  # how far it is, in words; "" when nothing is under way
    lines: list[FleetLine]


@dataclass
class _Line:
    """What is known of a line."""

    heard_s: float
    version: int = 0
    declined: dict[int, str] = field(default_factory=dict)  # why, by version
    report: LineReport | None = None


class Fleet:
    """The lines, and the rollout that is under way."""

    def __init__(self, config: RolloutConfig, clock: Clock) -> None:
        self._config, self._clock, self._lock = config, clock, threading.Lock()
        self._lines: OrderedDict[str, _Line] = OrderedDict()
        self._backbones: list[tuple[int, str]] = []  # from which version on which answered, oldest first
        self._newest: Model | None = None
        self._settled: Model | None = None  # the newest that every line may take
        self._first: tuple[int, str] | None = None  # the version that brought the backbone on its way, and that
        self._wave: Wave | None = None
        self._stopped = False  # a wave has declined it: nobody else is offered it
        self._words = ""
        self._pinned: frozenset[str] = frozenset()
        self.generation = 0  # rises with everything that changes who may take what

    def released(self, model: Model) -> None:
        """There is a newer model. On the backbone that every line has it goes to all; so does the way back."""
        with self._lock:
            self._newest = model
            self._knows(model.version, model.backbone)
            self.generation += 1
            settled = self._settled
            if settled is None or model.tier == "rollback" or settled.backbone == model.backbone:
                self._settled, self._wave, self._words, self._first = model, None, "", None
            elif self._first is None or self._first[1] != model.backbone:
                self._first, self._wave, self._stopped = (model.version, model.backbone), None, False
                for line in self._lines.values():  # who declined it before is asked again
                    self._forget(line, model.backbone)

    def resume(
        self, backbones: Sequence[tuple[int, str]], settled: Model | None, step: Staged | None, pinned: frozenset[str]
    ) -> None:
        """Go on where the log says that a former run of this hub was, after `released`.

        `backbones`: from which version on which answered; `settled`: the newest model that every line may take, if it
        is not the one that was released.
        """
        with self._lock:
            self._backbones = list(backbones)
            self._pinned = pinned
            newest = self._newest
            if settled is None or newest is None:
                return
            self._settled, self._wave = settled, None
            self._first = (step.first if step is not None else self._backbones[-1][0], newest.backbone)
            if step is not None and step.action == "offer":
                self._wave = Wave(frozenset(step.lines), self._clock.monotonic(), step.number)
            self._stopped = step is not None and step.action == "roll back"

    def pin(self, line: str, *, pinned: bool) -> None:
        """A line stays with what it has; or takes releases again."""
        with self._lock:
            self._pinned = self._pinned | {line} if pinned else self._pinned - {line}
            self.generation += 1

    def pinned(self) -> frozenset[str]:
        """The lines that stay with what they have."""
        with self._lock:
            return self._pinned

    def starts(self, model: Model) -> bool:
        """Whether the release of this model begins a rollout by waves."""
        with self._lock:
            settled, newest = self._settled, self._newest
            if settled is None or newest is None or model.tier == "rollback":
                return False
            return model.backbone not in (settled.backbone, newest.backbone)

    def heard(self, report: LineReport) -> None:
        """A line says how it is."""
        with self._lock:
            line = self._line(report.line)
            line.report, line.version = report, report.version

    def seen(self, line: str) -> None:
        """Something came from a line."""
        with self._lock:
            self._line(line)

    def acknowledged(self, live: Live) -> None:
        """A line answers with a version."""
        with self._lock:
            line = self._line(live.line)
            line.version = live.version
            self._forget(line, self._backbone(live.version))

    def declined(self, said: Declined) -> None:
        """A line does not take a version, or went back from it."""
        with self._lock:
            line = self._line(said.line)
            line.version = said.stays
            line.declined[said.version] = said.reason
            while len(line.declined) > _DECLINED_MAX:
                del line.declined[min(line.declined)]

    def may(self, line: str) -> bool:
        """Whether a line may take the newest model, not only the one that is settled."""
        with self._lock:
            return self._under_way() is None or (self._wave is not None and line in self._wave.lines)

    def trying(self) -> frozenset[str]:
        """The lines that may take the newest model while the others may not."""
        with self._lock:
            return frozenset() if self._under_way() is None or self._wave is None else self._wave.lines

    def settled(self) -> Model | None:
        """The newest model that every line may take."""
        with self._lock:
            return self._settled

    def tick(self, hold: str = "") -> Staged | None:
        """Go on with the rollout that is under way, if its time has come, unless there is a reason to `hold` it. What
        was decided, if that changes anything: it is the caller's to log, and "roll back" to order.
        """
        with self._lock:
            if hold and self._under_way() is not None and not self._stopped:
                self._words = hold
                return None
            return self._advance()

    def view(self) -> FleetView:
        """All of it, to be shown."""
        with self._lock:
            now, model = self._clock.monotonic(), self._under_way() or self._newest
            backbone = "" if model is None else model.backbone
            lines = [
                FleetLine(
                    name,
                    one.report.site if one.report else "",
                    one.version,
                    now - one.heard_s,
                    self._why(one, backbone),
                    one.report,
                    name in self._pinned,
                )
                for name, one in sorted(self._lines.items())
            ]
            newest, settled = (0 if one is None else one.version for one in (self._newest, self._settled))
            return FleetView(newest, settled, self._words, lines)

    def _under_way(self) -> Model | None:
        """The model on another backbone that not every line may take yet."""
        newest, settled = self._newest, self._settled
        if newest is None or settled is None or newest.backbone == settled.backbone:
            return None
        return newest

    def _advance(self) -> Staged | None:
        model = self._under_way()
        if model is None or self._stopped:
            return None
        now = self._clock.monotonic()
        lines = [
            LineState(
                name,
                one.report.site if one.report else "",
                one.version,
                now - one.heard_s,
                self._why(one, model.backbone),
                name in self._pinned,
            )
            for name, one in self._lines.items()
        ]
        first = self._first or (model.version, model.backbone)
        plan = next_wave(lines, self._wave, first[0], now, self._config)
        self._words = plan.reason
        if plan.action == "wait":
            return None
        self.generation += 1
        if plan.action == "offer":
            self._wave = Wave(plan.lines, now, 1 if self._wave is None else self._wave.number + 1)
        elif plan.action == "everywhere":
            self._settled, self._wave = model, None
        else:
            self._wave, self._stopped = Wave(frozenset(), now, 0), True
        number = 0 if self._wave is None else self._wave.number
        return Staged(
            action=plan.action,
            first=first[0],
            backbone=model.backbone,
            number=number,
            lines=tuple(sorted(plan.lines)) if plan.action == "offer" else (),
            reason=plan.reason,
        )

    def _knows(self, version: int, backbone: str) -> None:
        """From this version on this backbone answers."""
        if not self._backbones or self._backbones[-1][1] != backbone:
            self._backbones = [*self._backbones[-_BACKBONES_MAX:], (version, backbone)]

    def _backbone(self, version: int) -> str:
        """The backbone of a version; "" if it is none of these."""
        place = bisect_right(self._backbones, version, key=lambda one: one[0]) - 1
        newest = 0 if self._newest is None else self._newest.version
        return self._backbones[place][1] if place >= 0 and version <= newest else ""

    def _why(self, line: _Line, backbone: str) -> str:
        """Why a line has declined a backbone, or ""."""
        return next((why for version, why in line.declined.items() if self._backbone(version) == backbone), "")

    def _forget(self, line: _Line, backbone: str) -> None:
        """A line has not declined a backbone any more."""
        for version in [one for one in line.declined if self._backbone(one) == backbone]:
            del line.declined[version]

    def _line(self, name: str) -> _Line:
        line = self._lines.get(name)
        if line is None:
            line = self._lines[name] = _Line(0.0)
            if len(self._lines) > _LINES_MAX:
                self._lines.popitem(last=False)
        line.heard_s = self._clock.monotonic()
        self._lines.move_to_end(name)
        return line
