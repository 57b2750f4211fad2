"""Master control: which robot has which tour, what is to be said to it next, and what its tours have taught.

It decides and keeps; it has no socket, no clock and no thread: what came goes in with the time; what is to be sent is
in `outbox`, what was learned in `measured` and `feedback`. A tour goes out bit by bit: the base is released, the
horizon announced, and an update releases more before the base is at its end. A robot's own word decides what it has
(orderId, orderUpdateId, lastNodeSequenceId): what it does not have is said again; where it has forgotten its order, a
new one goes on from the node that it last reached.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal

from msgspec import structs

from hotloop.config import check_name
from hotloop.errors import ConfigError, InputError, RobotMessageError
from hotloop.types import Claim, Feedback
from hotloop.verticals.warehouse.floor import Passage
from hotloop.verticals.warehouse.layout import Layout, Leg
from hotloop.verticals.warehouse.robots.messages import (
    VERSION,
    Action,
    ConnectionSaid,
    Given,
    InstantActions,
    Order,
    Robot,
    State,
    Topics,
    check_robot,
    decode,
    encode,
    moment,
)
from hotloop.verticals.warehouse.robots.passages import Course, Timed, Track, progress
from hotloop.verticals.warehouse.robots.route import Route, route
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

_ORDERS_MAX: Final = 32  # of a robot that are remembered
_TRIES_PAUSE_S_MAX: Final = 60.0
_REFUSED_SHOWN: Final = 20
_OUTBOX_MAX: Final = 10_000
_ONLINE_MAX: Final = 8  # times that a robot came online that are remembered
_ACTS_MAX: Final = 32  # instant actions of a robot whose answers are remembered

_ENDED: Final = frozenset({"FINISHED", "FAILED"})
Status = Literal["waiting", "under way", "finished", "cancelled", "dropped", "refused"]


@dataclass(frozen=True)
class Measured:
    """A leg of a tour that was gone: which of its prediction's outputs, and how long it took."""

    robot: Robot
    prediction: str
    leg: int
    passage: Passage


