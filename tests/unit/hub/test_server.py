"""The hub as a process's part: its address, its port, its start and its end."""

from __future__ import annotations

import signal
import socket
import threading
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from hotloop.config import HubConfig, LoopConfig
from hotloop.errors import ConfigError, PortInUseError, ServiceError
from hotloop.hub.auth import open_credentials
from hotloop.hub.server import address, check_address, running, serve, take_port


@pytest.mark.parametrize(
    ("host", "found"),
    [
        ("127.0.0.1", "127.0.0.1"),
        ("localhost", "127.0.0.1"),
        ("127.8.8.8", "127.8.8.8"),
        ("::1", "::1"),
        ("[::1]", "::1"),
    ],
)
def test_loopback_addresses_are_taken(host: str, found: str) -> None:
    """Every way to say this machine alone."""
    assert check_address(HubConfig(host=host)) == found


@pytest.mark.parametrize(
    "host",
    [
        "0.0.0.0",
        "::",
        "192.168.1.4",
        "10.0.0.1",
        "8.8.8.8",
        "plant.example",
        "",
        "127.0.0.1.example",
        "1",
        "::ffff:10.0.0.1",
    ],
)
def test_addresses_that_others_reach_are_refused(host: str) -> None:
    """Without TLS the hub does not listen where others can reach it, and says what to do instead."""
    with pytest.raises(ConfigError, match="TLS"):
        take_port(HubConfig(host=host, port=0))


def test_a_port_in_use_says_who_to_ask() -> None:
    """The second hub on a port is told how to find the first, and how to use another port."""
    with take_port(HubConfig(port=0)) as first:
        port = first.getsockname()[1]
        with pytest.raises(PortInUseError) as caught:
            take_port(HubConfig(port=port))
    for words in (str(port), "ss -ltnp", "hub.port"):
        assert words in str(caught.value)


def test_port_0_is_a_free_one() -> None:
    """Two hubs that ask for any port get two."""
    with take_port(HubConfig(port=0)) as one, take_port(HubConfig(port=0)) as two:
        assert address(one) != address(two)
        assert address(one).startswith("http://127.0.0.1:")


def test_a_port_that_cannot_be_bound_is_a_service_error(monkeypatch: Any) -> None:
    """Any other failure of the network names the address."""

    def refuse(*_: Any) -> None:
        raise PermissionError(13, "not yours")

    monkeypatch.setattr(socket.socket, "bind", refuse)
    with pytest.raises(ServiceError, match=r"127\.0\.0\.1 port 80: .*not yours"):
        take_port(HubConfig(port=80))


def test_ipv6_addresses_have_brackets() -> None:
    """A URL of ::1 is one that clients understand."""

    class Six:
        def getsockname(self) -> tuple[str, int, int, int]:
            return ("::1", 9, 0, 0)

    assert address(Six()) == "http://[::1]:9"  # type: ignore[arg-type]


def test_a_running_hub_answers_and_stops(engine: Any, config: LoopConfig) -> None:
    """For the length of a `with` it answers; then its port is free and its engine still open."""
    with running(engine, config) as url:
        assert httpx.get(f"{url}/healthz", trust_env=False).json()["status"] == "ok"
        port = int(url.rpartition(":")[2])
    take_port(HubConfig(port=port)).close()
    assert engine.record([]) == []


def test_answers_leave_at_once(engine: Any, config: LoopConfig) -> None:
    """Small answers are not held back for 40 ms by Nagle's algorithm: the accepted sockets have TCP_NODELAY."""
    with take_port(config.hub) as taken:
        assert taken.proto == socket.IPPROTO_TCP


def test_open_streams_do_not_hold_up_the_end(engine: Any, config: LoopConfig) -> None:
    """The hub stops at once though a line follows; the line's stream ends in order."""
    with running(engine, config) as url:
        token = next(c.token for c in open_credentials(Path(config.store.folder)) if c.role == "line")
        client = httpx.Client(headers={"authorization": f"Bearer {token}"}, trust_env=False)
        began, ended = threading.Event(), threading.Event()

        def follow() -> None:
            with client.stream("GET", f"{url}/v1/follow?line=line-1") as answer:
                for text in answer.iter_lines():
                    if text.startswith("data: "):
                        began.set()
            ended.set()

        thread = threading.Thread(target=follow)
        thread.start()
        assert began.wait(10)
    assert ended.wait(4)  # less than the 5 s that a request under way would be given
    thread.join()
    client.close()


def test_serve_returns_on_sigterm(engine: Any, config: LoopConfig) -> None:
    """SIGTERM ends `serve`, which returns to its caller, so that the engine can be closed."""
    told: list[str] = []

    def ready(url: str) -> None:
        told.append(url)
        signal.raise_signal(signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    serve(engine, config, ready)
    assert told[0].startswith("http://127.0.0.1:")
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_bad_token_file_frees_the_port(engine: Any, config: LoopConfig) -> None:
    """A hub that does not start leaves nothing behind."""
    folder = Path(config.store.folder)
    open_credentials(folder)
    (folder / "tokens.json").chmod(0o644)
    with pytest.raises(ConfigError, match="chmod"):
        serve(engine, config)


def test_a_public_address_is_refused_before_anything_starts(engine: Any, config: LoopConfig) -> None:
    """`serve` itself refuses, whoever calls it."""
    hub = msgspec.structs.replace(config.hub, host="0.0.0.0")
    with pytest.raises(ConfigError, match="TLS"), running(engine, msgspec.structs.replace(config, hub=hub)):
        pass
