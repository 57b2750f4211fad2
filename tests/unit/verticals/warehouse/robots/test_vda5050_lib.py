"""Robots that are not ours: vehicles of vda-5050-lib take our orders, and what they say is measured rightly."""

from __future__ import annotations

import signal
import time
from collections import Counter

import pytest

from hotloop.config import MqttConfig
from hotloop.errors import NotFoundError
from hotloop.testing.vda5050_lib.peer import NodeRobots
from hotloop.verticals.warehouse.robots.messages import Action, Robot
from hotloop.verticals.warehouse.robots.mqtt import RobotFleet
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

FASTER = 20.0
SPEED_M_S = 2.0 * FASTER  # of their vehicles, in our time
TICK_S = 0.01
ROBOTS = [Robot("lib", "n0"), Robot("lib", "n1")]


class Hall:
    """Two of their robots, a control of ours, and all that it was told."""

    def __init__(self, url, layout):
        self.feedback, self.measured = [], []
        settings = RobotsConfig(names=("lib/n0", "lib/n1"), again_s=0.3, silent_s=1.0, base=4, horizon=2)
        self.control = RobotFleet(settings, MqttConfig(url=url), layout, self.feedback.append, self.measured.append)
        self.layout = layout
        self.control.start()
        self.theirs = NodeRobots(url, 2, FASTER)

    def until(self, found, limit_s=20.0):
        """The control's state, once it is as wanted."""
        ends_at = time.monotonic() + limit_s
        while not found(self.control.state()):
            assert time.monotonic() < ends_at, self.control.state()
            time.sleep(0.01)
        return self.control.state()

    def drive(self, name, legs):
        """Both robots one tour each."""
        self.until(lambda _: self.control.idle() == ROBOTS)
        for robot in ROBOTS:
            self.control.give(robot, f"{robot.serial}:{name}", legs[robot.serial])

    def planned_s(self, one):
        """How long a leg takes at their speed, as the layout has it."""
        stretch, share = one.passage.stretch, one.passage.share
        return self.layout.planned_s[stretch] * self.layout.config.speed_m_s * share / SPEED_M_S

    def close(self):
        self.theirs.close()
        self.control.close()


@pytest.fixture
def hall(broker, layout, monkeypatch):
    """Without node, or what it runs, the test is skipped."""
    monkeypatch.setattr("hotloop.adapters.mqtt.PAUSE_S", 0.05)
    try:
        found = Hall(broker.url, layout)
    except NotFoundError as error:
        pytest.skip(str(error))
    yield found
    found.close()


def test_their_robots_go_our_tours_and_each_leg_is_measured(hall, tours):
    """Two tours each, with updates that are stitched on: every leg once, its time as their speed has it."""
    count = 0
    for name in range(2):
        legs = {"n0": tours(10 + name), "n1": tours(20 + name)}
        count += sum(map(len, legs.values()))
        hall.drive(name, legs)
    state = hall.until(lambda state: len(hall.feedback) == 4)
    assert (state.refused, state.dropped) == ({}, {})
    assert [robot.errors for robot in state.robots] == [(), ()]
    assert Counter((one.prediction, one.leg) for one in hall.measured).most_common(1)[0][1] == 1
    assert len(hall.measured) == sum(len(one.claims) for one in hall.feedback) == count
    late = sorted(one.passage.seconds - hall.planned_s(one) for one in hall.measured)
    assert -TICK_S < late[0], "nobody is faster than their robots are"
    assert late[len(late) // 2] < 4 * TICK_S, "they begin and end a leg with a tick"


def test_their_robots_can_be_paused_and_cancelled(hall, tours):
    """They do what the instant actions say, and the paused leg is not learned."""
    hall.drive(0, {"n0": tours(10), "n1": tours(20)})
    hall.until(lambda state: state.robots[0].leg >= 2)
    hall.control.act(ROBOTS[0], "startPause")
    hall.until(lambda _: hall.control._control.mobiles[ROBOTS[0]].state.paused)
    at = hall.control.state().robots[0].leg
    hall.until(lambda state: hall.feedback)  # the other one is through
    assert hall.control.state().robots[0].leg == at
    hall.control.act(ROBOTS[0], "stopPause")
    hall.until(lambda state: state.robots[0].leg > at + 1)
    hall.control.cancel(ROBOTS[0])
    hall.until(lambda state: state.robots[0].tour == "")
    assert at not in {one.leg for one in hall.measured if one.robot == ROBOTS[0]}


def test_what_their_robots_cannot_do_is_refused_and_shown(hall):
    """An action that they do not know: the tour is over, their words are kept."""
    hall.until(lambda _: hall.control.idle() == ROBOTS)
    hall.control.give(ROBOTS[0], "n0:1", [(0, 0.5), (0, 0.5)], {1: [Action("a-1", "brewCoffee")]})
    state = hall.until(lambda state: state.robots[0].tour == "")
    assert "orderError" in state.robots[0].errors[0]
    hall.control.give(ROBOTS[0], "n0:2", [(0, 0.5), (0, 0.5)])
    hall.until(lambda _: hall.feedback)
    assert len(hall.measured) == 2


def test_a_broker_that_was_killed_stops_none_of_their_tours(hall, tours, broker):
    """They send without acknowledgement, and nothing while it is away: what was not heard is not known, the rest is."""
    hall.drive(0, {"n0": tours(10), "n1": tours(20)})
    hall.until(lambda state: state.robots[0].leg >= 3)
    broker.stop(signal.SIGKILL)
    time.sleep(0.3)
    broker.start()
    hall.until(lambda _: len(hall.feedback) == 2)
    found = Counter((one.prediction, one.leg) for one in hall.measured)
    assert set(found.values()) == {1}
    late = sorted(one.passage.seconds - hall.planned_s(one) for one in hall.measured)
    assert -TICK_S < late[0]
    assert late[-1] < 1.0, "no time spans what was not heard"
