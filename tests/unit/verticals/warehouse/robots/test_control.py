"""Master control: tours out bit by bit, measured times back, whatever robots and the network do in between."""

from __future__ import annotations

import json
import random
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import ConfigError, InputError
from hotloop.types import Claim
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.robots.control import Control, named
from hotloop.verticals.warehouse.robots.messages import BYTES_MAX, Action, Parameter, Robot
from hotloop.verticals.warehouse.robots.route import route, stopping
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

R0 = Robot("sim", "r0")
STATE = "uagv/v2/sim/r0/state"
PICKS = {4: [Action("pick-a", "pick"), Action("pick-b", "pick")], 9: [Action("pick-c", "pick")]}


def orders(world):
    """The orders that were sent: (id, update, released nodes, nodes)."""
    return [(one["orderId"], one["orderUpdateId"], sum(node["released"] for node in one["nodes"]), len(one["nodes"]))
            for topic, one in world.sent if topic.endswith("/order")]  # fmt: skip


def acts(world):
    """The instant actions that were sent."""
    return [one["actions"][0]["actionType"] for topic, one in world.sent if topic.endswith("/instantActions")]


def state_of(world, **changed):
    """The robot's state, with other fields."""
    world.robot.beat(world.now)
    return json.dumps(json.loads(world.robot.take()[-1][1]) | changed).encode()


def right(world, count=None):
    """All that was measured is true, each leg once."""
    found = world.measured()
    assert len({leg for leg, _ in found}) == len(found)
    truth = dict(world.truth())
    assert dict(found) == pytest.approx({leg: truth[leg] for leg, _ in found}, abs=0.0021)
    assert count is None or len(found) == count


def test_a_tour_becomes_feedback(world, tours):
    """One, when it is over: each leg's seconds as a measurement of that output of the prediction."""
    legs = tours(1)
    world.control.give(R0, "line-1:7", legs, world.now, PICKS)
    tour = world.mobile().tour
    world.done()
    right(world, len(legs))
    (found,) = world.control.feedback
    assert (found.prediction, found.reviewer) == ("line-1:7", "robots")
    assert (found.kind, found.complete) == ("measurement", False)
    seconds = [one.passage.seconds for one in world.control.measured]
    assert found.claims == tuple(Claim(output=leg, value=value) for leg, value in enumerate(seconds))
    assert [(one.passage.stretch, one.passage.share) for one in world.control.measured] == legs
    assert (tour.status, tour.done, world.mobile().tour) == ("finished", {"pick-a", "pick-b", "pick-c"}, None)
    assert world.control.refused == {}


def test_feedback_waits_for_a_state_that_is_late(world, tours):
    """The last one came before the one before it: the tour is over, its last leg not known yet."""
    world.control.give(R0, "p:1", [(0, 0.5), (0, 0.5)], world.now)
    world.pass_on()
    said = []
    for _ in range(2):
        world.now = world.robot.due
        world.robot.advance(world.now)
        said += world.robot.take()
    world.control.came(STATE, said[1][1], world.now)
    assert (world.mobile().tour, list(world.control.feedback), len(world.control.ended)) == (None, [], 1)
    world.control.came(STATE, said[0][1], world.now + 1.0)
    world.control.tick(world.now + 1.0)
    assert [claim.output for claim in world.control.feedback.popleft().claims] == [0, 1]
    right(world, 2)


def test_feedback_does_not_wait_for_ever_and_is_said_again(world, tours):
    """What is missing is given up after a moment; comes it after all, the last word is the whole."""
    world.control.give(R0, "p:1", [(0, 0.5), (0, 0.5), (0, 0.5), (0, 0.5)], world.now)
    world.pass_on()
    said = []
    for _ in range(4):
        world.now = world.robot.due
        world.robot.advance(world.now)
        said += world.robot.take()
    for number in (0, 1, 3):
        world.control.came(STATE, said[number][1], world.now)
    world.control.tick(world.now + 1.9)
    assert list(world.control.feedback) == []
    world.control.tick(world.now + 2.1)
    assert [claim.output for claim in world.control.feedback.popleft().claims] == [0, 1]
    world.control.came(STATE, said[2][1], world.now + 60.0)
    world.control.tick(world.now + 60.0)
    assert [claim.output for claim in world.control.feedback.popleft().claims] == [0, 1, 2, 3]
    assert (world.control.ended, len(world.control.feedback)) == ({}, 0)
    right(world, 4)


