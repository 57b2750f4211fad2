"""The messages of VDA 5050 2.x, and the topics they go by. Pure: bytes in, a record or a RobotMessageError out.

Names are the specification's. Read is what hotloop needs: a field that it does not know is passed over, as the
specification demands of every reader; a field that it needs has to be there, of the right type, within bounds.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar

import msgspec
from msgspec import Meta

from hotloop.errors import ConfigError, RobotMessageError
from hotloop.types import UNREADABLE

VERSION: Final = "2.1.0"  # what is spoken to a robot that has not said its own
BYTES_MAX: Final = 512 * 2**10  # of a message from a robot
HEADER_ID_END: Final = 2**32
_NODES_MAX: Final = 2000
_LISTED_MAX: Final = 200  # errors, actions

Name: TypeAlias = Annotated[str, Meta(max_length=200)]
Text: TypeAlias = Annotated[str, Meta(max_length=4000)]
Count: TypeAlias = Annotated[int, Meta(ge=0, lt=HEADER_ID_END)]
Version: TypeAlias = Annotated[str, Meta(pattern=r"^2\.\d{1,4}(\.\d{1,4})?$")]
Time: TypeAlias = Annotated[datetime, Meta(tz=True)]
Said = TypeVar("Said", bound="Heard | Given")


class Header(msgspec.Struct, frozen=True, kw_only=True):
    """What every message begins with, besides its time."""

    headerId: Count
    version: Version
    manufacturer: Name
    serialNumber: Name


class Given(Header, frozen=True, kw_only=True):
    """What master control says. `timestamp` as the specification writes it: `moment`."""

    timestamp: str


class Heard(Header, frozen=True, kw_only=True):
    """What a robot says."""

    timestamp: Time


class Parameter(msgspec.Struct, frozen=True):
    """Of an action."""

    key: str
    value: str | float | bool


class Action(msgspec.Struct, frozen=True):
    """Something that a robot is to do."""

    actionId: str
    actionType: str
    blockingType: Literal["NONE", "SOFT", "HARD"] = "HARD"
    actionParameters: tuple[Parameter, ...] = ()


class NodePosition(msgspec.Struct, frozen=True):
    """Where a node is, m."""

    x: float
    y: float
    mapId: str


class Node(msgspec.Struct, frozen=True):
    """A place that a robot comes to."""

    nodeId: str
    sequenceId: int
    released: bool
    nodePosition: NodePosition
    actions: tuple[Action, ...] = ()


class Edge(msgspec.Struct, frozen=True):
    """The way from a node to the next."""

    edgeId: str
    sequenceId: int
    released: bool
    startNodeId: str
    endNodeId: str
    length: float  # m
    actions: tuple[Action, ...] = ()


class Order(Given, frozen=True, kw_only=True):
    """Where to go: the base is released, the horizon is what will probably follow."""

    orderId: str
    orderUpdateId: int
    nodes: tuple[Node, ...]
    edges: tuple[Edge, ...]


class InstantActions(Given, frozen=True, kw_only=True, omit_defaults=True):
    """What to do at once. The schema of 2.0.0 says `instantActions` where its text, and 2.1, say `actions`: robots of
    2.0 read one or the other, and are sent both.
    """

    actions: tuple[Action, ...]
    instantActions: tuple[Action, ...] = ()


class NodeState(msgspec.Struct, frozen=True):
    """A node that is still to be reached."""

    nodeId: Name
    sequenceId: Count
    released: bool


class EdgeState(msgspec.Struct, frozen=True):
    """An edge that is still to be gone along."""

    edgeId: Name
    sequenceId: Count
    released: bool


class ActionState(msgspec.Struct, frozen=True):
    """How far an action is."""

    actionId: Name
    actionStatus: Literal["WAITING", "INITIALIZING", "RUNNING", "PAUSED", "FINISHED", "FAILED"]
    resultDescription: Text = ""


class ErrorReference(msgspec.Struct, frozen=True):
    """What an error is about."""

    referenceKey: Name
    referenceValue: Text


class RobotError(msgspec.Struct, frozen=True):
    """What a robot says is wrong."""

    errorType: Name
    errorLevel: Literal["WARNING", "FATAL"]
    errorDescription: Text = ""
    errorReferences: Annotated[tuple[ErrorReference, ...], Meta(max_length=_LISTED_MAX)] = ()


class Battery(msgspec.Struct, frozen=True):
    """Its charge, percent."""

    batteryCharge: float
    charging: bool


class Safety(msgspec.Struct, frozen=True):
    """Whether it may move."""

    eStop: Literal["AUTOACK", "MANUAL", "REMOTE", "NONE"]
    fieldViolation: bool


class Position(msgspec.Struct, frozen=True):
    """Where it is, m and rad."""

    x: float
    y: float
    theta: float
    mapId: Name
    positionInitialized: bool


class State(Heard, frozen=True, kw_only=True):
    """All that a robot says of itself."""

    orderId: Name
    orderUpdateId: Count
    lastNodeId: Name
    lastNodeSequenceId: Count
    nodeStates: Annotated[tuple[NodeState, ...], Meta(max_length=_NODES_MAX)]
    edgeStates: Annotated[tuple[EdgeState, ...], Meta(max_length=_NODES_MAX)]
    driving: bool
    actionStates: Annotated[tuple[ActionState, ...], Meta(max_length=_NODES_MAX)]
    batteryState: Battery
    operatingMode: Literal["AUTOMATIC", "SEMIAUTOMATIC", "MANUAL", "SERVICE", "TEACHIN"]
    errors: Annotated[tuple[RobotError, ...], Meta(max_length=_LISTED_MAX)]
    safetyState: Safety
    paused: bool = False
    newBaseRequest: bool = False
    agvPosition: Position | None = None


class ConnectionSaid(Heard, frozen=True, kw_only=True):
    """Whether a robot is at the broker. CONNECTIONBROKEN is its last will."""

    connectionState: Literal["ONLINE", "OFFLINE", "CONNECTIONBROKEN"]


class Robot(msgspec.Struct, frozen=True, order=True):
    """Which robot."""

    manufacturer: str
    serial: str

    def __str__(self) -> str:
        return f"{self.manufacturer}/{self.serial}"


class Topics(msgspec.Struct, frozen=True):
    """The topics of all robots: {interface}/v2/{manufacturer}/{serial}/{what}. No name has a "/" or wildcard in it."""

    interface: str = "uagv"

    def of(self, robot: Robot, what: str) -> str:
        """One of a robot: order, instantActions, state, connection."""
        return f"{self.interface}/v2/{robot.manufacturer}/{robot.serial}/{what}"

    def all(self, what: str) -> str:
        """The same of every robot, to subscribe to."""
        return f"{self.interface}/v2/+/+/{what}"

    def read(self, topic: str) -> tuple[Robot, str]:
        """Whose it is, and what. RobotMessageError if it is of no robot."""
        parts = topic.split("/")
        if len(parts) != 5 or parts[:2] != [self.interface, "v2"] or not (parts[2] and parts[3]):
            raise RobotMessageError(f"{topic[:200]!r} is no topic of a robot: {self.all('state')}", "topic")
        return Robot(parts[2], parts[3]), parts[4]


def check_robot(robot: Robot) -> Robot:
    """`robot` if its names can be parts of a topic. ConfigError."""
    for name in (robot.manufacturer, robot.serial):
        if not name or len(name) > 200 or set(name) & set("/+#\0"):
            raise ConfigError(f"{name[:80]!r} is no name for a robot: it is a part of its topics, without / + #")
    return robot


def encode(message: Given) -> bytes:
    """A message as it is sent."""
    return _ENCODER.encode(message)


def decode(robot: Robot, data: bytes, kind: type[Said]) -> Said:
    """What a robot says. RobotMessageError, by what is wrong: oversized, version, malformed, impostor."""
    if len(data) > BYTES_MAX:
        words = f"a message has at most {BYTES_MAX} bytes, this one of {robot} has {len(data)}"
        raise RobotMessageError(words, "oversized")
    try:
        said: Said = _DECODERS[kind].decode(data)
    except UNREADABLE as error:
        why = "malformed" if _speaks_2(data) else "version"
        words = f"{robot} says what is no VDA 5050 2.x {kind.__name__}: {str(error)[:300]}"
        raise RobotMessageError(words, why) from error
    if (said.manufacturer, said.serialNumber) != (robot.manufacturer, robot.serial):
        other = Robot(said.manufacturer, said.serialNumber)
        raise RobotMessageError(f"on the topic of {robot} speaks {str(other)[:200]}", "impostor")
    return said


def moment(seconds: float) -> str:
    """A time (s since 1970) as the specification writes it."""
    return datetime.fromtimestamp(round(seconds, 3), UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


class _Versioned(msgspec.Struct):
    """What is asked of a message that cannot be read."""

    version: str = "2.?"


def _speaks_2(data: bytes) -> bool:
    """Whether what cannot be read claims, or may claim, to be of version 2."""
    try:
        return msgspec.json.decode(data, type=_Versioned).version.startswith("2.")
    except UNREADABLE:
        return True


_ENCODER: Final = msgspec.json.Encoder()
_DECODERS: Final[dict[type, msgspec.json.Decoder[Any]]] = {
    kind: msgspec.json.Decoder(kind) for kind in (State, ConnectionSaid, Order, InstantActions)
}
