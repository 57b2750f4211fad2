"""Has the verified error changed? A change detector that may be asked after every verdict.

Page-Hinkley and ADWIN are the field's, and give no guarantee on false alarms. This is an e-detector (Shin, Ramdas &
Rinaldo 2022, arXiv:2203.03532): at each piece a new bettor begins, against "the mean loss is at most what it was"; the
detector is the sum of all their capitals (Shiryaev-Roberts), which is S' = (S + 1) * (1 + bet * (loss - reference)).
On a stream without a change the mean time to a false alarm is at least 1 / alpha pieces, whatever the losses are.
Memory: a few numbers.

The reference is the mean loss of the pieces before, with an upper margin, fixed after the first ones.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from hotloop.types import Floats

REFERENCE_PIECES: Final = 100  # that the reference is made of
BETS: Final[Floats] = np.array([0.05, 0.1, 0.2, 0.4, 0.7])  # shares of the largest safe bet
_MAX: Final = 1e300


class DriftState(msgspec.Struct, frozen=True):
    """DriftTest as a record."""

    count: int
    sum: float
    squares: float
    sums: tuple[float, ...]


class DriftTest:
    """Feed it the loss in [0, 1] of each verified piece, as it was answered."""

    def __init__(self, alpha: float) -> None:
        """`alpha`: one over the mean number of pieces to a false alarm."""
        self.alpha = alpha
        self.count = 0
        self._sum = 0.0
        self._squares = 0.0
        self._detectors = np.zeros(len(BETS))

    @property
    def reference(self) -> float:
        """The mean loss that it is tested against: of the first pieces, and two standard errors."""
        n = max(min(self.count, REFERENCE_PIECES), 1)
        mean = self._sum / n
        spread = max(self._squares / n - mean**2, 0.0) + 1.0 / n  # a stream without an error may have one yet
        return min(mean + 2.0 * math.sqrt(spread / n), 1.0)

    def add(self, loss: float) -> bool:
        """Take a piece; whether the error has risen."""
        x = float(np.clip(loss, 0.0, 1.0))
        self.count += 1
        if self.count <= REFERENCE_PIECES:
            self._sum += x
            self._squares += x * x
            return False
        bets = BETS / max(self.reference, 1e-9)  # a larger one could lose more than all
        bets = np.minimum(bets, 1.0)
        self._detectors = np.minimum((self._detectors + 1.0) * (1.0 + bets * (x - self.reference)), _MAX)
        return bool(self._detectors.mean() >= 1.0 / self.alpha)

    def state(self) -> DriftState:
        """What `restore` needs."""
        return DriftState(self.count, self._sum, self._squares, tuple(self._detectors.tolist()))

    def restore(self, state: DriftState) -> None:
        """Become what `state` was."""
        self.count, self._sum, self._squares = state.count, state.sum, state.squares
        self._detectors = np.array(state.sums)
