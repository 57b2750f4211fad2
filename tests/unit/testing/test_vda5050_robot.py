"""The simulated robot does what VDA 5050 says of orders, updates, instant actions: else tests with it prove little."""

from __future__ import annotations

import pytest

from hotloop.testing.vda5050_robot import SimulatedRobot


def order(first=0, released=3, ahead=5, name="o-1", update=0, work=()):
    """An order along nodes n0, n1, ...: from `first`, released up to `released`, announced up to `ahead`."""
    def done(k):
        return [{"actionId": f"pick-{k}", "actionType": "pick", "blockingType": "HARD"}] if k in work else []

    nodes = [
        {"nodeId": f"n{k}", "sequenceId": 2 * k, "released": k <= released, "actions": done(k)}
        for k in range(first, ahead + 1)
    ]
    edges = [
        {"edgeId": f"e{k}", "sequenceId": 2 * k + 1, "released": k < released, "length": 10.0,
         "startNodeId": f"n{k}", "endNodeId": f"n{k + 1}", "actions": []}
        for k in range(first, ahead)
    ]  # fmt: skip
    return {"orderId": name, "orderUpdateId": update, "nodes": nodes, "edges": edges}


def act(kind):
    """An instant action."""
    return {"actions": [{"actionId": f"a-{kind}", "actionType": kind}]}


class Driven:
    """A robot at n0 that takes 10 s for each edge."""

    def __init__(self):
        self.robot = SimulatedRobot("sim", "r0", lambda edge, now: edge["length"], at="n0")

    def hear(self, what, message, now=0.0):
        self.robot.hear(what, message, now)
        return self.state()

    def until(self, now):
        self.robot.advance(now)
        if not self.robot.said:
            self.robot.beat(now)
        return self.state()

    def state(self):
        found = self.robot.said[-1][1]
        self.robot.said.clear()
        return found


@pytest.fixture
def driven():
    return Driven()


def errors(state):
    """Their types."""
    return [one["errorType"] for one in state["errors"]]


def test_it_goes_as_far_as_the_base_and_no_further(driven):
    """The horizon is announced, not released."""
    state = driven.hear("order", order())
    assert (state["orderId"], state["driving"], state["lastNodeSequenceId"]) == ("o-1", True, 0)
    assert [one["sequenceId"] for one in state["nodeStates"]] == [2, 4, 6, 8, 10]
    state = driven.until(10.0)
    assert (state["lastNodeId"], [one["sequenceId"] for one in state["edgeStates"]]) == ("n1", [3, 5, 7, 9])
    state = driven.until(99.0)
    assert (state["lastNodeId"], state["driving"], driven.robot.due) == ("n3", False, None)
    assert [one["released"] for one in state["nodeStates"]] == [False, False]
    assert driven.robot.gone == [("o-1", 0, 0.0, 10.0), ("o-1", 1, 10.0, 20.0), ("o-1", 2, 20.0, 30.0)]


def test_an_update_is_stitched_to_the_end_of_the_base(driven):
    """The old horizon is dropped; what is done goes on."""
    driven.hear("order", order())
    driven.until(10.0)
    state = driven.hear("order", order(first=3, released=4, ahead=4, update=1), 12.0)
    assert (state["orderUpdateId"], errors(state)) == (1, [])
    assert [(one["sequenceId"], one["released"]) for one in state["nodeStates"]] == [(4, True), (6, True), (8, True)]
    state = driven.until(99.0)
    assert (state["lastNodeId"], state["nodeStates"], state["edgeStates"]) == ("n4", [], [])
    assert driven.robot.gone[1] == ("o-1", 1, 10.0, 20.0)


def test_an_update_while_it_waits_lets_it_go_on(driven):
    """From when it was heard."""
    driven.hear("order", order())
    driven.until(50.0)
    driven.hear("order", order(first=3, released=5, update=1), 50.0)
    assert driven.until(60.0)["lastNodeId"] == "n4"
    assert driven.robot.gone[-1] == ("o-1", 3, 50.0, 60.0)


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (order(first=2, released=5, update=1), "orderUpdateError"),  # does not begin at the end of the base
        (order(name="o-2"), "orderError"),  # it has one
    ],
)
def test_what_does_not_fit_is_refused_with_its_order(driven, message, error):
    """As a warning that names the order; it goes on with what it has."""
    driven.hear("order", order())
    state = driven.hear("order", message, 1.0)
    assert errors(state) == [error]
    references = {one["referenceKey"]: one["referenceValue"] for one in state["errors"][0]["errorReferences"]}
    assert references["orderId"] == message["orderId"]
    assert (state["orderId"], state["orderUpdateId"], driven.until(30.0)["lastNodeId"]) == ("o-1", 0, "n3")


