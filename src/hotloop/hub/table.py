"""What a row of the route table is, what a handler gets, and what it gives back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

import msgspec

from hotloop.config import LoopConfig
from hotloop.errors import AccessError, ConfigError
from hotloop.fleet import Fleet
from hotloop.ports import Channel, Lake, Log, Registry
from hotloop.store.devices import Devices
from hotloop.store.signing import Signer
from hotloop.types import Command, Event, Feedback, Live, Payload, Prediction, Record, Selection

Permission: TypeAlias = Literal[
    "open", "observe", "feedback", "events", "follow", "fetch", "read", "audit", "control", "enrol"
]
Role: TypeAlias = Literal["operator", "line", "engineer", "admin", "auditor"]
Lane: TypeAlias = Literal["free", "requests", "streams"]
Limit: TypeAlias = Literal["", "json_bytes_max", "body_bytes_max"]

PERMISSIONS: frozenset[str] = frozenset(
    ("open", "observe", "feedback", "events", "follow", "fetch", "read", "audit", "control", "enrol")
)
# What each role may do. A permission that is not here is held by nobody but admin.
ROLES: dict[Role, frozenset[Permission]] = {
    "operator": frozenset(("observe", "feedback", "fetch", "read")),
    "line": frozenset(("observe", "events", "follow", "fetch")),
    "engineer": frozenset(("observe", "fetch", "read", "control")),
    "auditor": frozenset(("read", "audit")),
    "admin": frozenset(("observe", "feedback", "events", "follow", "fetch", "read", "audit", "control")),
}


# Who shows the code that a line was given may change it for a token, and nothing else.
INVITED: frozenset[Permission] = frozenset(("enrol",))


class Receipt(Protocol):
    """That a feedback is durable, at which offset, and whether its prediction is known yet."""

    @property
    def offset(self) -> int:
        """Its place in the log."""
        ...

    @property
    def known(self) -> bool:
        """False: no such prediction so far; the feedback is kept and counts when it comes."""
        ...


class Served(Protocol):
    """What the hub needs of the engine. Every method may block and may be called from several threads."""

    @property
    def config(self) -> LoopConfig:
        """The settings."""
        ...

    @property
    def log(self) -> Log:
        """The log, to read."""
        ...

    @property
    def lake(self) -> Lake:
        """The lake, for bytes."""
        ...

    @property
    def registry(self) -> Registry:
        """The models."""
        ...

    @property
    def channel(self) -> Channel:
        """The way to the lines."""
        ...

    @property
    def signer(self) -> Signer:
        """What signs releases. ConfigError if there are no keys."""
        ...

    @property
    def fleet(self) -> Fleet:
        """The lines as they are, and the rollout that is under way."""
        ...

    def stage(self) -> None:
        """Go on with the rollout that is under way, if its time has come."""
        ...

    @property
    def devices(self) -> Devices:
        """The lines' own computers."""
        ...

    def record(self, events: Sequence[Event], /) -> list[int]:
        """Make events durable, then return their offsets."""
        ...

    def observe(self, payload: Payload, line: str, reference: str | None = None, /) -> Prediction:
        """Predict here, for a line without a computer of its own. `reference` is a digest."""
        ...

    def feedback(self, feedback: Feedback, device: str = ..., sequence: int | None = ..., /) -> Receipt:
        """Make a feedback durable, under the sender's key if it has one."""
        ...

    def trace(self, prediction: str, /) -> list[Record]:
        """All records of one prediction. NotFoundError."""
        ...

    def metrics_text(self) -> str:
        """Prometheus exposition."""
        ...

    def snapshot(self) -> msgspec.Struct:
        """The state now."""
        ...

    def report(self) -> msgspec.Struct:
        """Latencies and quality so far."""
        ...

    def acknowledge(self, *lives: Live) -> None:
        """Lines answer with a version now."""
        ...

    def command(self, command: Command, /) -> Receipt:
        """Take an order."""
        ...

    def affected(self, selection: Selection, /) -> str:
        """Which releases learned what a selection means, in words."""
        ...

    def review(self, limit: int, /) -> tuple[list[tuple[str, float, str]], str]:
        """What to look at, best first: (prediction, value, reason); and what may pass, in words."""
        ...


@dataclass(frozen=True)
class Caller:
    """Who asks: a credential's name, its role, and the one name it may act as ("" is any)."""

    name: str
    role: Role | Literal["", "invited"]
    subject: str = ""

    def may(self, permission: str) -> bool:
        """Whether the role carries the permission; what is open is open to all."""
        if self.role == "" or permission == "open":
            return permission == "open"
        return permission in (INVITED if self.role == "invited" else ROLES[self.role])

    def act_as(self, name: str, what: str) -> None:
        """AccessError unless this credential may speak for `name`, or for a part of it (`name.part`)."""
        if self.subject and name != self.subject and not name.startswith(self.subject + "."):
            raise AccessError(
                f"the credential {self.name!r} speaks for {self.subject!r}, not the {what} {name[:80]!r}",
                known=True,
            )


