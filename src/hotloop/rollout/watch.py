"""After a release: is what answers now worse than what answered before? Paired, on verified pieces, valid at every
look.

Both answer the same piece before its verdict is learned. Someone bets on the difference of their losses with money
that is fair as long as the present is no worse (by more than the tolerance); whoever gets 1 / alpha times richer has
the proof (Ville 1939; Waudby-Smith & Ramdas 2024). So the chance that a release that is no worse is *ever* rolled
back is at most alpha, however long it is watched. Losses are mostly equal, so that small bets matter: a mixture over
bets from a third of a percent of the capital up finds small and large differences without being told which to expect
(bench/rollback.py).

A loop starts many watches in its life. `spent` gives the j-th a share of alpha that sums to no more than alpha over
all.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
import numpy as np

from hotloop.errors import ModelError
from hotloop.types import Floats

BETS: Final[Floats] = np.geomspace(0.003, 0.9, 20)  # shares of the largest safe bet
_LOG_MAX: Final = 700.0  # exp of more is no double


def spent(alpha: float, number: int) -> float:
    """The level of the watch with this number (1, 2, 3, ...): alpha 6 / (pi number)^2, which sums to alpha."""
    return alpha * 6.0 / (math.pi * max(number, 1)) ** 2


class WatchState(msgspec.Struct, frozen=True):
    """Watch as a record."""

    count: int
    sum: float
    worse: tuple[float, ...]  # log capitals
    better: tuple[float, ...]
    peak: float


class Watch:
    """Evidence, piece by piece, that what answers now is worse, and that it is better."""

    def __init__(self, tolerance: float, alpha: float) -> None:
        """`tolerance`: mean loss by which the present may be worse; `alpha`: chance of an alarm without cause."""
        self.tolerance, self.alpha = tolerance, alpha
        self.count = 0
        self._sum = 0.0
        self._bets = BETS / (1.0 + tolerance)  # a bet above 1 / (1 + tolerance) could lose more than all
        self._worse = np.zeros(len(BETS))
        self._better = np.zeros(len(BETS))
        self._peak = 0.0  # of the log evidence of worse: who saw the proof once need not see it again

    def add(self, now: float, before: float) -> None:
        """A verified piece: the loss of what answers now and of what answered before, each in [0, 1]."""
        d = float(np.clip(now - before, -1.0, 1.0))
        self.count += 1
        self._sum += d
        self._worse += np.log1p(self._bets * (d - self.tolerance))
        self._better += np.log1p(-BETS * d)
        self._peak = max(self._peak, _mixed(self._worse))

    @property
    def alarm(self) -> bool:
        """Whether the present is proven worse."""
        return self._peak >= -math.log(self.alpha)

    @property
    def better(self) -> bool:
        """Whether the present is proven better, at the same level."""
        return _mixed(self._better) >= -math.log(self.alpha)

    def words(self, what: str = "error") -> str:
        """What was found, in a sentence; `what` the losses are."""
        mean = self._sum / max(self.count, 1)
        sense = "above" if mean > 0 else "below"
        evidence = math.exp(min(self._peak, _LOG_MAX))
        return (
            f"on {self.count} verified pieces its {what} is {abs(mean):.4f} {sense} that of the state before "
            f"(e-value {evidence:.3g}, alarm at {1 / self.alpha:.3g})"
        )

    def state(self) -> WatchState:
        """What `restore` needs."""
        return WatchState(self.count, self._sum, tuple(self._worse.tolist()), tuple(self._better.tolist()), self._peak)

    def restore(self, state: WatchState) -> None:
        """Become what `state` was. ModelError if it has other bets."""
        if not len(state.worse) == len(state.better) == len(BETS):
            raise ModelError("the state of the watch is another version's; it is rebuilt from the log")
        self.count, self._sum, self._peak = state.count, state.sum, state.peak
        self._worse, self._better = np.array(state.worse), np.array(state.better)


def _mixed(log_capital: Floats) -> float:
    """Log of the mean capital."""
    top = float(log_capital.max())
    return top + math.log(float(np.exp(log_capital - top).mean()))
