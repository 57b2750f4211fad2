"""The application: what it checks before a handler is called, and what it does when one fails."""

from __future__ import annotations

import asyncio
import logging
import threading
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from hotloop.errors import CorruptError, DiskFullError, OverloadError, StoreBusyError
from hotloop.hub.app import HubApp, Room, last_resort
from hotloop.hub.auth import Credential, Keyring
from hotloop.hub.handlers import as_json
from hotloop.hub.problems import Problem
from hotloop.hub.routes import ROUTES
from hotloop.hub.table import Answer, Route
from hotloop.types import Event, Feedback, Live, Notice

FEEDBACK = msgspec.json.encode(Feedback(prediction="line-1:1", reviewer="ann", claims=()))


def name_of(reply: Any) -> str:
    """The error's name in a problem."""
    return msgspec.json.decode(reply.body, type=Problem).type.rpartition(":")[2]


def test_health_is_open(call: Any) -> None:
    """Anybody may ask whether the hub is well."""
    reply = call("GET", "/healthz", role=None)
    assert (reply.status, reply.json()) == (200, {"status": "ok", "detail": ""})


@pytest.mark.parametrize("target", ["/v1/status", "/openapi.json", "/nothing", "/", "/healthz/x", "//healthz"])
def test_without_a_token_there_is_no_answer(call: Any, target: str) -> None:
    """No token, no answer but /healthz: not even whether a path exists."""
    reply = call("GET", target, role=None)
    assert reply.status == 401
    assert reply.headers["www-authenticate"].startswith("Bearer")
    assert call("POST", "/healthz", role=None).status == 401


def test_an_unknown_path_is_404_and_a_wrong_method_405(call: Any) -> None:
    """With a token, what is not in the table is said so."""
    assert call("GET", "/v2/status").status == 404
    reply = call("POST", "/v1/status")
    assert (reply.status, reply.headers["allow"]) == (405, "GET")
    assert call("DELETE", "/v1/feedback").status == 405


def test_a_role_without_the_permission_is_403(call: Any) -> None:
    """The right token for the wrong thing is known and refused, and the handler is not called."""
    reply = call("POST", "/v1/events", b"[]", role="operator")
    assert (reply.status, name_of(reply)) == (403, "AccessError")


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "localhost:8420"}, 200),
        ({"host": "127.0.0.1"}, 200),
        ({"host": "127.9.9.9:1"}, 200),
        ({"host": "[::1]:8420"}, 200),
        ({"host": "LOCALHOST"}, 200),
        ({"origin": "http://localhost:8080"}, 200),
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example"}, 421),
        ({"host": "127.0.0.1@evil.example"}, 421),
        ({"host": "localhost.evil.example"}, 421),
        ({"host": "127.0.0.256"}, 421),
        ({"host": "128.0.0.1"}, 421),
        ({"host": ""}, 421),
        ({"host": "localhost", "origin": "https://evil.example"}, 421),
        ({"origin": "null"}, 421),
        ({"origin": "file://localhost"}, 421),
    ],
    ids=str,
)
def test_requests_that_a_foreign_page_sent_are_refused(call: Any, headers: dict[str, str], status: int) -> None:
    """A Host or Origin that is not of this machine is refused before anything else (DNS rebinding)."""
    assert call("GET", "/healthz", role=None, **headers).status == status


def test_the_body_is_counted_not_believed(engine: Any, keyring: Any, make: SimpleNamespace) -> None:
    """A body over its limit is 413: whether it says so, says otherwise, or says nothing."""
    hub = msgspec.structs.replace(engine.config.hub, json_bytes_max=100)
    engine.config = msgspec.structs.replace(engine.config, hub=hub)
    app = HubApp(engine, keyring)
    call = make.caller(app)
    assert call("POST", "/v1/feedback", b"x" * 101, content_length="101").status == 413
    assert call("POST", "/v1/feedback", [b"x" * 60, b"x" * 60], content_length="5").status == 413
    assert call("POST", "/v1/feedback", [b"x" * 60, b"x" * 60]).status == 413
    assert call("POST", "/v1/feedback", FEEDBACK[:100]).status == 400
    assert app.room.requests == app.room.bytes == 0
    app.close()


@pytest.mark.parametrize("length", ["-1", "1e3", "", "0x10", "9" * 30, "1 1"])
def test_a_content_length_that_is_no_number_is_400(call: Any, length: str) -> None:
    """Nonsense in Content-Length does not reach the handler."""
    assert call("POST", "/v1/feedback", FEEDBACK, content_length=length).status == 400


def test_a_body_in_pieces_is_whole(call: Any) -> None:
    """Pieces are put together in order."""
    pieces = [FEEDBACK[i : i + 7] for i in range(0, len(FEEDBACK), 7)]
    assert call("POST", "/v1/feedback", pieces).status == 202


