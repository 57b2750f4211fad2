"""What moves on a grid take, learned by zone and direction in closed form: the reflex's moments.

A passage's steps are regressed on its zone and direction, its zone, and a constant; before anything is learned each
move takes one step. Passages of a zone and direction are added together (their number and their mean say as much as all
of them), and old ones lose weight from one update to the next.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hotloop.learn import Moments
from hotloop.types import Floats, Rows
from hotloop.verticals.warehouse.grid import Zones
from hotloop.verticals.warehouse.grid_floor import Passages

_STEPS_MIN, _STEPS_MAX = 1.0, 30.0


@dataclass
class LearnedTimes:
    """A guide that hears passages and, every so many steps, learns them."""

    zones: Zones
    every: int = 10  # steps
    kept: float = 0.9  # of old passages' weight, at each update
    ridge: float = 5.0  # passages that it takes to be half believed
    weight: float = 0.5  # of what a move takes beyond one step: all of it sends everybody the same way round

    def __post_init__(self) -> None:
        count = self.zones.count
        number = np.arange(4 * count)
        shared = np.zeros((4 * count, count))
        shared[number, number // 4] = 1.0
        self._x: Floats = np.concatenate((np.eye(4 * count), shared, np.ones((4 * count, 1))), axis=1)
        prior = np.zeros((self._x.shape[1], 1))
        prior[-1] = 1.0
        self.moments = Moments(self._x.shape[1], 1, self.ridge, prior)
        self._sums, self._counts = np.zeros(4 * count), np.zeros(4 * count)
        self._steps = 0
        self._moves = np.ones((self.zones.grid.count, 4))

    def moves(self) -> Floats:
        """What a move from each free cell in each direction takes (cells, 4)."""
        return self._moves

    def heard(self, passages: Passages) -> None:
        """Keep them; learn when it is time."""
        keys = 4 * self.zones.of[passages.cells] + passages.directions
        self._counts += np.bincount(keys, minlength=len(self._counts))
        self._sums += np.bincount(keys, passages.steps, minlength=len(self._sums))
        self._steps += 1
        if self._steps % self.every == 0:
            self._learn()

    def _learn(self) -> None:
        seen = np.flatnonzero(self._counts)
        means = self._sums[seen] / self._counts[seen]
        self.moments.scale(self.kept)
        self.moments.learn(Rows(self._x[seen], means[:, None], self._counts[seen]))
        self._sums[:], self._counts[:] = 0.0, 0.0
        steps = (self._x @ self.moments.weights())[:, 0].reshape(-1, 4).clip(_STEPS_MIN, _STEPS_MAX)
        self._moves = 1.0 + self.weight * (steps[self.zones.of] - 1.0)
