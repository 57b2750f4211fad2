"""Where to look: which unverified pieces a human should see first.

What a verdict on a piece would teach is guessed by two numbers: how *unsure* the model is (the distance of the best
score from the next one and from its threshold; Settles 2009, margin sampling), and how *new* the piece is (leverage h
= x' A^-1 x: the variance that a verdict would take away; MacKay 1992). Of many alike only the first is worth much, so
pieces near to one that is already chosen are put back. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from hotloop.types import Floats

LEVERAGE_WEIGHT = 0.3  # of novelty beside uncertainty (bench/review_order.py)
_SURE = 0.25  # distance at which a row is unsure to 1 / e
_NEAR = 0.5  # distance from which a piece is not asked for because of doubt
_ALIKE = 0.9  # cosine from which two pieces count as alike


def uncertainty(scores: Floats, thresholds: Sequence[float]) -> float:
    """How unsure a head is of a piece, 0 to 1: of its least sure row. `scores` (n, c); 0 where there is no row.

    It falls with the distance and never quite to 0, so that the sure can be told from the surer (`conformal.py`). A
    row is unsure where its best score is near to the next one, or to the threshold from which it is said.
    """
    if not len(scores):
        return 0.0
    limits = np.asarray(thresholds, np.float64)
    best = scores.argmax(1)
    top = scores[np.arange(len(scores)), best]
    ranked = np.sort(scores, axis=1)
    to_next = ranked[:, -1] - ranked[:, -2] if scores.shape[1] > 1 else np.full(len(scores), np.inf)
    distance = np.minimum(np.where(top >= limits[best], to_next, np.inf), np.abs(top - limits[best]))
    return float(np.exp(-distance / _SURE).max())


def value(unsure: Floats, leverage: Floats) -> Floats:
    """What a verdict on each piece is worth, any unit: (n,), (n,) -> (n,).

    Uncertainty counts by its distance, and not at all from half a score on: among sure pieces only novelty tells
    (weighed as it is, it costs a tenth of the verdicts saved on magnetic tiles).
    """
    distance = -_SURE * np.log(np.maximum(unsure, 1e-12))
    worth: Floats = np.asarray((1.0 - distance / _NEAR).clip(0.0, 1.0) + LEVERAGE_WEIGHT * leverage / (1.0 + leverage))
    return worth


def order(values: Floats, features: Floats, count: int) -> list[int]:
    """The indices of the `count` pieces to look at, best first; `features` (n, f): one vector a piece, for likeness."""
    left = values.astype(np.float64).copy()
    lengths = np.linalg.norm(features, axis=1, keepdims=True)
    units = features / np.maximum(lengths, 1e-9)
    chosen: list[int] = []
    for _ in range(min(count, len(values))):
        best = int(left.argmax())
        chosen.append(best)
        left[units @ units[best] >= _ALIKE] *= 0.5
        left[best] = -np.inf
    return chosen