def test_a_tour_goes_out_bit_by_bit(worlds, tours):
    """Six legs are released and three announced; more are released before a robot would have to stop."""
    world = worlds(base=6, horizon=3)
    world.control.give(R0, "p:1", tours(1), world.now)
    world.pass_on()
    assert orders(world) == [("p:1", 0, 7, 10)]
    world.done()
    assert orders(world) == [("p:1", 0, 7, 10), ("p:1", 1, 7, 9), ("p:1", 2, 3, 3)]
    began, ended = world.robot.gone[0][2], world.robot.gone[-1][3]
    stood_s = ended - began - sum(seconds for _, seconds in world.truth())
    assert stood_s == pytest.approx(0.0, abs=0.05)


def test_a_robot_that_asks_for_more_gets_it(worlds, tours):
    """newBaseRequest, however much is released."""
    world = worlds(base=6, horizon=0)
    world.control.give(R0, "p:1", tours(1), world.now)
    world.pass_on()
    world.control.came(STATE, state_of(world, newBaseRequest=True), world.now)
    world.pass_on()
    assert [one[:2] for one in orders(world)] == [("p:1", 0), ("p:1", 1)]


@pytest.mark.parametrize(
    ("topic", "data", "why"),
    [
        (STATE, b"{", "malformed"),
        (STATE, b" " * (BYTES_MAX + 1), "oversized"),
        (STATE, {"version": "1.1.0"}, "version"),
        (STATE, {"serialNumber": "r9"}, "impostor"),
        ("uagv/v2/sim/r9/state", {"serialNumber": "r9"}, "stranger"),
        ("uagv/v2/sim/r9/connection", {"serialNumber": "r9", "connectionState": "ONLINE"}, "stranger"),
        (STATE, {"orderId": "foreign", "nodeStates": [{"nodeId": "x", "sequenceId": 2, "released": True}]}, "order"),
        (STATE, {"orderUpdateId": 77}, "order"),
        (STATE, {"lastNodeId": "nowhere"}, "place"),
        (STATE, {"lastNodeSequenceId": 777, "nodeStates": []}, "place"),
        ("uagv/v2/sim/r0/order", {}, "topic"),
        ("elsewhere", {}, "topic"),
    ],
)
def test_what_cannot_be_taken_is_counted_and_the_control_goes_on(world, tours, topic, data, why):
    """By its name, in words; the tour, and what is learned of it, is the same."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 3)
    data = data if isinstance(data, bytes) else state_of(world, headerId=999, **data)
    world.control.came(topic, data, world.now)
    assert world.control.refused == {why: 1}
    assert len(world.control.refusals) == 1
    world.done()
    right(world)
    assert len(world.measured()) >= len(world.truth()) - 3, "one number was used up by the broken state"
    assert world.control.refused == {why: 1}


def test_the_words_of_refusals_are_bounded(world):
    """A flood of nonsense fills no memory."""
    for _ in range(1000):
        world.control.came(STATE, b"{", world.now)
    assert (world.control.refused["malformed"], len(world.control.refusals)) == (1000, 20)


def test_a_state_that_the_broker_kept_is_refused(world):
    """It may be of last week."""
    world.control.came(STATE, state_of(world), world.now, kept=True)
    assert world.control.refused == {"kept": 1}


def test_robots_that_show_up_are_admitted_where_none_are_named(worlds):
    """Up to a limit."""
    world = worlds(names=(), robots_max=1)
    assert list(world.control.mobiles) == [R0]
    world.control.came("uagv/v2/sim/r1/state", state_of(world, serialNumber="r1"), world.now)
    assert (list(world.control.mobiles), world.control.refused) == ([R0], {"stranger": 1})


def test_a_robot_that_has_another_order_behind_it_is_no_stranger(world, tours):
    """What somebody else had it do is over."""
    world.control.came(STATE, state_of(world, orderId="somebody's", lastNodeId="x", lastNodeSequenceId=8), world.now)
    assert world.control.refused == {}
    world.control.give(R0, "p:1", tours(1), world.now)
    world.done()
    right(world, len(tours(1)))


@pytest.mark.parametrize("version", ["2.0.0", "2.1.0"])
def test_a_robot_is_spoken_to_in_its_own_version(worlds, tours, version):
    """What it said last."""
    world = worlds()
    world.robot.version = version
    world.robot.beat(world.now)
    world.pass_on()
    world.control.give(R0, "p:1", tours(1), world.now)
    world.done()
    assert {one["version"] for _, one in world.sent} == {version}
    assert [one["headerId"] for topic, one in world.sent] == list(range(len(world.sent)))
    world.control.act(R0, "stateRequest", world.now)
    world.pass_on()
    (_, said) = world.sent[-1]
    assert said.get("instantActions") == (said["actions"] if version == "2.0.0" else None), "as its schema has it"


def test_an_order_that_was_lost_is_said_again(world, tours):
    """The same one, ever more seldom; the robot does it once."""
    world.cut = True
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(limit_s=40.0)
    assert orders(world) == [orders(world)[0]] * 4  # after 5, 10 and 20 s
    world.cut = False
    world.done()
    right(world, len(tours(1)))
    assert world.robot.refused == 0


def test_a_robot_on_tour_that_says_nothing_is_asked(worlds, tours):
    """What it said last was lost, and would be its last word: so the tour ends all the same."""
    world = worlds(silent_s=100.0)
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 9)
    world.cut = True
    world.run(lambda world: world.robot.due is None, limit_s=90.0)
    assert (world.robot.due, acts(world)) == (None, [])
    world.cut = False
    world.run(lambda world: acts(world), limit_s=110.0)
    assert acts(world) == ["stateRequest"]
    world.done()
    assert world.mobile().orders["p:1"][0].status == "finished"
    right(world)


def test_a_robot_that_stays_silent_is_asked_now_and_then(world, tours):
    """Not with each turn."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 3)
    world.cut = True
    world.run(limit_s=120.0)
    assert acts(world) == ["stateRequest"] * 3