NOBODY = Caller("", "")


class NoParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A route without parameters."""


@dataclass(frozen=True)
class Call:
    """One request, checked against its row: `params` and `body` are of the types that the row names."""

    caller: Caller
    params: Any
    body: Any = None
    media_type: str = ""
    key: str = ""  # the Idempotency-Key header
    at: float = 0.0  # when it came, by the hub's clock


@dataclass(frozen=True)
class Answer:
    """What goes back: status, bytes, their media type, and headers besides."""

    status: int
    body: bytes
    media_type: str = "application/json"
    headers: tuple[tuple[bytes, bytes], ...] = ()


Handler: TypeAlias = Callable[[Served, Call], Answer]


@dataclass(frozen=True)
class Route:
    """A row: everything the hub knows of a route. Checks, limits, audit and OpenAPI are made from it.

    `params` holds the path's and the query's parameters. `takes` are the media types of the body (none: no
    body; `*`: any); `request` is its type where it is decoded. `limit` names the setting of `[hub]` that
    bounds it. `lane` says what it counts against: `requests_max`, `streams_max` or nothing. `writes`:
    it needs the disk, so its outcome says whether the hub is well. `success` and `errors` are the statuses
    that its handler answers with, besides those that follow from the other columns; `keyed`: it reads the
    Idempotency-Key header.
    """

    method: Literal["GET", "POST"]
    path: str
    permission: Permission
    handler: Handler
    summary: str
    params: type[msgspec.Struct] = NoParams
    takes: tuple[str, ...] = ()
    request: Any = None
    limit: Limit = ""
    response: Any = None
    gives: str = "application/json"
    lane: Lane = "requests"
    audit: bool = False
    writes: bool = False
    success: tuple[int, ...] = (200,)
    errors: tuple[int, ...] = ()
    keyed: bool = False
    segments: tuple[str, ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "segments", tuple(self.path.split("/")))

    @property
    def named(self) -> tuple[str, ...]:
        """The names of the parameters in the path."""
        return tuple(part[1:-1] for part in self.segments if part.startswith("{"))

    def match(self, segments: Sequence[str]) -> dict[str, str] | None:
        """The path's parameters if the path is this row's, else None."""
        if len(segments) != len(self.segments):
            return None
        found: dict[str, str] = {}
        for mine, theirs in zip(self.segments, segments, strict=True):
            if mine.startswith("{"):
                found[mine[1:-1]] = theirs
            elif mine != theirs:
                return None
        return found


class RouteTable:
    """The rows, checked, and found by path."""

    def __init__(self, routes: Sequence[Route]) -> None:
        check_routes(routes)
        self.routes = tuple(routes)
        self._plain: dict[str, dict[str, Route]] = {}
        self._patterns: dict[str, dict[str, Route]] = {}
        for route in routes:
            place = self._patterns if route.named else self._plain
            place.setdefault(route.path, {})[route.method] = route

    def find(self, path: str) -> tuple[dict[str, Route], dict[str, str]]:
        """The rows of a path by method, and the path's parameters; no rows for an unknown path."""
        if path in self._plain:
            return self._plain[path], {}
        segments = path.split("/")
        for rows in self._patterns.values():
            found = next(iter(rows.values())).match(segments)
            if found is not None:
                return rows, found
        return {}, {}


def check_routes(routes: Sequence[Route]) -> None:
    """ConfigError if a row has no known permission, is there twice, or does not fit together."""
    seen: set[tuple[str, str]] = set()
    for route in routes:
        where = f"route {route.method} {route.path}"
        if route.permission not in PERMISSIONS:
            raise ConfigError(
                f"{where} has no permission (it says {route.permission!r}): a route without one does not "
                f"start. Give it one of {', '.join(sorted(PERMISSIONS))} in hub/routes.py"
            )
        if (route.method, route.path) in seen:
            raise ConfigError(f"{where} is in the table twice: remove one row in hub/routes.py")
        seen.add((route.method, route.path))
        if bool(route.takes) != bool(route.limit):
            raise ConfigError(f"{where} takes a body without a limit, or the reverse: name the `limit` of its row")
        missing = set(route.named) - set(route.params.__struct_fields__)
        if missing:
            raise ConfigError(f"{where}: its params have no field for {', '.join(sorted(missing))}")
