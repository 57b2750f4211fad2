"""The line's side of the hub: send events, follow models, over HTTP. Plain blocking calls.

`HubClient` sends the same keys again until the hub has said that they are durable, so that an answer lost on
the way costs nothing. `HubChannel` is the following half of the port Channel, for an edge.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from http import HTTPStatus
from typing import Any, NoReturn, TypeVar

import httpx
import msgspec

from hotloop import errors
from hotloop.errors import (
    AccessError,
    HotloopError,
    HubUnreachableError,
    OverloadError,
    RequestError,
    ServiceError,
)
from hotloop.fleet import FleetView
from hotloop.ports import Clock
from hotloop.store.clock import SystemClock
from hotloop.store.signing import SignedRelease
from hotloop.types import UNREADABLE, Command, Event, Feedback, LineReport, Live, Model, Release

T = TypeVar("T")
R = TypeVar("R", Model, SignedRelease)

MSGPACK = "application/msgpack"
_TYPE_PREFIX = "urn:hotloop:error:"
_RETRIED = frozenset((429, 502, 503, 504, 507))
_FIRST_PAUSE_S = 0.05
_TIMEOUT_S = 10.0  # of one try


class _Problem(msgspec.Struct, frozen=True):
    """What the hub says when it refuses."""

    type: str = ""
    status: int = 0
    detail: str = ""


class _Offsets(msgspec.Struct, frozen=True):
    offsets: list[int]


class _Digest(msgspec.Struct, frozen=True):
    digest: str


class _Ordered(msgspec.Struct, frozen=True):
    words: str


class _Enrolled(msgspec.Struct, frozen=True):
    token: str
    root: bytes


class Taken(msgspec.Struct, frozen=True):
    """A feedback is durable at `offset`; `known`: the hub knows its prediction."""

    offset: int
    known: bool


class HubClient:
    """A hub at `url`, asked with `token`. May be used from several threads.

    What fails for a passing reason (no connection, overload, a full disk) is tried again with growing pauses
    of at most `pause_s_max`, until `deadline_s`; then HubUnreachableError, or the error the hub last gave.
    `transport` and `clock` can be given for simulation.
    """

    def __init__(
        self,
        url: str,
        token: str,
        *,
        deadline_s: float = 30.0,
        pause_s_max: float = 5.0,
        transport: httpx.BaseTransport | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.url = url.rstrip("/")
        self._deadline_s, self._pause_s_max = deadline_s, pause_s_max
        self._clock = clock or SystemClock()
        self._http = httpx.Client(
            base_url=self.url,
            headers={"authorization": f"Bearer {token}"},
            timeout=_TIMEOUT_S,
            limits=httpx.Limits(max_connections=None),  # a stream a line, and they stay open
            transport=transport,
            trust_env=False,  # a proxy of the environment is not between a line and its hub
        )

    def send(self, events: Sequence[Event]) -> list[int]:
        """Make events durable at the hub; their offsets. Sent again under the same keys until it says so."""
        body = msgspec.msgpack.encode(list(events))
        answer = self._ask("POST", "/v1/events", content=body, headers={"content-type": MSGPACK})
        return _read(answer, _Offsets).offsets

    def feedback(self, feedback: Feedback, device: str, sequence: int) -> Taken:
        """Give one feedback, under a key made before: however often it is sent, it counts once."""
        headers = {"content-type": "application/json", "idempotency-key": f"{device}:{sequence}"}
        answer = self._ask("POST", "/v1/feedback", content=msgspec.json.encode(feedback), headers=headers)
        return _read(answer, Taken)

    def put_blobs(self, blobs: Sequence[bytes]) -> list[str]:
        """Keep bytes at the hub; their digests."""
        headers = {"content-type": "application/octet-stream"}
        return [_read(self._ask("POST", "/v1/blobs", content=blob, headers=headers), _Digest).digest for blob in blobs]

    def get_blob(self, digest: str) -> bytes:
        """Bytes by their digest. NotFoundError."""
        return self._ask("GET", f"/v1/blobs/{digest}").content

    def get_model(self, version: int) -> Model:
        """A model by its version. NotFoundError."""
        return _read(self._ask("GET", f"/v1/models/{version}"), Model)

    def acknowledge(self, lives: Sequence[Live]) -> None:
        """Say which versions lines answer with now."""
        headers = {"content-type": "application/json"}
        self._ask("POST", "/v1/live", content=msgspec.json.encode(list(lives)), headers=headers)

    def report(self, said: LineReport) -> None:
        """Say how a line is."""
        headers = {"content-type": "application/json"}
        self._ask("POST", "/v1/reports", content=msgspec.json.encode(said), headers=headers)

    def fleet(self) -> FleetView:
        """Every line as it is. For a token with the permission "read"."""
        return _read(self._ask("GET", "/v1/fleet"), FleetView)

    def order(self, command: Command) -> str:
        """Give an order; what the hub says it means. For a token with the permission "control"."""
        body = {name: getattr(command, name) for name in ("order", "reason", "version", "selection", "line")}
        headers = {"content-type": "application/json"}
        answer = self._ask("POST", "/v1/commands", content=msgspec.json.encode(body), headers=headers)
        return _read(answer, _Ordered).words

    def status(self) -> dict[str, Any]:
        """How the loop stands."""
        return _read(self._ask("GET", "/v1/status"), dict)

    def enrol(self) -> tuple[str, bytes]:
        """A device's own token, and the root it is to trust, for the code that this client shows as its token."""
        found = _read(self._ask("POST", "/v1/enrol"), _Enrolled)
        return found.token, found.root

    def release_file(self, name: str) -> bytes:
        """A file of the repository of releases. NotFoundError."""
        return self._ask("GET", f"/v1/releases/{name}").content

    def follow(self, line: str, after: int, stop: threading.Event | None = None) -> Iterator[Model]:
        """Each newest model above `after`, as it is released. Connects again by itself until `stop` is set.

        AccessError and RequestError end it: asking again would not help.
        """
        return self._follow("/v1/follow", Model, line, after, stop)

    def follow_signed(self, line: str, after: int, stop: threading.Event | None = None) -> Iterator[SignedRelease]:
        """As `follow`: each with what proves it, which is still to be checked."""
        return self._follow("/v1/releases", SignedRelease, line, after, stop)

    def _follow(self, path: str, kind: type[R], line: str, after: int, stop: threading.Event | None) -> Iterator[R]:
        stop = stop or threading.Event()
        pauses = _pauses(self._pause_s_max)
        while not stop.is_set():
            try:
                for model in self._stream((path, kind), line, after, stop):
                    after = model.version
                    pauses = _pauses(self._pause_s_max)
                    yield model
                    if stop.is_set():
                        return
            except (AccessError, RequestError):
                raise
            except (httpx.TransportError, HotloopError) as error:
                wait = error.retry_after_s if isinstance(error, OverloadError) else 0.0
                stop.wait(max(wait, next(pauses)))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _stream(self, what: tuple[str, type[R]], line: str, after: int, stop: threading.Event) -> Iterator[R]:
        """The models or releases of one connection, until it breaks, or the hub says something after `stop`."""
        params: dict[str, str | int] = {"line": line, "after": after}
        with self._http.stream("GET", what[0], params=params, timeout=_stream_timeout()) as answer:
            if answer.status_code != HTTPStatus.OK:
                answer.read()
                _raise(answer)
            for text in answer.iter_lines():
                if stop.is_set():
                    return
                if text.startswith("data: "):
                    yield _decoded(text[6:].encode(), lambda data: msgspec.json.decode(data, type=what[1]))

    def _ask(self, method: str, path: str, **content: Any) -> httpx.Response:
        """One request, tried again while it fails for a passing reason and there is time."""
        end = self._clock.monotonic() + self._deadline_s
        pauses = _pauses(self._pause_s_max)
        while True:
            answer: httpx.Response | None = None
            reason = ""
            try:
                answer = self._http.request(method, path, **content)
            except httpx.TransportError as error:
                reason = f"{type(error).__name__}: {error}"
            if answer is not None and answer.status_code not in _RETRIED:
                if answer.is_success:
                    return answer
                _raise(answer)
            pause = max(next(pauses), _retry_after_s(answer))
            if self._clock.monotonic() + pause >= end:
                if answer is not None:
                    _raise(answer)
                raise HubUnreachableError(
                    f"the hub at {self.url} has not answered for {self._deadline_s:g} s ({reason}). Is it "
                    "running (hotloop up)? What was not acknowledged is kept: send it again"
                )
            self._clock.sleep(pause)