def test_a_sender_that_goes_away_leaves_nothing(app: HubApp, engine: Any, make: SimpleNamespace) -> None:
    """A body that is cut off is not handed on."""

    async def ask() -> list[Any]:
        sent: list[Any] = []
        incoming = [{"type": "http.request", "body": FEEDBACK[:9], "more_body": True}, {"type": "http.disconnect"}]

        async def receive() -> Any:
            return incoming.pop(0)

        async def send(message: Any) -> None:
            sent.append(message)

        await app(make.scope("POST", "/v1/feedback", "operator", {}), receive, send)
        return sent

    assert asyncio.run(ask())[0]["status"] == 400
    assert engine.log.last() == 0


def test_requests_over_the_limit_are_503_with_retry_after(engine: Any, keyring: Any, make: SimpleNamespace) -> None:
    """When `requests_max` are under way the next one is told when to come back, and room is given back after."""
    hub = msgspec.structs.replace(engine.config.hub, requests_max=2)
    engine.config = msgspec.structs.replace(engine.config, hub=hub)
    entered, leave = threading.Semaphore(0), threading.Event()

    def slow(_served: Any, _call: Any) -> Answer:
        entered.release()
        leave.wait(5)
        return as_json([])

    app = HubApp(engine, keyring, [Route("GET", "/slow", "read", slow, "Slow."), ROUTES[0]])
    call = make.caller(app)

    async def crowd() -> tuple[Any, Any, list[Any]]:
        under_way = [asyncio.create_task(call.ask("GET", "/slow")) for _ in range(2)]
        for _ in under_way:
            assert await asyncio.to_thread(entered.acquire, timeout=5), [t for t in under_way if t.done()]
        refused = await call.ask("GET", "/slow")
        health = await call.ask("GET", "/healthz", role=None)
        leave.set()
        return refused, health, await asyncio.gather(*under_way)

    refused, health, done = asyncio.run(crowd())
    assert (refused.status, refused.headers["retry-after"], name_of(refused)) == (503, "1", "OverloadError")
    assert health.status == 200  # health is asked also under load
    assert [reply.status for reply in done] == [200, 200]
    assert call("GET", "/slow").status == 200
    app.close()


def test_large_bodies_share_a_bounded_room() -> None:
    """Bodies under way are bounded in bytes too, and each gives its room back."""
    room = Room(10, 100)
    with room.take(60):
        with pytest.raises(OverloadError, match="large bodies"), room.take(50):
            pass
        with room.take(40):
            assert (room.requests, room.bytes) == (2, 100)
    assert (room.requests, room.bytes) == (0, 0)


def test_room_is_given_back_after_a_failure() -> None:
    """A request that raises does not keep its place."""
    room = Room(1, 10)
    for _ in range(3):
        with pytest.raises(StoreBusyError), room.take(10):
            raise StoreBusyError("busy")
    assert (room.requests, room.bytes) == (0, 0)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (DiskFullError("full"), 507),
        (StoreBusyError("busy"), 503),
        (CorruptError("rot"), 500),
        (OverloadError("later"), 503),
    ],
    ids=lambda v: type(v).__name__,
)
def test_what_the_store_raises_is_answered(engine: Any, call: Any, error: Exception, status: int) -> None:
    """The store's errors come out with their own status and text."""
    engine.log.fails = error
    reply = call("POST", "/v1/feedback", FEEDBACK)
    assert (reply.status, name_of(reply)) == (status, type(error).__name__)
    assert reply.json()["detail"] == str(error)


def test_a_full_disk_shows_in_health_until_a_write_succeeds(engine: Any, call: Any) -> None:
    """Health says DiskFullError after a write failed, still while reads succeed, and recovers by itself."""
    engine.log.fails = DiskFullError("no space for the log in /secret/place")
    assert call("POST", "/v1/feedback", FEEDBACK).headers["retry-after"] == "5"
    assert call("GET", "/v1/status").status == 200
    sick = call("GET", "/healthz", role=None)
    assert sick.status == 503
    assert "DiskFullError" in sick.json()["detail"]
    assert "/secret" not in sick.json()["detail"]  # anybody may ask: no paths
    engine.log.fails = None
    assert call("POST", "/v1/feedback", FEEDBACK).status == 202
    assert call("GET", "/healthz", role=None).status == 200


def test_what_nobody_foresaw_is_500_and_logged(engine: Any, call: Any, caplog: Any) -> None:
    """A defect is answered without its inside, logged with its traceback, and the hub goes on."""
    engine.log.fails = ZeroDivisionError("secret")
    with caplog.at_level(logging.ERROR):
        reply = call("POST", "/v1/feedback", FEEDBACK)
    assert reply.status == 500
    assert b"secret" not in reply.body
    assert "ZeroDivisionError" in caplog.text
    engine.log.fails = None
    assert call("POST", "/v1/feedback", FEEDBACK).status == 202


def test_the_last_resort_names_no_inside(caplog: Any) -> None:
    """Its answer is a problem of the root of the tree."""
    with caplog.at_level(logging.CRITICAL):
        answer = last_resort(ValueError("inside"))
    assert answer.status == 500
    assert b"inside" not in answer.body


