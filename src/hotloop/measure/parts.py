"""The newest verified examples, as a whole and by kind, with what their errors were: for the ceiling."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from hotloop.measure.ceiling import Part
from hotloop.measure.tally import count
from hotloop.types import Example, Outcome

SCORES_MAX: Final = 1000  # newest examples of a part
LABELS_MAX: Final = 200  # kinds beyond are not told apart
OVERALL: Final = "all pieces"


class _Kept:
    """One part: its newest scores, and the errors behind each."""

    def __init__(self) -> None:
        self.rows: deque[tuple[float, int, int, int, bool]] = deque(maxlen=SCORES_MAX)


class Parts:
    """Takes judged examples; gives each part for `ceilings`."""

    def __init__(self) -> None:
        self._kept: dict[str, _Kept] = {OVERALL: _Kept()}
        self._refreshed = False

    def refreshed(self) -> None:
        """A slower tier's model has gone out."""
        self._refreshed = True

    def judged(self, example: Example, outcomes: Sequence[Outcome]) -> None:
        """An example that was verified for the first time, and how what was said of it turned out."""
        fresh, self._refreshed = self._refreshed, False
        self._add(OVERALL, example, outcomes, fresh=fresh)
        for label in {outcome.label for outcome in outcomes if outcome.label}:
            name = f"label:{label}"
            if name in self._kept or len(self._kept) < LABELS_MAX:
                own = [outcome for outcome in outcomes if outcome.label == label]
                self._add(name, example, own, fresh=fresh)

    def parts(self) -> dict[str, Part]:
        """Every part, as far as it is known."""
        return {name: _part(kept) for name, kept in self._kept.items()}

    def _add(self, name: str, example: Example, outcomes: Sequence[Outcome], *, fresh: bool) -> None:
        """Of its errors: a miss beside a false alarm was proposed and decided wrongly, a miss alone was not proposed
        (as far as that can be told without knowing the domain), and where reviewers differ it is a matter of dispute.
        """
        tally = count(outcomes)
        errors = tally.missed + tally.false_alarms
        disputed = errors if len({word.claims for word in example.feedback}) > 1 else 0
        unproposed = 0 if disputed else max(tally.missed - tally.false_alarms, 0)
        undecided = 0 if disputed else errors - unproposed
        self._kept.setdefault(name, _Kept()).rows.append((tally.score, unproposed, undecided, disputed, fresh))


def _part(kept: _Kept) -> Part:
    rows = list(kept.rows)
    return Part(
        scores=tuple(row[0] for row in rows),
        unproposed=sum(row[1] for row in rows),
        undecided=sum(row[2] for row in rows),
        disputed=sum(row[3] for row in rows),
        refreshed=any(row[4] for row in rows),
    )
