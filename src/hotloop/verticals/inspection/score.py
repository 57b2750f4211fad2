"""How good answers are: precision, recall, F and mean average precision of boxes with labels.

An answer is a hit when its overlap (intersection over union) with a truth of its label exceeds `OVERLAP_MIN` and no
better answer took that truth: DeepPCB's rule (Tang et al., arXiv:1902.06197) with its 0.33. Average precision is the
area under the precision envelope at every recall (PASCAL VOC since 2010).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InputError
from hotloop.types import Floats

OVERLAP_MIN = 0.33


@dataclass(frozen=True)
class Boxes:
    """The boxes of one image: regions (n, 4) px x1 y1 x2 y2, label indices (n,), scores (n,) (1 for truths)."""

    regions: Floats
    labels: np.ndarray
    scores: Floats


@dataclass(frozen=True)
class Quality:
    """Shares in [0, 1]. `precision`, `recall`, `f`: of the answers at or above their thresholds, all labels together.

    `average_precision` has one number a label that occurs, `mean_average_precision` is their mean. What has no
    meaning (no answer, no truth) is 0 for a share, and for a label without truths is left out.
    """

    precision: float
    recall: float
    f: float
    mean_average_precision: float
    average_precision: dict[int, float]


def truths_of(regions: Sequence[Sequence[float]] | Floats, labels: Sequence[int] | NDArray[np.int64]) -> Boxes:
    """True boxes as `Boxes`."""
    boxes = np.asarray(regions, np.float64).reshape(-1, 4)
    return Boxes(boxes, np.asarray(labels, np.int64), np.ones(len(boxes)))


def overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union of each box of a (n, 4) with each of b (m, 4): (n, m). Empty boxes overlap nothing."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = np.prod(np.clip(high - low, 0, None), axis=2)
    areas = [np.prod(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None), axis=1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    result: Floats = np.divide(shared, union, out=np.zeros_like(shared), where=union > 0)
    return result


def hits(found: Boxes, truths: Boxes, overlap_min: float = OVERLAP_MIN) -> np.ndarray:
    """For each answer the index of the truth it hits, or -1: (n,).

    Best score first (ties: the first given), each answer takes the free truth of its label that it overlaps most.
    """
    taken = np.full(len(found.regions), -1, np.int64)
    shares = overlaps(found.regions, truths.regions)
    shares[found.labels[:, None] != truths.labels[None]] = 0.0
    for index in np.argsort(-found.scores, kind="stable"):
        if shares.shape[1] and shares[index].max() > overlap_min:
            best = int(shares[index].argmax())
            taken[index] = best
            shares[:, best] = 0.0
    return taken


def average_precision(scores: Floats, right: np.ndarray, truths: int) -> float:
    """The area under the precision envelope of answers (n,), some right (n,), where there are `truths` to find.

    Answers of one score are taken together: their order carries no information.
    """
    if truths == 0 or not len(scores):
        return 0.0
    order = np.argsort(-scores, kind="stable")
    right_so_far = np.cumsum(right[order])
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    precision = right_so_far[ends] / (ends + 1)
    recall = right_so_far[ends] / truths
    envelope = np.maximum.accumulate(precision[::-1])[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * envelope))


def measure(
    images: Sequence[tuple[Boxes, Boxes]], thresholds: Sequence[float], overlap_min: float = OVERLAP_MIN
) -> Quality:
    """The quality of (answers, truths) of every image; `thresholds`: one a label, for precision, recall and F."""
    if not images:
        raise InputError("There is nothing to measure: give at least one image with its answers and truths.")
    limits = np.asarray(thresholds, np.float64)
    answered = hit_said = said = 0
    scores, right, labels = [], [], []
    for found, truths in images:
        scores.append(found.scores)
        labels.append(found.labels)
        right.append(hits(found, truths, overlap_min) >= 0)
        chosen = found.scores >= limits[found.labels]
        kept = Boxes(found.regions[chosen], found.labels[chosen], found.scores[chosen])
        hit_said += int((hits(kept, truths, overlap_min) >= 0).sum())
        said += len(kept.scores)
        answered += len(truths.labels)
    all_scores, all_right, all_labels = np.concatenate(scores), np.concatenate(right), np.concatenate(labels)
    true_labels = np.concatenate([truths.labels for _, truths in images])
    curve = {
        int(label): average_precision(
            all_scores[all_labels == label], all_right[all_labels == label], int((true_labels == label).sum())
        )
        for label in np.unique(true_labels)
    }
    precision, recall = hit_said / max(said, 1), hit_said / max(answered, 1)
    f = 2 * precision * recall / (precision + recall) if hit_said else 0.0
    return Quality(precision, recall, f, float(np.mean(list(curve.values()))) if curve else 0.0, curve)
