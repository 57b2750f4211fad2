"""Drift of the verified error: found when it is there, seldom when it is not."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.learn import DriftTest
from hotloop.learn.drift import REFERENCE_PIECES, DriftState


def first(rng, before, after, count=3000, alpha=0.001):
    """The piece at which it is found, counted from the change; None if it is not."""
    test = DriftTest(alpha)
    for _ in range(REFERENCE_PIECES + 200):
        if test.add(float(rng.random() < before)):
            return -1
    for number in range(count):
        if test.add(float(rng.random() < after)):
            return number
    return None


def test_without_a_change_alarms_are_rare():
    """Forty streams of 1,200 pieces with a mean time of at least 1,000 to a false alarm: mostly none."""
    found = [first(np.random.default_rng(seed), 0.1, 0.1, count=900) for seed in range(40)]
    assert sum(at is not None for at in found) <= 12


@pytest.mark.parametrize(("after", "within"), [(0.5, 40), (0.3, 150)])
def test_a_change_is_found_soon(after, within):
    """From 5 % to much more, within so many verified pieces."""
    found = [first(np.random.default_rng(seed), 0.05, after) for seed in range(10)]
    assert sum(at is not None and 0 <= at <= within for at in found) >= 8


def test_a_flawless_start_does_not_accuse_the_first_error():
    """A reference of no error at all has room for one."""
    test = DriftTest(0.001)
    for _ in range(REFERENCE_PIECES):
        assert not test.add(0.0)
    assert 0 < test.reference < 0.1
    assert not test.add(1.0)


def test_it_goes_on_after_a_restart():
    """The same from its state."""
    one, two, rng = DriftTest(0.01), DriftTest(0.01), np.random.default_rng(0)
    for _ in range(150):
        one.add(float(rng.random() < 0.2))
    two.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.state()), type=DriftState))
    assert [one.add(1.0) for _ in range(30)] == [two.add(1.0) for _ in range(30)]
    assert one.state() == two.state()
