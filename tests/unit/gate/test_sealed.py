"""The golden set: what it covers, the floor, and that it survives a restart."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.config import GateConfig
from hotloop.gate.loss import label_losses, piece_loss
from hotloop.gate.sealed import Sealed, SealedState, near_duplicates
from hotloop.types import Head, Observation, Prediction, Proposals, Rows, digest

HEAD = Head(("open", "short"), np.eye(3, 2), (0.5, 0.5))
NONE = Rows(np.zeros((0, 3)), np.zeros((0, 2)), np.zeros(0))


def proposals(regions=(), signature=b""):
    """Proposals at these places."""
    count = len(regions) or 1
    return Proposals(count, 2, b"\0" * 4 * count, tuple(regions), signature=signature)


def piece(name, regions=(), signature=b""):
    """A prediction of a piece."""
    seen = Observation(id=name, site="s", line="l", at=0.0, digest=digest(name.encode()))
    return Prediction(
        id=name, observation=seen, version=1, outputs=(), confidence=1.0, proposals=proposals(regions, signature)
    )


def boxes(*corners):
    """Boxes of 20 px at these corners."""
    return tuple((float(x), float(y), x + 20.0, y + 20.0) for x, y in corners)


def rows(kind, count=3):
    """Rows on which HEAD says "open" with certainty; they are truly `kind`."""
    x = np.tile([1.0, 0.0, 0.0], (count, 1))
    return Rows(x, np.tile(np.eye(2)[kind], (count, 1)), np.ones(count))


def sealed(*pieces):
    """A golden set of these pieces."""
    made = Sealed(GateConfig())
    for one in pieces:
        made.add(one, rows(0), 0.0, (0.0, 0.0))
    return made


def test_the_same_bytes_are_covered():
    """By their digest, whatever was proposed."""
    golden = sealed(piece("g"))
    assert "same bytes" in golden.covers(digest(b"g"), proposals())
    assert golden.covers(digest(b"x"), proposals(boxes((0, 0), (50, 50)))) == ""
    assert Sealed(GateConfig()).covers(digest(b"g"), proposals()) == ""


@pytest.mark.parametrize(
    ("other", "covered"),
    [
        (boxes((1, 1), (101, 100), (200, 52)), True),  # a pixel's shift
        (boxes((1, 1), (101, 100), (300, 300)), True),  # one thing was not proposed again, another was
        (boxes((1, 1), (300, 300), (400, 400)), False),  # one in common
        (boxes((11, 11), (111, 111), (211, 61)), False),  # near, and not the same
        (boxes((1, 1)), False),  # too few to tell
        ((), False),
    ],
)
def test_the_same_places_are_nearly_the_same_piece(other, covered):
    """Most of each one's regions are the other's too."""
    golden = sealed(piece("h", boxes((500, 500), (600, 600))), piece("g", boxes((0, 0), (100, 100), (200, 50))))
    found = golden.covers(digest(b"x"), proposals(other))
    assert bool(found) == covered
    assert not covered or found == "nearly the golden piece g"
    assert near_duplicates(proposals(other), proposals(boxes((0, 0), (100, 100), (200, 50)))) == covered


@pytest.mark.parametrize(("flipped", "covered"), [(0, True), (24, True), (25, False), (128, False)])
def test_whole_pieces_are_told_by_their_signatures(flipped, covered):
    """So many of 256 bits may differ."""
    bits = np.random.default_rng(0).integers(0, 2, 256).astype(np.uint8)
    other = bits.copy()
    other[:flipped] ^= 1
    one, two = (np.packbits(b).tobytes() for b in (bits, other))
    golden = sealed(piece("g", signature=one))
    assert bool(golden.covers(digest(b"x"), proposals(signature=two))) == covered
    assert golden.covers(digest(b"x"), proposals(signature=two[:16])) == ""
    assert golden.covers(digest(b"x"), proposals()) == ""


def test_the_floor_is_the_first_head_s():
    """No worse than it: passes. Worse, on the whole or on one kind: refused, with the words."""
    golden = Sealed(GateConfig())
    for number in range(60):
        kind = int(number < 20)
        golden.add(piece(f"g{number}"), rows(kind), piece_loss(rows(kind), HEAD), label_losses(rows(kind), HEAD))
    assert golden.floor(HEAD).decision == "promote"
    assert "60 golden pieces" in golden.floor(HEAD).reason
    blind = Head(HEAD.labels, np.zeros((3, 2)), HEAD.thresholds)
    found = golden.floor(blind)
    assert found.decision == "refuse"
    assert "below the floor" in found.reason
    broken = golden.floor(Head(HEAD.labels, np.full((3, 2), np.nan), HEAD.thresholds))
    assert (broken.decision, broken.e_value) == ("refuse", np.inf)


def test_slow_creep_is_refused_in_the_end():
    """Steps that a paired gate would let pass one by one come to a stop at the floor."""
    golden = Sealed(GateConfig(golden_tolerance=0.02, slice_tolerance=0.9))
    for number in range(100):
        golden.add(piece(f"g{number}"), _at(number), 0.0, (0.0, float("nan")))
    decisions = [golden.floor(_head(step)).decision for step in range(0, 100, 2)]
    first = decisions.index("refuse")
    assert 2 <= first <= 12
    assert set(decisions[first:]) == {"refuse"}


def _at(number):
    """One row of a golden piece that is open, told by column 0 from a step of its own on."""
    return Rows(np.array([[1.0 - number / 1000, 0.0, 1.0]]), np.array([[1.0, 0.0]]), np.ones(1))


def _head(step):
    """A head that has lost the first `step` golden pieces."""
    return Head(HEAD.labels, np.array([[-1.0, 0.0], [0.0, 0.0], [1.5 - step / 1000 + 0.0005, 0.0]]), (0.5, 0.5))


def test_a_kind_below_the_floor_is_named():
    """The mean is within the tolerance, one kind is not."""
    golden = Sealed(GateConfig(golden_tolerance=0.9, tolerance=0.9))
    for number in range(60):
        golden.add(piece(f"g{number}"), rows(0) if number < 40 else _at(0), 0.0, (0.0, float("nan")))
    lost = Head(HEAD.labels, np.array([[1.0, 0.0], [0.0, 0.0], [-9.0, 0.0]]), HEAD.thresholds)
    found = golden.floor(lost)
    assert found.decision == "refuse"
    assert "the label 'open' worse" in found.reason


def test_an_empty_set_refuses_nothing():
    """There is no floor yet."""
    assert Sealed(GateConfig()).floor(HEAD).decision == "promote"


def test_it_is_the_same_after_a_restart():
    """Pieces, floors, what is covered: from the bytes of its state."""
    golden = sealed(piece("g", boxes((0, 0), (100, 100))), piece("n"))
    golden.add(piece("n"), NONE, 0.0, (float("nan"),) * 2)
    again = Sealed(GateConfig())
    again.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(golden.state()), type=SealedState))
    assert len(again) == 2
    assert msgspec.msgpack.encode(again.state()) == msgspec.msgpack.encode(golden.state())
    assert again.covers(digest(b"x"), proposals(boxes((1, 0), (100, 101)))) == "nearly the golden piece g"
    assert again.floor(HEAD) == golden.floor(HEAD)
