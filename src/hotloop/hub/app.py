"""The hub as an ASGI application, driven by the route table.

For each request, in this order: the host it was sent to, who asks, whether the route's permission is theirs,
whether there is room, the body up to its limit, the handler in a thread, the audit, the answer. The event
loop itself never blocks.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import TypeVar

import msgspec

from hotloop import intake
from hotloop.errors import AccessError, HotloopError, NotFoundError, OverloadError, StoreError
from hotloop.hub import openapi, shown
from hotloop.hub.auth import Keyring
from hotloop.hub.problems import problem, problem_answer, status_of
from hotloop.hub.received import Arrival, check_place, read_body
from hotloop.hub.routes import ROUTES, SIGNED
from hotloop.hub.stream import Broadcast, Follower, Message, Receive, Send, frame, send_stream
from hotloop.hub.table import NOBODY, Answer, Route, RouteTable, Served
from hotloop.types import Event, Model, Notice

T = TypeVar("T")

BODIES_HELD_MAX = 8  # largest bodies in memory at once; many more small ones fit
_AUDIT_CHARS_MAX = 500
_DAY_S = 86_400.0
_log = logging.getLogger(__name__)


class Room:
    """What is under way: requests, and bytes of bodies. Used from the event loop's thread only."""

    def __init__(self, requests_max: int, bytes_max: int) -> None:
        self._requests_max, self._bytes_max = requests_max, bytes_max
        self.requests = self.bytes = 0

    @contextmanager
    def take(self, bytes_: int) -> Iterator[None]:
        """Room for one request with a body of `bytes_`. OverloadError if there is none."""
        if self.requests >= self._requests_max:
            raise OverloadError(
                f"{self._requests_max} requests are under way (`hub.requests_max`): nothing was taken, retry"
            )
        if self.bytes + bytes_ > self._bytes_max:
            raise OverloadError("too many large bodies are under way; nothing was taken: send it again")
        self.requests += 1
        self.bytes += bytes_
        try:
            yield
        finally:
            self.requests -= 1
            self.bytes -= bytes_


