"""The loss of one verified piece under a head: the share of its disputed rows that the head decides wrongly.

A row is disputed if something is there, or the head says that something is. A row with nothing there and nothing said
is agreed, and does not dilute the others.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hotloop.types import Floats, Head, Rows


def piece_loss(rows: Rows, head: Head) -> float:
    """In [0, 1]: 0 is right, 1 is all wrong; 1 where a score is no finite number."""
    count = len(head.labels)
    with np.errstate(invalid="ignore", over="ignore"):
        scores = rows.x @ head.weights[:, :count]
    if not np.isfinite(scores).all():
        return 1.0
    said = decided(scores, np.asarray(head.thresholds))
    there = decided(rows.y[:, :count], np.full(count, 0.5))
    disputed = (said >= 0) | (there >= 0)
    return float((disputed & (said != there)).sum() / max(int(disputed.sum()), 1))


def decided(scores: NDArray[np.floating], thresholds: Floats) -> NDArray[np.intp]:
    """The label that a row is given: the best of those at or over their threshold, -1 for none."""
    margin = np.where(np.isfinite(scores), scores - thresholds, -np.inf)
    best = margin.argmax(axis=1)
    return np.where(margin[np.arange(len(best)), best] >= 0, best, -1)


def label_losses(rows: Rows, head: Head) -> tuple[float, ...]:
    """The same for each label on its own: of the rows where it is there or said; NaN where it is neither."""
    count = len(head.labels)
    said = decided(rows.x @ head.weights[:, :count], np.asarray(head.thresholds))
    there = decided(rows.y[:, :count], np.full(count, 0.5))
    found = []
    for label in range(count):
        disputed = (said == label) | (there == label)
        found.append(float((said != there)[disputed].mean()) if disputed.any() else float("nan"))
    return tuple(found)