def test_waiting_for_the_next_base_is_no_part_of_a_leg(worlds, tours):
    """The update is lost; the robot stands at the end of its base until it is said again."""
    world = worlds(base=2, horizon=2, again_s=60.0)
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 1)
    assert world.robot.due is not None
    world.control.outbox.clear()
    tour = world.mobile().tour
    world.cut = True
    world.run(lambda world: world.robot.due is None, limit_s=300.0)
    stood_since = world.now
    world.run(limit_s=50.0)
    world.cut = False
    world.robot.beat(world.now)
    world.done()
    at = next(leg for leg, (_, _, began, _) in enumerate(world.robot.gone) if began > stood_since + 49.0)
    assert tour.status == "finished"
    right(world)
    assert max(world.measured(), key=lambda one: one[1])[1] < 20.0, (at, "it stood there for 50 s")
    assert at in dict(world.measured())


def test_a_late_state_is_not_the_robots_last_word(world, tours):
    """It may fill in what was missing; where the robot is, and what it says is wrong, is in the newest."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 3)
    world.robot.advance(world.robot.due)
    late = world.robot.take()[0][1]
    world.robot.errors.append({"errorType": "newer", "errorLevel": "WARNING"})
    world.run(lambda world: world.mobile().tour.reached == 5)
    newest = world.mobile().state
    world.control.came(STATE, late, world.now)
    assert (world.mobile().state, list(world.mobile().errors)) == (newest, ["WARNING newer: "])
    assert (world.mobile().track.late, world.mobile().track.missing) == (1, 0)
    world.done()
    right(world, len(tours(1)))


def test_a_tour_that_is_being_cancelled_gets_nothing_more(worlds, tours):
    """However much the robot asks for; a broker that is back hears of the cancellation again."""
    world = worlds(base=4, horizon=0)
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 1)
    world.control.cancel(R0, world.now)
    world.control.outbox.clear()
    world.control.came(STATE, state_of(world, newBaseRequest=True), world.now)
    assert list(world.control.outbox) == []
    world.control.up(world.now)
    world.pass_on()
    assert (acts(world), world.mobile().tour, len(orders(world))) == (["cancelOrder"], None, 1)


def test_an_idle_robot_is_asked_nothing(world):
    """It says its state when it has to."""
    world.run(limit_s=200.0)
    assert acts(world) == []


def test_an_order_that_came_twice_is_done_once(world, tours):
    """A broker that is back makes the control say what was not taken so far."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.control.up(world.now)
    world.control.up(world.now)
    world.pass_on()
    assert len(orders(world)) == 3
    world.done()
    right(world, len(tours(1)))
    assert len(world.truth()) == len(tours(1))


