"""Predictions for what stands beside the line (a camera's computer, a PLC): HTTP on this device alone.

    POST /predict      the payload's bytes; answers the prediction as JSON at once
    POST /feedback     a verdict, as `POST /v1/feedback` of the hub takes it
    GET  /healthz      version, spool, what was dropped or refused, why the hub takes nothing if it does not, and how
                       the camera and the broker are

Loopback only: whoever may run programs on this device may use it, nobody else can reach it.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec

from hotloop.adapters.camera import CameraState
from hotloop.adapters.mqtt_line import MqttState
from hotloop.agent import Agent
from hotloop.config import LoopConfig
from hotloop.edge.verdicts import VERDICT_BYTES_MAX, checked_verdict
from hotloop.errors import HotloopError, InputError, PortInUseError
from hotloop.types import Payload

_LINGER_S: Final = 1.0
_DIGITS_MAX: Final = 20
_LINGER_BYTES_MAX: Final = 32 << 20


class Beside(msgspec.Struct, frozen=True):
    """How the camera and the broker are; None where there is none."""

    camera: CameraState | None = None
    mqtt: MqttState | None = None


class Health(msgspec.Struct, frozen=True):
    """What `GET /healthz` says."""

    line: str
    version: int
    waiting_events: int
    waiting_payloads: int
    spool_bytes: int
    dropped: dict[str, int]
    refused: list[str]
    trouble: str
    camera: CameraState | None
    mqtt: MqttState | None


class LocalHttp:
    """The server, in threads of its own."""

    def __init__(self, agent: Agent, config: LoopConfig, beside: Callable[[], Beside] = Beside) -> None:
        """`beside` says how the camera and the broker are. PortInUseError. [edge] port 0: a free one."""
        own = {"agent": agent, "config": config, "beside": staticmethod(beside)}
        port = config.edge.port
        handler = type("Handler", (_Handler,), own)
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), handler)
        except OSError as error:
            raise PortInUseError(f"port {port} cannot be had ({error}): set another [edge] port") from None
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        self._thread = threading.Thread(target=self._server.serve_forever, name="hotloop-local", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)


class _Handler(BaseHTTPRequestHandler):
    agent: Agent
    config: LoopConfig
    beside: Callable[[], Beside]
    protocol_version = "HTTP/1.1"
    timeout = 30.0
    disable_nagle_algorithm = True  # else an answer in two writes waits 40 ms for the client

    def do_GET(self) -> None:
        """Health."""
        if not self._from_here():
            return
        if self.path != "/healthz":
            self._turn_away(HTTPStatus.NOT_FOUND, "there are POST /predict, POST /feedback and GET /healthz")
            return
        try:
            state, beside = self.agent.state(), self.beside()
        except HotloopError as error:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))
            return
        self._answer(
            Health(
                self.agent.place.line,
                self.agent.predictor.version,
                state.events,
                state.payloads,
                state.size_bytes,
                state.dropped,
                list(self.agent.refused),
                self.agent.trouble,
                beside.camera,
                beside.mqtt,
            )
        )

    def do_POST(self) -> None:
        """A payload, or a verdict."""
        if not self._from_here():
            return
        limits = {"/predict": self.config.edge.payload_bytes_max, "/feedback": VERDICT_BYTES_MAX}
        if self.path not in limits:
            self._turn_away(HTTPStatus.NOT_FOUND, "there are POST /predict, POST /feedback and GET /healthz")
            return
        length = self.headers.get("content-length", "")
        told = length.isascii() and length.isdecimal() and len(length) < _DIGITS_MAX
        if not told or int(length) > limits[self.path]:
            words = f"send at most {limits[self.path]} bytes, and say how many"
            self._turn_away(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
            return
        body = self.rfile.read(int(length))
        if len(body) < int(length):  # whoever sent it is gone: half a piece is no piece
            self.close_connection = True
            return
        try:
            if self.path == "/predict":
                kind = self.headers.get("content-type", "application/octet-stream")
                said = self.agent.sense(Payload(body, kind))
                self._answer({"prediction": said.id, "version": said.version, "outputs": said.outputs})
            else:
                self.agent.say(checked_verdict(body, self.agent, self.config.trust.golden))
                self._answer({"taken": True})
        except InputError as error:
            self._fail(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except HotloopError as error:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

    def _from_here(self) -> bool:
        """Whether a program on this device asks, and not a page of elsewhere that is open in its browser: that one has
        an origin, or comes under another name (https://en.wikipedia.org/wiki/DNS_rebinding).
        """
        host = self.headers.get("host", "localhost").partition(":")[0].rstrip(".").lower()  # HTTP/1.0 names none
        if host in ("127.0.0.1", "localhost") and "origin" not in self.headers:
            return True
        self._turn_away(HTTPStatus.FORBIDDEN, "this is for programs on this device: ask 127.0.0.1, and no web page")
        return False

    def _turn_away(self, status: HTTPStatus, words: str) -> None:
        """Refuse with a body unread: what is left of it must not pass for the next request."""
        self.close_connection = True
        self._fail(status, words)
        with suppress(OSError):
            self._linger()

    def handle_one_request(self) -> None:
        """One request; whoever asked may be gone at any moment, and that is no error of this device's."""
        try:
            super().handle_one_request()
        except ConnectionError:
            self.close_connection = True

    def _linger(self) -> None:
        """Let what is still under way come, within bounds: a connection that is cut with bytes unread takes the answer
        with it.
        """
        self.wfile.flush()
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_WR)
            self.connection.settimeout(_LINGER_S)
            left = _LINGER_BYTES_MAX
            while left > 0 and (data := self.connection.recv(65536)):
                left -= len(data)

    def log_message(self, *_: Any) -> None:
        """A line's log is not a web server's."""

    def _answer(self, said: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        body = msgspec.json.encode(said)
        with suppress(ConnectionError):  # whoever asked is gone
            self._send(status, body)

    def _send(self, status: HTTPStatus, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if self.close_connection:  # else a client would use it again
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, status: HTTPStatus, detail: str) -> None:
        self._answer({"detail": detail}, status)
