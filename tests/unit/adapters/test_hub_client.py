"""The line's side of the hub: it retries what passes, raises what does not, and follows by itself."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import msgspec
import pytest

from hotloop.adapters.hub_client import HubChannel, HubClient
from hotloop.errors import (
    AccessError,
    DiskFullError,
    HubUnreachableError,
    KeyConflictError,
    NotFoundError,
    OverloadError,
    RequestError,
    ServiceError,
)
from hotloop.hub.problems import problem
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Event, Feedback, Live, Model, Notice, Release

BATCH = [Event("line-1", 1, Notice(subject="s", text="t"))]


def model(version: int) -> Model:
    """A small model."""
    return Model(version=version, parent=0, tier="start", backbone="", head=b"h", labels=("ok",), recipe="r")


def refused(error: Any) -> httpx.Response:
    """What the hub answers for an error."""
    answer = problem(error)
    headers = [(b"content-type", answer.media_type.encode()), *answer.headers]
    return httpx.Response(answer.status, content=answer.body, headers=headers)


def offsets(*numbers: int) -> httpx.Response:
    """What the hub answers for events."""
    return httpx.Response(200, content=msgspec.json.encode({"offsets": list(numbers)}))


class Hub:
    """Answers in order, the last one again and again; an exception is raised. Keeps the requests."""

    def __init__(self, *answers: httpx.Response | Exception | Callable[[], httpx.Response]) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []
        self.clock = SimulatedClock()

    def __call__(self, request: httpx.Request) -> httpx.Response:
        request.read()
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer() if callable(answer) else answer

    def client(self, **settings: Any) -> HubClient:
        """A client of it, on simulated time."""
        return HubClient("http://hub/", "secret", transport=httpx.MockTransport(self), clock=self.clock, **settings)


def test_events_are_sent_as_msgpack_with_the_token() -> None:
    """One request with the events, and the offsets that were answered."""
    hub = Hub(offsets(7))
    assert hub.client().send(BATCH) == [7]
    request = hub.requests[0]
    assert (request.method, request.url.path) == ("POST", "/v1/events")
    assert request.headers["authorization"] == "Bearer secret"
    assert msgspec.msgpack.decode(request.content, type=list[Event]) == BATCH


@pytest.mark.parametrize(
    "failure",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        httpx.RemoteProtocolError("cut"),
        refused(OverloadError("later", retry_after_s=2.0)),
        refused(DiskFullError("full")),
        httpx.Response(502, content=b"<html>a proxy</html>"),
        httpx.Response(429),
    ],
    ids=lambda f: type(f).__name__ + str(getattr(f, "status_code", "")),
)
def test_what_passes_is_tried_again_with_the_same_keys(failure: Any) -> None:
    """A lost answer, an overload or a full disk: the very same bytes are sent until they are acknowledged."""
    hub = Hub(failure, failure, offsets(7))
    assert hub.client().send(BATCH) == [7]
    assert len(hub.requests) == 3
    assert len({request.content for request in hub.requests}) == 1


@pytest.mark.parametrize(
    "error",
    [
        RequestError("wrong", status=422),
        RequestError("wrong", status=415),
        KeyConflictError("twice"),
        NotFoundError("nothing"),
        AccessError("who?"),
        AccessError("no", known=True),
    ],
    ids=lambda e: f"{type(e).__name__}{getattr(e, 'status', '')}{getattr(e, 'known', '')}",
)
def test_what_does_not_pass_is_raised_as_it_was_at_the_hub(error: Any) -> None:
    """The hub's own error comes out, with its text, after one request."""
    hub = Hub(refused(error))
    with pytest.raises(type(error), match=str(error)[:3]) as caught:
        hub.client().send(BATCH)
    assert len(hub.requests) == 1
    for field in ("status", "known"):
        assert getattr(caught.value, field, None) == getattr(error, field, None)


def test_pauses_grow_and_end_at_the_deadline() -> None:
    """An absent hub is asked ever less often, for `deadline_s`, and then HubUnreachableError says so."""
    hub = Hub(httpx.ConnectError("refused"))
    began = hub.clock.monotonic()
    with pytest.raises(HubUnreachableError, match="hotloop up"):
        hub.client(deadline_s=60.0).send(BATCH)
    assert 50.0 < hub.clock.monotonic() - began <= 60.0
    assert 10 < len(hub.requests) < 40


