"""Who picks what next: a robot that is free gets the orders that lie together, on the tour that the loop answers with.

An order leaves those that wait in the same durable step in which its tour is kept, and before the robot hears of it.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import msgspec

from hotloop.agent import Agent
from hotloop.errors import ConfigError, HotloopError, InputError
from hotloop.store.records import Changes
from hotloop.types import Output, Payload
from hotloop.verticals.warehouse.batching import Order, lying_together
from hotloop.verticals.warehouse.layout import Layout, Leg, Place
from hotloop.verticals.warehouse.robots.control import Tour
from hotloop.verticals.warehouse.robots.desk import Desk, picking
from hotloop.verticals.warehouse.robots.messages import Robot
from hotloop.verticals.warehouse.robots.mqtt import RobotFleet
from hotloop.verticals.warehouse.robots.route import Route, home, routes, stopping
from hotloop.verticals.warehouse.robots.settings import RobotsConfig
from hotloop.verticals.warehouse.task import Request, Warehouse

_LOOK_S: Final = 0.1
_RETRY_S: Final = 2.0
_REST_S_MAX: Final = 60.0
_HOME: Final = "home"
_log = logging.getLogger(__name__)


@dataclass
class _Rest:
    """A robot whose last tours did not end well is left alone for a while."""

    tries: int = 0
    until_s: float = 0.0


class Dispatcher:
    """Gives tours, one thread at a time. `trouble`: why it cannot at the moment."""

    def __init__(self, config: RobotsConfig, agent: Agent, fleet: RobotFleet, desk: Desk) -> None:
        """ConfigError if the loop is of another vertical."""
        if not isinstance(agent.predictor.vertical, Warehouse):
            raise ConfigError('robots need a warehouse: vertical = "warehouse"')
        self._config, self._agent, self._fleet, self._desk = config, agent, fleet, desk
        self._rests: dict[Robot, _Rest] = {}
        self.trouble = ""
        fleet.over = self.ended

    @property
    def layout(self) -> Layout:
        """Of the warehouse."""
        return self._task.layout

    @property
    def _task(self) -> Warehouse:
        task = self._agent.predictor.vertical
        assert isinstance(task, Warehouse), "it was looked at in the beginning"
        return task

    def run(self, stop: threading.Event) -> None:
        """Give tours until `stop`."""
        while not stop.wait(_LOOK_S):
            try:
                while self.step():
                    self.trouble = ""
            except HotloopError as error:
                if self.trouble != str(error):
                    _log.warning("no tour is given: %s", error)
                self.trouble = str(error)
                stop.wait(_RETRY_S)

    def step(self) -> bool:
        """Give one robot something to do; False if there is nothing to do, or nobody to do it. HotloopError: this one
        got nothing.
        """
        floor, waiting = self._fleet.floor(), self._fleet.beside(self._desk.waiting)
        failed: HotloopError | None = None
        for robot, place in floor.free if waiting else ():
            rest = self._rests.setdefault(robot, _Rest())
            if time.monotonic() < rest.until_s:
                continue
            try:
                self._give(robot, place, waiting, floor.busy)
            except HotloopError as error:  # this one rests, so that it does not keep the others from their tours
                failed = error
                self._rested(rest)
            else:
                return True
        if failed is not None:
            raise failed
        return False

    def ended(self, tour: Tour) -> Changes:
        """What follows for the orders of a tour that is over; and whether its robot gets another one at once."""
        rest = self._rests.setdefault(tour.robot, _Rest())
        if tour.status == "finished":
            rest.tries, rest.until_s = 0, 0.0
        else:
            self._rested(rest)
        return self._desk.ended(tour)

    def _rested(self, rest: _Rest) -> None:
        """Twice as long as the last time."""
        pause_s = min(self._config.again_s * 2.0**rest.tries, max(_REST_S_MAX, self._config.again_s))
        rest.tries, rest.until_s = min(rest.tries + 1, 16), time.monotonic() + pause_s

    def _give(self, robot: Robot, place: Place, waiting: Sequence[Order], busy: Mapping[int, int]) -> None:
        now = time.time()
        times = self._task.expected(self._agent.predictor.head, now, busy)
        batch = lying_together(self.layout, waiting, self._config.capacity, times)
        picks = [pick for order in batch for pick in order.picks]
        elsewhere = place != (self.layout.config.depot, 0.0)
        asked = Request(picks, now, dict(busy), place if elsewhere else None)
        said = self._agent.sense(Payload(msgspec.json.encode(asked), "application/json"))
        try:
            way, nodes = stopped(routes(self.layout, legs_of(said.outputs), place), picks)
        except InputError:
            if not elsewhere:
                raise
            # legs say no direction: some tours from the middle of an aisle can be read in more than one way
            self._fleet.send(robot, f"{_HOME}:{robot.serial}:{int(now * 1e3)}", home(self.layout, place))
            return
        work = picking(said.id, self._config.pick, batch, nodes)
        self._fleet.send(robot, said.id, replace(way, work=work), lambda: self._desk.sent(said.id, batch, nodes))


def stopped(tours: Sequence[Route], picks: Sequence[Place]) -> tuple[Route, list[int]]:
    """The one of some tours that comes by all picks, with a node for each. InputError if none does."""
    wrong: InputError | None = None
    for tour in tours:
        try:
            return stopping(tour, picks)
        except InputError as error:
            wrong = wrong or error
    raise wrong or InputError("there is no tour")


def legs_of(outputs: Sequence[Output]) -> list[Leg]:
    """The legs that an answer says."""
    return [(int(one.region[0]), one.region[1]) for one in outputs if one.region is not None]
