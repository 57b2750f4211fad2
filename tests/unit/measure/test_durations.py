"""Quantiles in bounded memory."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.measure.durations import ERROR_MAX, LEAST_S, MOST_S, Durations

quick = settings(max_examples=40, deadline=None)


def filled(values):
    """Durations with these values."""
    durations = Durations()
    for value in values:
        durations.add(float(value))
    return durations


@quick
@given(st.lists(st.floats(1e-5, 1e8), min_size=1, max_size=100), st.sampled_from([0.0, 0.5, 0.95, 0.99, 1.0]))
def test_every_quantile_is_right_to_one_percent(values, share):
    """Against the sorted list, at any share."""
    exact = sorted(values)[int(share * (len(values) - 1))]
    assert filled(values).quantile(share) == pytest.approx(exact, rel=ERROR_MAX * 1.001)


def test_negative_durations_are_counted_and_shown():
    """A clock that is ahead makes a stage end before it began: it is neither dropped nor set to 0."""
    spread = filled([-5.0, -5.0, -5.0, 1.0]).spread()
    assert (spread.count, spread.negative) == (4, 3)
    assert spread.p50_s == pytest.approx(-5.0, rel=0.01)
    assert (spread.least_s, spread.most_s) == (-5.0, 1.0)


@quick
@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=50))
def test_quantiles_rise_and_stay_within_the_extremes(values):
    """Whatever the signs, p50 <= p95 <= p99, all between the least and the most."""
    spread = filled(values).spread()
    assert spread.least_s <= spread.p50_s <= spread.p95_s <= spread.p99_s <= spread.most_s


def test_nothing_is_zero():
    """Without a duration every figure is 0 and the count says why."""
    spread = Durations().spread()
    assert spread.count == 0
    assert (spread.p50_s, spread.p99_s, spread.least_s, spread.most_s) == (0, 0, 0, 0)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_is_counted_apart(bad):
    """A hostile device's NaN does not reach the figures."""
    spread = filled([1.0, bad]).spread()
    assert (spread.count, spread.unreadable) == (1, 1)
    assert spread.most_s == 1.0


def test_extremes_do_not_add_buckets():
    """Values beyond the scale share its ends, so that memory has a bound."""
    durations = filled([0.0, LEAST_S / 10, -LEAST_S / 10, MOST_S * 10, MOST_S * 100, -1e300])
    assert durations.count == 6
    assert len(durations._buckets) <= 3
    many = filled(np.geomspace(1e-9, 1e12, 20_000))
    assert len(many._buckets) <= 1900
