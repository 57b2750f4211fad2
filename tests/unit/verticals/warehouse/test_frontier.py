"""Partial tours: how many there are, and what becomes of them step by step."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.verticals.warehouse.frontier import (
    BEGUN,
    CALLED,
    DONE,
    INSIDE,
    THROUGH,
    TWICE,
    across,
    beyond,
    frontier,
    inside,
    within,
)  # fmt: skip

EMPTY = ((0, 0), (0, 0))


@pytest.mark.parametrize(("nodes", "count"), [(2, 7), (3, 25), (4, 113)])
def test_there_are_as_many_as_is_known(nodes, count):
    """Seven with two nodes (Ratliff & Rosenthal), 25 with three (Roodbergen & de Koster), and 113 with four."""
    assert frontier(nodes, False).count == count


@pytest.mark.parametrize("nodes", [2, 3, 4])
def test_in_a_closed_tour_every_part_has_an_even_number_of_odd_nodes(nodes):
    """As many hands as are shaken."""
    for state in frontier(nodes, False).states:
        for part in {part for _, part in state if part}:
            assert sum(1 for ways, other in state if other == part and ways == 1) % 2 == 0


def test_parts_do_not_cross():
    """In a plane: of four nodes the first and third never hang together without the second and fourth doing so."""
    for state in frontier(4, False).states:
        if len(state) == 4 and all(ways for ways, _ in state):
            a, b, c, d = (part for _, part in state)
            assert not (a == c and b == d and a != b)


def test_going_through_joins_the_ends():
    """Once: both are odd; once more: both are even; twice is the same."""
    once = inside(EMPTY, 0, INSIDE[THROUGH])
    assert once == ((1, 1), (1, 1))
    assert inside(once, 0, INSIDE[THROUGH]) == ((2, 1), (2, 1)) == inside(EMPTY, 0, INSIDE[TWICE])


def test_what_is_odd_may_not_be_left_behind():
    """One way goes on from an odd node, none or two from an even one, none from one where nobody was."""
    odd, even = ((1, 1), (1, 1)), ((2, 1), (0, 0))
    assert across(odd, 0, 0) is None
    assert across(odd, 0, 2) is None
    assert across(odd, 0, 1) == odd
    assert across(even, 0, 1) is None
    assert across(even, 0, 2) == even
    assert across(EMPTY, 0, 2) is None
    assert across(EMPTY, 0, 0) == EMPTY


def test_what_is_closed_stays_closed_and_nothing_may_hang_on_it():
    """The last part that is left behind closes the tour; a second one beside it may not be left."""
    assert across(((2, 1), (0, 0)), 0, 0) == DONE
    assert across(((2, 1), (2, 2)), 0, 0) is None
    assert across(DONE, 1, 0) == DONE
    assert across(DONE, 1, 2) is None
    assert inside(DONE, 0, INSIDE[THROUGH]) is None
    assert inside(DONE, 0, CALLED[0]) is None


@pytest.mark.parametrize("opened", [False, True])
def test_the_lists_are_what_the_rules_say(opened):
    """Every transition of a step is one of the rules', each once, and the way back finds it."""
    states = frontier(3, opened)
    effects = BEGUN if opened else INSIDE
    step = within(states, 1, effects, 0b10111)
    expected = {
        (s, k, states.states.index(to))
        for s, state in enumerate(states.states)
        for k in (0, 1, 2, 4)
        if (to := inside(state, 1, effects[k])) in states.states
    }
    ends = np.append(step.begins[1:], len(step.source))
    found = [
        (int(step.source[t]), int(step.option[t]), int(target))
        for target, begin, end in zip(step.targets, step.begins, ends, strict=True)
        for t in range(begin, end)
    ]
    assert set(found) == expected
    assert len(found) == len(expected)
    for target, begin, end in zip(step.targets, step.begins, ends, strict=True):
        assert set(step.into[target]) == set(range(begin, end))


def test_all_cross_aisles_at_once_are_each_after_the_other():
    """The options of one step are the ways along each; the same states come out."""
    states = frontier(2, False)
    together, ways = beyond(states, (0, 1))
    assert ways.shape == (9, 2)
    ends = np.append(together.begins[1:], len(together.source))
    for target, begin, end in zip(together.targets, together.begins, ends, strict=True):
        for t in range(begin, end):
            front, back = ways[together.option[t]]
            half = across(states.states[together.source[t]], 0, int(front))
            assert across(half, 1, int(back)) == states.states[target]


def test_a_tour_ends_where_nothing_is_odd_and_all_hangs_together():
    """The states in which a tour may end."""
    states = frontier(3, False)
    for k in states.last:
        state = states.states[k]
        assert state == DONE or {node for node in state if node[0]} == {(2, 1)}
    assert states.empty not in states.last
