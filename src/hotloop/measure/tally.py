"""Counts of outcomes, and the score they give."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import msgspec

from hotloop.types import Outcome

Kind = Literal["hit", "false alarm", "missed", "right"]


class Tally(msgspec.Struct):
    """How outcomes turned out. `right`: nothing was there and nothing was said."""

    hits: int = 0
    false_alarms: int = 0
    missed: int = 0
    right: int = 0

    @property
    def score(self) -> float:
        """Hits among all that was said or was there (Jaccard), in [0, 1]; 1 where there was neither."""
        relevant = self.hits + self.false_alarms + self.missed
        return self.hits / relevant if relevant else 1.0

    @property
    def precision(self) -> float:
        """Share of what was said that was there; 0 where nothing was said."""
        said = self.hits + self.false_alarms
        return self.hits / said if said else 0.0

    @property
    def recall(self) -> float:
        """Share of what was there that was said; 0 where nothing was there."""
        there = self.hits + self.missed
        return self.hits / there if there else 0.0

    @property
    def f1(self) -> float:
        """The harmonic mean of precision and recall; 0 where neither is above 0."""
        relevant = 2 * self.hits + self.false_alarms + self.missed
        return 2 * self.hits / relevant if relevant else 0.0

    def count(self, kind: Kind, sign: int = 1) -> None:
        """Count one outcome, or take it back with `sign` -1."""
        if kind == "hit":
            self.hits += sign
        elif kind == "false alarm":
            self.false_alarms += sign
        elif kind == "missed":
            self.missed += sign
        else:
            self.right += sign

    def add(self, other: Tally, sign: int = 1) -> None:
        """Add what `other` counted, or take it back with `sign` -1."""
        self.hits += sign * other.hits
        self.false_alarms += sign * other.false_alarms
        self.missed += sign * other.missed
        self.right += sign * other.right

    def copy(self) -> Tally:
        """One of its own with the same counts."""
        return Tally(self.hits, self.false_alarms, self.missed, self.right)


def count(outcomes: Iterable[Outcome]) -> Tally:
    """The tally of some outcomes."""
    tally = Tally()
    for outcome in outcomes:
        tally.count(outcome.kind)
    return tally
