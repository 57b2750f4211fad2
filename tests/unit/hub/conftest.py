"""A small engine of dictionaries, and a hub over it that is called without sockets."""

from __future__ import annotations

import asyncio
import functools
import hashlib
import threading
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from hotloop.config import LoopConfig, StoreConfig
from hotloop.errors import KeyConflictError, NotFoundError, UnreadableImageError
from hotloop.fleet import Fleet
from hotloop.hub.app import HubApp
from hotloop.hub.auth import Credential, Keyring
from hotloop.hub.table import ROLES
from hotloop.store.channel import LocalChannel
from hotloop.store.clock import SystemClock
from hotloop.types import (
    Command,
    Event,
    Feedback,
    Live,
    Model,
    Observation,
    Output,
    Payload,
    Prediction,
    Proposals,
    Record,
    Selection,
    digest,
)

TOKENS = {role: f"{role}-" + "t" * 40 for role in ROLES}


class Receipt(msgspec.Struct):
    """As the engine's."""

    offset: int
    known: bool


class Snapshot(msgspec.Struct):
    """As the engine's, smaller."""

    version: int
    events: int


class FakeLog:
    """The log's reading and appending, in a list. `fails` is raised by the next appends."""

    def __init__(self) -> None:
        self.records: list[Record] = []
        self.keys: dict[tuple[str, int], int] = {}
        self.fails: Exception | None = None
        self.lock = threading.Lock()

    def append(self, events: list[Event]) -> list[int]:
        if self.fails is not None:
            raise self.fails
        offsets = []
        with self.lock:
            for event in events:
                key = (event.device, event.sequence)
                if key in self.keys:
                    if self.records[self.keys[key] - 1].event != event:
                        raise KeyConflictError(f"device {event.device} used {event.sequence} for something else")
                else:
                    self.records.append(Record(len(self.records) + 1, 100.0, event))
                    self.keys[key] = len(self.records)
                offsets.append(self.keys[key])
        return offsets

    def read(self, after: int, limit: int) -> list[Record]:
        return self.records[after : after + limit]

    def last(self) -> int:
        return len(self.records)


