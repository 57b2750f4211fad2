"""Reading a request: where it was sent to, its parameters, its body up to its limit, decoded by its row."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from functools import lru_cache
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from hotloop.config import HubConfig
from hotloop.errors import RequestError
from hotloop.hub.stream import Receive
from hotloop.hub.table import Call, Caller, Route
from hotloop.types import UNREADABLE

BODY_S_MAX = 60.0  # a body takes at most this long to arrive
_QUERY_FIELDS_MAX = 20
_MSGPACK_NAMES = ("application/x-msgpack", "application/vnd.msgpack")
_LOCAL = ("localhost", "::1")


@dataclass(frozen=True)
class Arrival:
    """A request that may come in: its row, who asks, and what it says, not yet decoded."""

    route: Route
    caller: Caller
    path: str
    found: dict[str, str]
    query: bytes
    headers: dict[bytes, bytes]

    def call(self, body: bytes) -> Call:
        """The request with its body, checked against its row. RequestError says what does not fit."""
        media_type = _media_type(self.route, self.headers)
        return Call(
            caller=self.caller,
            params=self.params(),
            body=_decoded(self.route, media_type, body),
            media_type=media_type,
            key=self.headers.get(b"idempotency-key", b"").decode("latin-1"),
            at=time.time(),
        )

    def params(self) -> Any:
        """The parameters of path and query, as the row's record. RequestError says which one is wrong."""
        return _params(self.route, self.found, self.query)

    def limit_bytes(self, limits: HubConfig) -> int:
        """How large its body may be; 0 for a route that takes none."""
        return int(getattr(limits, self.route.limit)) if self.route.limit else 0

    def declared_bytes(self, limit_bytes: int) -> int:
        """The bytes to make room for: what Content-Length says, or the limit where it says nothing."""
        return _declared(self.headers, limit_bytes) if limit_bytes else 0


async def read_body(receive: Receive, limit_bytes: int) -> bytes:
    """The request's body, counted as it comes: what Content-Length says is not trusted."""
    chunks: list[bytes] = []
    count = 0
    try:
        async with asyncio.timeout(BODY_S_MAX):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise RequestError("the sender went away before its body was whole", status=400)
                chunk: bytes = message.get("body", b"")
                count += len(chunk)
                if count > limit_bytes:
                    raise _too_large(limit_bytes)
                chunks.append(chunk)
                if not message.get("more_body", False):
                    return chunks[0] if len(chunks) == 1 else b"".join(chunks)
    except TimeoutError:
        raise RequestError(f"the body was not whole after {BODY_S_MAX:.0f} s: send it again", status=408) from None


def _too_large(limit_bytes: int) -> RequestError:
    """The error for a body over its limit."""
    return RequestError(
        f"the body is over {limit_bytes} bytes: send less at once (hub.body_bytes_max, hub.json_bytes_max)",
        status=413,
    )


def _declared(headers: dict[bytes, bytes], limit_bytes: int) -> int:
    """The bytes to make room for: what Content-Length says, or the limit where it says nothing."""
    text = headers.get(b"content-length")
    if text is None:
        return limit_bytes
    if not text.isdigit() or len(text) > 18:
        raise RequestError("Content-Length is no number", status=400)
    if int(text) > limit_bytes:
        raise _too_large(limit_bytes)
    return int(text)


def check_place(headers: dict[bytes, bytes]) -> None:
    """Refuse requests that a foreign web page made a browser send here (DNS rebinding)."""
    host, origin = headers.get(b"host"), headers.get(b"origin")
    if (host is not None and not _is_local(host)) or (origin is not None and not _is_local_origin(origin)):
        raise RequestError(
            "this hub answers to localhost, 127.x.x.x and [::1] only, and to pages from there: "
            "use one of them as the address",
            status=421,
        )


@lru_cache(maxsize=256)
def _is_local(host: bytes) -> bool:
    """Whether a Host header names the loopback interface."""
    text = host.decode("latin-1").lower()
    name = text[1:].partition("]")[0] if text.startswith("[") else text.partition(":")[0]
    return name in _LOCAL or is_loopback_v4(name)


@lru_cache(maxsize=256)
def _is_local_origin(origin: bytes) -> bool:
    """Whether an Origin header names a page of this machine."""
    scheme, mark, host = origin.partition(b"://")
    return bool(mark) and scheme in (b"http", b"https") and _is_local(host)


def is_loopback_v4(text: str) -> bool:
    """Whether `text` is an IPv4 address in 127.0.0.0/8."""
    parts = text.split(".")
    return (
        len(parts) == 4
        and parts[0] == "127"
        and all(part.isascii() and part.isdecimal() and len(part) <= 3 and int(part) <= 255 for part in parts)
    )


def _media_type(route: Route, headers: dict[bytes, bytes]) -> str:
    """The body's media type, without parameters; the row's first where none is said. 415 for others."""
    if not route.takes:
        return ""
    said = headers.get(b"content-type", b"").decode("latin-1").partition(";")[0].strip().lower()
    if said in _MSGPACK_NAMES:
        said = "application/msgpack"
    if route.takes == ("*",):
        return said[:100] or "application/octet-stream"
    if said == "":
        return route.takes[0]
    if said not in route.takes:
        raise RequestError(f"Content-Type {said[:80]!r} is not taken here: use {' or '.join(route.takes)}", status=415)
    return said


def _params(route: Route, found: dict[str, str], query: bytes) -> Any:
    """The parameters of path and query, as the row's record. RequestError says which one is wrong."""
    if not query and not found and not route.params.__struct_fields__:
        return None
    try:
        pairs = parse_qsl(
            query.decode("ascii"), keep_blank_values=True, max_num_fields=_QUERY_FIELDS_MAX, errors="strict"
        )
    except ValueError as error:
        raise RequestError(f"the query cannot be read: {error}", status=400) from None
    named = dict(pairs)
    if len(named) != len(pairs) or named.keys() & found.keys():
        raise RequestError("a parameter is there twice", status=400)
    try:
        return msgspec.convert({**named, **found}, route.params, strict=False)
    except (msgspec.ValidationError, ValueError) as error:
        raise RequestError(f"the parameters do not fit: {error}") from None


@lru_cache(maxsize=64)
def _decoder(kind: Any, media_type: str) -> Any:
    """A decoder for a type in a format; made once."""
    if media_type == "application/json":
        return msgspec.json.Decoder(kind)
    return msgspec.msgpack.Decoder(kind)


def _decoded(route: Route, media_type: str, body: bytes) -> Any:
    """The body as the row's type: 400 if it is not of its format, 422 if it is not of the type."""
    if route.request is None:
        return body
    try:
        return _decoder(route.request, media_type).decode(body)
    except msgspec.ValidationError as error:
        raise RequestError(f"the body does not fit: {error}. GET /openapi.json says what does") from None
    except UNREADABLE as error:
        raise RequestError(f"the body is not {media_type}: {error}", status=400) from None