class HubChannel:
    """The way from the hub to one edge: `follow` and `acknowledge` of the port Channel, over HTTP.

    Each line that is followed has one open stream, read by a thread; `follow` waits on what it brought.
    `publish` and `lines` belong to the hub.
    """

    def __init__(self, client: HubClient) -> None:
        self._client = client
        self._stop = threading.Event()
        self._arrived = threading.Condition()
        self._newest: dict[str, Model] = {}
        self._failed: dict[str, HotloopError] = {}
        self._readers: dict[str, threading.Thread] = {}

    def publish(self, release: Release, model: Model) -> None:
        """Releases are made by the hub alone."""
        raise ServiceError(
            f"version {model.version} (of release {release.version}) cannot be published from a line: "
            "the hub alone releases models"
        )

    def follow(self, line: str, after: int, timeout_s: float) -> Model | None:
        """The newest model above `after`: now, or as soon as there is one; None after `timeout_s`.

        AccessError if the hub does not let this line follow.
        """
        with self._arrived:
            if line not in self._readers and not self._stop.is_set():
                reader = threading.Thread(target=self._read, args=(line, after), name=f"follow-{line}", daemon=True)
                self._readers[line] = reader
                reader.start()
            self._arrived.wait_for(lambda: self._settled(line, after), timeout_s)
            if line in self._failed:
                self._readers.pop(line, None)
                raise self._failed.pop(line)
            model = self._newest.get(line)
            return model if model is not None and model.version > after else None

    def acknowledge(self, live: Live) -> None:
        """Say which version a line answers with."""
        self._client.acknowledge([live])

    def lines(self) -> Mapping[str, int]:
        """What this edge follows: the newest version that each of its lines was given."""
        with self._arrived:
            return {line: model.version for line, model in self._newest.items()}

    def close(self) -> None:
        """End every `follow` that waits."""
        with self._arrived:
            self._stop.set()
            self._arrived.notify_all()

    def _settled(self, line: str, after: int) -> bool:
        """Whether a `follow` has something to say."""
        model = self._newest.get(line)
        return self._stop.is_set() or line in self._failed or (model is not None and model.version > after)

    def _read(self, line: str, after: int) -> None:
        """Keep the newest model of a line's stream."""
        try:
            for model in self._client.follow(line, after, self._stop):
                with self._arrived:
                    self._newest[line] = model
                    self._arrived.notify_all()
        except HotloopError as error:
            with self._arrived:
                self._failed[line] = error
                self._arrived.notify_all()


