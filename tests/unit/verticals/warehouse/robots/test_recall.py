"""A control whose process died at any moment: the next one knows what it must, and no leg is told twice or lost."""

from __future__ import annotations

import random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import CorruptError, StoreError
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.robots import recall
from hotloop.verticals.warehouse.robots.control import Control
from hotloop.verticals.warehouse.robots.messages import Action, Robot
from hotloop.verticals.warehouse.robots.route import route
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

R0 = Robot("sim", "r0")
PICKS = {4: [Action("pick-a", "pick"), Action("pick-b", "pick")], 9: [Action("pick-c", "pick")]}


def right(world, count):
    """So many legs were measured, each once, and rightly."""
    found = world.measured()
    assert len(found) == len(dict(found)) == count
    assert dict(found) == pytest.approx(dict(world.truth()), abs=0.0021)


@pytest.mark.parametrize("reached", [0, 1, 5, 11])
def test_a_tour_goes_on_as_if_nothing_had_been(world, tours, reached):
    """Every leg is measured, the one under way too; one order, one feedback."""
    world.control.give(R0, "p:1", tours(1), world.now, PICKS)
    world.run(lambda world: world.mobile().tour.reached >= reached)
    world.kill()
    assert world.mobile().tour.reached == reached
    world.done()
    right(world, len(tours(1)))
    (found,) = world.control.feedback
    assert [claim.output for claim in found.claims] == list(range(len(tours(1))))
    assert {one["orderId"] for topic, one in world.sent if topic.endswith("/order")} == {"p:1"}
    assert (world.robot.worked, world.control.refused) == (["pick-a", "pick-b", "pick-c"], {})


def test_what_was_never_said_is_said(world, tours):
    """The process died between deciding and speaking."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.control.outbox.clear()
    world.kill()
    assert world.robot.order == "p:1"
    world.done()
    right(world, len(tours(1)))


def test_a_robot_that_finished_meanwhile_is_asked_and_its_tour_is_over(world, tours):
    """What it said while nobody heard is lost here; where it is it says itself."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 9)
    world.cut = True
    world.run(lambda world: world.robot.due is None, limit_s=90.0)
    world.kill()
    world.cut = False
    world.control.up(world.now)
    world.pass_on()
    assert (world.mobile().tour, world.mobile().orders["p:1"][0].status) == (None, "finished")


def test_a_robot_that_started_anew_meanwhile_gets_what_is_left(world, tours):
    """As an order of another name: the names that were used are known."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 5)
    world.robot.restart(world.now, keeps_order=False)
    world.robot.said.clear()
    world.kill(repeated=0)
    world.robot.restart(world.now, keeps_order=False)
    world.done()
    assert {one["orderId"] for topic, one in world.sent if topic.endswith("/order")} == {"p:1", "p:1~2"}
    world.kill()
    assert set(world.mobile().orders) == {"p:1", "p:1~2"}


def test_an_idle_robot_is_asked_where_it_is(world):
    """Nothing is known of it but that it is there."""
    world.kill(repeated=0)
    assert world.mobile().state.lastNodeId == "a1-0.00"
    assert [one["actions"][0]["actionType"] for topic, one in world.sent] == ["stateRequest"]


def test_a_cancellation_is_not_forgotten(world, tours):
    """It was said, and lost, and the process died."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 2)
    world.control.cancel(R0, world.now)
    world.control.outbox.clear()
    world.kill()
    assert (world.mobile().tour, world.robot.nodes) == (None, [])


def test_feedback_that_waits_for_a_late_state_waits_on(world):
    """And what comes after it was said makes it be said again, whole."""
    world.control.give(R0, "p:1", [(0, 0.5), (0, 0.5), (0, 0.5), (0, 0.5)], world.now)
    world.pass_on()
    said = []
    for _ in range(4):
        world.now = world.robot.due
        world.robot.advance(world.now)
        said += world.robot.take()
    for number in (0, 1, 3):
        world.control.came("uagv/v2/sim/r0/state", said[number][1], world.now)
    assert len(world.control.ended) == 1
    world.kill()
    assert len(world.control.ended) == 1
    world.control.came("uagv/v2/sim/r0/state", said[2][1], world.now)
    world.control.tick(world.now + 3.0)
    assert [len(one.claims) for one in world.control.feedback] == [4]
    right(world, 4)


