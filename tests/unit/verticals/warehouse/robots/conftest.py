"""A small warehouse, simulated robots, and master control that hears them without a broker."""

from __future__ import annotations

import importlib.util
import json
import re
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from hotloop.config import MqttConfig
from hotloop.testing.vda5050_fleet import SimulatedFleet
from hotloop.testing.vda5050_robot import SimulatedRobot
from hotloop.verticals.warehouse.exact import options, solve, walked
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.robots import recall
from hotloop.verticals.warehouse.robots.control import Control
from hotloop.verticals.warehouse.robots.messages import Robot, State, Topics, decode
from hotloop.verticals.warehouse.robots.mqtt import RobotFleet
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

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
        self._cut, self._kept, self._last = False, {}, []
        for robot in self.robots.values():
            robot.say_connection("ONLINE", self.now)
            robot.beat(self.now)
        self.pass_on()

    @property
    def cut(self):
        """Nothing passes; afterwards the broker says what robots last said of their connections."""
        return self._cut

    @cut.setter
    def cut(self, now):
        was, self._cut = self._cut, now
        for name, data in self._kept.items() if was and not now else ():
            self.control.came(Topics().of(name, "connection"), data, self.now, kept=True)

    def kill(self, repeated=3):
        """The control's process dies, and another knows what was kept; the broker sends the last messages again."""
        before, records = self.control, {recall.LAYOUT: recall.layout_record(LAYOUT)}
        for robot in before.mobiles:
            records |= recall.records(before, robot)
        self.control = Control(before.config, LAYOUT)
        recall.restore(self.control, records)
        for name in ("measured", "feedback", "refusals", "over"):
            getattr(self.control, name).extend(getattr(before, name))
        self.control.refused += before.refused
        for topic, data in [] if self.cut else self._last[-repeated:] if repeated else []:
            self.control.came(topic, data, self.now)
        self.control.up(self.now)
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
                    if what == "connection":
                        self._kept[name] = data
                    if not self.cut:
                        self.control.came(Topics().of(name, what), data, self.now)
                        self._last.append((Topics().of(name, what), data))
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


class Plant:
    """Simulated robots at a broker, the control, and who keeps them busy: each robot gets so many tours."""

    def __init__(self, url, count=3, tours=1, speed=50.0, records=None, **settings):
        mqtt = MqttConfig(url=url)
        self.serials = [f"r{number:03d}" for number in range(count)]
        made = [SimulatedRobot("sim", name, paced(number)) for number, name in enumerate(self.serials)]
        self.robots = {Robot("sim", robot.serial): robot for robot in made}
        self.fleet = SimulatedFleet(list(self.robots.values()), mqtt, speed)
        names = tuple(f"sim/{name}" for name in self.serials)
        config = RobotsConfig(**{"names": names, "again_s": 0.5, **settings})
        self.keeps = records is not None
        self.control = RobotFleet(config, mqtt, LAYOUT, self.taught, self.told, records)
        self.tours, self.given = tours, Counter()
        self.feedback, self.measured, self.latency_s = {}, [], []
        self.changed = threading.Condition()

    def taught(self, feedback):
        with self.changed:
            self.feedback[feedback.prediction] = feedback  # the last word counts
            self.changed.notify_all()

    def told(self, one):
        said_s = self.fleet.sent_s.get((one.prediction, 2 * one.leg + 2))
        if said_s is not None:
            self.latency_s.append(time.monotonic() - said_s)
        self.measured.append(one)

    def start(self):
        self.control.start()
        if self.keeps:  # from the first word on
            self.until(lambda state: state.connected)
        self.fleet.start()
        return self

    def dispatch(self, limit_s, during=lambda: None):
        """Give tours until all are done. `during` is called again and again."""
        ends_at = time.monotonic() + limit_s
        while len(self.feedback) < len(self.robots) * self.tours:
            assert time.monotonic() < ends_at, (len(self.feedback), self.control.state())
            for robot in self.control.idle():
                if self.given[robot] < self.tours:
                    self.given[robot] += 1
                    seed = 1000 * self.given[robot] + self.serials.index(robot.serial)
                    self.control.give(robot, f"{robot.serial}:{self.given[robot]}", tour(seed))
            during()
            time.sleep(0.01)

    def until(self, found, limit_s=5.0):
        """The control's state, once it is as wanted."""
        ends_at = time.monotonic() + limit_s
        while not found(self.control.state()):
            assert time.monotonic() < ends_at, self.control.state()
            time.sleep(0.005)
        return self.control.state()

    def settled(self):
        """The control's state when robots say nothing any more, and all that they have said was heard."""
        self.fleet.still()
        return self.until(lambda state: state.states >= self.fleet.states and state.waiting == 0, limit_s=20.0)

    def truth(self):
        """(robot, order, leg) -> seconds."""
        return {(str(name), order, leg): ended - began
                for name, robot in self.robots.items() for order, leg, began, ended in robot.gone}  # fmt: skip

    def heard(self):
        """The same as the control has it, and how often each."""
        found = [((str(one.robot), one.prediction, one.leg), one.passage.seconds) for one in self.measured]
        return dict(found), Counter(key for key, _ in found)

    def close(self):
        self.fleet.close()
        self.control.close()


@pytest.fixture(scope="session")
def worlds():
    """Makes worlds."""
    return World


@pytest.fixture
def world():
    """One robot that is there, and its control."""
    return World()


@pytest.fixture(scope="session")
def tours():
    """Makes the legs of a tour from a seed."""
    return tour


@pytest.fixture(scope="session")
def layout():
    """The small warehouse."""
    return LAYOUT


@pytest.fixture(scope="session")
def recorded():
    """All that a robot said on one tour with updates and work, as States; and the truth of its legs."""

    def record(seed, work=None):
        world = World(base=3, horizon=2)
        world.control.give(Robot("sim", "r0"), "p:1", tour(seed), world.now, work)
        world.done()
        data = [json.dumps(message).encode() for what, message in world.said if what == "state"]
        return [decode(Robot("sim", "r0"), one, State) for one in data], dict(world.truth())

    return record


@pytest.fixture
def plants(monkeypatch):
    """Makes plants, and closes them. Nobody waits a second to connect again."""
    monkeypatch.setattr("hotloop.adapters.mqtt.PAUSE_S", 0.05)
    made = []

    def make(url, **settings):
        made.append(Plant(url, **settings))
        return made[-1].start()

    yield make
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def schemas():
    """VDA 5050's published JSON schemas, as validators; without the package that holds them the test is skipped."""
    spec = importlib.util.find_spec("vda5050")
    if spec is None or not spec.submodule_search_locations or importlib.util.find_spec("jsonschema") is None:
        pytest.skip('the published schemas are needed: pip install "hotloop[test]" (vda5050-sdk, jsonschema)')
    from jsonschema import Draft202012Validator, FormatChecker

    formats = FormatChecker()
    formats.checks("date-time")(lambda text: bool(re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{2,3}Z", text)))
    folder = Path(spec.submodule_search_locations[0]) / "validation/schemas"
    return {
        what: Draft202012Validator(json.loads((folder / f"{what}.json").read_text()), format_checker=formats)
        for what in ("order", "state", "instantActions", "connection")
    }
