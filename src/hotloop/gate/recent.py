"""The recent past: the last verified examples as rows, so that two heads can be compared in milliseconds.

Rows lie in one float32 block, oldest first, so that a comparison is one matrix product over it (all heads side by
side: the block is read once). What is replaced or too old leaves a gap, and the block is closed up when it is full.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotloop.gate.loss import decided
from hotloop.gate.slices import Parts, parts_of, with_labels
from hotloop.types import Floats, Head, Rows

_FIRST_ROWS = 256
_GAP = -1


@dataclass(frozen=True)
class _Answer:
    """Of each row: whose it is, what is there, what a head says (labels by number, -1 for nothing), and if it is no
    number.
    """

    owner: NDArray[np.intp]
    there: NDArray[np.intp]
    said: NDArray[np.intp]
    broken: NDArray[np.bool_]


class RecentPast:
    """The newest `examples_max` verified examples, by prediction id, oldest first."""

    def __init__(self, examples_max: int) -> None:
        self._examples_max = examples_max
        self._spans: OrderedDict[str, tuple[int, int, int]] = OrderedDict()  # name: first row, last row + 1, slot
        self._slots = list(range(examples_max + 1))  # that are free
        self._x = np.zeros((0, 0), np.float32)
        self._y = np.zeros((0, 0), np.float32)
        self._slot = np.zeros(0, np.intp)  # of each row; _GAP where there is none
        self._end = 0
        self._labels: dict[str, tuple[int, ...]] = {}  # numbers of the labels that are truly there
        self._places: dict[str, tuple[str, str]] = {}
        self._parted: Parts | None = None

    def __len__(self) -> int:
        return len(self._spans)

    def add(self, prediction: str, rows: Rows, *, line: str = "", site: str = "") -> None:
        """Keep an example's rows; a later truth about the same prediction takes its place, even one without rows."""
        self.drop(prediction)
        count = len(rows.w)
        if count == 0:
            return
        self._make_room(count, rows)
        first, last, slot = self._end, self._end + count, self._slots.pop()
        self._x[first:last], self._y[first:last], self._slot[first:last] = rows.x, rows.y, slot
        self._spans[prediction] = (first, last, slot)
        self._labels[prediction] = tuple(np.flatnonzero((rows.y >= 0.5).any(0)).tolist())
        self._places[prediction] = (line, site)
        self._end = last
        if len(self._spans) > self._examples_max:
            self.drop(next(iter(self._spans)))

    def drop(self, prediction: str) -> None:
        """Keep an example no more, if it is here: a gap is left where it was."""
        self._parted = None
        span = self._spans.pop(prediction, None)
        if span is not None:
            first, last, slot = span
            del self._labels[prediction], self._places[prediction]
            self._slot[first:last] = _GAP
            self._x[first:last] = 0.0
            self._slots.append(slot)

    def parts(self, names: Sequence[str]) -> Parts:
        """The parts of these examples, oldest first: by the labels (so named) that are there, by line, by site."""
        if self._parted is None:
            labels = [tuple(names[k] for k in self._labels[name] if k < len(names)) for name in self._spans]
            places = [self._places[name] for name in self._spans]
            self._parted = parts_of(labels, [line for line, _ in places], [site for _, site in places], {})
        return self._parted

    def names(self) -> tuple[str, ...]:
        """The prediction ids, oldest first."""
        return tuple(self._spans)

    def sites(self) -> tuple[str, ...]:
        """The site of each example, oldest first."""
        return tuple(self._places[name][1] for name in self._spans)

    def losses(self, *heads: Head) -> list[Floats]:
        """The loss of each example under each head, (n,) a head, oldest example first.

        The share of the example's disputed rows that the head decides wrongly; NaN where a score is not finite. A
        row is disputed if something is there, or the head says that something is. A row with nothing there and
        nothing said is agreed, and does not dilute the others.
        """
        return [self._losses(answer) for answer in self._answers(heads)]

    def by_label(self, head: Head) -> Floats:
        """The same for each label on its own, (labels, n): of the rows where it is there or said; NaN where it is
        neither.
        """
        (answer,) = self._answers((head,))
        return self._by_label(answer, len(head.labels))

    def compared(self, champion: Head, candidate: Head) -> tuple[Floats, Floats, Parts]:
        """The losses of both, and the parts with what each label alone has gained or lost: a piece with many things
        on it would dilute it.
        """
        answers = self._answers((champion, candidate))
        labels = candidate.labels
        before, after = (self._by_label(answer, len(labels)) for answer in answers)
        return (
            self._losses(answers[0]),
            self._losses(answers[1]),
            with_labels(self.parts(labels), labels, before, after),
        )

    def _answers(self, heads: Sequence[Head]) -> list[_Answer]:
        """What each head says of each row."""
        used = self._slot[: self._end]
        if not self._spans:
            return [_Answer(np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, np.intp), np.zeros(0, bool))] * len(
                heads
            )
        owner = np.where(used != _GAP, used, self._examples_max + 1)
        columns = np.concatenate([head.weights[:, : len(head.labels)] for head in heads], axis=1)
        scores = self._x[: self._end] @ columns.astype(np.float32)
        for place, head in enumerate(heads):
            self._by_their_own(scores, owner, head, place * len(head.labels))
        count = len(heads[0].labels)  # those compared have the same
        there = decided(self._y[: self._end, :count], np.full(count, 0.5))
        parts = np.split(scores, len(heads), axis=1)
        return [
            _Answer(
                owner, there, decided(part, np.asarray(head.thresholds)), np.asarray(~np.isfinite(part).all(axis=1))
            )
            for head, part in zip(heads, parts, strict=True)
        ]

    def _by_their_own(self, scores: NDArray[np.float32], owner: NDArray[np.intp], head: Head, first: int) -> None:
        """The rows of sites with weights of their own, in place of what the shared ones say, from a column on."""
        for site, weights in head.own.items():
            slots = [slot for name, (_, _, slot) in self._spans.items() if self._places[name][1] == site]
            rows = np.flatnonzero(np.isin(owner, slots))
            if len(rows):
                count = len(head.labels)
                scores[rows, first : first + count] = self._x[rows] @ weights[:, :count].astype(np.float32)

    def _losses(self, answer: _Answer) -> Floats:
        said, there = answer.said, answer.there
        losses = self._shares(answer.owner, (said >= 0) | (there >= 0), said != there, 0.0)
        losses[np.unique(answer.owner[answer.broken])] = np.nan
        return losses[self._chosen()]

    def _by_label(self, answer: _Answer, labels: int) -> Floats:
        found = np.empty((labels, len(self._spans)))
        for label in range(labels):
            disputed = (answer.said == label) | (answer.there == label)
            found[label] = self._shares(answer.owner, disputed, answer.said != answer.there, np.nan)[self._chosen()]
        return found

    def _shares(
        self, owner: NDArray[np.intp], disputed: NDArray[np.bool_], wrong: NDArray[np.bool_], none: float
    ) -> Floats:
        """By slot: the share of disputed rows that are decided wrongly; `none` where there is none."""
        size = self._examples_max + 2
        total = np.bincount(owner, weights=disputed, minlength=size)
        bad = np.bincount(owner, weights=disputed & wrong, minlength=size)
        return np.where(total > 0, bad / np.maximum(total, 1), none)

    def _chosen(self) -> NDArray[np.intp]:
        """The slots, oldest example first."""
        return np.array([slot for _, _, slot in self._spans.values()], np.intp)

    def _make_room(self, count: int, rows: Rows) -> None:
        """Room for `count` more rows: close the gaps, and grow if that is not enough for as much again."""
        if self._end + count <= len(self._slot):
            return
        kept = np.flatnonzero(self._slot[: self._end] != _GAP)
        size = max(_FIRST_ROWS, 2 * (len(kept) + count))
        block = np.zeros((size, rows.x.shape[1]), np.float32)
        targets = np.zeros((size, rows.y.shape[1]), np.float32)
        slot = np.full(size, _GAP, np.intp)
        if len(kept):
            block[: len(kept)], targets[: len(kept)], slot[: len(kept)] = (
                self._x[kept],
                self._y[kept],
                self._slot[kept],
            )
        moved = np.cumsum(self._slot[: self._end] != _GAP)
        for name, (first, last, owner) in self._spans.items():
            start = int(moved[first]) - 1
            self._spans[name] = (start, start + last - first, owner)
        self._x, self._y, self._slot, self._end = block, targets, slot, len(kept)