@dataclass
class Acted:
    """An instant action, and what the robot says of it: "said" until it speaks of it, then VDA 5050's words."""

    kind: str
    at: float
    status: str = "said"
    words: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will come of it."""
        return self.status in _ENDED


@dataclass
class Tour:
    """What a robot is to do, or has done. Node numbers are of the whole route; the order began at node `first`."""

    prediction: str
    route: Route
    robot: Robot
    lesson: bool = True  # what it takes is feedback on the prediction
    status: Status = "waiting"
    order: str = ""
    update: int = 0
    first: int = 0
    base: int = 0  # released up to here
    reached: int = 0
    accepted: bool = False  # the robot has the order and its newest update
    known: bool = False  # it has, or had, the order
    cancels: set[str] | None = None  # the actions by which it was taken back
    nodes: list[str] = field(default_factory=list)  # of the order, from its first on
    done: set[str] = field(default_factory=set)  # actions that are over
    failed: set[str] = field(default_factory=set)  # those of them that the robot could not do
    why: str = ""  # what the robot said was wrong when it was over
    since: int = 0  # the newest message begins here
    said_at: float = 0.0
    tries: int = 0
    seconds: dict[int, float] = field(default_factory=dict)


@dataclass
class Mobile:
    """A robot as master control knows it."""

    robot: Robot
    version: str = VERSION
    connection: str = "never seen"
    state: State | None = None
    heard_at: float = 0.0
    asked_at: float = 0.0
    tour: Tour | None = None
    track: Track = field(default_factory=Track)
    orders: OrderedDict[str, tuple[Tour, int]] = field(default_factory=OrderedDict)
    numbers: Counter[str] = field(default_factory=Counter)
    errors: dict[str, float] = field(default_factory=dict)  # what it says is wrong, and since when
    acts: OrderedDict[str, Acted] = field(default_factory=OrderedDict)
    online: deque[tuple[int, float]] = field(default_factory=lambda: deque(maxlen=_ONLINE_MAX))  # number and time

    @property
    def present(self) -> bool:
        """Whether it is at the broker."""
        return self.connection == "ONLINE"

    def came_online(self, said: ConnectionSaid, *, kept: bool) -> None:
        """Its count of connections says whether it lives on or has started anew. What came before comes again where it
        was not acknowledged: that says nothing new.
        """
        last, now = self.online[-1] if self.online else None, (said.headerId, said.timestamp.timestamp())
        if now in self.online:
            return
        self.online.append(now)
        if last is not None and said.headerId <= last[0]:
            self.track.restarted(now[1])
        elif not kept:
            self.track.renewed()


class Control:
    """All robots, for one thread at a time. Its user empties `outbox` (topic, message), `measured` (each leg),
    `feedback` (each tour), `over` (tours that ended) and `touched` (robots of which something is new to be kept).
    """

    def __init__(self, config: RobotsConfig, layout: Layout) -> None:
        """ConfigError if a robot's name, the interface or the reviewer cannot be."""
        check_name(config.interface, "warehouse.robots.interface")
        check_name(config.reviewer, "warehouse.robots.reviewer")
        self.config, self.layout, self.topics = config, layout, Topics(config.interface)
        self.mobiles: dict[Robot, Mobile] = {robot: Mobile(robot) for robot in map(named, config.names)}
        self.outbox: deque[tuple[str, bytes]] = deque(maxlen=_OUTBOX_MAX)
        self.refused: Counter[str] = Counter()
        self.refusals: deque[str] = deque(maxlen=_REFUSED_SHOWN)
        self.measured: deque[Measured] = deque(maxlen=_OUTBOX_MAX)
        self.feedback: deque[Feedback] = deque()
        self.ended: dict[str, tuple[Mobile, Tour, float]] = {}  # tours whose feedback waits for what is missing
        self.over: deque[Tour] = deque(maxlen=_OUTBOX_MAX)
        self.touched: set[Robot] = set()

    @property
    def states(self) -> int:
        """How many were heard, each once."""
        return sum(mobile.track.heard for mobile in self.mobiles.values())

    # what people and the planner want

    def give(
        self, robot: Robot, prediction: str, legs: Sequence[Leg], now: float,
        work: Mapping[int, Sequence[Action]] | None = None,
    ) -> None:  # fmt: skip
        """A tour from the depot for a robot that has none. InputError if it has one, is not known, or the legs are no
        tour.
        """
        self.send(robot, prediction, route(self.layout, legs, work), now)

    def send(self, robot: Robot, prediction: str, way: Route, now: float, *, lesson: bool = True) -> None:
        """The same along any route. `lesson`: what it takes is feedback on the prediction."""
        mobile = self._mobile(robot)
        if mobile.tour is not None:
            raise InputError(f"{robot} is on the tour of {mobile.tour.prediction}: cancel that first, or wait")
        if any(tour.prediction == prediction for tour, _ in mobile.orders.values()):
            raise InputError(f"{robot} had the tour of {prediction} already: an order's id is used once")
        mobile.tour = Tour(prediction, way, robot, lesson)
        self._order(mobile, mobile.tour, now)

    def cancel(self, robot: Robot, now: float) -> str:
        """Take a robot's tour from it; the action that says so ("": the robot never heard of the tour, or is not there
        and is told when it is). InputError if it has none.
        """
        mobile = self._mobile(robot)
        if mobile.tour is None:
            raise InputError(f"{robot} has no tour")
        if not mobile.tour.said_at:  # it was never said
            self._end(mobile, mobile.tour, "cancelled", now)
            return ""
        before = mobile.tour.cancels or set()
        mobile.tour.cancels = set(before)
        self._repeat(mobile, mobile.tour, now)
        return next(iter(mobile.tour.cancels - before), "")

    def act(self, robot: Robot, action: str | Action, now: float) -> str:
        """Something to do at once: `startPause`, or an action with parameters (its id is given here). Its id, by which
        the robot's answer is in `Mobile.acts`. InputError if the robot is not known.
        """
        return self._instant(self._mobile(robot), action, now)

    # what came

    def came(self, topic: str, data: bytes, now: float, *, kept: bool = False) -> None:
        """A message at the broker. What cannot be taken is counted, and changes nothing."""
        try:
            self._take(topic, data, now, kept=kept)
        except RobotMessageError as error:
            self.refused[error.why] += 1
            self.refusals.append(str(error))

    def up(self, now: float) -> None:
        """The broker is there (again): what robots have not taken is said again at once. A robot of which nothing is
        known but that it is there is asked: this control has started anew.
        """
        for mobile in self.mobiles.values():
            if mobile.present and mobile.state is None:
                self._ask(mobile, now)
            if mobile.tour is not None and (mobile.tour.cancels is not None or not mobile.tour.accepted):
                mobile.tour.tries = 0
                self._repeat(mobile, mobile.tour, now)

    def tick(self, now: float) -> None:
        """Say again what a robot should have taken by now, ever more seldom; ask one on tour that says nothing."""
        for order in list(self.ended):
            self._learn(order, now)
        for mobile in self.mobiles.values():
            tour = mobile.tour
            if tour is None or not mobile.present:
                continue
            if now >= max(mobile.heard_at, mobile.asked_at) + self.config.silent_s:
                self._ask(mobile, now)
            if tour.accepted and tour.cancels is None:
                continue
            pause_s = self.config.again_s * 2**tour.tries
            if now >= tour.said_at + min(pause_s, max(_TRIES_PAUSE_S_MAX, self.config.again_s)):
                tour.tries += 1
                self._repeat(mobile, tour, now)

    def _take(self, topic: str, data: bytes, now: float, *, kept: bool) -> None:
        robot, what = self.topics.read(topic)
        if what == "state":
            self._state(robot, data, now, kept=kept)
        elif what == "connection":
            self._connection(robot, data, now, kept=kept)
        else:
            raise RobotMessageError(f"{topic[:200]!r} is nothing that a robot says", "topic")

    def _connection(self, robot: Robot, data: bytes, now: float, *, kept: bool) -> None:
        said = decode(robot, data, ConnectionSaid)
        mobile = self._admitted(robot)
        mobile.connection, mobile.version = said.connectionState, said.version
        mobile.heard_at = now
        if mobile.present:
            mobile.came_online(said, kept=kept)
        if mobile.present and kept and mobile.state is None and now >= mobile.asked_at + self.config.again_s:
            self._ask(mobile, now)
        if mobile.present and mobile.tour is not None and not mobile.tour.accepted:
            self._repeat(mobile, mobile.tour, now)

    def _state(self, robot: Robot, data: bytes, now: float, *, kept: bool) -> None:
        state = decode(robot, data, State)
        if kept:
            raise RobotMessageError(f"the state of {robot} was kept by the broker, and is of no known age", "kept")
        mobile = self._admitted(robot)
        _check_order(mobile, state)
        newest, timed = mobile.track.hear(state)
        for one in timed:
            self._took(mobile, one, now)
        if not newest:
            return
        mobile.state, mobile.version, mobile.heard_at, mobile.connection = state, state.version, now, "ONLINE"
        said = [f"{error.errorLevel} {error.errorType}: {error.errorDescription}"[:300] for error in state.errors]
        mobile.errors = {words: mobile.errors.get(words, now) for words in said}
        _answered(mobile, state)
        if mobile.tour is not None:
            self._follow(mobile, mobile.tour, state, now)

    def _took(self, mobile: Mobile, timed: Timed, now: float) -> None:
        """A leg's time is known."""
        tour, first = mobile.orders[timed.order]
        leg = first + timed.leg
        tour.seconds[leg] = timed.seconds
        stretch, share = tour.route.legs[leg]
        passage = Passage(stretch, share, timed.seconds, timed.at)
        self.measured.append(Measured(mobile.robot, tour.prediction, leg, passage))
        if tour is not mobile.tour and tour.lesson:
            self.ended.setdefault(tour.order, (mobile, tour, now))

    def _follow(self, mobile: Mobile, tour: Tour, state: State, now: float) -> None:
        """Compare what a robot has with what it should have."""
        ended = {one.actionId for one in state.actionStates if one.actionStatus in _ENDED}
        if state.orderId != tour.order:
            if tour.known:
                self._forgotten(mobile, tour, now)
            elif _refuses(state, tour):
                self._end(mobile, tour, "refused", now)
            elif tour.cancels is not None and tour.cancels & ended:
                self._end(mobile, tour, "cancelled", now)
            return
        tour.known, tour.status = True, "under way"
        tour.accepted = state.orderUpdateId == tour.update
        tour.reached = max(tour.reached, tour.first + progress(state, tour.nodes))
        works, failed = _works(state, tour), _failed(state)
        if tour.cancels is None and (state.nodeStates or tour.reached == tour.route.end):
            tour.failed |= works & failed
            tour.done |= works & failed
        tour.done |= works & (ended - failed)  # a robot that is told to stop says that all it was still to do failed
        idle = not (state.nodeStates or state.edgeStates or _works(state, tour) - ended)
        if idle and (status := _over(tour)):
            self._end(mobile, tour, status, now)
            return
        short = tour.base - tour.reached <= self.config.base // 2 or state.newBaseRequest
        if tour.accepted and tour.cancels is None and tour.base < tour.route.end and short:
            self._release(mobile, tour, now)

    # what is said

    def _order(self, mobile: Mobile, tour: Tour, now: float) -> None:
        """A new order for what is left of a tour."""
        count = sum(other.prediction == tour.prediction for other, _ in mobile.orders.values())
        tour.order = f"{tour.prediction}~{count + 1}" if count else tour.prediction
        tour.first, tour.update, tour.since, tour.tries = tour.reached, 0, tour.reached, 0
        tour.base = tour.route.base_end(min(tour.first + self.config.base, tour.route.end))
        tour.accepted = tour.known = False
        mobile.orders[tour.order] = (tour, tour.first)
        while len(mobile.orders) > _ORDERS_MAX:
            mobile.orders.popitem(last=False)
        work = {
            number - tour.first: frozenset(one.actionId for one in actions)
            for number, actions in tour.route.work.items()
        }
        tour.nodes = [tour.route.node_id(number) for number in range(tour.first, tour.route.end + 1)]
        mobile.track.begin(tour.order, Course(tour.nodes, work))
        self._repeat(mobile, tour, now)

    def _release(self, mobile: Mobile, tour: Tour, now: float) -> None:
        """An update of the order: more of it is released."""
        tour.update, tour.since, tour.accepted, tour.tries = tour.update + 1, tour.base, False, 0
        tour.base = tour.route.base_end(min(max(tour.reached, tour.base) + self.config.base, tour.route.end))
        self._repeat(mobile, tour, now)

    def _repeat(self, mobile: Mobile, tour: Tour, now: float) -> None:
        """Say what a robot is to have; nothing while it is not there."""
        if not mobile.present:
            return
        tour.said_at = now
        if tour.cancels is not None:
            tour.cancels.add(self._instant(mobile, "cancelOrder", now))
            return
        horizon = min(tour.base + self.config.horizon, tour.route.end)
        nodes, edges = tour.route.cut(tour.first, tour.since, tour.base, horizon)
        header = self._header(mobile, "order", now)
        message = Order(**header, orderId=tour.order, orderUpdateId=tour.update, nodes=nodes, edges=edges)
        self._say(mobile, "order", message)

    def _ask(self, mobile: Mobile, now: float) -> None:
        """Let a robot say how it is."""
        mobile.asked_at = now
        self._tell(mobile, "stateRequest", now)  # the state is its answer

    def _instant(self, mobile: Mobile, what: str | Action, now: float) -> str:
        """Say it, and remember what comes of it; the action's id."""
        action = self._tell(mobile, what, now)
        mobile.acts[action.actionId] = Acted(action.actionType, now)
        while len(mobile.acts) > _ACTS_MAX:
            mobile.acts.popitem(last=False)
        return action.actionId

    def _tell(self, mobile: Mobile, what: str | Action, now: float) -> Action:
        """Say it, under an id of its own."""
        header = self._header(mobile, "instantActions", now)
        given = Action("", what) if isinstance(what, str) else what
        action = structs.replace(given, actionId=f"{given.actionType}-{now:.3f}-{header['headerId']}")
        older = (action,) if mobile.version.startswith("2.0") else ()
        self._say(mobile, "instantActions", InstantActions(**header, actions=(action,), instantActions=older))
        return action

    def _header(self, mobile: Mobile, topic: str, now: float) -> dict[str, Any]:
        number = mobile.numbers[topic]
        mobile.numbers[topic] += 1
        return {
            "headerId": number, "timestamp": moment(now), "version": mobile.version,
            "manufacturer": mobile.robot.manufacturer, "serialNumber": mobile.robot.serial,
        }  # fmt: skip

    def _say(self, mobile: Mobile, what: str, message: Given) -> None:
        self.touched.add(mobile.robot)
        self.outbox.append((self.topics.of(mobile.robot, what), encode(message)))

    # how tours end

    def _forgotten(self, mobile: Mobile, tour: Tour, now: float) -> None:
        """A robot had the order, and has it no more: it has started anew. What is left is a new order."""
        if tour.cancels is not None:
            self._end(mobile, tour, "cancelled", now)
        elif tour.reached >= tour.route.end:
            self._end(mobile, tour, "finished", now)
        else:
            work = {
                number: tuple(one for one in actions if one.actionId not in tour.done)
                for number, actions in tour.route.work.items()
            }
            tour.route = replace(tour.route, work=work)
            self._order(mobile, tour, now)

    def _end(self, mobile: Mobile, tour: Tour, status: Status, now: float) -> None:
        """A tour is over: what was measured of it is feedback."""
        mobile.tour, tour.status, tour.why = None, status, "; ".join(mobile.errors)
        self.over.append(tour)
        self.touched.add(mobile.robot)
        if tour.lesson:
            self.ended[tour.order] = (mobile, tour, now)
            self._learn(tour.order, now)

    def _learn(self, order: str, now: float) -> None:
        """Say what a tour that is over has taught, if nothing can come any more. What does so all the same makes it be
        said again, whole: the last word counts.
        """
        mobile, tour, ended_at = self.ended[order]
        if now < ended_at + self.config.late_s and not mobile.track.whole(order):
            return
        del self.ended[order]
        self.touched.add(mobile.robot)
        if seconds := tour.route.taught(tour.seconds):
            claims = tuple(Claim(output=output, value=value) for output, value in seconds.items())
            self.feedback.append(Feedback(
                prediction=tour.prediction, reviewer=self.config.reviewer, claims=claims, kind="measurement",
                complete=False, at=now,
            ))  # fmt: skip

    def _mobile(self, robot: Robot) -> Mobile:
        if robot not in self.mobiles:
            raise InputError(f"there is no robot {robot} here")
        self.touched.add(robot)
        return self.mobiles[robot]

    def _admitted(self, robot: Robot) -> Mobile:
        """A robot of this fleet. RobotMessageError."""
        if robot not in self.mobiles:
            if self.config.names or len(self.mobiles) >= self.config.robots_max:
                raise RobotMessageError(f"{str(robot)[:200]} is no robot of this fleet", "stranger")
            self.mobiles[robot] = Mobile(robot)
        self.touched.add(robot)
        return self.mobiles[robot]