def test_reading_the_log_is_written_into_it(engine: Any, call: Any) -> None:
    """An audited route leaves who, what and how it went, before the answer."""
    assert call("GET", "/v1/log?limit=5", role="auditor").status == 200
    event: Event = engine.log.records[-1].event
    assert isinstance(event.body, Notice)
    assert event.body.subject == "audit"
    assert event.body.text == "auditor (auditor): GET /v1/log?limit=5 -> 200"
    assert event.body.at > 1e9


@pytest.mark.parametrize(
    ("role", "target", "status"), [("operator", "/v1/log", 403), ("auditor", "/v1/log?limit=0", 422)]
)
def test_refusals_of_audited_routes_are_audited(engine: Any, call: Any, role: str, target: str, status: int) -> None:
    """Who tried and was refused is written too."""
    assert call("GET", target, role=role).status == status
    assert engine.log.records[-1].event.body.text.endswith(f"-> {status}")


def test_no_answer_without_its_audit(engine: Any, call: Any) -> None:
    """If the audit cannot be written, what was asked for is not given."""
    engine.log.fails = DiskFullError("full")
    reply = call("GET", "/v1/log", role="auditor")
    assert reply.status == 507
    assert b"records" not in reply.body


def test_audits_of_two_processes_do_not_collide(engine: Any, keyring: Any, make: SimpleNamespace) -> None:
    """Each process audits as a device of its own, so that a restart does not reuse keys."""
    for _ in range(2):
        app = HubApp(engine, keyring)
        for _ in range(2):
            assert make.caller(app)("GET", "/v1/log", role="auditor").status == 200
        app.close()
    assert len({(r.event.device, r.event.sequence) for r in engine.log.records}) == 4


def test_the_text_of_an_audit_is_bounded(engine: Any, call: Any) -> None:
    """A long query does not fill the log."""
    assert call("GET", "/v1/log?x=" + "y" * 5000, role="auditor").status == 422
    assert len(engine.log.records[-1].event.body.text) <= 500


def test_a_bound_line_speaks_for_itself_only(engine: Any, make: SimpleNamespace) -> None:
    """A credential with a subject cannot write, follow or acknowledge as another line."""
    token = "b" * 40
    app = HubApp(engine, Keyring.of([Credential("cell-7", "line", token, subject="line-7")]))
    call = make.caller(app)
    headers = {"authorization": f"Bearer {token}", "content_type": "application/msgpack"}

    def send(device: str, line: str) -> int:
        batch = [Event(device, 1, make.prediction(f"{device}:1", line))]
        return call("POST", "/v1/events", msgspec.msgpack.encode(batch), role=None, **headers).status

    assert send("line-7", "line-7") == 200
    assert send("line-7.spool", "line-7") == 200
    assert send("line-8", "line-7") == 403
    assert send("line-7", "line-8") == 403
    for body, status in (
        (make.prediction("line-8:2", "line-7"), 403),  # the first prediction under an id stands: it is line-8's to give
        (Feedback(prediction="line-8:1", reviewer="ann", claims=()), 403),
        (Feedback(prediction="line-8:1", reviewer="line-7.gauge", claims=()), 200),
    ):
        batch = msgspec.msgpack.encode([Event("line-7", 2, body)])
        assert call("POST", "/v1/events", batch, role=None, **headers).status == status
    headers["content_type"] = "application/json"
    for line, status in (("line-7", 200), ("line-8", 403)):
        body = msgspec.json.encode([Live(line=line, version=1)])
        assert call("POST", "/v1/live", body, role=None, **headers).status == status
    assert call("GET", "/v1/follow?line=line-8", role=None, authorization=f"Bearer {token}").status == 403
    assert [live.line for live in engine.acknowledged] == ["line-7"]
    app.close()


def test_a_bound_reviewer_uses_keys_of_their_own(engine: Any, make: SimpleNamespace) -> None:
    """Nobody can take a key that another device is about to use, and so keep its event out."""
    token = "r" * 40
    app = HubApp(engine, Keyring.of([Credential("ann", "operator", token, subject="ann")]))
    call = make.caller(app)
    body = msgspec.json.encode(Feedback(prediction="line-7:1", reviewer="ann", claims=()))
    for key, status in (("line-7:2", 403), ("ann:1", 202), ("ann.tablet:1", 202)):
        headers = {"authorization": f"Bearer {token}", "idempotency_key": key}
        assert call("POST", "/v1/feedback", body, role=None, **headers).status == status
    app.close()


def test_other_protocols_are_turned_away(app: HubApp) -> None:
    """A websocket is closed; the lifespan is acknowledged."""

    async def talk(kind: str, incoming: list[str]) -> list[str]:
        sent: list[str] = []

        async def receive() -> Any:
            return {"type": incoming.pop(0)}

        async def send(message: Any) -> None:
            sent.append(message["type"])

        await app({"type": kind}, receive, send)
        return sent

    assert asyncio.run(talk("websocket", [])) == ["websocket.close"]
    lifespan = ["lifespan.startup", "lifespan.shutdown"]
    assert asyncio.run(talk("lifespan", list(lifespan))) == [f"{kind}.complete" for kind in lifespan]
