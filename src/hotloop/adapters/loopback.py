"""HTTP for programs on this device alone: a server in threads, and what each of its requests needs.

Loopback only: whoever may run programs on this device may use it, nobody else can reach it.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final

import msgspec

from hotloop.errors import PortInUseError

_POLL_S: Final = 0.1  # so often it is looked whether it is to end
_LINGER_S: Final = 1.0
_LINGER_BYTES_MAX: Final = 32 << 20
_DIGITS_MAX: Final = 20


class LoopbackServer:
    """A server on 127.0.0.1, in threads of its own."""

    def __init__(self, port: int, handler: type[LoopbackHandler], own: dict[str, Any], setting: str) -> None:
        """`own`: what its handlers know, by attribute. Port 0: a free one. PortInUseError names `setting`."""
        made = type("Handler", (handler,), own)
        try:
            self._server = ThreadingHTTPServer(("127.0.0.1", port), made)
        except OSError as error:
            raise PortInUseError(f"port {port} cannot be had ({error}): set another {setting}") from None
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        serve = self._server.serve_forever
        self._thread = threading.Thread(target=serve, args=(_POLL_S,), name="hotloop-local", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Take no more requests."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2.0)


class LoopbackHandler(BaseHTTPRequestHandler):
    """A request of a program on this device."""

    protocol_version = "HTTP/1.1"
    timeout = 30.0
    disable_nagle_algorithm = True  # else an answer in two writes waits 40 ms for the client

    def get(self) -> None:
        """Answer GET."""
        self.fail(HTTPStatus.NOT_FOUND, "there is nothing to get here")

    def post(self) -> None:
        """Answer POST."""
        self.turn_away(HTTPStatus.NOT_FOUND, "nothing is taken here")

    def do_GET(self) -> None:
        """See `get`."""
        if self.from_here():
            self.get()

    def do_POST(self) -> None:
        """See `post`."""
        if self.from_here():
            self.post()

    def body(self, limit_bytes: int) -> bytes | None:
        """What was sent; None if it was refused, or is not whole."""
        length = self.headers.get("content-length", "")
        told = length.isascii() and length.isdecimal() and len(length) < _DIGITS_MAX
        if not told or int(length) > limit_bytes:
            words = f"send at most {limit_bytes} bytes, and say how many"
            self.turn_away(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, words)
            return None
        data = self.rfile.read(int(length))
        if len(data) < int(length):  # whoever sent it is gone: half a piece is no piece
            self.close_connection = True
            return None
        return data

    def from_here(self) -> bool:
        """Whether a program on this device asks, and not a page of elsewhere that is open in its browser: that one has
        an origin, or comes under another name (https://en.wikipedia.org/wiki/DNS_rebinding).
        """
        host = self.headers.get("host", "localhost").partition(":")[0].rstrip(".").lower()  # HTTP/1.0 names none
        if host in ("127.0.0.1", "localhost") and "origin" not in self.headers:
            return True
        self.turn_away(HTTPStatus.FORBIDDEN, "this is for programs on this device: ask 127.0.0.1, and no web page")
        return False

    def turn_away(self, status: HTTPStatus, words: str) -> None:
        """Refuse with a body unread: what is left of it must not pass for the next request."""
        self.close_connection = True
        self.fail(status, words)
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

    def answer(self, said: Any, status: HTTPStatus = HTTPStatus.OK) -> None:
        """Say it, as JSON."""
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

    def fail(self, status: HTTPStatus, detail: str) -> None:
        """Say what is wrong."""
        self.answer({"detail": detail}, status)