def named(name: str) -> Robot:
    """MANUFACTURER/SERIAL. ConfigError."""
    manufacturer, _, serial = name.partition("/")
    if not serial:
        raise ConfigError(f"{name[:80]!r} is no robot: it is MANUFACTURER/SERIAL")
    return check_robot(Robot(manufacturer, serial))


def _check_order(mobile: Mobile, state: State) -> None:
    """RobotMessageError for a state about an order, or an update, that the robot was not given here."""
    tour = mobile.tour
    if state.orderId and state.orderId not in mobile.orders and state.nodeStates:
        raise RobotMessageError(f"{mobile.robot} is on order {state.orderId!r}, which is not of this control", "order")
    if tour is not None and state.orderId == tour.order and state.orderUpdateId > tour.update:
        words = f"{mobile.robot} has update {state.orderUpdateId} of {tour.order}: {tour.update} is the newest"
        raise RobotMessageError(words, "order")


def _over(tour: Tour) -> Status | None:
    """What a tour is whose robot has nothing left to do; None if it waits for more."""
    if tour.reached == tour.route.end:
        return "finished"
    if tour.cancels is not None:
        return "cancelled"
    return "dropped" if tour.accepted and tour.reached < tour.base else None


def _refuses(state: State, tour: Tour) -> bool:
    """Whether a robot says that it will not take the order."""
    return any(
        reference.referenceKey == "orderId" and reference.referenceValue == tour.order
        for error in state.errors for reference in error.errorReferences
    )  # fmt: skip


def _works(state: State, tour: Tour) -> set[str]:
    """What is to be done on the tour, of the actions that a robot speaks of."""
    given = {one.actionId for actions in tour.route.work.values() for one in actions}
    return {one.actionId for one in state.actionStates} & given


def _failed(state: State) -> set[str]:
    """The actions that a robot says it could not do."""
    return {one.actionId for one in state.actionStates if one.actionStatus == "FAILED"}


def _answered(mobile: Mobile, state: State) -> None:
    """What a robot says of instant actions."""
    for one in state.actionStates:
        acted = mobile.acts.get(one.actionId)
        if acted is not None and not acted.over:
            acted.status = one.actionStatus
            name = one.actionId
            about = [e for e in state.errors if any(r.referenceValue == name for r in e.errorReferences)]
            said = [one.resultDescription, *(f"{error.errorType} {error.errorDescription}".strip() for error in about)]
            acted.words = "; ".join(words for words in said if words)[:1000]
