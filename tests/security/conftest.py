"""A hub over the real engine on ports in memory, called without sockets."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from hotloop.config import LoopConfig, StoreConfig
from hotloop.engine import Engine
from hotloop.hub.app import HubApp
from hotloop.hub.auth import Credential, Keyring
from hotloop.hub.table import ROLES
from hotloop.loading import load_vertical
from hotloop.ports import Ports
from hotloop.store.channel import LocalChannel
from hotloop.store.clock import SystemClock
from hotloop.store.snapshots import FileSnapshots
from hotloop.testing.memory_lake import MemoryLake
from hotloop.testing.memory_log import MemoryLog
from hotloop.testing.memory_registry import MemoryRegistry

TOKENS = {role: f"{role}-" + "t" * 40 for role in ROLES}
BOUND = "bound-" + "t" * 40


class Hub(msgspec.Struct):
    """A hub in this process: its engine, its application, its tokens, and a way to ask it."""

    engine: Any
    app: Any
    tokens: dict[str, str]

    async def ask(self, method: str, path: str, query: bytes, headers: list[tuple[bytes, bytes]], body: bytes) -> Any:
        """Status, headers and body of an answer; a stream is left once it has begun."""
        sent: list[Any] = []
        incoming = [{"type": "http.request", "body": body, "more_body": False}]

        async def receive() -> Any:
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message: Any) -> None:
            sent.append(message)

        scope = {"type": "http", "method": method, "path": path, "query_string": query, "headers": headers}
        await self.app(scope, receive, send)
        return sent[0]["status"], dict(sent[0]["headers"]), b"".join(m.get("body", b"") for m in sent[1:])


@contextmanager
def open_hub(folder: Path) -> Iterator[Hub]:
    """A hub for vectors of two columns, with a credential a role and one bound to line-7."""
    tables = {"vectors": dict(labels=("ok", "worn"), columns=2)}
    config = LoopConfig(store=StoreConfig(folder=str(folder)), vertical="vectors", tables=tables)
    ports = Ports(
        log=MemoryLog(),
        lake=MemoryLake(),
        registry=MemoryRegistry(),
        channel=LocalChannel(),
        clock=SystemClock(),
        snapshots=FileSnapshots(folder / "snapshot.msgpack"),
    )
    engine = Engine(config, load_vertical(config), ports)
    credentials = [Credential(role, role, token) for role, token in TOKENS.items()]
    credentials.append(Credential("bound", "line", BOUND, subject="line-7"))
    app = HubApp(engine, Keyring.of(credentials))
    try:
        yield Hub(engine, app, {**TOKENS, "bound": BOUND})
    finally:
        app.close()
        engine.close()


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """A hub in this process."""
    with open_hub(tmp_path) as hub:
        yield hub