def test_pauses_have_a_maximum() -> None:
    """`pause_s_max` bounds how long a line stays away."""
    hub = Hub(httpx.ConnectError("refused"))
    with pytest.raises(HubUnreachableError):
        hub.client(deadline_s=10.0, pause_s_max=0.1).send(BATCH)
    assert len(hub.requests) >= 100


def test_retry_after_is_honoured() -> None:
    """The hub's own word on when to come back is kept to."""
    hub = Hub(refused(OverloadError("later", retry_after_s=9.0)), offsets(1))
    hub.client().send(BATCH)
    assert hub.clock.monotonic() >= 9.0


@pytest.mark.parametrize("text", ["x", "-5", "1e9", "99999999", ""])
def test_a_foolish_retry_after_does_no_harm(text: str) -> None:
    """What is no number of seconds, or too many, does not stop a line for long."""
    hub = Hub(httpx.Response(503, headers={"retry-after": text}), offsets(1))
    assert hub.client(deadline_s=100.0).send(BATCH) == [1]
    assert hub.clock.monotonic() <= 60.0


@pytest.mark.parametrize(
    "error", [DiskFullError("the disk is full"), OverloadError("busy", retry_after_s=1.0)], ids=str
)
def test_a_hub_that_stays_full_is_named_at_the_deadline(error: Any) -> None:
    """When there was an answer, the error is the hub's own and not that it cannot be reached."""
    with pytest.raises(type(error), match=str(error)):
        Hub(refused(error)).client(deadline_s=5.0).send(BATCH)


@pytest.mark.parametrize("answer", [httpx.Response(200, content=b"<html>"), httpx.Response(200, content=b'{"a": 1}')])
def test_what_is_no_hub_is_named(answer: httpx.Response) -> None:
    """Another server at the address is a ServiceError, not a crash."""
    with pytest.raises(ServiceError, match="no hotloop hub"):
        Hub(answer).client().send(BATCH)


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>", b'{"type": "urn:hotloop:error:Exception", "detail": "d"}', b'{"type": "os", "detail": "d"}'],
)
def test_a_problem_that_is_none_names_the_status(content: bytes) -> None:
    """A 500 without a known error is a ServiceError; an answer cannot choose another class to raise."""
    with pytest.raises(ServiceError):
        Hub(httpx.Response(500, content=content)).client().send(BATCH)


def test_feedback_is_sent_under_its_key() -> None:
    """The Idempotency-Key is the device and sequence that were given."""
    hub = Hub(httpx.Response(202, content=b'{"offset": 4, "known": false, "text": "kept"}'))
    taken = hub.client().feedback(Feedback(prediction="line-1:1", reviewer="ann", claims=()), "cell-7", 42)
    assert (taken.offset, taken.known) == (4, False)
    assert hub.requests[0].headers["idempotency-key"] == "cell-7:42"


def test_bytes_models_and_acknowledgements_have_their_routes() -> None:
    """Each method asks the route that it is for."""
    hub = Hub(httpx.Response(201, content=b'{"digest": "d"}'))
    assert hub.client().put_blobs([b"a", b"b"]) == ["d", "d"]
    assert [request.content for request in hub.requests] == [b"a", b"b"]
    hub = Hub(httpx.Response(200, content=b"bytes"))
    assert hub.client().get_blob("d" * 64) == b"bytes"
    hub = Hub(
        httpx.Response(200, content=msgspec.msgpack.encode(model(3)), headers={"content-type": "application/msgpack"})
    )
    assert hub.client().get_model(3) == model(3)
    assert hub.requests[0].url.path == "/v1/models/3"
    hub = Hub(httpx.Response(200, content=b'{"count": 1}'))
    hub.client().acknowledge([Live(line="line-1", version=3)])
    assert msgspec.json.decode(hub.requests[0].content, type=list[Live]) == [Live(line="line-1", version=3)]


