"""Orders of visits by distances alone, against all of them."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.verticals.warehouse.visits import improved, inserted, length, ordered


def plane(seed, count):
    """Distances between places in a plane."""
    at = np.random.default_rng(seed).uniform(0, 100, (count, 2))
    return np.linalg.norm(at[:, None] - at[None], axis=2)


def best(between):
    """By brute force."""
    last = len(between) - 1
    return min(
        sum(between[a, b] for a, b in itertools.pairwise((0, *o, last))) for o in itertools.permutations(range(1, last))
    )


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**16), st.integers(2, 30))
def test_every_place_is_visited_once_from_the_first_to_the_last(seed, count):
    """Whatever the places; improving never makes it longer."""
    between = plane(seed, count)
    first, found = inserted(between), ordered(between)
    for order in (first, improved(between, first), found):
        assert sorted(order) == list(range(count))
        assert (order[0], order[-1]) == (0, count - 1)
    assert length(between, found) <= length(between, improved(between, first)) + 1e-9
    assert length(between, improved(between, first)) <= length(between, first) + 1e-9


@pytest.mark.parametrize("seed", range(25))
def test_of_few_places_it_finds_the_best_order_or_nearly(seed):
    """Eight places: within 3 % of the best of all orders."""
    between = plane(seed, 8)
    assert length(between, ordered(between)) <= 1.03 * best(between)


def test_over_many_drawn_places_it_is_a_percent_from_the_best():
    """On average of forty; insertion alone is several."""
    gaps, plain = [], []
    for seed in range(40):
        between = plane(seed + 100, 8)
        shortest = best(between)
        gaps.append(length(between, ordered(between)) / shortest - 1)
        plain.append(length(between, inserted(between)) / shortest - 1)
    assert np.mean(gaps) < 0.01
    assert np.mean(gaps) < np.mean(plain)


def test_a_crossing_is_taken_out():
    """Two-opt: a way that crosses itself is longer than the one round."""
    at = np.array([[0, 0], [10, 10], [10, 0], [0, 10], [0, 20]], float)
    between = np.linalg.norm(at[:, None] - at[None], axis=2)
    assert improved(between, np.array([0, 1, 2, 3, 4])).tolist() == [0, 2, 1, 3, 4]


def test_a_place_on_the_wrong_side_is_moved():
    """Or-opt: along a line, a stop that was left for later is taken on the way."""
    at = np.array([0.0, 2.0, 3.0, 4.0, 1.0, 5.0])
    between = abs(at[:, None] - at[None])
    assert length(between, improved(between, np.array([0, 1, 2, 3, 4, 5]))) == 5.0


def test_what_is_known_is_never_made_longer_and_the_same_comes_each_time():
    """An order that somebody brings is at least kept."""
    between = plane(3, 25)
    known = ordered(between, 20)
    again = ordered(between, 0, known)
    assert length(between, again) <= length(between, known) + 1e-9
    assert ordered(between).tolist() == ordered(between).tolist()