def test_a_robot_that_is_away_gets_its_tour_when_it_is_there(world, tours):
    """Its last will says that it is away; being online again is enough."""
    world.robot.say_connection("CONNECTIONBROKEN", world.now)
    world.pass_on()
    assert world.mobile().connection == "CONNECTIONBROKEN"
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(limit_s=100.0)
    assert orders(world) == []
    world.robot.say_connection("ONLINE", world.now)
    world.pass_on()
    assert [one[:2] for one in orders(world)] == [("p:1", 0)]
    world.done()
    right(world, len(tours(1)))


def test_a_state_says_too_that_a_robot_is_there(world, tours):
    """Some say ONLINE only once, and their last will is kept."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 2)
    world.robot.say_connection("CONNECTIONBROKEN", world.now)
    world.pass_on()
    world.done()
    assert world.mobile().connection == "ONLINE"
    right(world, len(tours(1)))


def test_a_robot_that_starts_anew_and_keeps_its_order_goes_on(world, tours):
    """What is not known is the leg under way, no more than that."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 5)
    world.robot.restart(world.now, keeps_order=True)
    world.done()
    right(world, len(tours(1)) - 1)
    assert {one[0] for one in orders(world)} == {"p:1"}
    assert world.mobile().track.restarts == 1


def test_a_restart_that_nobody_saw_is_told_by_what_the_broker_kept(world, tours):
    """Else the new count could pass for the old one, and a time for a leg that nobody went."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.pass_on()
    assert world.mobile().state.headerId == 1
    world.cut = True
    world.now += 0.2
    world.robot.restart(world.now, keeps_order=True)  # says 0, and 1 right after it
    world.robot.beat(world.now + 0.1)
    world.pass_on()
    world.cut = False
    world.done()
    assert world.mobile().track.restarts == 1
    right(world, len(tours(1)) - 2)


def test_a_robot_that_forgot_its_order_gets_what_is_left(world, tours):
    """As a new one from the node that it last reached; no work twice, all legs in one feedback."""
    world.control.give(R0, "p:1", tours(1), world.now, {4: PICKS[4], 5: [Action("pick-d", "pick")]})
    world.run(lambda world: world.robot.actions.get("pick-d", {}).get("status") == "FINISHED")
    assert world.mobile().tour.reached == 5
    world.robot.restart(world.now, keeps_order=False)
    world.done()
    named_ = [one[0] for one in orders(world)]
    assert sorted(set(named_)) == ["p:1", "p:1~2"]
    again = next(one for _, one in world.sent if one.get("orderId") == "p:1~2")
    assert (again["orderUpdateId"], again["nodes"][0]["sequenceId"], again["nodes"][0]["actions"]) == (0, 0, [])
    assert again["nodes"][0]["nodeId"] == world.mobile().orders["p:1"][0].route.node_id(5)
    (found,) = world.control.feedback
    assert [claim.output for claim in found.claims] == list(range(len(tours(1))))
    truth = {(order, leg): ended - began for order, leg, began, ended in world.robot.gone}
    after = {claim.output: claim.value for claim in found.claims if claim.output >= 5}
    true = {5 + leg: seconds for (order, leg), seconds in truth.items() if order == "p:1~2"}
    assert after == pytest.approx(true, abs=0.0021)


def test_a_robot_that_refuses_is_let_be_and_what_it_said_is_kept(world, tours):
    """It stands elsewhere: the tour is over, and the reason is shown."""
    world.robot.last = "elsewhere"
    world.control.give(R0, "p:1", tours(1), world.now)
    tour = world.mobile().tour
    world.pass_on()
    assert (tour.status, tour.why, world.mobile().tour) == ("refused", "WARNING noRouteError: not taken", None)
    assert list(world.mobile().errors) == ["WARNING noRouteError: not taken"]
    assert list(world.control.feedback) == []
    world.robot.last = "a1-0.00"
    world.control.give(R0, "p:2", tours(2), world.now)
    world.done()
    right(world, len(tours(2)))
    assert world.mobile().errors == {}, "it does not say it any more"


def test_a_tour_that_somebody_took_from_the_robot_itself_is_over(world, tours):
    """What was measured until then is feedback."""
    world.control.give(R0, "p:1", tours(1), world.now)
    tour = world.mobile().tour
    world.run(lambda world: world.mobile().tour.reached == 4)
    world.robot.hear("instantActions", {"actions": [{"actionId": "x", "actionType": "cancelOrder"}]}, world.now)
    world.pass_on()
    assert (tour.status, world.mobile().tour) == ("dropped", None)
    assert [claim.output for claim in world.control.feedback[0].claims] == [0, 1, 2, 3]


def test_a_tour_under_way_can_be_cancelled(world, tours):
    """The robot says when it has stopped; what was measured is feedback; the next tour begins where it may."""
    world.control.give(R0, "p:1", tours(1), world.now)
    tour = world.mobile().tour
    world.run(lambda world: world.mobile().tour.reached == 4)
    world.control.cancel(R0, world.now)
    assert world.mobile().tour is tour, "not before the robot says so"
    world.pass_on()
    assert (tour.status, acts(world), world.mobile().tour) == ("cancelled", ["cancelOrder"], None)
    right(world, 4)
    assert len(world.control.feedback[0].claims) == 4


def test_a_cancellation_that_was_lost_is_said_again(world, tours):
    """Until the robot has stopped."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 2)
    world.cut = True
    world.control.cancel(R0, world.now)
    world.run(limit_s=7.0)
    world.cut = False
    world.done()
    assert acts(world)[:2] == ["cancelOrder", "cancelOrder"]
    assert world.mobile().orders["p:1"][0].status in {"cancelled", "finished"}