def test_a_message_that_comes_again_counts_once(world, tours):
    """The broker sends what was not acknowledged, however much."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 5)
    heard = world.mobile().track.heard
    world.kill(repeated=20)
    states = sum(what == "state" for what, _ in world.said)
    assert (world.mobile().track.heard, world.mobile().track.missing) == (states, 0)
    assert world.mobile().track.heard - heard <= 1, "the answer to what it was asked"
    world.done()
    right(world, len(tours(1)))


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 6), st.booleans())
def test_however_often_it_dies_every_leg_is_told_once_and_rightly(worlds, tours, seed, base, cut):
    """At any moment, with the last messages sent again; with lost messages what is told is right and told once."""
    chance = random.Random(seed)
    world = worlds(robots=2, base=base, again_s=2.0)
    for number in range(2):
        world.control.give(Robot("sim", f"r{number}"), f"r{number}:1", tours(seed % 99 + number), world.now)
    for _ in range(12):
        world.cut = cut and chance.random() < 0.3
        world.run(limit_s=chance.uniform(0.0, 9.0))
        if chance.random() < 0.7:
            world.kill(chance.randrange(6))
    world.cut = False
    world.done()
    world.control.tick(world.now + 10.0)
    found = {(one.robot.serial, one.leg): one.passage.seconds for one in world.control.measured}
    assert len(found) == len(world.control.measured)
    truth = {(f"r{k}", leg): seconds for k in range(2) for leg, seconds in world.truth(k)}
    assert found == pytest.approx({key: truth[key] for key in found}, abs=0.0021)
    assert cut or found.keys() == truth.keys()
    assert world.control.refused == {}


def test_a_robot_that_speaks_for_years_is_kept_in_a_few_bytes(world, tours):
    """What is kept is bounded, whatever numbers it says."""
    for number in range(30):
        world.control.give(R0, f"p:{number}", tours(number), world.now)
        world.done()
    records = recall.records(world.control, R0)
    assert len(records) <= 5
    assert sum(map(len, records.values())) < 20_000
    state = world.mobile().state
    for number in (2**20, 2**31, 2**32 - 1):
        world.mobile().track.hear(msgspec.structs.replace(state, headerId=number))
        assert len(recall.records(world.control, R0)["robot/sim/r0"]) < 8_000


def test_a_warehouse_that_was_changed_is_said(world, tours):
    """While tours are under way, not otherwise."""
    empty = recall.records(world.control, R0)
    world.control.give(R0, "p:1", tours(1), world.now)
    records = recall.records(world.control, R0) | {recall.LAYOUT: recall.layout_record(world.control.layout)}
    other = Layout(LayoutConfig(aisles=9))
    with pytest.raises(StoreError, match=r"\[warehouse.layout\] was changed"):
        recall.restore(Control(RobotsConfig(), other), records)
    found = Control(RobotsConfig(), other)
    recall.restore(found, empty)
    assert list(found.mobiles) == [R0]


def test_a_robot_that_is_of_the_fleet_no_more_is_not_known_again(world, tours):
    """The settings say who is."""
    world.control.give(R0, "p:1", tours(1), world.now)
    records = recall.records(world.control, R0) | {recall.LAYOUT: recall.layout_record(world.control.layout)}
    found = Control(RobotsConfig(names=("sim/other",)), world.control.layout)
    recall.restore(found, records)
    assert list(found.mobiles) == [Robot("sim", "other")]


def test_a_damaged_record_is_named(world):
    """By its name, with what to do."""
    with pytest.raises(CorruptError, match="robot/sim/r0"):
        recall.restore(world.control, {"robot/sim/r0": b"\xc1"})


def test_a_tour_from_elsewhere_has_the_same_names_of_nodes_again(world, layout):
    """To the last centimetre: places are kept, not worked out again."""
    way = route(layout, [(4, 0.51234), (3, 1.0)], start=(1, 15.1234))
    world.robot.last = "a2-15.12"
    world.control.send(R0, "home:1", way, world.now, lesson=False)
    names = world.mobile().tour.nodes
    world.kill()
    assert (world.mobile().tour.nodes, world.mobile().tour.lesson) == (names, False)
    assert world.mobile().tour.route == way
