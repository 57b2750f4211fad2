"""A leg's time is known where the states around it were heard, told once, and right; else nothing is said."""

from __future__ import annotations

import random
from collections import Counter
from datetime import timedelta

import msgspec
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from hotloop.errors import RobotMessageError
from hotloop.verticals.warehouse.robots.messages import Action, RobotError, Safety
from hotloop.verticals.warehouse.robots.passages import Course, Track, disturbed, progress

WORK = {3: [Action("pick-1", "pick"), Action("pick-2", "pick")], 0: [Action("pick-0", "pick")]}


def changed(state, **fields):
    """Another state."""
    return msgspec.structs.replace(state, **fields)


def course_of(states, work=WORK):
    """The course of the one order that states are about."""
    nodes = {}
    for state in states:
        nodes |= {one.sequenceId // 2: one.nodeId for one in state.nodeStates}
        if state.orderId and not (state.nodeStates and state.lastNodeSequenceId >= state.nodeStates[0].sequenceId):
            nodes[state.lastNodeSequenceId // 2] = state.lastNodeId
    names = [nodes[number] for number in range(max(nodes) + 1)]
    return Course(names, {number: frozenset(one.actionId for one in actions) for number, actions in work.items()})


def track_of(states):
    """A track that knows the order."""
    track = Track()
    track.begin("p:1", course_of(states))
    return track


def heard(track, states):
    """All legs, in the order in which they are known."""
    return [one for state in states for one in track.hear(state)[1]]


def agrees(found, truth):
    """All that is told is true."""
    true = {one.leg: truth[one.leg] for one in found}
    assert {one.leg: one.seconds for one in found} == pytest.approx(true, abs=0.0021)


@pytest.fixture(scope="session")
def tour(recorded):
    """The states of a tour with work at two nodes, and the truth of its legs."""
    return recorded(1, WORK)


def test_every_leg_of_a_whole_tour_is_timed(tour):
    """Work, and waiting for the next base, is no part of a leg."""
    states, truth = tour
    found = heard(track_of(states), states)
    assert len(found) == len(truth) > 10
    assert {one.leg: one.seconds for one in found} == pytest.approx(truth, abs=0.0021)
    assert all(one.order == "p:1" for one in found)
    assert [one.at for one in found] == sorted(one.at for one in found)


def knowable(states, numbers):
    """The legs whose times follow from the states with these header ids, by looking at all of them at once. A moment
    counts if the state that tells it was heard, and the one before it.
    """
    by_number = {state.headerId: state for state in states}
    arrived, left = {}, {}
    course = course_of(states)
    for number in sorted(by_number):
        state, before = by_number[number], by_number.get(number - 1)
        if before is None or not {number, number - 1} <= numbers or state.orderId != "p:1":
            continue
        was = -1 if before.orderId != "p:1" else progress(before, course.nodes)
        now = progress(state, course.nodes)
        if now == was + 1:
            arrived[now] = number
        open_ = any(edge.sequenceId == 2 * now + 1 and edge.released for edge in state.edgeStates)
        free = open_ and all(one.actionStatus == "FINISHED" for one in state.actionStates
                             if one.actionId in course.actions.get(now, ()))  # fmt: skip
        if free and now not in left and now in (was, was + 1):
            left[now] = number
    first_free = {}
    for number in sorted(by_number):
        state = by_number[number]
        now = progress(state, course.nodes) if state.orderId == "p:1" else -1
        open_ = any(edge.sequenceId == 2 * now + 1 and edge.released for edge in state.edgeStates)
        work = course.actions.get(now, ())
        if open_ and all(one.actionStatus == "FINISHED" for one in state.actionStates if one.actionId in work):
            first_free.setdefault(now, number)
    return {leg for leg in range(len(course.nodes) - 1)
            if leg + 1 in arrived and left.get(leg) == first_free.get(leg) and leg in left}  # fmt: skip


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_lost_doubled_and_late_states_cost_what_they_told_and_no_more(tour, data):
    """Each leg at most once, with its true time, and every one that can be known."""
    states, truth = tour
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    lost, again, late = (data.draw(st.sampled_from([0.0, 0.05, 0.3])) for _ in range(3))
    kept = [state for state in states if chance.random() >= lost]
    kept += [state for state in kept if chance.random() < again]
    places = {id(state): place for place, state in enumerate(kept)}
    kept.sort(key=lambda state: state.headerId + (chance.uniform(0, 30) if chance.random() < late else 0.0))
    assume(kept and places)
    track = track_of(states)
    found = heard(track, kept)
    assert max(Counter(one.leg for one in found).values(), default=0) <= 1
    agrees(found, truth)
    numbers = {state.headerId for state in kept}
    assert {one.leg for one in found} == knowable(states, numbers)
    assert (track.heard, track.doubled) == (len(numbers), len(kept) - len(numbers))
    assert track.missing == max(numbers) - min(numbers) + 1 - len([n for n in numbers if n >= kept[0].headerId]) - (
        kept[0].headerId - min(numbers)
    )


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_a_robot_that_starts_anew_counts_from_0_and_nothing_is_told_wrong(tour, data):
    """Numbers that come again are not the old ones; a leg over the restart is not known."""
    states, truth = tour
    chance = random.Random(data.draw(st.integers(0, 2**32)))
    at = data.draw(st.integers(1, len(states) - 1))
    fresh = [changed(state, headerId=number) for number, state in enumerate(states[at:])]
    lost = data.draw(st.sampled_from([0.0, 0.2]))
    before = [state for state in states[:at] if chance.random() >= lost]
    after = [state for state in fresh if chance.random() >= lost]
    # A robot whose first number that is heard continues the old count cannot be told from one that goes on.
    assume(before and after and after[0].headerId <= before[-1].headerId)
    assume(after[0].timestamp > before[-1].timestamp)
    track = track_of(states)
    found = heard(track, [*before, *after, *chance.sample(before, len(before) // 2)])
    assert track.restarts == 1
    assert max(Counter(one.leg for one in found).values(), default=0) <= 1
    agrees(found, truth)
    if not lost:
        over = {leg for leg in truth if leg not in {one.leg for one in found}}
        assert len(over) <= 2, "the leg under way, and the next if its node was reached unheard"


def test_a_robot_with_a_clock_of_long_ago_is_heard_when_it_is_new_at_the_broker(tour):
    """Its time says nothing then; that it came to the broker does."""
    states, _ = tour
    old = [changed(state, headerId=number, timestamp=state.timestamp - timedelta(days=9000))
           for number, state in enumerate(states[8:])]  # fmt: skip
    deaf = track_of(states)
    heard(deaf, states[:8])
    assert [deaf.hear(state)[0] for state in old[:4]] == [False] * 4
    track = track_of(states)
    heard(track, states[:8])
    track.renewed()
    assert [track.hear(state)[0] for state in old[:4]] == [True] * 4
    assert track.restarts == 1


def test_a_restart_that_is_known_parts_the_counts(tour):
    """Even where the first number that is heard is the next one: what was before is of another count, and stays so."""
    states, truth = tour
    fooled, told = track_of(states), track_of(states)
    nodes = course_of(states).nodes
    at = next(k for k in range(8, 99) if progress(states[k], nodes) == progress(states[k - 1], nodes) + 1)
    late = [changed(state, timestamp=state.timestamp + timedelta(seconds=100)) for state in states[at:]]
    assert [one.seconds > 100 for one in heard(fooled, [*states[:at], *late])].count(True) == 1
    found = heard(told, states[:at])
    told.restarted(states[at - 1].timestamp.timestamp() + 50)
    assert told.hear(states[5]) == (False, [])
    found += heard(told, late)
    agrees(found, truth)
    assert len(truth) - 2 <= len(found) < len(truth)


def test_being_new_at_the_broker_alone_changes_nothing(tour):
    """A robot that comes back goes on counting."""
    states, truth = tour
    track = track_of(states)
    found = heard(track, states[:6])
    track.renewed()
    assert len(found) + len(heard(track, states[6:])) == len(truth)
    assert track.restarts == 0


@pytest.mark.parametrize(
    "fields",
    [
        {"paused": True},
        {"operatingMode": "MANUAL"},
        {"safetyState": Safety("MANUAL", False)},
        {"errors": (RobotError("lost", "FATAL"),)},
    ],
)
def test_a_leg_on_which_somebody_held_the_robot_up_is_not_learned(tour, fields):
    """Its time is not the floor's."""
    states, truth = tour
    course = course_of(states)
    place = next(k for k, state in enumerate(states) if state.orderId and progress(state, course.nodes) == 6)
    mixed = [changed(state, **fields) if k == place else state for k, state in enumerate(states)]
    assert disturbed(mixed[place])
    found = {one.leg for one in heard(track_of(states), mixed)}
    assert set(truth) - found == {6}


def test_a_warning_is_no_reason_not_to_learn(tour):
    """The floor is slow where robots complain."""
    states, truth = tour
    mixed = [changed(state, errors=(RobotError("blocked", "WARNING"),)) for state in states]
    assert len(heard(track_of(states), mixed)) == len(truth)


@pytest.mark.parametrize("hours", [-1, 2])
def test_a_clock_that_was_set_makes_no_time(tour, hours):
    """Back: never negative; forward: never hours."""
    states, truth = tour
    mixed = [changed(state, timestamp=state.timestamp + timedelta(hours=hours)) if k > 9 else state
             for k, state in enumerate(states)]  # fmt: skip
    found = {one.leg: one.seconds for one in heard(track_of(states), mixed)}
    assert len(truth) - 2 <= len(found) < len(truth)
    assert found == pytest.approx({leg: truth[leg] for leg in found}, abs=0.0021)


def test_a_clock_that_was_set_a_little_back_makes_no_time(tour):
    """The leg would seem shorter than it was; that a state is older than the one before it gives it away."""
    states, truth = tour
    nodes = course_of(states).nodes
    at = next(k for k in range(8, 99) if progress(states[k], nodes) == progress(states[k - 1], nodes) + 1)
    leg = progress(states[at - 1], nodes)
    beat = changed(states[at - 1], timestamp=states[at].timestamp - timedelta(seconds=0.1))
    back = [changed(state, timestamp=state.timestamp - timedelta(seconds=0.5)) for state in states[at:]]
    mixed = [changed(state, headerId=number) for number, state in enumerate([*states[:at], beat, *back])]
    found = heard(track_of(states), mixed)
    agrees(found, truth)
    assert leg not in {one.leg for one in found}


def test_a_node_that_a_robot_did_not_speak_of_makes_no_time(tour):
    """It said two at once: when it was at the first is not known, nor whether it said the second in time."""
    states, truth = tour
    nodes = course_of(states).nodes
    silent = next(k for k in range(8, 99) if progress(states[k], nodes) > progress(states[k - 1], nodes)
                  and progress(states[k + 1], nodes) > progress(states[k], nodes))  # fmt: skip
    node = progress(states[silent], nodes)
    mixed = [changed(state, headerId=number) for number, state in enumerate([*states[:silent], *states[silent + 1 :]])]
    found = heard(track_of(states), mixed)
    agrees(found, truth)
    assert {node - 1, node, node + 1} & {one.leg for one in found} == set()


def test_the_node_of_the_order_before_is_not_the_first_of_this_one(tour):
    """A robot that has just taken an order may still say where the last one ended."""
    states, _ = tour
    state = next(state for state in states if state.orderId)
    course = course_of(states)
    ahead = (changed(state.nodeStates[0], sequenceId=0), *state.nodeStates)
    first = changed(state, lastNodeSequenceId=26, lastNodeId="elsewhere", nodeStates=ahead)
    assert (progress(first, course.nodes), progress(state, course.nodes)) == (-1, 0)


@pytest.mark.parametrize("fields", [{"lastNodeSequenceId": 3}, {"lastNodeSequenceId": 400}, {"lastNodeId": "nowhere"}])
def test_a_node_that_is_not_the_orders_is_refused(tour, fields):
    """By name; the state is not heard, and the next one is."""
    states, truth = tour
    mixed = [changed(state, nodeStates=(), **fields) if k == 9 else state for k, state in enumerate(states)]
    track = track_of(states)
    found, refused = [], []
    for state in mixed:
        try:
            found += track.hear(state)[1]
        except RobotMessageError as error:
            refused.append(error.why)
    assert (refused, track.missing) == (["place"], 1)
    assert len(truth) - 3 <= len(found) < len(truth)


def test_states_of_no_known_order_teach_nothing(tour):
    """They are counted all the same, for they are what the robot says."""
    states, _ = tour
    track = Track()
    assert heard(track, states) == []
    assert (track.heard, track.missing) == (len(states), 0)


def test_what_is_remembered_is_bounded(tour):
    """A robot that stands for a week fills no memory; what comes far too late is dropped."""
    states, _ = tour
    track = track_of(states)
    idle = states[-1]
    for number in range(2000):
        track.hear(changed(idle, headerId=number, timestamp=idle.timestamp + timedelta(seconds=number)))
    assert len(track._seen) == 512
    assert track.hear(changed(idle, headerId=5)) == (False, [])
    assert (track.late, track.doubled, track.missing) == (0, 1, 0)
    for number in range(10):
        track.begin(f"p:{number}", Course(["a"]))
    assert len(track._courses) == 4
