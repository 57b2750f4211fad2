"""The exact tour against all orders of visits, and against the classic routes; walked, it takes the time it says."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.verticals.warehouse.classic import CLASSIC, time_of
from hotloop.verticals.warehouse.cross_aisles import BY_BLOCKS
from hotloop.verticals.warehouse.exact import options, prepared, solve, walked
from hotloop.verticals.warehouse.frontier import NOTHING, within
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig

from .conftest import drawn, drawn_layout, reached, shortest


@pytest.mark.parametrize("seed", range(60))
def test_no_order_of_visits_is_shorter(seed):
    """Any depot, any number of parts, times that differ from stretch to stretch; the walk takes what was promised, and
    no classic route less.
    """
    rng = np.random.default_rng(seed)
    aisles = int(rng.integers(1, 6))
    layout = Layout(LayoutConfig(aisles=aisles, depot=int(rng.integers(aisles)), parts=int(rng.integers(1, 4))))
    times = layout.planned_s * rng.uniform(0.5, 5.0, layout.stretches)
    picks = drawn(rng, layout, 5)
    (found,), (plan,) = solve(options(layout, [picks], [times]))
    assert found == pytest.approx(shortest(layout, picks, times))
    legs = walked(layout, picks, plan, times)
    assert time_of(legs, times) == pytest.approx(found)
    for name, router in CLASSIC.items():
        assert time_of(router(layout, picks, times), times) >= found - 1e-9, name


@pytest.mark.parametrize("router", ["exact", *CLASSIC])
@pytest.mark.parametrize("seed", range(8))
def test_a_tour_goes_from_stretch_to_stretch_and_past_every_pick(router, seed):
    """Nobody jumps, nothing is left out."""
    rng = np.random.default_rng((seed, 5))
    layout = Layout(LayoutConfig(aisles=6, depot=int(rng.integers(6))))
    times = layout.planned_s * rng.uniform(0.5, 3.0, layout.stretches)
    picks = drawn(rng, layout, 9)
    if router == "exact":
        _, (plan,) = solve(options(layout, [picks], [times]))
        legs = walked(layout, picks, plan, times)
    else:
        legs = CLASSIC[router](layout, picks, times)
    seen = reached(layout, legs)
    for aisle, metres in picks:
        assert any(a == aisle and low - 0.01 <= metres <= high + 0.01 for a, low, high in seen), (aisle, metres)


def test_many_at_once_are_each_as_alone(layout, rng):
    """Tables of times for one set of picks; sets of picks for one table of times."""
    tables = [layout.planned_s * rng.uniform(0.5, 4.0, layout.stretches) for _ in range(7)]
    sets = [drawn(rng, layout) for _ in range(7)]
    together, plans = solve(options(layout, [sets[0]], tables))
    for k, times in enumerate(tables):
        (alone,), (plan,) = solve(options(layout, [sets[0]], [times]))
        assert (together[k], plans[k]) == (alone, plan)
    together, none = solve(options(layout, sets, [tables[0]]), plans=False)
    assert none == []
    for k, picks in enumerate(sets):
        assert together[k] == solve(options(layout, [picks], [tables[0]]))[0][0]


def test_a_slow_part_is_gone_round(layout):
    """A pick behind a blocked stretch is reached from the back, as soon as that is shorter."""
    times = layout.planned_s
    picks = [(0, 5.0), (1, 25.0)]
    (_,), (plan,) = solve(options(layout, [picks], [times]))
    blocked = times.copy()
    blocked[layout.part(1, 1)] = 1000.0
    (around,), (other,) = solve(options(layout, [picks], [blocked]))
    assert plan != other
    assert around < 100.0
    assert layout.part(1, 1) not in {stretch for stretch, _ in walked(layout, picks, other, blocked)}


def test_nothing_to_pick_is_nothing_to_do(layout):
    """The depot alone."""
    (took,), (plan,) = solve(options(layout, [[]], [layout.planned_s]))
    assert took == 0.0
    assert {done for aisle in plan.aisles for done in aisle} == {NOTHING}
    assert walked(layout, [], plan, layout.planned_s) == []


@pytest.mark.parametrize("begins", ["at the depot", "elsewhere"])
@pytest.mark.parametrize("seed", range(50))
def test_no_order_of_visits_is_shorter_in_several_blocks(seed, begins):
    """One to three blocks, any depot at the front, picks and beginnings at cross-aisles too, sub-aisles without any."""
    rng = np.random.default_rng((seed, 8))
    layout = drawn_layout(rng, 3)
    times = layout.planned_s * rng.uniform(0.3, 5.0, layout.stretches)
    picks, start = drawn(rng, layout, 5, 0.3), None if begins == "at the depot" else drawn(rng, layout, 1, 0.3)[0]
    (found,), (plan,) = solve(options(layout, [picks], [times], start))
    assert found == pytest.approx(shortest(layout, picks, times, start))
    legs = walked(layout, picks, plan, times)
    assert time_of(legs, times) == pytest.approx(found)
    seen = reached(layout, legs, start)
    for aisle, metres in picks:
        assert any(a == aisle and low - 0.01 <= metres <= high + 0.01 for a, low, high in seen), (aisle, metres)


@pytest.mark.parametrize("blocks", [2, 3, 4])
def test_with_several_blocks_no_classic_route_is_shorter(blocks):
    """On twenty picks in ten aisles, where no brute force comes; and the cross-aisles between blocks do help."""
    rng = np.random.default_rng(blocks)
    layout = Layout(LayoutConfig(blocks=blocks))
    ends = Layout(LayoutConfig(blocks=1, block_m=layout.length_m, parts=layout.parts))
    times = layout.planned_s * rng.uniform(0.5, 3.0, layout.stretches)
    crosses = times[layout.config.aisles * layout.parts :].reshape(blocks + 1, -1)
    as_one = np.concatenate((times[: layout.config.aisles * layout.parts], crosses[0], crosses[-1]))
    picks = drawn(rng, layout, 20)
    (found,), _ = solve(options(layout, [picks], [times]))
    for name, router in (CLASSIC | BY_BLOCKS).items():
        assert time_of(router(layout, picks, times), times) >= found - 1e-9, name
    assert found < solve(options(ends, [picks], [as_one]))[0][0]


def test_in_several_blocks_many_at_once_are_each_as_alone(rng):
    """Tables of times, sets of picks, and both with tours that begin elsewhere."""
    layout = Layout(LayoutConfig(aisles=4, blocks=3))
    tables = [layout.planned_s * rng.uniform(0.5, 4.0, layout.stretches) for _ in range(5)]
    sets = [drawn(rng, layout, 8) for _ in range(5)]
    for start in (None, (2, 41.0)):
        by_table, plans = solve(options(layout, [sets[0]], tables, start))
        by_set, _ = solve(options(layout, sets, [tables[0]], start), plans=False)
        by_both, _ = solve(options(layout, sets, tables, start), plans=False)
        for k in range(5):
            (alone,), (plan,) = solve(options(layout, [sets[0]], [tables[k]], start))
            assert by_table[k] == pytest.approx(alone)
            assert time_of(walked(layout, sets[0], plans[k], tables[k]), tables[k]) == pytest.approx(alone)
            assert plan.start == start
            assert by_set[k] == pytest.approx(solve(options(layout, [sets[k]], [tables[0]], start))[0][0])
            assert by_both[k] == pytest.approx(solve(options(layout, [sets[k]], [tables[k]], start))[0][0])


def test_a_tour_that_begins_at_the_depot_is_closed(layout):
    """To say so, or not, is the same; to begin at the other end of the way home is half of it."""
    picks, times = [(3, 12.0)], layout.planned_s
    said, unsaid = options(layout, [picks], [times], (0, 0.0)), options(layout, [picks], [times])
    assert said.start is None
    assert solve(said)[0] == solve(unsaid)[0]
    assert solve(options(layout, [picks], [times], (3, 12.0)))[0] == pytest.approx(solve(unsaid)[0] / 2)


def test_steps_are_listed_before_they_are_needed():
    """After `prepared` a decision of twenty picks lists none."""
    layout = Layout(LayoutConfig(blocks=3))
    prepared(3)
    before = within.cache_info().misses
    solve(options(layout, [drawn(np.random.default_rng(1), layout, 20)], [layout.planned_s]))
    assert within.cache_info().misses == before
