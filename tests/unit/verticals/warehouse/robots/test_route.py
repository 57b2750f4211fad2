"""A tour becomes nodes and edges that a robot can go along: they join, they are as long as the legs, they come back."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import InputError
from hotloop.verticals.warehouse.classic import CLASSIC
from hotloop.verticals.warehouse.exact import options, solve, walked
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.robots.messages import Action
from hotloop.verticals.warehouse.robots.route import LEGS_MAX, home, named_place, place_of, route, routes, stopping

BLOCK = Layout(LayoutConfig(aisles=5, parts=3, depot=2))
METRES = st.sampled_from([0.0, 0.1, 5.0, 10.0, 12.5, 15.0, 20.0, 29.9, 30.0])
PLACES = st.lists(st.tuples(st.integers(0, 4), METRES), min_size=1, max_size=9)


def whole(found):
    """What every route holds, whatever tour it is."""
    layout = found.layout
    assert found.places[0] == (layout.config.depot, 0.0) == pytest.approx(found.places[-1])
    for number, (stretch, share) in enumerate(found.legs):
        (aisle, metres), (to, at) = found.places[number], found.places[number + 1]
        edge = found.edge(number, 0, 0)
        gone_m = abs(to - aisle) * layout.config.apart_m + abs(at - metres)
        assert (edge.edgeId, edge.length) == (layout.name(stretch), pytest.approx(gone_m, abs=2e-3))
        assert layout.planned_s[stretch] * share == pytest.approx(gone_m / layout.config.speed_m_s, abs=2e-3)
        assert (aisle == to) != (metres == at) or gone_m == 0


@settings(deadline=None)
@given(PLACES, st.integers(0, 99))
def test_every_exact_tour_joins_and_comes_back(picks, seed):
    """On any table of times, also where it turns in the middle of a stretch."""
    times = BLOCK.planned_s * np.random.default_rng(seed).uniform(0.5, 4.0, BLOCK.stretches)
    _, plans = solve(options(BLOCK, [picks], [times]))
    legs = walked(BLOCK, picks, plans[0], times)
    if legs:
        whole(route(BLOCK, [(stretch, round(share, 6)) for stretch, share in legs]))


@settings(deadline=None)
@given(PLACES, st.sampled_from(sorted(CLASSIC)))
def test_every_classic_tour_joins_and_comes_back(picks, name):
    """The peers' as well."""
    legs = [leg for leg in CLASSIC[name](BLOCK, picks, BLOCK.planned_s) if leg[1] > 1e-9]
    if legs:
        whole(route(BLOCK, legs))


def test_a_turn_in_the_very_middle_goes_back(layout):
    """Half a stretch in, half a stretch out: both ways would fit."""
    legs = [*layout.along(0, 0.0, 5.0), *layout.along(0, 5.0, 0.0)]
    assert legs == [(0, 0.5), (0, 0.5)]
    assert route(layout, legs).places == ((0, 0.0), (0, 5.0), (0, 0.0))


def test_a_turn_at_the_end_of_a_stretch_goes_back(layout):
    """And behind a cross-aisle the first way into an aisle is up."""
    legs = [*layout.across(0, 0, 1), *layout.along(1, 0.0, 10.0), *layout.along(1, 10.0, 0.0), *layout.across(0, 1, 0)]
    assert route(layout, legs).places == ((0, 0.0), (1, 0.0), (1, 10.0), (1, 0.0), (0, 0.0))


def test_nodes_and_edges_are_numbered_as_the_specification_says(layout, tours):
    """Nodes even, edges odd, from where the order began; released up to the base, and never behind it."""
    found = route(layout, tours(1))
    nodes, edges = found.cut(first=2, since=4, base=6, horizon=8)
    assert [node.sequenceId for node in nodes] == [4, 6, 8, 10, 12]
    assert [edge.sequenceId for edge in edges] == [5, 7, 9, 11]
    assert [node.released for node in nodes] == [True, True, True, False, False]
    assert [edge.released for edge in edges] == [True, True, False, False]
    assert [(edge.startNodeId, edge.endNodeId) for edge in edges] == [
        (one.nodeId, other.nodeId) for one, other in itertools.pairwise(nodes)
    ]
    assert nodes[0].nodeId == f"a{found.places[4][0] + 1}-{found.places[4][1]:.2f}"
    assert nodes[0].nodePosition.x == found.places[4][0] * 4.0


def test_work_is_at_its_node(layout, tours):
    """And a base ends at none that has work: it would be said again with the update."""
    pick = Action("p-1", "pick")
    found = route(layout, tours(1), {4: [pick], 5: [pick], 6: []})
    nodes, _ = found.cut(0, 3, 6, 6)
    assert [node.actions for node in nodes] == [(), (pick,), (pick,), ()]
    assert [found.base_end(least) for least in (3, 4, 5, 6)] == [3, 6, 6, 6]
    last = route(layout, tours(1), {number: [pick] for number in range(4, found.end + 1)})
    assert last.base_end(4) == last.end


@pytest.mark.parametrize(
    ("legs", "words"),
    [
        ([], "1 to 900 legs"),
        ([(0, 1.0)] * (LEGS_MAX + 1), "1 to 900 legs"),
        ([(1, 1.0)], "cannot be gone from 0 m of aisle 1"),
        ([(3, 1.0)], "cannot be gone from"),
        ([(0, 0.5), (1, 0.5)], "leg 1: 0.5 of A1/2"),
        ([(0, 0.5), (12, 1.0)], "leg 1: 1 of X0/1"),
        ([(12, 1.0), (12, 1.0), (13, 1.0)], "leg 2: 1 of X0/2"),
        ([(15, 1.0)], "X1/1"),
        ([(0, 0.5), (0, 0.7)], "leg 1"),
        ([(0, 0.0)], "leg 0"),
        ([(0, -0.5)], "leg 0"),
        ([(0, 1.5)], "leg 0"),
        ([(0, float("nan"))], "leg 0"),
        ([(99, 1.0)], "there are 18 stretches"),
        ([(-1, 1.0)], "there are 18 stretches"),
    ],
)
def test_what_is_no_tour_is_said_by_its_leg(layout, legs, words):
    """Before anything is told to a robot."""
    with pytest.raises(InputError, match=words):
        route(layout, legs)