def _pauses(pause_s_max: float) -> Iterator[float]:
    """Growing pauses, spread so that 5,000 lines do not come back in one moment."""
    pause = _FIRST_PAUSE_S
    while True:
        yield pause * random.uniform(0.5, 1.0)  # noqa: S311 - spreads load, hides nothing
        pause = min(2 * pause, pause_s_max)


def _stream_timeout() -> httpx.Timeout:
    """A stream is silent for at most `hub.follow_s` (300 s at most); twice the default means it is dead."""
    return httpx.Timeout(10.0, read=45.0)


def _retry_after_s(answer: httpx.Response | None) -> float:
    """What the hub asked to wait, in seconds."""
    text = "" if answer is None else answer.headers.get("retry-after", "")
    return min(float(text), 60.0) if text.isascii() and text.isdecimal() else 0.0


def _read(answer: httpx.Response, kind: type[T]) -> T:
    """The body of an answer as a record."""
    if answer.headers.get("content-type", "").startswith(MSGPACK):
        return _decoded(answer.content, lambda data: msgspec.msgpack.decode(data, type=kind))
    return _decoded(answer.content, lambda data: msgspec.json.decode(data, type=kind))


def _decoded(data: bytes, decode: Callable[[bytes], T]) -> T:
    """`decode(data)`; ServiceError if what answers is no hub of this kind."""
    try:
        return decode(data)
    except UNREADABLE as error:
        raise ServiceError(
            f"what answers at the hub's address is no hotloop hub, or one of another version: {error}"
        ) from error


def _raise(answer: httpx.Response) -> NoReturn:
    """Raise what the hub refused with: the same error of `hotloop.errors` as was raised there."""
    try:
        said = msgspec.json.decode(answer.content, type=_Problem)
    except UNREADABLE:
        said = _Problem(detail=f"the hub answered {answer.status_code} without saying why")
    detail = said.detail or f"the hub answered {answer.status_code}"
    if answer.status_code in (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN):
        raise AccessError(detail, known=answer.status_code == HTTPStatus.FORBIDDEN)
    kind = getattr(errors, said.type.removeprefix(_TYPE_PREFIX), None)
    if kind is RequestError:
        raise RequestError(detail, status=answer.status_code)
    if kind is OverloadError:
        raise OverloadError(detail, retry_after_s=_retry_after_s(answer) or 1.0)
    if isinstance(kind, type) and issubclass(kind, HotloopError):
        raise kind(detail)
    raise ServiceError(detail)
