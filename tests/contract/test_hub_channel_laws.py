"""The laws of the Channel over HTTP: releases are made at a real hub, lines follow through `HubChannel`."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from hotloop.adapters.hub_client import HubChannel, HubClient
from hotloop.config import HubConfig, LoopConfig, StoreConfig
from hotloop.fleet import Fleet
from hotloop.hub.auth import open_credentials
from hotloop.hub.server import running
from hotloop.store.channel import LocalChannel
from hotloop.store.clock import SystemClock
from hotloop.testing.checks import channel as laws
from hotloop.types import Live, Model, Release


class OverHttp:
    """A channel whose two ends have the network between them."""

    def __init__(self, folder: Path, stack: contextlib.ExitStack) -> None:
        config = LoopConfig(store=StoreConfig(folder=str(folder)), hub=HubConfig(port=0))
        self.hub = LocalChannel()
        served: Any = SimpleNamespace(
            config=config,
            channel=self.hub,
            acknowledge=self.hub.acknowledge,
            devices=None,
            fleet=Fleet(config.rollout, SystemClock()),
            stage=lambda: None,
        )
        last = stack.enter_context(contextlib.ExitStack())  # ends after the hub, and so after its streams
        url = stack.enter_context(running(served, config))
        token = next(c.token for c in open_credentials(folder) if c.role == "line")
        self.client = HubClient(url, token)
        self.line = HubChannel(self.client)
        last.callback(self.client.close)
        stack.callback(self.close)

    def publish(self, release: Release, model: Model) -> None:
        self.hub.publish(release, model)

    def follow(self, line: str, after: int, timeout_s: float) -> Model | None:
        return self.line.follow(line, after, timeout_s)

    def acknowledge(self, live: Live) -> None:
        self.line.acknowledge(live)

    def lines(self) -> Mapping[str, int]:
        return self.hub.lines()

    def close(self) -> None:
        self.line.close()
        self.hub.close()


@pytest.fixture
def stack() -> Iterator[contextlib.ExitStack]:
    """Ends what a test began."""
    with contextlib.ExitStack() as stack:
        yield stack


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_the_hub_and_its_lines_keep_the_law(law: Any, tmp_path: Path, stack: contextlib.ExitStack) -> None:
    """What holds in one process holds over HTTP and server-sent events."""
    law(lambda: OverHttp(tmp_path, stack))
