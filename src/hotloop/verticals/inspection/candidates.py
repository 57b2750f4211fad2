"""The reflex on candidates: features to rows x, verdicts to targets y, scores to answers. Pure functions.

The recipe was chosen on DeepPCB's first 800 training boards with a start model that had seen only drawn ones
(bench/deeppcb_reflex.py; its figures are beside each constant). A score is xᵀW; W starts at a head that passes the
start model's own probabilities through, so that the loop begins exactly at the start model and moves with evidence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import ModelError
from hotloop.types import Floats
from hotloop.verticals.inspection.detector import FEATURE_MAX, Description, distinct
from hotloop.verticals.inspection.score import Boxes, overlaps

PROJECTED = 371  # makes 512 columns with the shipped model: a head in some 2 ms, and as good as twice as many
# With the reflex's ridge of 1 this is a ridge of 0.1 on features of length 1 (0.01 and 1 are worse at 25 boards).
LINEAR_SCALE = 3.16
RELU_SCALE = 3.16
HIT_OVERLAP = 0.5  # from here on a candidate is the truth it overlaps
# Up to here it is ground, between the two it is neither and teaches nothing: it would still count as a hit when scored.
# At 0.2 what is near a truth is never told from it: 92.5 % F after 600 boards, not 97.4 %.
MISS_OVERLAP = 0.33
ANSWER_OVERLAP_MAX = 0.3  # two answers that share more are one
_SEED_TAG = 0x686F746C


class Expansion:
    """Features (n, f) as a detector gives them -> rows x (n, columns) for the moments.

    x is: the start model's c scores; 1; the features in spreads from their means; a random ReLU layer of these
    (Rahimi & Recht 2007), whose weights of +1 and -1 are the raw bits of a PCG64 stream, which NumPy keeps stable.
    """

    def __init__(self, description: Description, seed: int = 0, projected: int = PROJECTED) -> None:
        self.labels = description.labels
        self._mean = np.asarray(description.mean, np.float64)
        self._spread = np.asarray(description.spread, np.float64)
        features = len(self._mean)
        self._mix, self._lift = _random_layer(features, projected, seed)
        self.columns = len(self.labels) + 1 + features + projected

    def prior(self) -> Floats:
        """The head that answers as the start model does: (columns, labels)."""
        return np.eye(self.columns, len(self.labels))

    def __call__(self, features: NDArray[np.floating]) -> Floats:
        """(n, f) -> (n, columns). ModelError if the features are not of this start model."""
        if features.ndim != 2 or features.shape[1] != len(self._mean):
            raise ModelError(f"Features of shape {features.shape} are not (n, {len(self._mean)}): another start model?")
        raw = features.astype(np.float64)
        plain = ((raw - self._mean) / self._spread).clip(-FEATURE_MAX, FEATURE_MAX)
        mixed = np.maximum(plain @ self._mix + self._lift, 0.0)
        scores = raw[:, : len(self.labels)]
        ones = np.ones((len(raw), 1))
        return np.concatenate(
            (
                scores,
                ones,
                plain * (LINEAR_SCALE / np.sqrt(plain.shape[1])),
                mixed * (RELU_SCALE * np.sqrt(2.0 / max(mixed.shape[1], 1))),
            ),
            axis=1,
        )


def _random_layer(inputs: int, outputs: int, seed: int) -> tuple[Floats, Floats]:
    """Weights of ±1 / sqrt(inputs) (inputs, outputs) and offsets in -1 to 1 (outputs,), from a seed."""
    words = np.random.PCG64([_SEED_TAG, seed]).random_raw(-(-(inputs + 16) * outputs // 64))
    bits = np.unpackbits(words.astype("<u8").view(np.uint8))[: (inputs + 16) * outputs]
    signs = bits[: inputs * outputs].reshape(inputs, outputs) * 2.0 - 1.0
    steps = bits[inputs * outputs :].reshape(16, outputs) * 0.5 ** np.arange(1, 17)[:, None]
    return signs / np.sqrt(inputs), steps.sum(0) * 2.0 - 1.0


@dataclass(frozen=True)
class Lesson:
    """What a verdict says of candidates: their indices (m,), targets y (m, c), weights w (m,)."""

    rows: NDArray[np.int64]
    y: Floats
    w: Floats


def assign(regions: Floats, truths: Boxes, labels: int, *, complete: bool, refuted: Sequence[int] = ()) -> Lesson:
    """Which candidates a verdict speaks of, and what they truly are.

    `truths` are the boxes that a reviewer confirmed, named or drew. A candidate that overlaps one enough is that one.
    Any other is ground if the verdict is `complete` (all there is was named) or if it is one of the `refuted`
    (indices said to be false alarms); else nothing is known of it. One that is near a truth without being it
    teaches nothing: whether it is right is a matter of taste.
    """
    shares = overlaps(regions, truths.regions)
    best = shares.max(1) if shares.shape[1] else np.zeros(len(regions))
    hit = best >= HIT_OVERLAP
    ground = np.zeros(len(regions), bool)
    ground[list(refuted)] = True
    ground = (ground | complete) & (best <= MISS_OVERLAP)
    y = np.zeros((len(regions), labels))
    if hit.any():
        y[hit, truths.labels[shares[hit].argmax(1)]] = 1.0
    rows = np.flatnonzero(hit | ground)
    return Lesson(rows, y[rows], np.ones(len(rows)))


def decide(regions: Floats, scores: Floats, thresholds: Sequence[float]) -> tuple[NDArray[np.int64], Boxes]:
    """What is said: candidates whose best label reaches its threshold, best first, none on top of a better one.

    Returns their indices and their boxes, labels and scores, which are clipped to [0, 1].
    """
    if not len(regions):
        return np.zeros(0, np.int64), Boxes(np.zeros((0, 4)), np.zeros(0, np.int64), np.zeros(0))
    labels = scores.argmax(1)
    best = scores.max(1)
    said = np.flatnonzero(best >= np.asarray(thresholds, np.float64)[labels])
    said = said[np.argsort(-best[said], kind="stable")]
    kept = said[distinct(regions[said], ANSWER_OVERLAP_MAX, len(said))]
    return kept, Boxes(regions[kept], labels[kept], best[kept].clip(0.0, 1.0))
