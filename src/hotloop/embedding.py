"""Verified examples as vectors in the lake, so that one can look for what is alike.

They follow from the log, so they are written beside the loop's way: in a thread of its own, some at a time, and if
the lake cannot take them they are left out and counted.
"""

from __future__ import annotations

import queue
import threading

import numpy as np

from hotloop.errors import HotloopError, ModelError
from hotloop.ports import Lake
from hotloop.types import Embedding, Example

_WAITING_MAX = 4096
_AT_ONCE_MAX = 512
_GATHER_S = 5.0  # how long rows wait for others: an append costs the same for one as for many


def embedding_of(example: Example) -> Embedding | None:
    """The mean of its proposals' features, under the first label that its feedback names; None without proposals.

    ModelError if its features are not as many as it says.
    """
    prediction = example.prediction
    if prediction.proposals.rows == 0:
        return None
    vector = prediction.proposals.array().mean(axis=0)
    named = (claim.label for feedback in example.feedback for claim in feedback.claims if claim.label is not None)
    values = tuple(np.round(vector, 4).tolist())
    return Embedding(prediction.id, prediction.observation.digest, next(named, ""), values)


class Embedder:
    """Writes embeddings of examples to a lake, in the background."""

    def __init__(self, lake: Lake) -> None:
        self.left_out = 0
        self._lake = lake
        self._waiting: queue.Queue[Example | None] = queue.Queue(_WAITING_MAX)
        self._thread = threading.Thread(target=self._run, name="hotloop-embed", daemon=True)
        self._thread.start()

    def add(self, example: Example) -> None:
        """Take an example; never waits."""
        try:
            self._waiting.put_nowait(example)
        except queue.Full:
            self.left_out += 1

    def close(self) -> None:
        """Write what waits, then end."""
        self._waiting.put(None)
        self._thread.join()

    def _run(self) -> None:
        going = True
        while going:
            batch, going = self._gathered()
            rows = [row for example in batch if (row := self._row(example)) is not None]
            if rows:
                try:
                    self._lake.embed(rows)
                except HotloopError:
                    self.left_out += len(rows)

    def _row(self, example: Example) -> Embedding | None:
        try:
            return embedding_of(example)
        except ModelError:
            self.left_out += 1
            return None

    def _gathered(self) -> tuple[list[Example], bool]:
        """Some examples, as soon as there is one; and whether there may be more."""
        batch: list[Example] = []
        wait_s: float | None = None
        while len(batch) < _AT_ONCE_MAX:
            try:
                example = self._waiting.get(timeout=wait_s)
            except queue.Empty:
                break
            if example is None:
                return batch, False
            batch.append(example)
            wait_s = _GATHER_S
        return batch, True