def test_a_tour_that_was_never_said_is_cancelled_at_once(world, tours):
    """The robot need not hear of it."""
    world.robot.say_connection("OFFLINE", world.now)
    world.pass_on()
    world.control.give(R0, "p:1", tours(1), world.now)
    world.control.cancel(R0, world.now)
    world.pass_on()
    assert (world.mobile().tour, world.sent) == (None, [])


def test_a_robot_that_never_got_the_order_has_nothing_to_cancel(world, tours):
    """It says so, and that is the end of the tour."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.control.outbox.clear()
    world.control.cancel(R0, world.now)
    world.pass_on()
    assert world.mobile().tour is None
    assert world.mobile().orders["p:1"][0].status == "cancelled"
    assert list(world.mobile().errors) == ["WARNING noOrderToCancel: "]


def test_a_paused_leg_is_not_learned(world, tours):
    """The robot stood because somebody said so; the legs behind it are learned."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 4)
    world.control.act(R0, "startPause", world.now)
    world.pass_on()
    world.run(limit_s=60.0)
    assert world.mobile().tour.reached == 4
    world.control.act(R0, "stopPause", world.now)
    world.done()
    right(world, len(tours(1)) - 1)
    assert {leg for leg, _ in world.truth()} - {leg for leg, _ in world.measured()} == {4}


def test_what_cannot_be_given_is_said(world, tours):
    """To whoever gives it; nothing is told to the robot."""
    with pytest.raises(InputError, match="no robot sim/r7"):
        world.control.give(Robot("sim", "r7"), "p:1", tours(1), world.now)
    with pytest.raises(InputError, match="cannot be gone"):
        world.control.give(R0, "p:1", [(5, 1.0)], world.now)
    with pytest.raises(InputError, match="has no tour"):
        world.control.cancel(R0, world.now)
    world.control.give(R0, "p:1", tours(1), world.now)
    with pytest.raises(InputError, match="is on the tour of p:1"):
        world.control.give(R0, "p:2", tours(1), world.now)
    world.done()
    with pytest.raises(InputError, match="had the tour of p:1 already"):
        world.control.give(R0, "p:1", tours(1), world.now)


