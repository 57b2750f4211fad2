"""What robots say is read whole or refused by name; what is said to them is as the specification writes it."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import ConfigError, RobotMessageError
from hotloop.testing.vda5050_robot import SimulatedRobot
from hotloop.verticals.warehouse.robots.messages import (
    BYTES_MAX,
    Action,
    ConnectionSaid,
    InstantActions,
    Robot,
    State,
    Topics,
    check_robot,
    decode,
    encode,
    moment,
)

ROBOT = Robot("sim", "r0")


def said(what="state", **changed):
    """A message of a simulated robot, with other fields; None leaves one out."""
    robot = SimulatedRobot("sim", "r0", lambda edge, now: 1.0)
    robot.beat(1_790_000_000.25)
    robot.say_connection("ONLINE", 1_790_000_000.25)
    message = dict(robot.said)[what] | changed
    return json.dumps({key: value for key, value in message.items() if value is not None}).encode()


def test_a_topic_says_whose_it_is_and_what():
    """There and back."""
    topics = Topics("plant-1")
    assert topics.of(ROBOT, "state") == "plant-1/v2/sim/r0/state"
    assert topics.read("plant-1/v2/sim/r0/state") == (ROBOT, "state")
    assert topics.all("connection") == "plant-1/v2/+/+/connection"


@pytest.mark.parametrize("topic", ["", "uagv", "uagv/v1/sim/r0/state", "other/v2/sim/r0/state", "uagv/v2/sim/state",
                                   "uagv/v2//r0/state", "uagv/v2/sim//state", "uagv/v2/a/b/c/state"])  # fmt: skip
def test_other_topics_are_nobodys(topic):
    """They are refused by name."""
    with pytest.raises(RobotMessageError) as caught:
        Topics().read(topic)
    assert caught.value.why == "topic"


@pytest.mark.parametrize("version", ["2.0.0", "2.1.0", "2.1", "2.13.4"])
def test_each_version_2_is_read(version):
    """A robot of 2.0 speaks what one of 2.1 does, as far as it is needed here."""
    assert decode(ROBOT, said(version=version), State).version == version


def test_what_is_not_known_is_passed_over():
    """A robot may say more than is read: the specification demands that of readers."""
    state = decode(ROBOT, said(maps=[{"mapId": "x"}], plant={"any": ["thing"]}, agvPosition=None), State)
    assert (state.lastNodeId, state.headerId, state.timestamp.timestamp()) == ("a1-0.00", 0, 1_790_000_000.25)


def test_a_connection_is_read():
    """Each of the three words."""
    for word in ("ONLINE", "OFFLINE", "CONNECTIONBROKEN"):
        assert decode(ROBOT, said("connection", connectionState=word), ConnectionSaid).connectionState == word


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "malformed"),
        (b"{", "malformed"),
        (b"\xff\xfe", "malformed"),
        (b"[]", "malformed"),
        (b"null", "malformed"),
        (b"[" * 100_000, "malformed"),
        (b" " * (BYTES_MAX + 1), "oversized"),
        (said(version="1.1.0"), "version"),
        (said(version="3.0.0"), "version"),
        (said(version="1.1.0", actionStates=None), "version"),
        (said(version="2"), "version"),
        (said(version="22.0.0"), "version"),
        (said(version=None), "malformed"),
        (said(version="2.x"), "malformed"),
        (said(version=2.1), "malformed"),
        (said(serialNumber="r1"), "impostor"),
        (said(manufacturer="other"), "impostor"),
        (said(headerId=-1), "malformed"),
        (said(headerId=2**32), "malformed"),
        (said(headerId="1"), "malformed"),
        (said(headerId=1.5), "malformed"),
        (said(timestamp="yesterday"), "malformed"),
        (said(timestamp="2026-01-01T00:00:00"), "malformed"),
        (said(orderId="x" * 201), "malformed"),
        (said(orderUpdateId=None), "malformed"),
        (said(driving="yes"), "malformed"),
        (said(operatingMode="ASLEEP"), "malformed"),
        (said(nodeStates=[{"nodeId": "a"}]), "malformed"),
        (said(nodeStates=[{"nodeId": "a", "sequenceId": 2, "released": True}] * 2001), "malformed"),
        (said(errors=[{"errorType": "a", "errorLevel": "BAD"}]), "malformed"),
        (said(safetyState={"eStop": "NONE"}), "malformed"),
        (said(batteryState={"batteryCharge": "full", "charging": False}), "malformed"),
    ],
)
def test_what_cannot_be_is_refused_by_its_name(data, why):
    """With words that name the robot."""
    with pytest.raises(RobotMessageError) as caught:
        decode(ROBOT, data, State)
    assert (caught.value.why, "sim/r0" in str(caught.value), len(str(caught.value)) < 600) == (why, True, True)


@settings(deadline=None)
@given(st.data())
def test_no_bytes_do_more_than_be_refused(data):
    """However a message is broken: a record, or the one error."""
    whole = bytearray(said())
    cut = bytes(whole[: data.draw(st.integers(0, len(whole) - 1))])
    with pytest.raises(RobotMessageError):
        decode(ROBOT, cut, State)
    for _ in range(data.draw(st.integers(1, 8))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    try:
        assert isinstance(decode(ROBOT, bytes(whole), State), State)
    except RobotMessageError as error:
        assert error.why in {"malformed", "version", "impostor"}  # noqa: PT017


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(1_790_000_000.0, "2026-09-21T14:13:20.000Z"), (1_790_000_000.1239, "2026-09-21T14:13:20.124Z"),
     (1_790_000_000.9999, "2026-09-21T14:13:21.000Z")],
)  # fmt: skip
def test_a_time_is_written_as_the_specification_does(seconds, words):
    """UTC, in milliseconds, with a Z."""
    assert moment(seconds) == words


def test_what_is_said_has_the_names_of_the_specification():
    """And all that a robot has to be told."""
    message = InstantActions(
        headerId=3, timestamp=moment(0.0), version="2.1.0", manufacturer="sim", serialNumber="r0",
        actions=(Action("a-1", "startPause"),),
    )  # fmt: skip
    assert json.loads(encode(message)) == {
        "headerId": 3, "timestamp": "1970-01-01T00:00:00.000Z", "version": "2.1.0", "manufacturer": "sim",
        "serialNumber": "r0", "actions": [
            {"actionId": "a-1", "actionType": "startPause", "blockingType": "HARD", "actionParameters": []}
        ],
    }  # fmt: skip
    assert decode(ROBOT, encode(message), InstantActions) == message


@pytest.mark.parametrize("robot", [Robot("", "a"), Robot("a", ""), Robot("a/b", "c"), Robot("a", "+"), Robot("a", "#"),
                                   Robot("a", "b\0"), Robot("a" * 201, "b")])  # fmt: skip
def test_a_name_that_cannot_be_in_a_topic_is_refused(robot):
    """It would be heard by others, or by nobody."""
    with pytest.raises(ConfigError, match="no name for a robot"):
        check_robot(robot)
    assert check_robot(Robot("KUKA AG", "KMP-1.5")).serial == "KMP-1.5"


def test_robots_have_an_order():
    """They are listed by name."""
    assert min([Robot("b", "1"), Robot("a", "2"), Robot("a", "1")]) == Robot("a", "1")
    assert msgspec.json.decode(msgspec.json.encode(ROBOT), type=Robot) == ROBOT