def stream(*models: Model) -> httpx.Response:
    """A stream with keep-alives and these models, that then breaks off."""

    def body() -> Iterator[bytes]:
        yield b": the hub lives\n\n"
        for each in models:
            yield b"id: %d\nevent: model\ndata: %b\n\n" % (each.version, msgspec.json.encode(each))

    return httpx.Response(200, content=body())


@pytest.fixture
def fast(monkeypatch: Any) -> None:
    """No pauses between two connections."""
    monkeypatch.setattr("hotloop.adapters.hub_client._pauses", lambda _max: iter(lambda: 0.005, 1.0))


def test_following_goes_on_where_it_was(fast: None) -> None:
    """After a break the line connects again and asks for what is above its version."""
    hub = Hub(stream(model(1), model(2)), httpx.ConnectError("away"), httpx.Response(502), stream(model(5)))
    stop = threading.Event()
    found = []
    for each in hub.client().follow("line-1", 0, stop):
        found.append(each.version)
        if each.version == 5:
            stop.set()
    assert found == [1, 2, 5]
    assert [request.url.params["after"] for request in hub.requests] == ["0", "2", "2", "2"]


@pytest.mark.parametrize(
    "error", [AccessError("who?"), AccessError("no", known=True), RequestError("no name")], ids=str
)
def test_following_ends_when_asking_again_would_not_help(fast: None, error: Any) -> None:
    """A refusal is raised and not repeated for ever."""
    hub = Hub(refused(error))
    with pytest.raises(type(error)):
        next(hub.client().follow("line-1", 0))
    assert len(hub.requests) == 1


def test_a_stream_of_nonsense_is_left_and_followed_again(fast: None) -> None:
    """Data that is no model costs a new connection, not the line."""
    hub = Hub(httpx.Response(200, content=b"data: {]\n\n"), stream(model(2)))
    assert next(hub.client().follow("line-1", 0)).version == 2


def following(hub: Hub, use: Callable[[HubChannel], None]) -> None:
    """Use a channel over a hub, and close it."""
    channel = HubChannel(hub.client())
    try:
        use(channel)
    finally:
        channel.close()


def test_a_channel_gives_the_newest_above_a_version(fast: None) -> None:
    """`follow` answers what the stream brought, and None where there is nothing newer in time."""

    def use(channel: HubChannel) -> None:
        assert channel.follow("line-1", 0, 5.0).version == 4
        assert channel.follow("line-1", 3, 5.0).version == 4
        assert channel.follow("line-1", 4, 0.01) is None
        assert channel.lines() == {"line-1": 4}

    following(Hub(lambda: stream(model(4))), use)


def test_a_channel_says_that_it_may_not_follow(fast: None) -> None:
    """A refusal reaches the one who follows, each time it is tried."""

    def use(channel: HubChannel) -> None:
        for _ in range(2):
            with pytest.raises(AccessError):
                channel.follow("line-1", 0, 5.0)

    following(Hub(refused(AccessError("no", known=True))), use)


def test_a_closed_channel_waits_no_more(fast: None) -> None:
    """Closing ends a `follow` that waits, and later ones answer at once."""
    channel = HubChannel(Hub(stream).client())
    found: list[Model | None] = []
    thread = threading.Thread(target=lambda: found.append(channel.follow("line-1", 0, 60.0)))
    thread.start()
    channel.close()
    thread.join(5)
    assert found == [None]
    assert channel.follow("line-2", 0, 60.0) is None


def test_a_line_does_not_release_models() -> None:
    """`publish` belongs to the hub."""
    release = Release(version=2, parent=1, tier="reflex", digest="", learned_to=1)
    with pytest.raises(ServiceError, match="hub alone"):
        HubChannel(Hub(offsets()).client()).publish(release, model(2))


def test_a_channel_acknowledges_at_the_hub() -> None:
    """An acknowledgement is one request."""
    hub = Hub(httpx.Response(200, content=b'{"count": 1}'))
    HubChannel(hub.client()).acknowledge(Live(line="line-1", version=3))
    assert hub.requests[0].url.path == "/v1/live"


def test_clients_close() -> None:
    """A closed client refuses to ask."""
    client = Hub(offsets(1)).client()
    client.close()
    with pytest.raises(RuntimeError, match="closed"):
        client.send(BATCH)