def test_orders_that_are_long_over_are_forgotten(world):
    """A robot that goes for years fills no memory."""
    for number in range(100):
        world.control.give(R0, f"p:{number}", [(0, 0.5), (0, 0.5)], world.now)
        world.done()
    assert len(world.mobile().orders) == 32
    assert len(world.control.feedback) == 100


@pytest.mark.parametrize("name", ["", "acme", "acme/", "/7", "a+b/7", "a/b/c"])
def test_a_robot_is_named_by_maker_and_serial(name):
    """Both, and both can be in a topic."""
    with pytest.raises(ConfigError):
        named(name)
    assert named("acme/7") == Robot("acme", "7")


@pytest.mark.parametrize("fields", [
    {"interface": "a/b"}, {"interface": ""}, {"reviewer": "two words"}, {"names": ("x",)},
])  # fmt: skip
def test_settings_that_cannot_be_are_refused_at_the_start(fields):
    """By their names."""
    with pytest.raises(ConfigError):
        Control(RobotsConfig(**fields), Layout(LayoutConfig()))


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32), st.integers(1, 8), st.integers(0, 4))
def test_through_any_weather_tours_end_and_no_leg_is_told_twice_or_wrong(worlds, tours, seed, base, horizon):
    """Messages lost both ways, robots that start anew with and without their order, a broker that comes and goes."""
    chance = random.Random(seed)
    world = worlds(robots=3, base=base, horizon=horizon, again_s=2.0)
    for number in range(3):
        legs, robot = tours(seed % 1000 + number), Robot("sim", f"r{number}")
        world.control.give(robot, f"r{number}:1", legs, world.now, PICKS_OF[number])
    for _ in range(25):
        world.cut = chance.random() < 0.3
        world.run(limit_s=chance.uniform(0.0, 8.0))
        if chance.random() < 0.2:
            robot = world.robots[Robot("sim", f"r{chance.randrange(3)}")]
            robot.restart(world.now, keeps_order=chance.random() < 0.5)
        if chance.random() < 0.2:
            world.control.up(world.now)
    world.cut = False
    world.done()
    assert all(mobile.tour is None for mobile in world.control.mobiles.values())
    seen = set()
    for one in world.control.measured:
        assert (one.robot, one.leg) not in seen
        seen.add((one.robot, one.leg))
        robot = world.robots[one.robot]
        mobile = world.control.mobiles[one.robot]
        true = [ended - began for order, leg, began, ended in robot.gone
                if order in mobile.orders and mobile.orders[order][1] + leg == one.leg]  # fmt: skip
        assert min(abs(seconds - one.passage.seconds) for seconds in true) < 0.0021


PICKS_OF = [{}, {2: [Action("pick-1", "pick")]}, {1: [Action("pick-2", "pick")], 3: [Action("pick-3", "pick")]}]


def test_an_action_with_parameters_and_the_robots_answer(world):
    """It goes out as it was given, under an id of its own; the robot's words are kept by that id."""
    given = Action("mine", "beep", "NONE", (Parameter("times", 3.0), Parameter("loud", True)))
    name = world.control.act(R0, given, world.now)
    assert (name.startswith("beep-"), world.mobile().acts[name].status) == (True, "said")
    world.pass_on()
    (_, said) = world.sent[-1]
    (action,) = said["actions"]
    parameters = [{"key": "times", "value": 3.0}, {"key": "loud", "value": True}]
    assert action == {
        "actionId": name, "actionType": "beep", "blockingType": "NONE", "actionParameters": parameters
    }  # fmt: skip
    found = world.mobile().acts[name]
    assert (found.kind, found.status, found.over, found.words) == ("beep", "FINISHED", True, "")


def test_why_an_action_failed_is_in_the_robots_words(world):
    """Its result, and the errors that it says are about that action; what comes later changes nothing."""
    name = world.control.act(R0, "pick", world.now)
    about = lambda name: [{"referenceKey": "actionId", "referenceValue": name}]
    errors = [
        {"errorType": "gripper", "errorDescription": "is open", "errorLevel": "WARNING",
         "errorReferences": about(name)},
        {"errorType": "other", "errorLevel": "WARNING", "errorReferences": about("another")},
    ]  # fmt: skip

    def say(status, **more):
        actions = [{"actionId": name, "actionStatus": status, **more}]
        world.control.came(STATE, state_of(world, actionStates=actions, errors=errors), world.now)

    say("RUNNING")
    assert (world.mobile().acts[name].status, world.mobile().acts[name].over) == ("RUNNING", False)
    say("FAILED", resultDescription="nothing there")
    assert world.mobile().acts[name].words == "nothing there; gripper is open"
    say("RUNNING")
    assert world.mobile().acts[name].status == "FAILED"


