"""TRUST 18: a rollback reaches 99 of 100 lines that are online within ten seconds.

A real hub over HTTP, and lines that follow it, each with its own check of signed releases, all in one thread.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import httpx
import msgspec
import numpy as np

from hotloop.adapters.hub_client import HubClient
from hotloop.adapters.release_check import ReleaseCheck
from hotloop.config import HubConfig, LoopConfig, StoreConfig
from hotloop.engine import Engine
from hotloop.feedback import verdict
from hotloop.hub.auth import open_credentials
from hotloop.hub.server import running
from hotloop.loading import load_vertical
from hotloop.store.embedded import open_embedded
from hotloop.store.signing import FIRST_ROOT, SignedRelease
from hotloop.types import Command, Payload

SHARE = 0.99
_CONNECTED_S = 60.0
_ALIVE_S = 5.0
_APART_S = 0.002  # between two lines that connect
_LOOK_S = 0.01


class Lines:
    """So many lines in one thread: what each has checked, and when."""

    def __init__(self, url: str, token: str, count: int, folder: Path) -> None:
        self.count, self.folder = count, folder
        self.arrived: list[tuple[int, float]] = []  # version, monotonic seconds
        self.failed: list[str] = []
        self._url, self._token = url, token
        self._client = HubClient(url, token)
        self._root = self._client.release_file(FIRST_ROOT)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def wait(self, count: int, limit_s: float) -> bool:
        """Until so many have checked something; False after `limit_s`."""
        end = time.monotonic() + limit_s
        while len(self.arrived) < count and time.monotonic() < end:
            time.sleep(_LOOK_S)
        return len(self.arrived) >= count

    def close(self) -> None:
        """All of them hang up."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._all.cancel)
        self._thread.join(10.0)
        self._client.close()

    def _run(self) -> None:
        asyncio.run(self._follow())

    async def _follow(self) -> None:
        self._loop = asyncio.get_running_loop()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        headers = {"authorization": f"Bearer {self._token}"}
        timeout = httpx.Timeout(_CONNECTED_S, read=None)
        async with httpx.AsyncClient(
            base_url=self._url, headers=headers, limits=limits, timeout=timeout, trust_env=False
        ) as http:
            self._all = asyncio.gather(*(self._one(http, number) for number in range(self.count)))
            try:
                await self._all
            except asyncio.CancelledError:
                return

    async def _one(self, http: httpx.AsyncClient, number: int) -> None:
        check = ReleaseCheck(self.folder / str(number), self._root, self._client.release_file)
        await asyncio.sleep(number * _APART_S)
        async with http.stream("GET", f"/v1/releases?line=line-{number}&after=0") as answer:
            async for text in answer.aiter_lines():
                if text.startswith("data: "):
                    model, _ = check.model(msgspec.json.decode(text[6:].encode(), type=SignedRelease))
                    self.arrived.append((model.version, time.monotonic()))


def check_rollback_reaches(folder: Path, lines: int = 100, limit_s: float = 10.0) -> list[float]:
    """AssertionError unless 99 of 100 lines have checked a rollback `limit_s` after its order. The seconds of each."""
    config = LoopConfig(
        vertical="vectors",
        tables={"vectors": {"labels": ["ok", "worn"], "columns": 4}},
        hub=HubConfig(port=0, streams_max=max(lines + 8, 64), follow_s=_ALIVE_S),
        store=StoreConfig(folder=str(folder / "store"), free_bytes_min=1),
    )
    with closing(Engine(config, load_vertical(config), open_embedded(config))) as engine:
        engine.start()
        _teach(engine, 8)
        with running(engine, config) as url:
            token = next(one.token for one in open_credentials(folder / "store") if one.role == "line")
            with closing(Lines(url, token, lines, folder / "lines")) as fleet:
                assert fleet.wait(lines, _CONNECTED_S), f"{len(fleet.arrived)} of {lines} lines have connected"
                return _rolled_back(engine, fleet, limit_s)


def _teach(engine: Engine, count: int) -> None:
    """Some releases to go back from."""
    rng = np.random.default_rng(0)
    for row in rng.normal(size=(count, 4)):
        said = engine.observe(Payload(msgspec.json.encode(row.tolist())), "own")
        engine.feedback(verdict(said.id, [("worn" if row.sum() > 0 else "ok", None)], "ann", 0.0))
        while engine.behind:
            time.sleep(_LOOK_S)


def _rolled_back(engine: Engine, fleet: Lines, limit_s: float) -> list[float]:
    version = engine.model.version
    fleet.arrived.clear()
    began_s = time.monotonic()
    engine.command(Command(order="rollback", by="the check", version=2))
    fleet.wait(fleet.count, limit_s)
    took = sorted(at - began_s for found, at in fleet.arrived if found > version)
    enough = int(np.ceil(SHARE * fleet.count))
    assert len(took) >= enough, f"{len(took)} of {fleet.count} lines had the rollback after {limit_s:g} s"
    return took


def quantile(seconds: Sequence[float], share: float) -> float:
    """The time by which that share of the lines had it."""
    return seconds[min(int(share * len(seconds)), len(seconds) - 1)]