class FakeLake:
    """Bytes by digest."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def put(self, blobs: list[bytes]) -> list[str]:
        self.blobs.update({digest(blob): blob for blob in blobs})
        return [digest(blob) for blob in blobs]

    def get(self, name: str) -> bytes:
        if name not in self.blobs:
            raise NotFoundError(f"no bytes {name}")
        return self.blobs[name]


class FakeRegistry:
    """Models in a list."""

    def __init__(self) -> None:
        self.models = [model(1)]

    def get(self, version: int) -> Model:
        for known in self.models:
            if known.version == version:
                return known
        raise NotFoundError(f"no model {version}")

    def history(self, limit: int) -> list[Model]:
        return self.models[::-1][:limit]


class FakeEngine:
    """What the hub needs of an engine. `observe` refuses what begins with b'bad'."""

    devices = None  # nobody has enrolled here

    @functools.cached_property
    def fleet(self) -> Fleet:
        return Fleet(self.config.rollout, SystemClock())


    def __init__(self, config: LoopConfig) -> None:
        self.config = config
        self.log = FakeLog()
        self.lake = FakeLake()
        self.registry = FakeRegistry()
        self.channel = LocalChannel(model(1))
        self.sequence = 0
        self.acknowledged: list[Live] = []

    def record(self, events: list[Event]) -> list[int]:
        return self.log.append(list(events))

    def observe(self, payload: Payload, line: str, reference: str | None = None) -> Prediction:
        if payload.data.startswith(b"bad"):
            raise UnreadableImageError("these bytes are no image: send PNG, JPEG or BMP")
        self.sequence += 1
        made = prediction(f"hub:{self.sequence}", line, payload.data)
        self.log.append([Event("hub", self.sequence, made)])
        return made

    def feedback(self, feedback: Feedback, device: str = "hub", sequence: int | None = None) -> Receipt:
        if sequence is None:
            self.sequence += 1
            sequence = self.sequence
        known = any(getattr(r.event.body, "id", "") == feedback.prediction for r in self.log.records)
        return Receipt(self.record([Event(device, sequence, feedback)])[0], known)

    def trace(self, name: str) -> list[Record]:
        found = [
            r
            for r in self.log.records
            if name in (getattr(r.event.body, "id", ""), getattr(r.event.body, "prediction", ""))
        ]
        if not found:
            raise NotFoundError(f"no prediction {name}")
        return found

    def metrics_text(self) -> str:
        return f"hotloop_events_total {self.log.last()}\n"

    def snapshot(self) -> Snapshot:
        return Snapshot(1, self.log.last())

    def report(self) -> Snapshot:
        return Snapshot(1, self.log.last())

    def command(self, command: Command) -> Receipt:
        self.sequence += 1
        return Receipt(self.record([Event("hub", self.sequence, command)])[0], known=True)

    def stage(self) -> None:
        """No rollout is under way."""

    def affected(self, selection: Selection) -> str:
        return f"what {selection.reviewer} taught"

    def review(self, limit: int) -> tuple[list[tuple[str, float, str]], str]:
        return [("line-1:1", 0.5, "unsure")][:limit], "nothing may pass yet"

    def acknowledge(self, *lives: Live) -> None:
        for live in lives:
            self.acknowledged.append(live)
            self.channel.acknowledge(live)


def model(version: int) -> Model:
    """A small model."""
    return Model(
        version=version, parent=0, tier="start", backbone="", head=b"head%d" % version, labels=("ok",), recipe="r"
    )


def prediction(name: str, line: str = "line-1", data: bytes = b"piece") -> Prediction:
    """A prediction with one row of two features."""
    return Prediction(
        id=name,
        observation=Observation(id=name, site="site-1", line=line, at=1.0, digest=hashlib.sha256(data).hexdigest()),
        version=1,
        outputs=(Output("ok", 0.9),),
        confidence=0.9,
        proposals=Proposals(1, 2, b"\x00\x3c\x00\x40"),
        at=2.0,
    )


class Reply(msgspec.Struct):
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return msgspec.json.decode(self.body)


class Caller:
    """Calls an ASGI application without sockets. One event loop a call, as plain as it gets."""

    def __init__(self, app: HubApp) -> None:
        self.app = app

    def __call__(
        self,
        method: str,
        target: str,
        body: bytes | list[bytes] = b"",
        *,
        role: str | None = "admin",
        **headers: str,
    ) -> Reply:
        return asyncio.run(self.ask(method, target, body, role=role, **headers))

    async def ask(
        self, method: str, target: str, body: bytes | list[bytes] = b"", *, role: str | None = "admin", **headers: str
    ) -> Reply:
        chunks = body if isinstance(body, list) else [body]
        incoming = [
            {"type": "http.request", "body": chunk, "more_body": i < len(chunks) - 1} for i, chunk in enumerate(chunks)
        ]
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            return incoming.pop(0) if incoming else {"type": "http.disconnect"}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        await self.app(scope(method, target, role, headers), receive, send)
        return Reply(
            sent[0]["status"],
            {k.decode(): v.decode() for k, v in sent[0]["headers"]},
            b"".join(m.get("body", b"") for m in sent[1:]),
        )


def scope(method: str, target: str, role: str | None, headers: dict[str, str]) -> dict[str, Any]:
    """An HTTP scope, with the token of a role if one is given."""
    path, _, query = target.partition("?")
    raw = [(k.replace("_", "-").encode(), v.encode("latin-1")) for k, v in headers.items()]
    if role is not None:
        raw.append((b"authorization", f"Bearer {TOKENS[role]}".encode()))
    return {"type": "http", "method": method, "path": path, "query_string": query.encode(), "headers": raw}


@pytest.fixture
def config(tmp_path: Path) -> LoopConfig:
    """The defaults, with a folder of the test's own and a free port."""
    config = LoopConfig(store=StoreConfig(folder=str(tmp_path / "store")))
    return msgspec.structs.replace(config, hub=msgspec.structs.replace(config.hub, port=0))


@pytest.fixture
def engine(config: LoopConfig) -> FakeEngine:
    """An engine of dictionaries."""
    return FakeEngine(config)


@pytest.fixture
def keyring() -> Keyring:
    """A keyring with one known token a role."""
    return Keyring.of([Credential(role, role, token) for role, token in TOKENS.items()])


@pytest.fixture
def app(engine: FakeEngine, keyring: Keyring):
    """The hub's application over the small engine."""
    app = HubApp(engine, keyring)
    yield app
    app.close()
    engine.channel.close()


@pytest.fixture
def call(app: HubApp) -> Caller:
    """How a test asks the hub, as any role."""
    return Caller(app)


@pytest.fixture
def make() -> SimpleNamespace:
    """Makers of records, and the tokens: what tests of the hub speak in."""
    return SimpleNamespace(
        prediction=prediction, model=model, tokens=TOKENS, caller=Caller, engine=FakeEngine, scope=scope
    )