class HubApp:
    """The ASGI application over an engine. `close` ends its streams and threads, not the engine."""

    def __init__(self, served: Served, keyring: Keyring, routes: Sequence[Route] = ROUTES) -> None:
        limits = served.config.hub
        self._served, self._keyring, self._limits = served, keyring, limits
        self.table = RouteTable(routes)
        self.room = Room(limits.requests_max, BODIES_HELD_MAX * limits.body_bytes_max)
        fresh_s = served.config.rollout.timestamp_days * _DAY_S / 2
        self.broadcast = Broadcast(served.channel, limits.streams_max, frame, served.fleet, served.stage)
        self.signed = Broadcast(served.channel, limits.streams_max, self._signed, served.fleet, served.stage, fresh_s)
        self._pool = ThreadPoolExecutor(limits.requests_max, thread_name_prefix="hub")
        self._audits = itertools.count(1)
        self._audit_device = f"audit-{secrets.token_hex(8)}"  # new in each process: its sequence starts at 1
        self._trouble = ""
        self._own: dict[str, Callable[[], Answer]] = {
            "/healthz": self._health,
            "/openapi.json": self._openapi,
        }

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Serve one connection of any kind; nothing that a request does ends the process."""
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
        elif scope["type"] == "http":
            await self._serve(scope, receive, send)
        else:
            await send({"type": "websocket.close", "code": 1008})

    def close(self) -> None:
        """End the streams and the threads."""
        self.broadcast.close()
        self.signed.close()
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _signed(self, model: Model) -> bytes:
        """A model as a signed release, as one server-sent event."""
        release = self._served.signer.sign(model)
        return b"id: %d\nevent: release\ndata: %b\n\n" % (model.version, msgspec.json.encode(release))

    async def _serve(self, scope: Message, receive: Receive, send: Send) -> None:
        """One HTTP request."""
        try:
            answer = await self._answer(scope, receive, send)
        except HotloopError as error:
            answer = problem(error)
        except Exception as error:  # noqa: BLE001 - the one last-resort handler of the hub
            answer = last_resort(error)
        if answer is not None:
            await send({"type": "http.response.start", "status": answer.status, "headers": _headers(answer)})
            await send({"type": "http.response.body", "body": answer.body})

    async def _answer(self, scope: Message, receive: Receive, send: Send) -> Answer | None:
        """The answer to a request; None where a stream has sent it already."""
        headers: dict[bytes, bytes] = dict(scope["headers"])
        check_place(headers)
        caller = self._keyring.caller(headers.get(b"authorization", b""))
        rows, found = self.table.find(scope["path"])
        route = rows.get(scope["method"])
        if caller is NOBODY and (route is None or route.permission != "open"):
            raise AccessError("send `Authorization: Bearer <token>`: the tokens are in tokens.json of the hub's store")
        if route is None:
            return _no_route(scope, rows)
        arrival = Arrival(route, caller, scope["path"], found, scope["query_string"], headers)
        if not caller.may(route.permission):
            if route.audit:
                await self._in_thread(lambda: self._audit(arrival, 403))
            raise AccessError(
                f"the role {caller.role!r} has no permission {route.permission!r} for this route", known=True
            )
        if route.path in self._own:
            return self._own[route.path]()
        if route.lane == "streams":
            params = arrival.params()
            caller.act_as(intake.name(params.line, "line"), "line")
            self._served.fleet.seen(params.line)
            stream = self.signed if route.path == SIGNED else self.broadcast
            said = headers.get(b"authorization", b"")

            async def known() -> bool:
                with suppress(StoreError):
                    return await self._in_thread(lambda: self._keyring.caller(said)) is not NOBODY
                return True  # it cannot be told now: the next keep-alive asks again

            await send_stream(stream, Follower(params.line, params.after, known), self._limits.follow_s, receive, send)
            return None
        limit = arrival.limit_bytes(self._limits)
        with self.room.take(arrival.declared_bytes(limit)):
            body = await read_body(receive, limit) if limit else b""
            return await self._in_thread(lambda: self._perform(arrival, body))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """Do blocking work outside the event loop."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work)

    def _perform(self, arrival: Arrival, body: bytes) -> Answer:
        """Decode, call the handler, write the audit. In a thread."""
        route = arrival.route
        try:
            answer = route.handler(self._served, arrival.call(body))
        except HotloopError as error:
            if route.writes and isinstance(error, StoreError):
                self._trouble = type(error).__name__
            if route.audit:
                self._audit(arrival, status_of(error))
            raise
        if route.writes:
            self._trouble = ""
        if route.audit:
            self._audit(arrival, answer.status)
        return answer

    def _audit(self, arrival: Arrival, status: int) -> None:
        """Write who did what and how it went into the log: durable before the answer is sent."""
        caller, query = arrival.caller, arrival.query.decode("latin-1")
        text = f"{caller.name} ({caller.role}): {arrival.route.method} {arrival.path}?{query} -> {status}"
        notice = Notice(subject="audit", text=text[:_AUDIT_CHARS_MAX], at=time.time())
        self._served.record([Event(self._audit_device, next(self._audits), notice)])

    def _health(self) -> Answer:
        """Whether the last write went well. Says the kind of trouble only: anybody may ask."""
        if self._trouble:
            detail = (
                f"the last write failed with {self._trouble}: what was acknowledged is safe; "
                "make room or see the hub's log, it goes on by itself"
            )
            return Answer(503, msgspec.json.encode(shown.Health("failing", detail)), headers=((b"retry-after", b"5"),))
        return Answer(200, msgspec.json.encode(shown.Health("ok")))

    def _openapi(self) -> Answer:
        """The description of this interface."""
        return Answer(200, openapi.encoded(self.table.routes))


def last_resort(error: Exception) -> Answer:
    """What was not foreseen: logged with its traceback, answered with 500, and the hub goes on."""
    _log.error("a request failed in a way that nobody foresaw; this is a defect of hotloop", exc_info=error)
    return problem_answer(
        "HotloopError",
        500,
        "the hub failed in a way nobody foresaw; its log has the traceback: please report it",
    )


def _no_route(scope: Message, rows: dict[str, Route]) -> Answer:
    """404 for a path that is not in the table, 405 for a method that is not in its rows."""
    if not rows:
        raise NotFoundError(f"there is no {scope['path'][:200]!r} here: GET /openapi.json lists what there is")
    allowed = ", ".join(sorted(rows))
    text = f"{scope['method'][:20]!r} is not a method of this path: use {allowed}"
    return problem_answer("RequestError", 405, text, ((b"allow", allowed.encode()),))


def _headers(answer: Answer) -> list[tuple[bytes, bytes]]:
    """An answer's headers."""
    return [
        (b"content-type", answer.media_type.encode()),
        (b"content-length", b"%d" % len(answer.body)),
        *answer.headers,
    ]


async def _lifespan(receive: Receive, send: Send) -> None:
    """Say yes to start and stop: the server that made the application closes it."""
    while True:
        kind = (await receive())["type"]
        await send({"type": f"{kind}.complete"})
        if kind == "lifespan.shutdown":
            return
