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
from hotloop.errors import HotloopError, InputError, PortInUseError
from hotloop.types import Feedback, Payload

_JSON_BYTES_MAX: Final = 1 << 20
_LINGER_S: Final = 1.0
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

    def __init__(
        self, agent: Agent, port: int, payload_bytes_max: int, beside: Callable[[], Beside] = Beside
    ) -> None:
        """`beside` says how the camera and the broker are. PortInUseError. Port 0: a free one."""
        own = {"agent": agent, "payload_bytes_max": payload_bytes_max, "beside": staticmethod(beside)}
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
    payload_bytes_max: int
    beside: Callable[[], Beside]
    protocol_version = "HTTP/1.1"
    timeout = 30.0

    def do_GET(self) -> None:
        """Health."""
        if self.path != "/healthz":
            self._fail(HTTPStatus.NOT_FOUND, "there are POST /predict, POST /feedback and GET /healthz")
            return
        state, beside = self.agent.state(), self.beside()
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
        limits = {"/predict": self.payload_bytes_max, "/feedback": _JSON_BYTES_MAX}
        if self.path not in limits:
            self._fail(HTTPStatus.NOT_FOUND, "there are POST /predict, POST /feedback and GET /healthz")
            return
        length = self.headers.get("content-length", "")
        if not (length.isascii() and length.isdecimal()) or int(length) > limits[self.path]:
            self.close_connection = True
            words = f"send at most {limits[self.path]} bytes, and say how many"
            self._fail(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
            self._linger()
            return
        body = self.rfile.read(int(length))
        try:
            if self.path == "/predict":
                kind = self.headers.get("content-type", "application/octet-stream")
                said = self.agent.sense(Payload(body, kind))
                self._answer({"prediction": said.id, "version": said.version, "outputs": said.outputs})
            else:
                self.agent.say(self.agent.in_its_name(_feedback(body)))
                self._answer({"taken": True})
        except InputError as error:
            self._fail(HTTPStatus.UNPROCESSABLE_ENTITY, str(error))
        except HotloopError as error:
            self._fail(HTTPStatus.SERVICE_UNAVAILABLE, str(error))

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
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        if self.close_connection:  # else a client would use it again
            self.send_header("connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def _fail(self, status: HTTPStatus, detail: str) -> None:
        self._answer({"detail": detail}, status)


def _feedback(body: bytes) -> Feedback:
    try:
        return msgspec.json.decode(body, type=Feedback)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise InputError(f"this is no feedback: {error}") from error
