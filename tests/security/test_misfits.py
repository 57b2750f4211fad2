"""Proposals, outputs and claims that do not fit: named errors only, and the loop turns on."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import LoopConfig
from hotloop.errors import InputError, ModelError
from hotloop.loading import load_vertical
from hotloop.types import Claim, Example, Feedback, Observation, Output, Prediction, Proposals

SEEN = Observation(id="p", site="s", line="l", at=0.0, digest="d")
CONFIGS = {
    "driving": LoopConfig(vertical="driving"),
    "warehouse": LoopConfig(vertical="warehouse", tables={"warehouse": {"layout": {"aisles": 3}, "draws": 2}}),
    "vectors": LoopConfig(
        vertical="vectors", tables={"vectors": {"labels": ("ok", "worn"), "columns": 3, "projected": 4}}
    ),
    "whole": LoopConfig(tables={"inspection": {"task": "image", "labels": ("crack", "dent")}}),
    "boxes": LoopConfig(),
}
SIZES = (1, 20, 1e6, 1e300, np.inf, np.nan)


@pytest.fixture(scope="module", params=CONFIGS)
def vertical(request):
    return load_vertical(CONFIGS[request.param])


@pytest.fixture(scope="module")
def columns(vertical):
    """How many features a proposal of this vertical has: sought, as a stranger would."""
    for count in range(1, 4000):
        for regions in ((), ((0.0, 0.0, 9.0, 9.0),)):
            try:
                vertical.answer(Proposals(1, count, bytes(2 * count), regions), vertical.start())
            except ModelError:
                continue
            return count
    raise AssertionError("no number of features fits")


class Stranger:
    """Makes examples of which anything may be wrong, from a seed."""

    def __init__(self, seed, columns, labels):
        self.rng, self.columns, self.labels = np.random.default_rng(seed), columns, (*labels, "unknown", "")

    def one(self, *choices):
        """One of them."""
        return choices[int(self.rng.integers(len(choices)))]

    def region(self):
        """A box, mostly."""
        return tuple(float(v) for v in self.rng.normal(size=self.one(4, 4, 4, 0, 6)) * self.one(*SIZES))

    def proposals(self):
        """Of another shape, size or kind than it says, or of numbers that are none."""
        rows, columns = self.one(0, 1, 1, 2, -1, 300), self.one(self.columns, self.columns, 0, self.columns + 1, -1)
        kind = self.one("f2", "f4")
        plain = self.rng.normal(size=max(0, rows * columns)).astype(f"<{kind}").tobytes()
        data = self.one(plain, plain, self.rng.bytes(len(plain)), plain[:-1])
        regions = tuple(self.region() for _ in range(max(0, self.one(rows, rows, 0, rows + 1))))
        return Proposals(rows, columns, data, regions, kind)

    def example(self):
        """A prediction with what up to three reviewers claim of it."""
        outputs = tuple(
            Output(self.one(*self.labels), 0.5, self.one(None, self.region()), self.one(0, 1, 7, -1, -900, 10**9))
            for _ in range(self.one(0, 1, 3))
        )
        prediction = Prediction(
            id="p", observation=SEEN, version=1, outputs=outputs, confidence=1.0, proposals=self.proposals()
        )
        return Example(prediction, tuple(self.feedback(f"r{k}") for k in range(self.one(1, 3))))

    def feedback(self, reviewer):
        """Claims on outputs that may not be there, with labels that may be unknown."""
        claims = tuple(
            Claim(self.one(None, 0, 2, 10**6), self.one(None, *self.labels), self.one(None, self.region()))
            for _ in range(self.one(0, 1, 3))
        )
        return Feedback(prediction="p", reviewer=reviewer, claims=claims, complete=self.one(True, False))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")  # sums of absurd boxes overflow: that is no error
@pytest.mark.parametrize("seed", range(3))
def test_a_vertical_raises_named_errors_alone(vertical, columns, seed):
    """`answer`, `teach` and `outcomes` say ModelError or InputError of what does not fit; some of it does."""
    stranger, head, fine = Stranger(seed, columns, vertical.start().labels), vertical.start(), 0
    for _ in range(120):
        example = stranger.example()
        prediction = example.prediction
        for call in (
            lambda: vertical.answer(prediction.proposals, head),
            lambda: vertical.teach(example),
            lambda: vertical.outcomes(prediction.outputs, example),
        ):
            try:
                call()
            except (ModelError, InputError):
                continue
            fine += 1
    assert 5 < fine < 355


def test_proposals_of_no_numbers_are_refused():
    """A NaN or an infinity among the features is named, in either width."""
    for kind in ("f2", "f4"):
        for value in (np.nan, np.inf):
            data = np.array([1.0, value], f"<{kind}").tobytes()
            with pytest.raises(ModelError, match="finite"):
                Proposals(1, 2, data, kind=kind).array()


def test_a_piece_with_a_flood_of_proposals_is_refused(vertical, columns):
    """The gate keeps the rows of hundreds of pieces: none may bring thousands."""
    count = 1000
    regions = tuple((float(k), 0.0, k + 1.0, 1.0) for k in range(count))
    with pytest.raises(ModelError):
        vertical.answer(Proposals(count, columns, bytes(2 * count * columns), regions), vertical.start())
