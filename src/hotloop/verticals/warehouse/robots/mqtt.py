"""Master control at a broker: orders out, states in, measured times to the loop.

    {interface}/v2/{manufacturer}/{serial}/order, /instantActions     said here
    {interface}/v2/{manufacturer}/{serial}/state, /connection         heard here
    {topic}/robots/state                                              "online" or "offline", kept

States are asked for with quality of service 1, in a session that the broker keeps for a day, and acknowledged when
what they teach was handed on: a robot that sends them so loses none to a broken connection, nor to a broker that keeps
its sessions over a restart. One thread hears, decides and speaks; nobody waits for the network.

With records, a fleet outlives its process: what follows from what came is durable before that is acknowledged, and
before anything is said to a robot. After kill -9 the broker sends again what was not acknowledged, and what was said
meanwhile.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

import msgspec

from hotloop.adapters.mqtt import HEADER_BYTES_MAX, UNACKNOWLEDGED_MAX, Connection, Identity, Said
from hotloop.config import MqttConfig
from hotloop.errors import CorruptError, HotloopError, InputError, ServiceError, StoreError
from hotloop.store.records import Changes, DiskRecords
from hotloop.types import UNREADABLE, Feedback
from hotloop.verticals.warehouse.layout import Layout, Leg, Place
from hotloop.verticals.warehouse.robots import recall
from hotloop.verticals.warehouse.robots.control import Acted, Control, Measured, Mobile, Tour
from hotloop.verticals.warehouse.robots.messages import BYTES_MAX, Action, Robot
from hotloop.verticals.warehouse.robots.passages import disturbed
from hotloop.verticals.warehouse.robots.route import Route, place_of
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

T = TypeVar("T")
_SESSION_S: Final = 24 * 3600
_INBOX_MAX: Final = 5000  # messages that wait; what a robot sends without being acknowledged goes first
_TURN_S: Final = 0.2  # something may be due so often
_FEEDBACK_MAX: Final = 1000  # that waits for the loop
_CLOSE_S: Final = 2.0
_RETRY_S: Final = 0.5  # after the disk of the records has failed
_FEEDBACK: Final = "feedback/"  # the record of one that the loop has not taken
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
    place: str = ""  # the node where it is, as it says; "": it has not said


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


@dataclass(frozen=True)
class Floor:
    """Who may get a tour, and where it is; how many robots are in each stretch."""

    free: tuple[tuple[Robot, Place], ...]
    busy: dict[int, int]


class RobotFleet:
    """All robots at the broker. It is the `Ear` of its connection. May be used from several threads."""

    def __init__(
        self, config: RobotsConfig, mqtt: MqttConfig, layout: Layout,
        taught: Callable[[Feedback], object], measured: Callable[[Measured], object] = lambda _: None,
        records: DiskRecords | None = None,
    ) -> None:  # fmt: skip
        """`taught` takes a tour's measured times; a HotloopError of it is no loss: it is asked again. `records`: what
        was kept is known again. ConfigError, StoreError.
        """
        self._control = Control(config, layout)
        self._records = records
        self._written: dict[str, dict[str, bytes]] = {}  # the records of each robot, as they were put
        self._noted: dict[str, bytes] = {}  # the records of feedback that waits for the loop
        self.over: Callable[[Tour], Changes] = lambda _: {}  # what else is to be kept when a tour has ended
        who = Identity(
            f"robots:{mqtt.topic}", f"{mqtt.topic}/robots/state", BYTES_MAX + HEADER_BYTES_MAX, _SESSION_S
        )
        self._connection = Connection(mqtt, who, self)
        self._own = who.state
        self._taught, self._told = taught, measured
        self._more = threading.Condition()
        self._inbox: deque[Said] = deque()
        self._untaken: list[Said] = []  # decided on, and not acknowledged
        self._unsaid: deque[tuple[str, bytes]] = deque(maxlen=_INBOX_MAX)
        self._dropped: Counter[str] = Counter()
        self._up = self._closing = False
        self._again_s = 0.0
        self._thread = threading.Thread(target=self._run, name="hotloop-robots", daemon=True)
        if records is not None:
            self._recall(records)

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
            self._note({})
            self._more.notify_all()

    def send(self, robot: Robot, prediction: str, way: Route, also: Callable[[], Changes] | None = None) -> None:
        """A tour along any route, for a robot that has none; `also` changes what is kept beside the fleet, in the same
        step. A tour without it teaches nothing: no prediction is behind it. InputError: nothing was changed.
        """
        with self._more:
            self._control.send(robot, prediction, way, time.time(), lesson=also is not None)
            self._note({} if also is None else also())
            self._more.notify_all()

    def cancel(self, robot: Robot) -> str:
        """Take its tour from it; the action that says so, or "". InputError if it has none."""
        with self._more:
            found = self._control.cancel(robot, time.time())
            self._more.notify_all()
            return found

    def act(self, robot: Robot, action: str | Action) -> str:
        """An instant action, with or without parameters: `startPause`. Its id. InputError; ServiceError if the robot or
        the broker is away: what is to be done at once is not done later.
        """
        with self._more:
            mobile = self._control.mobiles.get(robot)
            if mobile is not None and not self._connection.connected:
                why = self._connection.trouble or "the broker has not answered yet"
                raise ServiceError(f"{robot} cannot be told anything now: {why}")
            if mobile is not None and not mobile.present:
                raise ServiceError(f"{robot} cannot be told anything now: it is {mobile.connection}")
            found = self._control.act(robot, action, time.time())
            self._more.notify_all()
            return found

    def answer(self, robot: Robot, action: str, timeout_s: float = 0.0) -> Acted:
        """What a robot says of an instant action: when it is over, or after `timeout_s`. InputError if it had none."""
        with self._more:
            mobile = self._control.mobiles.get(robot)
            if mobile is None or action not in mobile.acts:
                raise InputError(f"{robot} was not told to do {action[:80]!r}, or long ago")
            acted = mobile.acts[action]
            self._more.wait_for(lambda: acted.over or self._closing, timeout_s)
            return replace(acted)

    def floor(self) -> Floor:
        """Robots that have said where they are, can drive, and have nothing to do; and where the others drive."""
        with self._more:
            busy: Counter[int] = Counter()
            free = []
            for mobile in self._control.mobiles.values():
                if mobile.tour is not None and mobile.tour.known:
                    busy[mobile.tour.route.legs[min(mobile.tour.reached, mobile.tour.route.end - 1)][0]] += 1
                elif mobile.tour is None and (place := _place(self._control, mobile)) is not None:
                    free.append((mobile.robot, place))
            return Floor(tuple(sorted(free)), dict(busy))

    def has_tour(self, robot: Robot) -> bool:
        """Whether a robot is on a tour. InputError if it is not known."""
        with self._more:
            if robot not in self._control.mobiles:
                raise InputError(f"there is no robot {robot} here")
            return self._control.mobiles[robot].tour is not None

    def tours(self) -> set[str]:
        """The predictions whose tours robots have."""
        with self._more:
            return {one.tour.prediction for one in self._control.mobiles.values() if one.tour is not None}

    def beside(self, look: Callable[[], T]) -> T:
        """Look at what is kept beside the fleet, between two of its steps."""
        with self._more:
            return look()

    def change(self, change: Callable[[], tuple[T, Changes]]) -> T:
        """Change what is kept beside the fleet, between two of its steps. Durable when this returns. StoreError."""
        with self._more:
            found, changes = change()
            if self._records is not None:
                self._records.put(changes)
        if self._records is not None:
            self._records.commit()
        return found

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
                self._untaken += self._turn()
                self._unsaid.extend(control.outbox)
                legs = list(control.measured)
                control.outbox.clear()
                control.measured.clear()
                self._note({})
                self._more.notify_all()
            self._connection.tend()
            for leg in legs:
                self._told(leg)
            if self._committed():
                self._teach()
                self._hand_on()

    def _committed(self) -> bool:
        """Whether all that was decided is durable. If not, nobody is told of it."""
        if self._records is None:
            return True
        try:
            self._records.commit()
        except StoreError as error:
            _log.warning("robots are told nothing new until this is kept: %s", error)
            time.sleep(_RETRY_S)
            return False
        return True

    def _hand_on(self) -> None:
        """Acknowledge what came, say what is to be said."""
        for said in self._untaken:
            self._connection.taken(said)
        self._untaken.clear()
        while self._unsaid:
            self._say(*self._unsaid.popleft())

    def _note(self, also: Changes) -> None:
        """Put what is new into the records, as one change."""
        control, changes = self._control, dict(also)
        while control.over:
            changes |= self.over(control.over.popleft())
        if self._records is not None:
            for robot in control.touched:
                before, now = self._written.get(str(robot), {}), recall.records(control, robot)
                changes |= {name: data for name, data in now.items() if before.get(name) != data}
                changes |= dict.fromkeys(before.keys() - now.keys())
                self._written[str(robot)] = now
            waiting = {f"{_FEEDBACK}{one.prediction}": msgspec.msgpack.encode(one) for one in control.feedback}
            changes |= {name: data for name, data in waiting.items() if self._noted.get(name) != data}
            changes |= dict.fromkeys(self._noted.keys() - waiting.keys())
            self._noted = waiting
            if changes:
                self._records.put(changes)
        control.touched.clear()

    def _recall(self, records: DiskRecords) -> None:
        """Know again what was kept."""
        kept = records.read()
        recall.restore(self._control, kept)
        for name, data in kept.items():
            parts = name.split("/")
            if parts[0] in ("robot", "tour"):
                self._written.setdefault("/".join(parts[1:3]), {})[name] = data
            elif name.startswith(_FEEDBACK):
                self._control.feedback.append(_feedback(name, data))
                self._noted[name] = data
        records.put({recall.LAYOUT: recall.layout_record(self._control.layout)})

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
            waiting.popleft()  # killed before that is kept, it is said again: the same word of the same reviewer
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
    place = "" if one.state is None else one.state.lastNodeId
    return RobotShown(str(robot), one.connection, one.heard_at, *legs, errors, battery, one.track.missing, place)


def _place(control: Control, mobile: Mobile) -> Place | None:
    """Where a robot can begin a tour; None if it cannot, or that is not known. One that has not driven since it was
    switched on says no node: then it stands at the depot, or refuses.
    """
    state = mobile.state
    if state is None or not mobile.present or disturbed(state) or state.nodeStates:
        return None
    return place_of(control.layout, state.lastNodeId) if state.lastNodeId else (control.layout.config.depot, 0.0)


def _feedback(name: str, data: bytes) -> Feedback:
    try:
        return msgspec.msgpack.decode(data, type=Feedback)
    except UNREADABLE as error:
        words = f"the record {name} of the robots is damaged ({error}): give another folder (--state)"
        raise CorruptError(words) from error
