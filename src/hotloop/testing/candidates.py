"""Candidates for the gate: honest ones, and ones broken on purpose, as paired losses with their parts.

A champion is a closed-form head on simulated candidates of a detector; an honest candidate is the same head with a few
more verdicts, some of them wrong; a sabotaged one is a head that somebody, or a defect, has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import numpy as np

from hotloop.gate import RecentPast
from hotloop.gate.slices import Parts
from hotloop.learn import Moments
from hotloop.types import Floats, Head, Rows

LABELS: Final = ("open", "short", "mousebite", "spur")
COLUMNS: Final = 24
PIECES: Final = 200
_NOISE: Final = 0.45  # of the features: the champion errs on some 3 % of the disputed rows
_SLIPS: Final = 0.03
_WEAK: Final = 0.5  # of its scores that a weak champion has: most of what is there falls below its threshold


def _lost(head: Head) -> Head:
    weights = head.weights.copy()
    weights[:, 1] = 0.0
    return Head(head.labels, weights, head.thresholds)


def _swapped(head: Head) -> Head:
    return Head(head.labels, head.weights[:, [1, 0, 2, 3]], head.thresholds)


def _aimed(head: Head) -> Head:
    """Most of one kind is called another; nothing else is touched."""
    weights = head.weights.copy()
    weights[:, 2] += 1.1 * weights[:, 1]
    return Head(head.labels, weights, head.thresholds)


def _line(head: Head) -> Head:
    """Blind on the second line, whose pieces carry a mark in the last column."""
    weights = head.weights.copy()
    weights[-1] = -3.0
    return Head(head.labels, weights, head.thresholds)


def _with(head: Head, weights: Floats) -> Head:
    return Head(head.labels, weights, head.thresholds)


SABOTAGES: Final[dict[str, Callable[[Head], Head]]] = {
    "NaN": lambda head: _with(head, np.full(head.weights.shape, np.nan)),
    "infinite": lambda head: _with(head, np.where(head.weights == head.weights.max(), np.inf, head.weights)),
    "constant": lambda head: _with(head, np.zeros(head.weights.shape)),
    "says everything": lambda head: Head(head.labels, head.weights, (-1.0,) * len(head.labels)),
    "a lost class": _lost,
    "swapped classes": _swapped,
    "aimed at a class": _aimed,
    "aimed, better elsewhere": _aimed,  # against a champion that is weak: the mean gains, the class is lost
    "blind on a line": _line,
    "scaled": lambda head: _with(head, 0.3 * head.weights),
    "noise": lambda head: _with(head, head.weights + np.random.default_rng(0).normal(0, 0.6, head.weights.shape)),
}


class Bench:
    """Draws champions with their recent past, and candidates against them."""

    def __init__(self, seed: int) -> None:
        self._rng = np.random.default_rng(seed)
        self._means = np.zeros((len(LABELS) + 1, COLUMNS))
        for label in range(len(LABELS)):
            self._means[label, 4 * label : 4 * label + 4] = 1.0

    def rows(self, slips: float, line: int) -> Rows:
        """The candidates of one piece: some of a kind each, some of nothing."""
        kinds = self._rng.integers(0, len(LABELS) + 1, 6)
        x = self._means[kinds] + self._rng.normal(0, _NOISE, (6, COLUMNS))
        x[:, -2], x[:, -1] = 1.0, float(line)
        told = np.where(self._rng.random(6) < slips, self._rng.integers(0, len(LABELS) + 1, 6), kinds)
        return Rows(x, np.eye(len(LABELS) + 1)[told][:, :-1], np.ones(6))

    def _champion(self) -> tuple[Moments, RecentPast]:
        moments = Moments(COLUMNS, len(LABELS), 1.0)
        recent = RecentPast(PIECES)
        pieces = [self.rows(_SLIPS, number % 2) for number in range(300)]
        moments.apply([(1, rows) for rows in pieces])
        for number, rows in enumerate(pieces[-PIECES:]):
            recent.add(f"p{number}", rows, line=f"line-{number % 2}", site="s")
        return moments, recent

    def honest(self) -> tuple[Floats, Floats, Parts]:
        """Losses of a champion and of what one to eight more true verdicts make of it (some slip), with their parts."""
        moments, recent = self._champion()
        champion = _head(moments)
        for _ in range(int(self._rng.integers(1, 9))):
            moments.learn(self.rows(_SLIPS, int(self._rng.integers(2))))
        return recent.compared(champion, _head(moments))

    def sabotaged(self, name: str) -> tuple[Floats, Floats, Parts]:
        """Losses of a champion and of a broken candidate, with their parts."""
        moments, recent = self._champion()
        champion = head = _head(moments)
        if name == "aimed, better elsewhere":
            champion = _with(head, np.where(np.arange(len(LABELS)) == 1, 1.0, _WEAK) * head.weights)
        with np.errstate(invalid="ignore"):
            return recent.compared(champion, SABOTAGES[name](head))


def _head(moments: Moments) -> Head:
    return Head(LABELS, moments.weights(), (0.5,) * len(LABELS))
