"""join -> learn -> gate, as one pure function of the log: same records in the same groups, same heads.

The live engine and every rebuild run this same code. It does no I/O and reads no clock; what it looks up of the
log goes through `load`. A group is what one update takes: the records since the last one. Its end is logged
(Judgement.learned_to), so that a replay can use the same groups.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
import numpy as np

from hotloop.config import LoopConfig
from hotloop.errors import InputError, ModelError, NewerFormatError
from hotloop.gate import Finding, Held, RecentPast, judge
from hotloop.gate.held import HeldState, reverse
from hotloop.join import Joiner
from hotloop.learn import Reflex
from hotloop.learn.moments import scaled
from hotloop.ports import Vertical
from hotloop.predict import pack_head, unpack_head
from hotloop.types import Change, Example, Head, Judgement, Record, Rows, digest

_SINGLES_MAX = 16  # a refused group up to this size is tried verdict by verdict, to find which one does harm
_FORMAT = 1
_DIGEST_BYTES = 64  # hex digits before the state

_Decide = Callable[[Sequence[Change], Head | None], Finding]


@dataclass(frozen=True)
class Update:
    """What one group came to. `head` is None where nothing of it may go out."""

    head: Head | None
    decision: Literal["promote", "refuse"]
    finding: Finding
    learned: int  # changes that were learned
    refused: tuple[int, ...]  # offsets of those that were held back
    singly: bool = False  # refused as a whole, then tried verdict by verdict


class _State(msgspec.Struct, frozen=True):
    format: int
    offset: int
    version: int
    reflex: bytes
    champion: bytes
    held: HeldState
    recent: list[Example]


class Lineage:
    """The state of the three stages between the log and a release."""

    def __init__(
        self,
        vertical: Vertical,
        config: LoopConfig,
        load: Callable[[str], list[Record]],
        lap: Callable[[str], None] = lambda _: None,
    ) -> None:
        """`lap` is told "learned" and "gated" when the stage is done, so that the engine can time them."""
        self._vertical = vertical
        self._taught: dict[int, tuple[Example, Rows]] = {}  # rows of the examples of this update, by identity
        self.config = config
        self._load = load
        self._joiner = Joiner(config.join, load)
        self._reflex = Reflex(self._rows, vertical.start(), config.learn)
        self._lap = lap
        self._held = Held()
        self._recent = RecentPast(config.gate.window_examples)
        self._examples: dict[str, Example] = {}  # those of the recent past, for `state`
        self._pending: list[Change] = []
        self.champion = as_released(vertical.start())
        self.offset = 0  # of the last record taken
        self.untaught = 0  # verified examples that taught nothing, such as a truth that nothing was proposed for
        self.version = 1  # of the champion: each promoted update is one more

    def take(self, record: Record) -> Change | None:
        """join: what the record changes, kept for the next update. Records come in the log's order."""
        change = self._joiner.add(record)
        self.offset = record.offset
        if change is not None:
            self._pending.append(self._held.adjust(change))
        return change

    def forget(self) -> None:
        """Leave what waits unlearned: for those who only want the join."""
        self._pending = []

    @property
    def waiting(self) -> int:
        """How many changes the next update would take."""
        return len(self._pending)

    @property
    def held(self) -> int:
        """How many verdicts are held back by the gate."""
        return len(self._held)

    def update(self, recorded: Judgement | None = None) -> Update | None:
        """Learn -> gate: take what waits. None if nothing did, or nothing of it teaches.

        `recorded` is the judgement of this same group by an earlier run: it is taken at its word, which makes
        a rebuild fast. Without it the gate judges.
        """
        changes = _merged(self._held.retry() + self._pending)
        self._pending = []
        # What teaches nothing is no part of the group: a replay may meet it in the next group as well.
        teaching = [change for change in changes if self._teaches(change)]
        self.untaught += len(changes) - len(teaching)
        update = (
            self._learn(teaching, self._judge if recorded is None else _as_recorded(recorded)) if teaching else None
        )
        for change in changes:
            self._remember(change)
        self._taught.clear()
        if update is not None and update.head is not None:
            self.champion = update.head
            self.version += 1
        return update

    def _learn(self, changes: list[Change], decide: _Decide) -> Update:
        """Learn all; if that is refused, try one by one, and hold back what is refused.

        A rebuild takes the same steps, refused ones too, so that it ends on the same bits.
        """
        finding, head = self._try(changes, decide)
        if head is not None:
            return Update(head, "promote", finding, len(changes), ())
        refused = changes
        singly = 1 < len(changes) <= _SINGLES_MAX
        if singly:
            refused = []
            for change in changes:
                single, better = self._try([change], decide)
                if better is None:
                    refused.append(change)
                else:
                    head, finding = better, single
        self._held.hold(refused)
        learned = len(changes) - len(refused)
        offsets = tuple(change.offset for change in refused)
        return Update(head, "promote" if learned else "refuse", finding, learned, offsets, singly)

    def _try(self, changes: Sequence[Change], decide: _Decide) -> tuple[Finding, Head | None]:
        """Learn the changes and judge the head that follows; take them back if it is refused."""
        try:
            self._reflex.learn(changes)
        except ModelError as error:  # nothing of it was learned: one that cannot be must not take the others with it
            return Finding("refuse", f"it cannot be learned: {error}", len(self._recent), 1.0, float("inf")), None
        candidate = _finite(self._reflex.head())
        self._lap("learned")
        finding = decide(changes, candidate)
        self._lap("gated")
        if finding.decision == "promote" and candidate is not None:
            return finding, candidate
        self._reflex.learn(reverse(changes))
        return finding, None

    def _judge(self, _: Sequence[Change], candidate: Head | None) -> Finding:
        """gate: the candidate against the champion on the recent past."""
        if candidate is None:
            reason = "the candidate's weights are not finite"
            return Finding("refuse", reason, len(self._recent), 1.0, float("inf"))
        champion, challenger = self._recent.losses(self.champion, candidate)
        return judge(champion, challenger, self.config.gate)

    def _teaches(self, change: Change) -> bool:
        return any(len(self._rows(e).w) > 0 for e in (change.before, change.after) if e is not None)

    def _rows(self, example: Example) -> Rows:
        """What an example teaches, made once an update: several steps ask for it."""
        known = self._taught.get(id(example))
        if known is None:
            known = self._taught[id(example)] = (example, self._fitting(example))
        return known[1]

    def _fitting(self, example: Example) -> Rows:
        """The vertical's rows of an example; none where its features are not of this loop's model (any more)."""
        features, targets = self.champion.weights.shape
        try:
            rows = self._vertical.teach(example)
            scaled(rows, features, targets)
        except (ModelError, InputError):
            return Rows(np.zeros((0, features)), np.zeros((0, targets)), np.zeros(0))
        return rows

    def _remember(self, change: Change) -> None:
        """A verified example is part of the recent past whether its update was refused or not."""
        if change.after is None:
            return
        name = change.after.prediction.id
        self._recent.add(name, self._rows(change.after))
        self._examples[name] = change.after
        if len(self._examples) > 2 * self.config.gate.window_examples:
            self._examples = {n: self._examples[n] for n in self._recent.names()}

    def state(self) -> bytes:
        """All of it as bytes; to be taken right after an update. Its size does not grow with the log."""
        assert not self._pending, "a snapshot is taken between two groups"
        recent = [self._examples[name] for name in self._recent.names()]
        state = _State(
            format=_FORMAT,
            offset=self.offset,
            version=self.version,
            reflex=self._reflex.state(),
            champion=pack_head(self.champion),
            held=self._held.state(),
            recent=recent,
        )
        data = msgspec.msgpack.encode(state)
        return digest(data).encode() + data

    def restore(self, data: bytes, offset_max: int) -> None:
        """Become what `state` was. ModelError if it is damaged, of another recipe, or ahead of `offset_max`."""
        if data[:_DIGEST_BYTES] != digest(data[_DIGEST_BYTES:]).encode():
            raise ModelError("the learner's snapshot is not as it was written; it is rebuilt from the log")
        try:
            state = msgspec.msgpack.decode(data[_DIGEST_BYTES:], type=_State)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise ModelError(f"the learner's snapshot is damaged ({error}); it is rebuilt from the log") from error
        if state.format > _FORMAT:
            raise NewerFormatError(f"the learner's snapshot has format {state.format}; this hotloop knows {_FORMAT}")
        if state.offset > offset_max:
            raise ModelError(f"the snapshot is of offset {state.offset}, the log ends at {offset_max}")
        champion = unpack_head(state.champion)
        self._reflex.restore(state.reflex)
        self.champion = champion
        self._held.restore(state.held)
        for example in state.recent:
            self._remember(Change(0, None, example))
        self._taught.clear()
        self.offset, self.version = state.offset, state.version
        self._joiner = Joiner(self.config.join, self._load)


def as_released(head: Head) -> Head:
    """The head as a line will have it: rounded to float32. Judged is what is released, not what was learned."""
    return unpack_head(pack_head(head))


def _finite(head: Head) -> Head | None:
    """The head as released, or None if its numbers are none."""
    try:
        return as_released(head)
    except ModelError:
        return None


def _as_recorded(recorded: Judgement) -> _Decide:
    """Decides as an earlier run did: all at once if it held nothing back, else by the verdict's offset."""

    def decide(changes: Sequence[Change], _: Head | None) -> Finding:
        whole = len(changes) > 1 and recorded.singly
        refused = whole or any(change.offset in recorded.refused for change in changes)
        decision: Literal["promote", "refuse"] = "refuse" if refused else "promote"
        return Finding(decision, recorded.reason, recorded.count, recorded.difference, recorded.e_value)

    return decide


def _merged(changes: Sequence[Change]) -> list[Change]:
    """One change a prediction: from the first `before` to the last `after`, in the order of the last."""
    merged: dict[str, Change] = {}
    for change in changes:
        example = change.after or change.before
        assert example is not None
        name = example.prediction.id
        first = merged.pop(name, None)
        merged[name] = change if first is None else Change(change.offset, first.before, change.after)
    return list(merged.values())