def test_answers_of_long_ago_are_forgotten(world):
    """And what is asked by itself is not remembered at all."""
    names = [world.control.act(R0, "beep", world.now + number) for number in range(40)]
    assert list(world.mobile().acts) == names[-32:]
    world.control._ask(world.mobile(), world.now)
    assert list(world.mobile().acts) == names[-32:]


def test_a_cancellation_has_an_answer_too(world, tours):
    """By the action that says it; a tour of which the robot never heard has none."""
    world.control.give(R0, "p:1", tours(1), world.now)
    world.run(lambda world: world.mobile().tour.reached == 2)
    name = world.control.cancel(R0, world.now)
    again = world.control.cancel(R0, world.now)
    assert len({name, again} & world.mobile().tour.cancels) == 2
    world.pass_on()
    assert world.mobile().acts[name].status == "FINISHED"
    world.robot.say_connection("OFFLINE", world.now)
    world.pass_on()
    world.control.give(R0, "p:2", tours(1), world.now)
    assert (world.control.cancel(R0, world.now), world.mobile().tour) == ("", None)


def test_a_tour_from_elsewhere_teaches_nothing_where_nothing_was_predicted(world, layout):
    """The robot goes home; no feedback, and it is over."""
    world.robot.last = "a3-12.00"
    way = route(layout, [*layout.along(2, 12.0, 0.0), *layout.across(0, 2, 0)], start=(2, 12.0))
    world.control.send(R0, "home:1", way, world.now, lesson=False)
    world.done()
    world.control.tick(world.now + 60.0)
    assert (world.robot.last, len(world.measured()), list(world.control.feedback)) == ("a1-0.00", 4, [])
    assert [(tour.prediction, tour.status) for tour in world.control.over] == [("home:1", "finished")]
    assert world.control.ended == {}


def test_a_tour_that_stops_to_pick_teaches_the_whole_legs(world, layout):
    """A leg with a stop in it counts without the time of the stop."""
    whole = route(layout, [(0, 1.0), (0, 1.0)])
    way, nodes = stopping(whole, [(0, 4.0), (0, 10.0)])
    work = {node: (Action(f"pick-{node}", "pick"),) for node in nodes}
    world.control.send(R0, "p:1", replace(way, work=work), world.now)
    world.done()
    (found,) = world.control.feedback
    truth = dict(world.truth())
    assert {one.output: one.value for one in found.claims} == pytest.approx(
        {0: truth[0] + truth[1], 1: truth[2] + truth[3]}, abs=0.005
    )
    assert world.robot.worked == ["pick-1", "pick-2"]


@pytest.mark.parametrize(("at", "failed"), [("robot", set()), ("control", set()), ("nobody", {"pick-2"})])
def test_what_could_not_be_done_is_told_from_what_was_taken_back(world, layout, at, failed):
    """A robot that is told to stop says of all that it was still to do that it failed."""
    way, nodes = stopping(route(layout, [(0, 1.0), (0, 1.0)]), [(0, 4.0), (0, 8.0)])
    work = {node: (Action(f"pick-{node}", "pick"),) for node in nodes}
    world.control.send(R0, "p:1", replace(way, work=work), world.now)
    world.run(lambda world: world.robot.worked == ["pick-1"])
    tour = world.mobile().tour
    if at == "nobody":
        world.robot.actions["pick-2"]["status"] = "FAILED"
        world.robot.beat(world.now)
    elif at == "control":
        world.control.cancel(R0, world.now)
    else:
        world.robot.hear("instantActions", {"actions": [{"actionId": "x", "actionType": "cancelOrder"}]}, world.now)
    world.pass_on()
    assert (tour.failed, "pick-1" in tour.done, "pick-2" in tour.done) == (failed, True, bool(failed))
