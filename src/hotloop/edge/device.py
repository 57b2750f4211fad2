"""What a device does with a release: tries it on what it saw lately, keeps it over a restart, goes back by itself."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from hotloop.config import LoopConfig
from hotloop.edge.health import Trial, median, together, unhealthy
from hotloop.edge.probe import Asked, in_a_child, tried
from hotloop.errors import UnhealthyReleaseError
from hotloop.ports import Clock
from hotloop.predict import Current
from hotloop.store.slots import Installed, Slots
from hotloop.types import Model, Output, Payload

_SHADOW_LOOK_S = 0.05
_USUAL = 101  # newest answers that say how long one usually takes


@dataclass(frozen=True)
class _Answered:
    """A payload, what was said of it, and in how long."""

    payload: Payload
    said: tuple[Output, ...]
    seconds: float


class Device:
    """The guard of what answers. `saw` is called by the thread that predicts and touches no disk; `tick` by one that
    may wait; the rest by the one that follows releases.
    """

    def __init__(self, config: LoopConfig, slots: Slots, clock: Clock) -> None:
        self._config, self._slots, self._clock = config, slots, clock
        self._payloads: deque[Payload] = deque(maxlen=config.edge.payloads_kept)
        self._answered: deque[_Answered] = deque(maxlen=config.edge.payloads_kept)  # newest, for who answers beside
        self._usual: deque[float] = deque(maxlen=_USUAL)  # seconds, of what has proven itself
        self._young: list[float] = []  # seconds, of what has not yet
        self.proven = True  # what answers has answered well for a while
        self._said = True  # and the slots know
        self._unkept: Model | None = None  # answers, and is not on the disk yet
        self._kept_s = float("-inf")
        self._back = False  # gone back in memory, not on the disk yet
        self._lock = threading.Lock()  # of the slots' side

    @property
    def latency_ms(self) -> float:
        """How long an answer takes now: the median of the newest."""
        return 1e3 * median(self._young if not self.proven and self._young else self._usual)

    def start(self) -> Installed | None:
        """What answered last, if it is whole and did not take the process down. It proves itself again."""
        found = self._slots.start()
        if found is not None:
            self.proven = self._said = False
        return found

    def saw(self, payload: Payload, seconds: float, said: tuple[Output, ...] = ()) -> str:
        """A payload was answered, in so long. Why what answers must go, or ""."""
        self._payloads.append(payload)
        self._answered.append(_Answered(payload, said, seconds))
        if self.proven:
            self._usual.append(seconds)
            return ""
        self._young.append(seconds)
        count, edge = len(self._young), self._config.edge
        if count < edge.proven_pieces:
            return ""
        slow, usual = median(self._young), median(self._usual)
        if self._usual and slow > max(edge.slower_max * usual, edge.latency_s_least):
            return f"on {count} payloads it took {1e3 * slow:.1f} ms each, what answered before {1e3 * usual:.1f}"
        self.proven = True
        return ""

    def probe(self, model: Model, bundle: bytes, present: Current) -> None:
        """Try a release on a new backbone, whose bytes are `bundle`, in a process of its own: they are not touched in
        this one before. The line predicts on meanwhile. UnhealthyReleaseError, with the reason, if it does not do well.
        """
        payloads, edge = tuple(self._payloads), self._config.edge
        trial = in_a_child(Asked(self._config, bundle, model.head, payloads), edge.probe_s, edge.probe_bytes_max)
        self._judge(model, tried(present.vertical, present.head, payloads), trial, model.alike)

    def shadow(self, model: Model, candidate: Current, stop: threading.Event) -> None:
        """Let a release on another backbone answer the pieces that come now, unheard, beside what answers; after so
        many of them, or so long, it may answer. UnhealthyReleaseError as `probe`.
        """
        edge = self._config.edge
        self._answered.clear()
        seen: list[_Answered] = []
        trials: list[Trial] = []
        for _ in range(round(edge.shadow_s / _SHADOW_LOOK_S)):
            while self._answered and len(seen) < edge.shadow_pieces:
                seen.append(self._answered.popleft())
                warm = 0 if trials else 1  # a session's first answer is slower
                trials.append(tried(candidate.vertical, candidate.head, [seen[-1].payload], warm))
            if len(seen) >= edge.shadow_pieces or any(one.failure for one in trials) or stop.wait(_SHADOW_LOOK_S):
                break
        present = Trial(tuple(one.said for one in seen), tuple(one.seconds for one in seen))
        self._judge(model, present, together(trials), model.alike)

    def admit(self, model: Model, candidate: Current, present: Current) -> None:
        """Try a release on a backbone that is at hand, here and now. UnhealthyReleaseError as `probe`."""
        payloads = tuple(self._payloads)
        before = tried(present.vertical, present.head, payloads)
        self._judge(model, before, tried(candidate.vertical, candidate.head, payloads), 0.0)

    def _judge(self, model: Model, before: Trial, trial: Trial, expected: float) -> None:
        if why := unhealthy(before, trial, expected, self._config.edge):
            raise UnhealthyReleaseError(f"version {model.version} was not installed: {why}")

    def keep(self, model: Model, bundle: bytes) -> None:
        """It answers now. On the disk at once if its backbone is new, else by a later `tick`: a plant's heads come
        each second, and disks wear.

        StoreError: it answers all the same, and an older one does after a restart.
        """
        self._young, self.proven = [], False
        with self._lock:
            self._unkept, self._said = model, False
            if bundle:
                self._write(bundle)

    def tick(self) -> None:
        """Write what is due. StoreError."""
        with self._lock:
            if self._back:
                self._forget()
            if self._unkept is not None and self._clock.monotonic() - self._kept_s >= self._config.edge.keep_s:
                self._write(b"")
            if self.proven and not self._said and self._unkept is None:
                self._slots.proven()
                self._said = True

    def went_back(self) -> None:
        """What answers was given up for what did before; the next `tick` sees to it that it is so after a restart."""
        self.proven, self._back = True, True

    def _forget(self) -> None:
        """Go back on the disk too, unless what was given up never came to it."""
        if self._unkept is None:
            self._slots.back()
        self._back, self._unkept, self._said = False, None, True

    def _write(self, bundle: bytes) -> None:
        assert self._unkept is not None
        self._slots.install(self._unkept, bundle, proven=False)
        self._kept_s, self._unkept = self._clock.monotonic(), None
