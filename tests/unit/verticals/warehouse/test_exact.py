"""The exact tour against all orders of visits, and against the classic routes; walked, it takes the time it says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hotloop.verticals.warehouse.classic import CLASSIC, time_of
from hotloop.verticals.warehouse.exact import FRONT, NOTHING, options, solve, walked
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig

from .conftest import drawn


def shortest(layout, picks, times):
    """By brute force: all distances (Floyd & Warshall), all orders."""
    aisles = layout.config.aisles
    depths = layout.depths(times)
    across = times[aisles * layout.parts :].reshape(2, aisles - 1)
    places = [(layout.config.depot, 0.0), *picks]
    count = 2 * aisles + len(places)
    far = np.full((count, count), np.inf)
    np.fill_diagonal(far, 0.0)

    def joined(one, other, took):
        far[one, other] = far[other, one] = min(far[one, other], took)

    for aisle in range(aisles):
        joined(2 * aisle, 2 * aisle + 1, depths[aisle, -1])
        if aisle < aisles - 1:
            joined(2 * aisle, 2 * aisle + 2, across[0, aisle])
            joined(2 * aisle + 1, 2 * aisle + 3, across[1, aisle])
    for k, (aisle, metres) in enumerate(places):
        at = layout.depth(depths, aisle, metres)
        joined(2 * aisles + k, 2 * aisle, at)
        joined(2 * aisles + k, 2 * aisle + 1, depths[aisle, -1] - at)
        for j, (other, there) in enumerate(places):
            if other == aisle:
                joined(2 * aisles + k, 2 * aisles + j, abs(at - layout.depth(depths, aisle, there)))
    for k in range(count):
        far = np.minimum(far, far[:, k : k + 1] + far[k : k + 1])
    between = far[2 * aisles :, 2 * aisles :]
    rest = range(1, len(places))
    return min(sum(between[a, b] for a, b in itertools.pairwise((0, *o, 0))) for o in itertools.permutations(rest))


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


def reached(layout, legs):
    """Walk legs from the depot and back (a leg does not say its direction: all places where one may be are followed);
    what was passed, by aisle and metres.
    """
    inside, here, passed = layout.config.aisles * layout.parts, {(layout.config.depot, 0.0)}, set()
    for stretch, share in legs:
        after = set()
        for aisle, metres in here:
            if stretch >= inside:
                number, first = divmod(stretch - inside, layout.config.aisles - 1)
                if aisle in (first, first + 1) and abs(metres - number * layout.length_m) < 1e-6:
                    after.add((2 * first + 1 - aisle, metres))
                continue
            if stretch // layout.parts != aisle:
                continue
            low = stretch % layout.parts * layout.part_m
            for end in (metres + share * layout.part_m, metres - share * layout.part_m):
                if all(low - 1e-6 <= at <= low + layout.part_m + 1e-6 for at in (metres, end)):
                    after.add((aisle, round(end, 6)))
                    passed.add((aisle, min(metres, end), max(metres, end)))
        assert after, f"nobody can go {layout.name(stretch)} from {here}"
        here = after
    assert (layout.config.depot, 0.0) in here
    return passed


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
    assert plan.aisles[0] == FRONT
    assert set(plan.aisles[1:]) == {NOTHING}
    assert walked(layout, [], plan, layout.planned_s) == []
