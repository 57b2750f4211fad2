"""Tours for any layout: exact where that is quick, short elsewhere, never longer than a classic route."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotloop.verticals.warehouse import routing
from hotloop.verticals.warehouse.classic import CLASSIC, time_of
from hotloop.verticals.warehouse.cross_aisles import BY_BLOCKS
from hotloop.verticals.warehouse.exact import options, solve
from hotloop.verticals.warehouse.frontier import within
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.routing import EXACT_BLOCKS, durations, tours

from .conftest import drawn, reached


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.integers(0, 2**16), st.integers(1, 8), st.integers(1, 6), st.booleans())
def test_any_tour_is_connected_ends_at_the_depot_and_goes_past_all_picks(seed, blocks, aisles, elsewhere):
    """In one to eight blocks, from the depot or elsewhere; no classic route is shorter."""
    rng = np.random.default_rng(seed)
    layout = Layout(LayoutConfig(aisles=aisles, blocks=min(blocks, 3) if elsewhere else blocks, depot=seed % aisles))
    times = layout.planned_s * rng.uniform(0.4, 4.0, layout.stretches)
    picks = drawn(rng, layout, 12, 0.2)
    start = drawn(rng, layout, 1, 0.3)[0] if elsewhere else None
    (legs,) = tours(layout, picks, [times], start)
    seen = reached(layout, legs, start)
    for aisle, metres in picks:
        assert any(a == aisle and low - 0.01 <= metres <= high + 0.01 for a, low, high in seen), (aisle, metres)
    if start is None:
        for name, router in (CLASSIC | BY_BLOCKS).items():
            assert time_of(router(layout, picks, times), times) >= time_of(legs, times) - 1e-6, name


@pytest.mark.parametrize("start", [None, (4, 33.0)])
def test_what_is_searched_for_is_close_to_the_exact_tour(monkeypatch, start):
    """Twenty picks in three blocks, 30 times: 2 % on average, and never shorter than what cannot be."""
    rng = np.random.default_rng(2)
    layout = Layout(LayoutConfig(blocks=3))
    gaps = []
    for _ in range(30):
        times = layout.planned_s * rng.uniform(0.5, 3.0, layout.stretches)
        picks = [(int(rng.integers(10)), float(rng.uniform(0, 90))) for _ in range(20)]
        exact = solve(options(layout, [picks], [times], start), plans=False)[0][0]
        monkeypatch.setattr(routing, "EXACT_BLOCKS", 1)
        monkeypatch.setattr(routing, "EXACT_BLOCKS_BEGUN", 1)
        (legs,) = tours(layout, picks, [times], start)
        monkeypatch.undo()
        gaps.append(time_of(legs, times) / exact - 1)
        assert gaps[-1] > -1e-9
    assert np.mean(gaps) < 0.02


@pytest.mark.parametrize("blocks", [2, EXACT_BLOCKS + 1])
def test_each_table_of_times_has_its_tour(blocks):
    """And a blocked stretch is in none of those that know of it, where there is a way round."""
    rng = np.random.default_rng(4)
    layout = Layout(LayoutConfig(blocks=blocks, aisles=5))
    picks = [(1, 10.0), (3, 10.0 + 30 * (blocks - 1)), (4, 3.0)]
    free = layout.planned_s * rng.uniform(0.9, 1.1, layout.stretches)
    blocked = free.copy()
    blocked[layout.part(3, layout.parts - 3)] = 1e5
    open_, round_ = tours(layout, picks, [free, blocked])
    assert time_of(round_, blocked) < 1e5
    assert time_of(open_, free) <= time_of(round_, free) + 1e-9


@pytest.mark.parametrize("blocks", [3, EXACT_BLOCKS + 1])
def test_durations_tell_sets_apart(blocks):
    """The time of each set is that of its tour, or somewhat more where it is not improved; fewer picks take less."""
    rng = np.random.default_rng(6)
    layout = Layout(LayoutConfig(blocks=blocks, aisles=6))
    times = layout.planned_s * rng.uniform(0.5, 3.0, layout.stretches)
    sets = [drawn(rng, layout, 10) for _ in range(6)]
    found = durations(layout, sets, times)
    for picks, took in zip(sets, found, strict=True):
        (legs,) = tours(layout, picks, [times])
        assert time_of(legs, times) - 1e-6 <= took <= 1.25 * time_of(legs, times)
    fewer, more = durations(layout, [[(1, 2.0)], [(1, 2.0), (5, layout.length_m)]], times)
    assert fewer < more


def test_a_decision_after_prepare_lists_no_steps():
    """Nor is anything listed for more blocks than the exact programme is used for."""
    layout = Layout(LayoutConfig(blocks=3, aisles=4))
    routing.prepare(layout)
    listed = within.cache_info().misses
    tours(layout, [(0, 5.0), (2, 50.0), (2, 55.0)], [layout.planned_s])
    routing.prepare(Layout(LayoutConfig(blocks=EXACT_BLOCKS + 3)))
    assert within.cache_info().misses == listed


def test_nothing_to_pick_beyond_the_exact_programme_is_nothing_to_do():
    """From the depot no leg, from elsewhere the way home."""
    layout = Layout(LayoutConfig(blocks=EXACT_BLOCKS + 1, aisles=3))
    assert tours(layout, [], [layout.planned_s]) == [[]]
    (home,) = tours(layout, [], [layout.planned_s], (2, 12.0))
    assert time_of(home, layout.planned_s) == pytest.approx((12.0 + 8.0) / 1.5)