def test_an_order_that_begins_elsewhere_is_refused(driven):
    """It has no way there."""
    assert errors(driven.hear("order", order(first=2))) == ["noRouteError"]
    assert driven.robot.due is None
    assert errors(driven.hear("order", order())) == [], "the next order takes the error away"


def test_an_older_update_is_refused_and_the_same_passed_over(driven):
    """A repeated message does nothing, and is no error."""
    driven.hear("order", order())
    driven.hear("order", order(first=3, released=5, update=2))
    assert errors(driven.hear("order", order(first=3, released=5, update=2))) == []
    assert errors(driven.hear("order", order(first=3, released=5, update=1))) == ["orderUpdateError"]


def test_work_is_done_before_it_goes_on(driven):
    """One action after the other; each change is said."""
    state = driven.hear("order", order(released=2, ahead=2, work=(0, 1)))
    assert [(one["actionId"], one["actionStatus"]) for one in state["actionStates"]] == [
        ("pick-0", "RUNNING"), ("pick-1", "WAITING"),
    ]  # fmt: skip
    assert not state["driving"]
    state = driven.until(4.0)
    assert (state["actionStates"][0]["actionStatus"], state["driving"]) == ("FINISHED", True)
    driven.until(99.0)
    assert driven.robot.gone == [("o-1", 0, 4.0, 14.0), ("o-1", 1, 18.0, 28.0)]


def test_a_cancelled_order_is_over(driven):
    """Nothing is left to come; what was not done has failed; the action itself is finished."""
    driven.hear("order", order(work=(2,)))
    driven.until(12.0)
    state = driven.hear("instantActions", act("cancelOrder"), 12.0)
    assert (state["nodeStates"], state["edgeStates"], state["orderId"], state["driving"]) == ([], [], "o-1", False)
    assert {one["actionId"]: one["actionStatus"] for one in state["actionStates"]} == {
        "pick-2": "FAILED", "a-cancelOrder": "FINISHED",
    }  # fmt: skip
    assert driven.robot.due is None


def test_there_may_be_nothing_to_cancel(driven):
    """That is said."""
    state = driven.hear("instantActions", act("cancelOrder"))
    assert (errors(state), state["actionStates"][0]["actionStatus"]) == (["noOrderToCancel"], "FAILED")


def test_a_pause_takes_its_time(driven):
    """What was left of the edge is left afterwards."""
    driven.hear("order", order())
    state = driven.hear("instantActions", act("startPause"), 4.0)
    assert (state["paused"], driven.robot.due) == (True, None)
    assert driven.until(50.0)["lastNodeId"] == "n0"
    state = driven.hear("instantActions", act("stopPause"), 50.0)
    assert (state["paused"], driven.robot.due) == (False, 56.0)


def test_an_order_during_a_pause_waits(driven):
    """It is taken, and begun when the pause is over."""
    driven.hear("instantActions", act("startPause"))
    assert driven.hear("order", order(), 1.0)["orderId"] == "o-1"
    assert driven.robot.due is None
    driven.hear("instantActions", act("stopPause"), 5.0)
    assert driven.robot.due == 15.0


def test_it_starts_anew_with_or_without_its_order(driven):
    """And counts from 0 in either case."""
    driven.hear("order", order())
    driven.robot.restart(5.0, keeps_order=True)
    state = driven.state()
    assert (state["headerId"], state["orderId"], driven.robot.due) == (0, "o-1", 10.0)
    driven.robot.restart(6.0, keeps_order=False)
    what, message = driven.robot.said[0]
    assert (what, message["headerId"], message["connectionState"]) == ("connection", 0, "ONLINE")
    state = driven.state()
    assert (state["headerId"], state["orderId"], state["lastNodeId"], driven.robot.due) == (0, "", "n0", None)


def test_what_it_says_is_taken_once(driven):
    """As bytes, with the time of the event and its number."""
    driven.hear("order", order())
    driven.robot.advance(25.0)
    said = driven.robot.take()
    assert [(what, b'"headerId": %d' % (k + 1) in data) for k, (what, data) in enumerate(said)] == [("state", True)] * 2
    assert [b"00:00:10.000Z" in said[0][1], b"00:00:20.000Z" in said[1][1]] == [True, True]
    assert driven.robot.take() == []
