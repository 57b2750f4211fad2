"""Embeddings: one vector an example, written behind the loop's back, and counted where they cannot be."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from hotloop import embedding
from hotloop.embedding import Embedder, embedding_of
from hotloop.errors import DiskFullError, ModelError
from hotloop.feedback import verdict
from hotloop.testing.memory_lake import MemoryLake
from hotloop.types import Claim, Embedding, Example, Feedback, Observation, Prediction, Proposals

WAIT_S = 10.0  # for another thread; nothing takes this long


def example(key="line-1:1", features=((1.0, 2.0), (3.0, 5.0)), feedback=None):
    data = np.array(features, "<f4")
    rows, columns = data.shape if data.size else (0, 2)
    seen = Observation(id="o", site="s", line="line-1", at=0.0, digest="d" * 64)
    prediction = Prediction(
        id=key,
        observation=seen,
        version=1,
        outputs=(),
        confidence=1.0,
        proposals=Proposals(rows, columns, data.tobytes(), kind="f4"),
    )
    return Example(prediction, feedback if feedback is not None else (verdict(key, [("worn", None)], "ann"),))


def damaged(key="line-1:9"):
    """An example whose features are not as many as it says."""
    seen = Observation(id="o", site="s", line="line-1", at=0.0, digest="d" * 64)
    proposals = Proposals(3, 2, b"\0")
    prediction = Prediction(
        id=key, observation=seen, version=1, outputs=(), confidence=1.0, proposals=proposals
    )
    return Example(prediction, ())


class Lake(MemoryLake):
    """A lake that keeps what it was given batch by batch, and fails or waits as told."""

    def __init__(self):
        super().__init__()
        self.batches: list[list[str]] = []
        self.fails: list[DiskFullError] = []
        self.asked, self.open = threading.Event(), threading.Event()
        self.open.set()

    def embed(self, rows):
        """See Lake."""
        self.asked.set()
        assert self.open.wait(WAIT_S)
        if self.fails:
            raise self.fails.pop()
        self.batches.append([row.prediction for row in rows])
        return super().embed(rows)


class TestEmbeddingOf:
    """What an example's vector is."""

    def test_the_mean_of_the_proposals_under_the_first_label(self):
        """With the prediction's id and the digest of what was seen."""
        assert embedding_of(example()) == Embedding("line-1:1", "d" * 64, "worn", (2.0, 3.5))

    def test_numbers_are_short(self):
        """Four decimals: the float's tail would be most of the bytes."""
        assert embedding_of(example(features=((1 / 3, 2e-6),))).vector == (0.3333, 0.0)

    def test_without_proposals_there_is_none(self):
        """Nothing was found worth judging."""
        assert embedding_of(example(features=())) is None

    @pytest.mark.parametrize(
        ("claims", "label"), [((), ""), ((Claim(output=0),), ""), ((Claim(output=0), Claim(label="ok")), "ok")]
    )
    def test_the_label_is_the_first_that_is_named(self, claims, label):
        """A refuted output names none."""
        words = (Feedback(prediction="p", reviewer="ann", claims=claims),)
        assert embedding_of(example(feedback=words)).label == label

    def test_the_first_reviewer_with_a_label_names_it(self):
        """In the order of the example's feedback."""
        words = (verdict("p", [], "ann"), verdict("p", [("ok", None)], "bob"), verdict("p", [("worn", None)], "eve"))
        assert embedding_of(example(feedback=words)).label == "ok"

    def test_features_that_are_not_as_many_are_a_model_error(self):
        """As everywhere."""
        with pytest.raises(ModelError):
            embedding_of(damaged())


class TestEmbedder:
    """The thread that writes them."""

    def test_what_waits_is_written_on_closing(self):
        """In the order given, and searchable."""
        lake = Lake()
        embedder = Embedder(lake)
        for number in range(50):
            embedder.add(example(f"line-1:{number}", features=((float(number), 0.0),)))
        embedder.close()
        assert [key for batch in lake.batches for key in batch] == [f"line-1:{k}" for k in range(50)]
        assert [found.prediction for found in lake.nearest((7.2, 0.0), 2)] == ["line-1:7", "line-1:8"]
        assert embedder.left_out == 0

    def test_they_are_written_some_at_a_time(self, monkeypatch):
        """A batch is bounded, and the next one follows."""
        monkeypatch.setattr(embedding, "_AT_ONCE_MAX", 4)
        lake = Lake()
        embedder = Embedder(lake)
        for number in range(10):
            embedder.add(example(f"line-1:{number}"))
        embedder.close()
        assert [len(batch) for batch in lake.batches] == [4, 4, 2]

    def test_a_lake_that_fails_is_counted_and_asked_again(self, monkeypatch):
        """The rows of the failed call are left out; the next ones are written."""
        monkeypatch.setattr(embedding, "_AT_ONCE_MAX", 3)
        lake = Lake()
        lake.fails.append(DiskFullError("full"))
        embedder = Embedder(lake)
        for number in range(5):
            embedder.add(example(f"line-1:{number}"))
        embedder.close()
        assert embedder.left_out == 3
        assert lake.batches == [["line-1:3", "line-1:4"]]

    def test_a_damaged_example_leaves_out_itself_alone(self):
        """Its neighbours in the batch are written, and the thread goes on."""
        lake = Lake()
        embedder = Embedder(lake)
        for one in (example("line-1:1"), damaged(), example("line-1:2"), example("line-1:3", features=())):
            embedder.add(one)
        embedder.close()
        assert [key for batch in lake.batches for key in batch] == ["line-1:1", "line-1:2"]
        assert embedder.left_out == 1

    def test_a_lake_that_hangs_holds_nobody_up(self, monkeypatch):
        """`add` returns at once: what finds no room is left out and counted."""
        monkeypatch.setattr(embedding, "_WAITING_MAX", 5)
        monkeypatch.setattr(embedding, "_AT_ONCE_MAX", 1)
        lake = Lake()
        lake.open.clear()
        embedder = Embedder(lake)
        embedder.add(example("line-1:0"))
        assert lake.asked.wait(WAIT_S)
        for number in range(1, 9):
            embedder.add(example(f"line-1:{number}"))
        assert embedder.left_out == 3
        lake.open.set()
        embedder.close()
        assert [key for batch in lake.batches for key in batch] == [f"line-1:{k}" for k in range(6)]

    def test_nothing_to_write_asks_nothing(self):
        """Closed at once, the lake was never called."""
        lake = Lake()
        Embedder(lake).close()
        assert not lake.asked.is_set()

    def test_what_comes_is_written_without_closing(self, monkeypatch):
        """After a moment of gathering, not at the end of the day."""
        monkeypatch.setattr(embedding, "_GATHER_S", 0.001)
        lake = Lake()
        embedder = Embedder(lake)
        embedder.add(example())
        assert lake.asked.wait(WAIT_S)
        embedder.close()
        assert lake.batches == [["line-1:1"]]
