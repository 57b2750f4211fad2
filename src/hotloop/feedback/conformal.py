"""What needs no human, at a stated error: pieces on which the model is sure enough to pass unseen.

Conformal risk control (Angelopoulos et al. 2022, arXiv:2208.02814): of calibration pieces, verified whatever the
model said of them, take the largest uncertainty up to which the share of *all* pieces that would pass and are wrong
stays at or below `error_max`, with one more wrong piece counted in for the finite sample. If the next piece is
exchangeable with them, the chance that it passes and is wrong is at most `error_max`. Products change, so it is
watched: the pieces that passed and were drawn for the audit are a fair sample of those that passed; when a confidence
sequence of their error leaves the bound, nothing passes any more until it is calibrated anew.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from hotloop.evidence import RunningInterval

_LEAST = 50  # calibration pieces below which everything needs a human
_ALPHA = 0.05  # chance that the audit closes a gate that keeps its bound


class Passes:
    """The threshold of uncertainty up to which a piece may pass. Fed with verified pieces as they come."""

    def __init__(self, error_max: float, window: int = 1000) -> None:
        """`error_max`: of all pieces, those that pass and are wrong; `window`: newest calibration pieces that count."""
        self.error_max = error_max
        self.closed = False  # by the audit
        self._pieces: deque[tuple[float, bool, float]] = deque(maxlen=window)
        self._audit = RunningInterval(_ALPHA)

    def add(self, uncertainty: float, *, wrong: bool, propensity: float = 1.0) -> None:
        """A verified piece: how unsure the model was before the verdict, whether it was wrong, and the chance with
        which it came to be verified (a flagged piece 1, an audited one its draw).
        """
        limit = self.threshold()
        if limit is not None and uncertainty <= limit and propensity < 1.0:
            self._audit.add(float(wrong))
            share = self.passed_share()
            if share and self._audit.interval()[0] * share > self.error_max:
                self.closed = True
        self._pieces.append((uncertainty, wrong, 1.0 / max(propensity, 1e-6)))

    def threshold(self) -> float | None:
        """The largest uncertainty with which a piece may pass; None: every piece needs a human."""
        if self.closed or len(self._pieces) < _LEAST:
            return None
        u, wrong, weight = (np.array(column, float) for column in zip(*self._pieces, strict=True))
        rank = np.argsort(u, kind="stable")
        u, wrong, weight = u[rank], wrong[rank], weight[rank]
        risk = (np.cumsum(wrong * weight) + weight.max()) / (weight.sum() + weight.max())
        last = np.append(np.diff(u) > 0, True)  # only where all pieces of one uncertainty are in
        good = np.flatnonzero((risk <= self.error_max) & last)
        return float(u[good[-1]]) if len(good) else None

    def passed_share(self) -> float:
        """The share of pieces that may pass, by the calibration pieces."""
        limit = self.threshold()
        if limit is None:
            return 0.0
        total = sum(weight for _, _, weight in self._pieces)
        return sum(weight for u, _, weight in self._pieces if u <= limit) / total

    def reopen(self) -> None:
        """Calibrate anew: what was known before does not count."""
        self._pieces.clear()
        self._audit, self.closed = RunningInterval(_ALPHA), False

    def words(self) -> str:
        """What may pass, in a sentence."""
        if self.closed:
            return f"nothing may pass: the audit shows over {self.error_max:.1%} wrong among all; verify, and reopen"
        limit = self.threshold()
        if limit is None:
            return (
                f"nothing may pass yet: {len(self._pieces)} verified pieces do not show an error of at most "
                f"{self.error_max:.1%} at any uncertainty"
            )
        return (
            f"{self.passed_share():.0%} of pieces may pass without a human (uncertainty up to {limit:.2f}): of all "
            f"pieces at most {self.error_max:.1%} then pass and are wrong, by {len(self._pieces)} verified pieces"
        )
