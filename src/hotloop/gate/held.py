"""Verdicts whose update was refused: kept aside, not lost, and tried again together.

The joiner says how an example changed from its last state; the learner may not hold that state if its
update was refused. Held keeps the difference: for each prediction, what the learner really holds.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

import msgspec

from hotloop.types import Change, Example

_RETRY_EVERY = 8  # new refusals after which all that is held is tried again: one voice may be wrong, eight less so


class HeldState(msgspec.Struct, frozen=True):
    """Held as a record."""

    fresh: int
    changes: list[Change]
    dropped: dict[str, Example | None]


class Held:
    """For each prediction with a refused update: what is learned of it, and what should be."""

    def __init__(self, examples_max: int = 1000) -> None:
        self._examples_max = examples_max
        self._held: OrderedDict[str, tuple[int, Example | None, Example | None]] = OrderedDict()
        self._dropped: dict[str, Example | None] = {}  # what is learned of those beyond the limit: mostly None
        self._fresh = 0
        self._tried: set[str] = set()  # given out by the last `retry`: refused again, they are not fresh

    def __len__(self) -> int:
        return len(self._held)

    def holds(self, name: str) -> bool:
        """Whether what should be learned of a prediction is held back."""
        return name in self._held or name in self._dropped

    def adjust(self, change: Change) -> Change:
        """`change`, but from what the learner really holds. The prediction is not held any more."""
        name = name_of(change)
        if name in self._dropped:
            return Change(change.offset, self._dropped.pop(name), change.after)
        held = self._held.pop(name, None)
        return change if held is None else Change(change.offset, held[1], change.after)

    def hold(self, changes: Sequence[Change]) -> None:
        """Keep the (adjusted) changes of a refused update. Beyond the limit the oldest are not retried."""
        for change in changes:
            self._held[name_of(change)] = (change.offset, change.before, change.after)
        self._fresh += sum(name_of(change) not in self._tried for change in changes)
        while len(self._held) > self._examples_max:
            name, (_, before, _) = self._held.popitem(last=False)
            self._dropped[name] = before

    def set_aside(self, changes: Sequence[Change]) -> None:
        """As `hold`, of what a rollback took out: it is not tried again until enough others have been refused."""
        fresh = self._fresh
        self.hold(changes)
        self._fresh = fresh

    def retry(self) -> list[Change]:
        """All that is held, in order, if enough has been refused since the last time; else nothing.

        To be called once an update: what is refused again waits for as many new refusals as before.
        """
        self._tried.clear()
        if self._fresh < _RETRY_EVERY:
            return []
        self._fresh = 0
        self._tried.update(self._held)
        changes = [Change(offset, before, after) for offset, before, after in self._held.values()]
        self._held.clear()
        return changes

    def state(self) -> HeldState:
        """What `restore` needs."""
        changes = [Change(offset, before, after) for offset, before, after in self._held.values()]
        return HeldState(self._fresh, changes, dict(self._dropped))

    def restore(self, state: HeldState) -> None:
        """Become what `state` was."""
        self._held.clear()
        self._dropped = dict(state.dropped)
        self.hold(state.changes)
        self._fresh = state.fresh


def name_of(change: Change) -> str:
    """The prediction that a change is about."""
    example = change.after or change.before
    assert example is not None, "a change has a before or an after"
    return example.prediction.id


def nothing(change: Change) -> bool:
    """Whether a change comes to nothing, as when a word that was held back is unlearned."""
    return change.before is None and change.after is None


def merged(changes: Sequence[Change]) -> list[Change]:
    """One change a prediction: from the first `before` to the last `after`, in the order of the last. What comes to
    nothing is left out.
    """
    found: dict[str, Change] = {}
    for change in changes:
        if nothing(change):
            continue
        name = name_of(change)
        first = found.pop(name, None)
        found[name] = change if first is None else Change(change.offset, first.before, change.after)
    return [change for change in found.values() if not nothing(change)]


def reverse(changes: Sequence[Change]) -> list[Change]:
    """The changes that undo `changes`, last first."""
    return [Change(c.offset, c.after, c.before) for c in reversed(changes)]
