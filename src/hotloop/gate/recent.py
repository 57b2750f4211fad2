"""The recent past: the last verified examples as rows, so that two heads can be compared in milliseconds."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from numpy.typing import NDArray

from hotloop.types import Floats, Head, Rows


class RecentPast:
    """The newest `examples_max` verified examples, by prediction id, oldest first."""

    def __init__(self, examples_max: int) -> None:
        self._examples_max = examples_max
        self._rows: OrderedDict[str, Rows] = OrderedDict()

    def __len__(self) -> int:
        return len(self._rows)

    def add(self, prediction: str, rows: Rows) -> None:
        """Keep an example's rows; a later truth about the same prediction takes its place."""
        if len(rows.w) == 0:
            return
        self._rows.pop(prediction, None)
        self._rows[prediction] = rows
        while len(self._rows) > self._examples_max:
            self._rows.popitem(last=False)

    def names(self) -> tuple[str, ...]:
        """The prediction ids, oldest first."""
        return tuple(self._rows)

    def losses(self, *heads: Head) -> list[Floats]:
        """The loss of each example under each head, (n,) a head, oldest example first."""
        if not self._rows:
            return [np.zeros(0) for _ in heads]
        held = list(self._rows.values())
        x = np.concatenate([rows.x for rows in held])
        y = np.concatenate([rows.y for rows in held])
        owner = np.repeat(np.arange(len(held)), [len(rows.w) for rows in held])
        return [_losses(x, y, owner, head) for head in heads]


def _losses(x: Floats, y: Floats, owner: NDArray[np.intp], head: Head) -> Floats:
    """Share of each example's disputed rows that are decided wrongly; NaN where a score is not finite.

    A row is disputed if something is there, or the head says that something is. A row with nothing there
    and nothing said is agreed, and does not dilute the others.
    """
    count = len(head.labels)
    scores = x @ head.weights[:, :count]
    said = _decided(scores, np.asarray(head.thresholds))
    there = _decided(y[:, :count], np.full(count, 0.5))
    disputed = (said >= 0) | (there >= 0)
    wrong = np.bincount(owner, weights=disputed & (said != there), minlength=owner[-1] + 1)
    total = np.bincount(owner, weights=disputed, minlength=owner[-1] + 1)
    losses = wrong / np.maximum(total, 1)
    broken = np.unique(owner[~np.isfinite(scores).all(axis=1)])
    losses[broken] = np.nan
    return losses


def _decided(scores: Floats, thresholds: Floats) -> NDArray[np.intp]:
    """The label that a row is given: the best of those at or over their threshold, -1 for none."""
    margin = np.where(np.isfinite(scores), scores - thresholds, -np.inf)
    best = margin.argmax(axis=1)
    return np.where(margin[np.arange(len(best)), best] >= 0, best, -1)
