"""Master control at a broker: orders out, states in, measured times to the loop.

    {interface}/v2/{manufacturer}/{serial}/order, /instantActions     said here
    {interface}/v2/{manufacturer}/{serial}/state, /connection         heard here
    {topic}/robots/state                                              "online" or "offline", kept

States are asked for with quality of service 1, in a session that the broker keeps for a day, and acknowledged when
what they teach was handed on: a robot that sends them so loses none to a broken connection, nor to a broker that keeps
its sessions over a restart. One thread hears, decides and speaks; nobody waits for the network.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import msgspec

from hotloop.adapters.mqtt import HEADER_BYTES_MAX, UNACKNOWLEDGED_MAX, Connection, Identity, Said
from hotloop.config import MqttConfig
from hotloop.errors import HotloopError
from hotloop.types import Feedback
from hotloop.verticals.warehouse.layout import Layout, Leg
from hotloop.verticals.warehouse.robots.control import Control, Measured, RobotsConfig
from hotloop.verticals.warehouse.robots.messages import BYTES_MAX, Action, Robot

_SESSION_S: Final = 24 * 3600
_INBOX_MAX: Final = 5000  # messages that wait; what a robot sends without being acknowledged goes first
_TURN_S: Final = 0.2  # something may be due so often
_FEEDBACK_MAX: Final = 1000  # that waits for the loop
_CLOSE_S: Final = 2.0
_log = logging.getLogger(__name__)


class RobotShown(msgspec.Struct, frozen=True):
    """A robot as it is shown. `errors`: what it says is wrong; `missing`: states that it sent and nobody heard."""

    robot: str
    connection: str
    heard_at: float
    tour: str
    status: str
    leg: int
    legs: int
    errors: tuple[str, ...]
    battery: float | None
    missing: int


class FleetState(msgspec.Struct, frozen=True):
    """How the fleet stands. `refused`: messages that were not taken, by why; `refusals`: the last ones in words."""

    connected: bool
    trouble: str
    states: int
    waiting: int
    refused: dict[str, int]
    refusals: tuple[str, ...]
    dropped: dict[str, int]
    robots: tuple[RobotShown, ...]


class RobotFleet:
    """All robots at the broker. It is the `Ear` of its connection. May be used from several threads."""

    def __init__(
        self, config: RobotsConfig, mqtt: MqttConfig, layout: Layout,
        taught: Callable[[Feedback], object], measured: Callable[[Measured], object] = lambda _: None,
    ) -> None:  # fmt: skip
        """`taught` takes a tour's measured times; a HotloopError of it is no loss: it is asked again. ConfigError."""
        self._control = Control(config, layout)
        who = Identity(
            f"robots:{mqtt.topic}", f"{mqtt.topic}/robots/state", BYTES_MAX + HEADER_BYTES_MAX, _SESSION_S
        )
        self._connection = Connection(mqtt, who, self)
        self._own = who.state
        self._taught, self._told = taught, measured
        self._more = threading.Condition()
        self._inbox: deque[Said] = deque()
        self._dropped: Counter[str] = Counter()
        self._up = self._closing = False
        self._again_s = 0.0
        self._thread = threading.Thread(target=self._run, name="hotloop-robots", daemon=True)

    def start(self) -> None:
        """Begin to listen."""
        self._connection.start()
        self._thread.start()

    def close(self) -> None:
        """Go. Robots go on with what they have."""
        with self._more:
            self._closing = True
            self._more.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_CLOSE_S)
        self._connection.close()

    def give(
        self, robot: Robot, prediction: str, legs: Sequence[Leg], work: Mapping[int, Sequence[Action]] | None = None
    ) -> None:
        """A tour for a robot that has none. InputError."""
        with self._more:
            self._control.give(robot, prediction, legs, time.time(), work)
            self._more.notify_all()

    def cancel(self, robot: Robot) -> None:
        """Take its tour from it. InputError if it has none."""
        with self._more:
            self._control.cancel(robot, time.time())
            self._more.notify_all()

    def act(self, robot: Robot, kind: str) -> None:
        """An instant action without parameters: startPause, stopPause, stateRequest. InputError."""
        with self._more:
            self._control.act(robot, kind, time.time())
            self._more.notify_all()

    def idle(self) -> list[Robot]:
        """Robots that are there and have no tour."""
        with self._more:
            return sorted(one.robot for one in self._control.mobiles.values() if one.present and one.tour is None)

    def state(self) -> FleetState:
        """How it stands."""
        with self._more:
            control = self._control
            waiting = len(self._inbox) + len(control.feedback) + len(control.ended)
            return FleetState(
                self._connection.connected, self._connection.trouble, control.states, waiting,
                dict(control.refused), tuple(control.refusals),
                dict(self._dropped), tuple(_shown(control, robot) for robot in sorted(control.mobiles)),
            )  # fmt: skip

    # the broker's thread

    def up(self) -> None:
        """Be known, and ask for what robots say."""
        self._connection.publish(self._own, b"online", keep=True)
        topics = self._control.topics
        self._connection.subscribe([(topics.all("connection"), 1), (topics.all("state"), 1)])
        with self._more:
            self._up = True
            self._more.notify_all()

    def down(self) -> None:
        """What is to be said is said when it is there again."""

    def came(self, said: Said) -> None:
        """Keep it for the thread. What nobody waits for is bounded here, the rest by what a broker sends unasked."""
        with self._more:
            self._inbox.append(said)
            if len(self._inbox) > _INBOX_MAX + UNACKNOWLEDGED_MAX:
                free = next((one for one in self._inbox if not one.number), self._inbox[-1])
                self._inbox.remove(free)
                self._dropped["too many at once"] += 1
            self._more.notify_all()

    def put(self, failure: str) -> None:
        """The broker has a message, or will not have it."""
        if failure:
            with self._more:
                self._dropped[f"refused by the broker: {failure}"] += 1

    # a thread of its own

    def _run(self) -> None:
        control = self._control
        while True:
            with self._more:
                self._more.wait_for(lambda: self._closing or self._inbox or self._up or control.outbox, _TURN_S)
                if self._closing:
                    return
                taken = self._turn()
                out, legs = list(control.outbox), list(control.measured)
                control.outbox.clear()
                control.measured.clear()
            self._connection.tend()
            for leg in legs:
                self._told(leg)
            self._teach()
            for said in taken:
                self._connection.taken(said)
            for topic, data in out:
                self._say(topic, data)

    def _turn(self) -> list[Said]:
        """Decide on what came, and on what is due."""
        now = time.time()
        if self._up:
            self._up = False
            self._control.up(now)
        taken = list(self._inbox)
        self._inbox.clear()
        for said in taken:
            self._control.came(said.topic, said.data, now, kept=said.kept)
        self._control.tick(now)
        return taken

    def _teach(self) -> None:
        """Hand on what was measured; what cannot be taken now waits."""
        waiting = self._control.feedback
        while waiting and time.monotonic() >= self._again_s:
            try:
                self._taught(waiting[0])
            except HotloopError as error:
                _log.warning("measured times wait: %s", error)
                self._again_s = time.monotonic() + 1.0
                break
            waiting.popleft()
        while len(waiting) > _FEEDBACK_MAX:
            waiting.popleft()
            self._dropped["feedback: the loop does not take it"] += 1

    def _say(self, topic: str, data: bytes) -> None:
        """Only while the broker is there: it is said anew when it is back, and an older word must not come then."""
        if not self._connection.connected:
            return
        if self._connection.publish(topic, data) is None:
            self._dropped["larger than the broker takes"] += 1


def _shown(control: Control, robot: Robot) -> RobotShown:
    one = control.mobiles[robot]
    tour = one.tour
    battery = None if one.state is None else one.state.batteryState.batteryCharge
    legs = (tour.prediction, tour.status, tour.reached, tour.route.end) if tour else ("", "", 0, 0)
    errors = tuple(one.errors)
    return RobotShown(str(robot), one.connection, one.heard_at, *legs, errors, battery, one.track.missing)
