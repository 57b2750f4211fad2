"""A small warehouse, simulated robots, and master control that hears them without a broker."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from hotloop.testing.vda5050_robot import SimulatedRobot
from hotloop.verticals.warehouse.exact import options, solve, walked
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.robots.control import Control, RobotsConfig
from hotloop.verticals.warehouse.robots.messages import Robot, Topics

LAYOUT = Layout(LayoutConfig(aisles=4, parts=3))
START_S = 1_790_000_000.0


def tour(seed, picks=4, layout=LAYOUT):
    """The legs of an exact tour through random places."""
    rng = np.random.default_rng(seed)
    config = layout.config
    places = [(int(rng.integers(config.aisles)), round(float(rng.uniform(0, 30)), 1)) for _ in range(picks)]
    _, plans = solve(options(layout, [places], [layout.planned_s]))
    return walked(layout, places, plans[0], layout.planned_s)


def paced(seed):
    """Seconds of each edge: its length at 1.5 m/s, and noise, in milliseconds."""
    rng = np.random.default_rng(seed)
    return lambda edge, now: round(edge["length"] / 1.5 * float(rng.uniform(0.8, 2.0)) + 0.5, 3)


class World:
    """Robots and a control, with what they say going to and fro at once."""

    def __init__(self, robots=1, **settings):
        self.now = START_S
        names = tuple(f"sim/r{number}" for number in range(robots))
        self.control = Control(RobotsConfig(**{"names": names, **settings}), LAYOUT)
        self.robots = {Robot("sim", f"r{k}"): SimulatedRobot("sim", f"r{k}", paced(k)) for k in range(robots)}
        self.sent, self.said = [], []
        self.cut = False  # nothing passes
        for robot in self.robots.values():
            robot.say_connection("ONLINE", self.now)
            robot.beat(self.now)
        self.pass_on()

    @property
    def robot(self):
        return self.robots[Robot("sim", "r0")]

    def mobile(self, number=0):
        return self.control.mobiles[Robot("sim", f"r{number}")]

    def pass_on(self):
        """What robots said to control, what control said to robots, until nobody says anything."""
        while any(robot.said for robot in self.robots.values()) or self.control.outbox:
            for name, robot in self.robots.items():
                for what, data in robot.take():
                    self.said.append((what, json.loads(data)))
                    if not self.cut:
                        self.control.came(Topics().of(name, what), data, self.now)
            while self.control.outbox:
                topic, data = self.control.outbox.popleft()
                self.sent.append((topic, json.loads(data)))
                robot, what = Topics().read(topic)
                if not self.cut:
                    self.robots[robot].hear(what, json.loads(data), self.now)

    def run(self, until=lambda world: False, limit_s=3000.0):
        """Let time pass until something is so, or nothing more happens."""
        ends_at = self.now + limit_s
        while not until(self) and self.now < ends_at:
            due = [robot.due for robot in self.robots.values() if robot.due is not None]
            self.now = min([self.now + 1.0, *due])
            for robot in self.robots.values():
                robot.advance(self.now)
            self.control.tick(self.now)
            self.pass_on()

    def done(self):
        """Run until no robot has a tour."""
        self.run(lambda world: all(mobile.tour is None for mobile in world.control.mobiles.values()))

    def truth(self, number=0):
        """Leg -> seconds, of the order that a robot went along."""
        return [(leg, round(ended - began, 3)) for _, leg, began, ended in self.robots[Robot("sim", f"r{number}")].gone]

    def measured(self):
        return [(one.leg, round(one.passage.seconds, 3)) for one in self.control.measured]


@pytest.fixture
def world():
    """One robot that is there, and its control."""
    return World()


@pytest.fixture(scope="session")
def schemas():
    """VDA 5050's published JSON schemas, as validators; without the package that holds them the test is skipped."""
    spec = importlib.util.find_spec("vda5050")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("jsonschema") is None:
        pytest.skip('the published schemas are needed: pip install "hotloop[test]" (vda5050-sdk, jsonschema)')
    from jsonschema import Draft202012Validator, FormatChecker

    folder = Path(spec.submodule_search_locations[0]) / "validation/schemas"
    return {
        what: Draft202012Validator(json.loads((folder / f"{what}.json").read_text()), format_checker=FormatChecker())
        for what in ("order", "state", "instantActions", "connection")
    }
