"""A head as bytes: exact to float32, and hostile bytes are refused by name."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hotloop.errors import ModelError
from hotloop.predict import pack_head, unpack_head
from hotloop.types import Head


def head(rows=3, labels=("a", "b"), seed=0):
    return Head(labels, np.random.default_rng(seed).normal(size=(rows, len(labels))), (0.5,) * len(labels))


def packed(**changes):
    """The parts of a packed head as plain values, some of them changed."""
    parts = {"labels": ["a"], "thresholds": [0.5], "rows": 2, "columns": 1, "data": b"\0" * 8}
    return msgspec.msgpack.encode(list((parts | changes).values()))


@given(st.integers(1, 20), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_a_head_comes_back_rounded_to_float32(rows, count, seed):
    """Labels and thresholds are the same, weights the nearest float32; a second trip changes nothing."""
    given_head = head(rows, tuple(f"l{k}" for k in range(count)), seed)
    found = unpack_head(pack_head(given_head))
    assert (found.labels, found.thresholds) == (given_head.labels, given_head.thresholds)
    np.testing.assert_array_equal(found.weights, given_head.weights.astype(np.float32))
    assert pack_head(found) == pack_head(given_head)


def test_equal_heads_are_equal_bytes():
    """The release digest rests on it: the memory layout of the array does not show."""
    one = head(4)
    other = Head(one.labels, np.asfortranarray(one.weights), one.thresholds)
    assert pack_head(one) == pack_head(other)


def test_a_head_is_small():
    """Four bytes a weight and a few for the names: that is why it can travel with each release."""
    assert len(pack_head(head(600, ("a", "b", "c")))) < 4 * 600 * 3 + 100


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_not_packed(value):
    """A broken candidate cannot become a release."""
    broken = head()
    broken.weights[1, 1] = value
    with pytest.raises(ModelError, match="not finite"):
        pack_head(broken)


@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_weights_beyond_float32_are_not_packed():
    """What rounds to infinity is refused too."""
    with pytest.raises(ModelError, match="not finite"):
        pack_head(Head(("a",), np.array([[1e39]]), (0.5,)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x93",
        b"\x80\x04\x95",
        b"{}",
        packed(rows=3),
        packed(rows=-2, columns=-1),
        packed(rows=0, columns=0, data=b""),
        packed(rows=2**40, columns=2**40),
        packed(rows=2**62, columns=2),
        packed(labels=["a", "b"], thresholds=[0.5, 0.5]),
        packed(thresholds=[]),
        packed(thresholds=[0.5, 0.5]),
        packed(labels=[3]),
        packed(data=np.array([1, np.nan], "<f4").tobytes()),
        packed(data=np.array([1, np.inf], "<f4").tobytes()),
        packed() + b"\0",
    ],
)
def test_bytes_that_are_no_head_are_refused(data):
    """Cut, foreign, oversized and inconsistent bytes end in a ModelError and nothing else."""
    with pytest.raises(ModelError):
        unpack_head(data)


@given(st.binary(max_size=200))
def test_noise_is_refused(data):
    """No bytes at all end in another error."""
    with pytest.raises(ModelError):
        unpack_head(data)


@given(st.integers(0, 60), st.integers(0, 255))
def test_a_changed_byte_is_refused_or_makes_another_whole_head(place, value):
    """Damage never gives weights that are not finite, or a head whose parts do not fit."""
    data = bytearray(pack_head(head()))
    data[place % len(data)] = value
    try:
        found = unpack_head(bytes(data))
    except ModelError:
        return
    assert np.isfinite(found.weights).all()
    assert len(found.thresholds) == len(found.labels) <= found.weights.shape[1]


def test_more_columns_than_labels_are_kept():
    """A vertical may keep columns of its own behind those of the labels."""
    wide = Head(("a",), np.ones((2, 3)), (0.5,))
    assert unpack_head(pack_head(wide)).weights.shape == (2, 3)


def test_a_number_that_signals_is_refused_like_any_other_that_is_none():
    """A signalling NaN would warn when it is cast."""
    packed = pack_head(Head(("a", "b"), np.ones((2, 2)), (0.5, 0.5)))
    one = np.float32(1.0).tobytes()
    assert packed.count(one) >= 1
    with pytest.raises(ModelError, match="not finite"):
        unpack_head(packed[::-1].replace(one[::-1], bytes.fromhex("0100a07f")[::-1], 1)[::-1])