def test_work_where_there_is_no_node_is_refused(layout):
    """A typing error must not be work that nobody does."""
    with pytest.raises(InputError, match="node 7"):
        route(layout, [(0, 1.0)], {7: [Action("a", "pick")]})


@settings(deadline=None)
@given(PLACES, st.integers(0, 99))
def test_a_robot_comes_by_every_pick_and_stops_there(picks, seed):
    """Cut there, a tour is as long as before, and each leg knows the output that it is a part of."""
    times = BLOCK.planned_s * np.random.default_rng(seed).uniform(0.5, 3.0, BLOCK.stretches)
    _, plans = solve(options(BLOCK, [picks], [times]))
    legs = [(stretch, round(share, 6)) for stretch, share in walked(BLOCK, picks, plans[0], times)]
    if not legs:  # all of it is at the depot
        return
    tour = route(BLOCK, legs)
    found, nodes = stopping(tour, picks)
    for pick, node in zip(picks, nodes, strict=True):
        assert found.places[node] == pytest.approx(pick, abs=2e-3)
    for output, (stretch, share) in enumerate(tour.legs):
        parts = [leg for leg, of in zip(found.legs, found.outputs, strict=True) if of == output]
        assert {one for one, _ in parts} == {stretch}
        assert sum(part for _, part in parts) == pytest.approx(share, abs=1e-6)
        assert all(part > 0 for _, part in parts)
    assert set(tour.places) <= set(found.places)


def test_a_leg_that_was_cut_teaches_as_one():
    """The seconds of its parts together; none if one of them is not known."""
    tour = route(BLOCK, [(6, 1.0), (7, 0.5), (7, 0.5), (6, 1.0)])
    found, nodes = stopping(tour, [(2, 4.0), (2, 8.0), (2, 15.0), (2, 4.0)])
    assert (found.outputs, nodes) == ((0, 0, 0, 1, 2, 3, 3, 3), [1, 2, 4, 1])
    assert [found.node_id(node) for node in nodes] == ["a3-4.00", "a3-8.00", "a3-15.00", "a3-4.00"]
    seconds = {leg: 1.0 + leg for leg in range(8)}
    assert found.taught(seconds) == {0: 6.0, 1: 4.0, 2: 5.0, 3: 21.0}
    assert found.taught({leg: s for leg, s in seconds.items() if leg not in (2, 7)}) == {1: 4.0, 2: 5.0}
    assert tour.taught({1: 2.0, 0: 1.0}) == {0: 1.0, 1: 2.0}


def test_a_pick_that_is_not_on_the_way_is_said():
    """Instead of a robot that comes back without it."""
    tour = route(BLOCK, [(6, 0.5), (6, 0.5)])
    with pytest.raises(InputError, match=r"does not come by a3-6\.00"):
        stopping(tour, [(2, 5.0), (2, 6.0)])
    with pytest.raises(InputError, match=r"does not come by a2-5\.00"):
        stopping(tour, [(1, 5.0)])


@given(st.integers(0, 4), st.floats(0, 30))
def test_a_node_says_where_it_is(aisle, metres):
    """To the centimetre."""
    found = place_of(BLOCK, named_place((aisle, metres)))
    assert found == (aisle, pytest.approx(metres, abs=0.006))


@pytest.mark.parametrize(
    "node", ["", "a0-1.00", "a6-1.00", "a1-30.01", "a1-1", "b1-1.00", "a1-1.00 ", "a01-1.00", "dock"]
)
def test_a_node_of_elsewhere_is_no_place(node):
    """Of another warehouse, or another control."""
    assert place_of(BLOCK, node) is None


@given(st.integers(0, 4), METRES)
def test_from_anywhere_there_is_a_way_home(aisle, metres):
    """Out at the front, along the cross-aisle, to the depot; from the depot there is none to go."""
    if (aisle, metres) == (2, 0.0):
        with pytest.raises(InputError):
            home(BLOCK, (aisle, metres))
        return
    found = home(BLOCK, (aisle, metres))
    assert (found.places[0], found.places[-1]) == ((aisle, metres), (2, 0.0))
    assert all(at <= before for (to, before), (aisle, at) in itertools.pairwise(found.places) if to == aisle)


def test_where_a_robot_turns_first_may_be_left_open():
    """From the middle of a stretch both ways may join."""
    both = routes(BLOCK, [(4, 0.2), (4, 0.2)], (1, 15.0))
    assert [tour.places[1] for tour in both] == [(1, 17.0), (1, 13.0)]
    assert [tour.places[1] for tour in routes(BLOCK, [(4, 0.5), (3, 1.0)], (1, 15.0))] == [(1, 10.0)]
    assert len(routes(BLOCK, [(6, 1.0), (6, 1.0)], (2, 0.0))) == 1


def test_a_tour_may_begin_elsewhere():
    """Its legs must join there."""
    assert route(BLOCK, [(4, 0.5), (5, 0.1)], start=(1, 15.0)).places == ((1, 15.0), (1, 20.0), (1, 21.0))
    with pytest.raises(InputError, match="cannot be gone from 15 m of aisle 2"):
        route(BLOCK, [(6, 1.0)], start=(1, 15.0))
