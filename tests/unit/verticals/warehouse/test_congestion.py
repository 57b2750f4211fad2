"""The value of a state of the floor: least-squares TD against a chain whose values are known, and what follows."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from hotloop.config import LoopConfig
from hotloop.types import Claim, Example, Payload, Proposals
from hotloop.verticals.warehouse.congestion import HALF_LIFE_S, LEAST, Moment, congestion, moments_of, values
from hotloop.verticals.warehouse.policy import DEAR_MAX, place_of
from hotloop.verticals.warehouse.task import vertical

from .test_task import TABLE, trip

PLACES = 8


@pytest.fixture
def task():
    return vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE}))


def chain(rng, count, stay, cost, noise=0.0):
    """Robots that come into two places at random and stay with a chance: states, and what is lost at each."""
    states = np.zeros((count, 2))
    now = np.zeros(2)
    for k in range(count):
        now = rng.binomial(now.astype(int), stay) + rng.poisson(0.5, 2)
        states[k] = now
    return states, states @ np.asarray(cost) + noise * rng.normal(size=count)


def test_a_chain_whose_values_are_known():
    """A robot that stays with chance q costs c / (1 - g q) from now on; nothing where it costs nothing."""
    rng = np.random.default_rng(0)
    stay, cost, seconds = 0.6, (3.0, 0.0), 10.0
    states, lost = chain(rng, 20_000, stay, cost, noise=1.0)
    found = values(states, lost, np.full(len(states) - 1, seconds))
    gamma = 0.5 ** (seconds / HALF_LIFE_S)
    assert found == pytest.approx([3.0 / (1 - gamma * stay), 0.0], abs=0.25)


def test_a_second_far_off_is_worth_less():
    """The longer until the next decision, the less of what comes then counts."""
    rng = np.random.default_rng(1)
    states, lost = chain(rng, 5000, 0.8, (2.0, 2.0))
    near, middle, far = (values(states, lost, np.full(len(states) - 1, s)).mean() for s in (1.0, 30.0, 1e6))
    assert near > middle > far
    assert far == pytest.approx(2.0, abs=0.05)


def test_a_clock_that_goes_back_counts_as_no_time():
    """Rather than as more than all."""
    rng = np.random.default_rng(2)
    states, lost = chain(rng, 500, 0.5, (1.0, 1.0))
    back = values(states, lost, np.full(len(states) - 1, -50.0))
    np.testing.assert_allclose(back, values(states, lost, np.zeros(len(states) - 1)))


def test_little_evidence_holds_values_at_nothing():
    """By the ridge."""
    rng = np.random.default_rng(3)
    states, lost = chain(rng, 10, 0.5, (5.0, 5.0))
    seconds = np.full(9, 10.0)
    assert np.abs(values(states, lost, seconds, ridge=1e6)).max() < 0.01
    assert np.abs(values(states, lost, seconds, ridge=1e-6)).max() > 1.0


def moments(rng, cost, count=2000, stay_s=10.0):
    """Decisions every ten seconds on a floor of two places."""
    states, lost = chain(rng, count, 0.5, cost, noise=0.5)
    stayed, visits = np.full(2, stay_s), np.ones(2)
    return [Moment(10.0 * k, states[k], float(lost[k]), stayed, visits) for k in range(count)]


def test_a_share_of_its_own_time():
    """The value by the seconds of a usual stay; never below 0, and bounded."""
    rng = np.random.default_rng(4)
    found = congestion(moments(rng, (2.0, -2.0)))
    gamma = 0.5 ** (10.0 / HALF_LIFE_S)
    assert found[0] == pytest.approx(2.0 / (1 - gamma * 0.5) / 10.0, rel=0.1)
    assert found[1] == 0.0
    assert congestion(moments(rng, (500.0, 0.0)))[0] == DEAR_MAX


def test_too_few_trips_say_nothing():
    """Nor does a place that nobody was in."""
    rng = np.random.default_rng(5)
    some = moments(rng, (2.0, 2.0), count=LEAST)
    assert congestion(some[:-1]) == ()
    assert congestion([]) == ()
    empty = [unvisited(one) for one in some]
    assert congestion(empty) == (0.0, 0.0)


def unvisited(moment):
    return Moment(moment.at, moment.robots, moment.lost_s, np.zeros(2), np.zeros(2))


def busy_trip(task, name, at, busy, factor):
    """A trip while robots are in stretches."""
    request = {"picks": [[1, 10.0], [4, 20.0]], "at": at, "busy": busy}
    plain = trip(task, task.start(), [(1, 10.0), (4, 20.0)], factor, name, at)
    proposals = task.propose(Payload(json.dumps(request).encode()))
    return Example(msgspec.structs.replace(plain.prediction, proposals=proposals), plain.feedback)


def test_a_decision_is_what_was_seen_and_what_it_lost(task):
    """Robots by place; seconds beyond what a floor without others takes; how long it stayed where."""
    part = task.layout.part(3, 1)
    one = busy_trip(task, "a", 20.0, {str(part): 2, str(task.layout.cross(1, 0)): 1}, lambda s: 1.5)
    other = busy_trip(task, "b", 10.0, {}, lambda s: 1.0)
    first, second = moments_of(task, task.start(), [one, other])
    assert (first.at, second.at) == (10.0, 20.0)
    assert second.robots.tolist() == [0, 0, 0, 2, 0, 0, 0, 1]
    took = sum(claim.value for claim in one.feedback[0].claims)
    assert second.lost_s == pytest.approx(took / 3.0, rel=1e-3)
    assert first.lost_s == pytest.approx(0.0, abs=1e-2)
    assert second.stayed_s.sum() == pytest.approx(took)
    gone = {int(place_of(task.layout)[int(o.region[0])]) for o in one.prediction.outputs}
    assert set(np.flatnonzero(second.visits).tolist()) == gone


def test_a_trip_that_cannot_tell_is_left_out(task):
    """Not measured whole; nothing said; of another layout."""
    fine = busy_trip(task, "a", 1.0, {}, lambda s: 1.0)
    word = fine.feedback[0]
    cases = [
        Example(fine.prediction, (msgspec.structs.replace(word, claims=word.claims[1:]),)),
        Example(msgspec.structs.replace(fine.prediction, outputs=()), ()),
        Example(msgspec.structs.replace(fine.prediction, proposals=Proposals(1, 3, bytes(6))), fine.feedback),
        Example(fine.prediction, (msgspec.structs.replace(word, claims=(Claim(output=0), *word.claims[1:])),)),
    ]  # fmt: skip
    assert moments_of(task, task.start(), cases) == []
    assert len(moments_of(task, task.start(), [*cases, fine])) == 1
