"""The hub as a process: it takes its address, answers until it is told to stop, and stops in order."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import ipaddress
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import uvicorn

from hotloop.adapters.mqtt_releases import MqttReleases
from hotloop.config import HubConfig, LoopConfig
from hotloop.errors import ConfigError, HotloopError, PortInUseError, ServiceError
from hotloop.hub.app import HubApp
from hotloop.hub.auth import Keyring, open_credentials
from hotloop.hub.table import Served

_BACKLOG = 2048
_STOP_S = 5  # requests under way get this long to end
_START_S = 30.0
_HEADERS_BYTES_MAX = 64 * 1024


def check_address(hub: HubConfig) -> str:
    """The address to listen on. ConfigError for one that others can reach: there is no TLS here yet."""
    host = hub.host.strip("[]")
    if host == "localhost":
        return "127.0.0.1"
    try:
        loopback = ipaddress.ip_address(host).is_loopback
    except ValueError:
        loopback = False
    if not loopback:
        raise ConfigError(
            f"hub.host is {hub.host!r}, which other machines may reach, and this hub has no TLS: tokens and "
            "images would cross the network in the clear. Use 127.0.0.1 and put a TLS proxy (nginx, Caddy) "
            "or an SSH tunnel in front of it"
        )
    return host


def take_port(hub: HubConfig) -> socket.socket:
    """A listening socket at the hub's address (port 0: a free one). PortInUseError, ConfigError."""
    host = check_address(hub)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, for asyncio sets TCP_NODELAY only then; without it an answer takes 44 ms, not 2.
    taken = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, hub.port))
        taken.listen(_BACKLOG)
    except OSError as error:
        taken.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUseError(
                f"port {hub.port} on {host} is in use, perhaps by another hub. See who has it with "
                f"`ss -ltnp sport = :{hub.port}` and stop it, or set another hub.port (0: any free one)"
            ) from None
        raise ServiceError(f"the hub cannot listen on {host} port {hub.port}: {error}") from error
    return taken


def address(taken: socket.socket) -> str:
    """The URL of a listening socket."""
    host, port = taken.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


class _Server(uvicorn.Server):
    """uvicorn, but it ends the streams before it waits for them, and leaves signals to `serve`."""

    def __init__(
        self, app: HubApp, url: str, ready: Callable[[str], None] | None, broker: MqttReleases | None = None
    ) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                ws="none",
                lifespan="on",
                backlog=_BACKLOG,
                timeout_graceful_shutdown=_STOP_S,
                h11_max_incomplete_event_size=_HEADERS_BYTES_MAX,
            )
        )
        self.app, self._url, self._ready, self._broker = app, url, ready, broker

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Stop on SIGTERM and SIGINT when in the main thread, and return to the caller, not die of them."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        loop = asyncio.get_running_loop()
        kinds = (signal.SIGTERM, signal.SIGINT)
        for kind in kinds:
            loop.add_signal_handler(kind, self.handle_exit, kind, None)
        try:
            yield
        finally:
            for kind in kinds:
                loop.remove_signal_handler(kind)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then tell the address."""
        await super().startup(sockets)
        if self._broker is not None and not self.should_exit:
            self._broker.start()
            self.app.signed.tap(self._broker.offer)
        if self._ready is not None and not self.should_exit:
            self._ready(self._url)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """End the streams, then wait for the requests under way."""
        self.app.broadcast.close()
        self.app.signed.close()
        if self._broker is not None:
            await asyncio.to_thread(self._broker.close)
        await super().shutdown(sockets)


def serve(served: Served, config: LoopConfig, ready: Callable[[str], None] | None = None) -> None:
    """Answer until SIGTERM or SIGINT; the engine stays open, for the caller to close.

    `ready` is told the URL once the hub answers. PortInUseError, ConfigError.
    """
    server, taken = _prepare(served, config, ready)
    _run(server, taken)


@contextlib.contextmanager
def running(served: Served, config: LoopConfig) -> Iterator[str]:
    """A hub in a thread of this process for the length of a `with`; gives its URL."""
    up = threading.Event()
    server, taken = _prepare(served, config, lambda _url: up.set())
    url = address(taken)
    thread = threading.Thread(target=_run, args=(server, taken), name="hub-server", daemon=True)
    thread.start()
    try:
        if not up.wait(_START_S):
            raise ServiceError(f"the hub did not start within {_START_S:.0f} s at {url}")
        yield url
    finally:
        server.should_exit = True
        thread.join()


def _prepare(served: Served, config: LoopConfig, ready: Callable[[str], None] | None) -> tuple[_Server, socket.socket]:
    """The application and its socket."""
    keyring = Keyring.of(open_credentials(Path(config.store.folder)), served.devices)
    broker = MqttReleases(config) if config.mqtt.url else None
    taken = take_port(config.hub)
    try:
        return _Server(HubApp(served, keyring), address(taken), ready, broker), taken
    except HotloopError:
        taken.close()
        raise


def _run(server: _Server, taken: socket.socket) -> None:
    """Serve on a socket until told to stop, and let go of everything."""
    try:
        asyncio.run(server.serve(sockets=[taken]))
    finally:
        server.app.close()
        taken.close()
