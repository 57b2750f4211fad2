"""Orders and instant actions for the fleet, by HTTP on this computer alone.

    POST /orders                                  one or several, a line each: {"order": "A-17", "picks": [[3, 12.5]]}
    GET  /orders/NAME                             how it stands
    POST /robots/MANUFACTURER/SERIAL/actions      {"actionType": "startPause", "actionParameters": [{"key", "value"}]}
    GET  /robots/MANUFACTURER/SERIAL/actions/ID   what the robot says of it by now
    GET  /healthz                                 orders, robots, tours, what was refused or dropped, what troubles whom

An order is acknowledged when it is on the disk. Sent again, it counts once. Loopback only: as at a line's device.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Annotated, Final, Literal
from urllib.parse import unquote

import msgspec
from msgspec import Meta

from hotloop.adapters.loopback import LoopbackHandler, LoopbackServer
from hotloop.errors import (
    HotloopError,
    InputError,
    KeyConflictError,
    NotFoundError,
    OverloadError,
    StoreError,
)
from hotloop.types import UNREADABLE
from hotloop.verticals.warehouse.robots.desk import Desk, OrderShown, Wanted
from hotloop.verticals.warehouse.robots.messages import Action, Parameter, Robot
from hotloop.verticals.warehouse.robots.mqtt import FleetState, RobotFleet
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

_ORDERS_BYTES_MAX: Final = 4 * 2**20
_ACTION_BYTES_MAX: Final = 64 * 2**10
_ANSWER_S: Final = 5.0  # that a robot is waited for
_PATHS: Final = "there are POST /orders, GET /orders/NAME, POST /robots/MANUFACTURER/SERIAL/actions and GET /healthz"
_EXAMPLE: Final = '{"order": "A-17", "picks": [[3, 12.5]]}'
_CANCEL: Final = "cancelOrder"
Told = Annotated[str, Meta(max_length=4000)]


class Argument(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A parameter of an action."""

    key: Annotated[str, Meta(min_length=1, max_length=200)]
    value: bool | float | Told


class Act(msgspec.Struct, frozen=True, forbid_unknown_fields=True, rename="camel"):
    """An instant action as it is given, in VDA 5050's names: `actionType`, `actionParameters`, `blockingType`; and
    `waitS`: how long its answer is waited for.
    """

    action_type: Annotated[str, Meta(pattern=r"\A[A-Za-z][A-Za-z0-9_.-]{0,99}\Z")]
    action_parameters: Annotated[tuple[Argument, ...], Meta(max_length=64)] = ()
    blocking_type: Literal["NONE", "SOFT", "HARD"] = "HARD"
    wait_s: Annotated[float, Meta(ge=0, le=20)] = _ANSWER_S


class ActShown(msgspec.Struct, frozen=True):
    """What became of it: "said" (the robot has not spoken of it), VDA 5050's words, of which FINISHED and FAILED are
    the last, and the robot's own `words`.
    """

    action: str
    kind: str
    status: str
    words: str


class RobotsHealth(msgspec.Struct, frozen=True):
    """What `GET /healthz` says. `orders`: waiting, on tour, and since the start picked and failed; `trouble`: why no
    tour is given, why the hub takes nothing; `waiting_events`: for the hub.
    """

    line: str
    version: int
    orders: dict[str, int]
    fleet: FleetState
    waiting_events: int
    dropped: dict[str, int]
    trouble: tuple[str, ...]


class RobotsHttp(LoopbackServer):
    """The server, in threads of its own."""

    def __init__(self, config: RobotsConfig, fleet: RobotFleet, desk: Desk, health: Callable[[], RobotsHealth]) -> None:
        """PortInUseError."""
        own = {"fleet": fleet, "desk": desk, "health": staticmethod(health)}
        super().__init__(config.port, _Handler, own, "[warehouse.robots] port")


class _Handler(LoopbackHandler):
    fleet: RobotFleet
    desk: Desk
    health: Callable[[], RobotsHealth]

    def get(self) -> None:
        """Health, an order, an action."""
        self._answered(self._found)

    def post(self) -> None:
        """Orders, or an action."""
        parts = self._parts()
        if parts != ["orders"] and not (len(parts) == 4 and parts[::3] == ["robots", "actions"]):
            self.turn_away(HTTPStatus.NOT_FOUND, _PATHS)
            return
        body = self.body(_ORDERS_BYTES_MAX if parts == ["orders"] else _ACTION_BYTES_MAX)
        if body is not None:
            self._answered(lambda: self._taken(body) if parts == ["orders"] else self._act(Robot(*parts[1:3]), body))

    def _parts(self) -> list[str]:
        return [unquote(part) for part in self.path.removeprefix("/").split("/")]

    def _found(self) -> RobotsHealth | OrderShown | ActShown:
        parts = self._parts()
        if parts == ["healthz"]:
            return self.health()
        if len(parts) == 2 and parts[0] == "orders":
            return self.fleet.beside(lambda: self.desk.show(parts[1]))
        if len(parts) == 5 and parts[::3] == ["robots", "actions"]:
            return self._shown(Robot(parts[1], parts[2]), parts[4])
        raise NotFoundError(_PATHS)

    def _taken(self, body: bytes) -> dict[str, int]:
        wanted = wanted_of(body)
        fresh = self.fleet.change(lambda: self.desk.take(wanted, time.time()))
        return {"taken": len(wanted), "new": fresh}

    def _act(self, robot: Robot, body: bytes) -> ActShown:
        try:
            act = msgspec.json.decode(body, type=Act)
        except UNREADABLE as error:
            raise InputError(f'an action is JSON such as {{"actionType": "startPause"}}: {str(error)[:500]}') from error
        if len({one.key for one in act.action_parameters}) < len(act.action_parameters):
            raise InputError("a parameter is there twice")
        if act.action_type == _CANCEL and self.fleet.has_tour(robot):
            name = self.fleet.cancel(robot)
            if not name:
                return ActShown("", _CANCEL, "FINISHED", "the robot had not been told of its tour")
        else:
            given = tuple(Parameter(one.key, one.value) for one in act.action_parameters)
            name = self.fleet.act(robot, Action("", act.action_type, act.blocking_type, given))
        return self._shown(robot, name, act.wait_s)

    def _shown(self, robot: Robot, action: str, wait_s: float = 0.0) -> ActShown:
        found = self.fleet.answer(robot, action, wait_s)
        return ActShown(action, found.kind, found.status, found.words)

    def _answered(self, made: Callable[[], object]) -> None:
        """Answer with what was made, or say why not."""
        try:
            said = made()
        except HotloopError as error:
            self.fail(_status(error), str(error))
            return
        self.answer(said)


def wanted_of(body: bytes) -> list[Wanted]:
    """Orders, one a line. InputError names the line."""
    found = []
    for number, line in enumerate(body.splitlines(), 1):
        if not line.strip():
            continue
        try:
            found.append(msgspec.json.decode(line, type=Wanted))
        except UNREADABLE as error:
            words = f"line {number}: an order is JSON on one line, such as {_EXAMPLE}: {str(error)[:500]}"
            raise InputError(words) from error
    if not found:
        raise InputError(f"there is no order: send lines such as {_EXAMPLE}")
    return found


def _status(error: HotloopError) -> HTTPStatus:
    if isinstance(error, NotFoundError):
        return HTTPStatus.NOT_FOUND
    if isinstance(error, KeyConflictError):
        return HTTPStatus.CONFLICT
    if isinstance(error, OverloadError | StoreError):
        return HTTPStatus.SERVICE_UNAVAILABLE
    return HTTPStatus.UNPROCESSABLE_ENTITY if isinstance(error, InputError) else HTTPStatus.SERVICE_UNAVAILABLE
