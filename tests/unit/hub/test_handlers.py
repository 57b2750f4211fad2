"""What each route answers, over a small engine."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from hotloop.errors import RequestError
from hotloop.hub.handlers import as_json, elsewhere
from hotloop.hub.table import NOBODY, Call
from hotloop.types import Claim, Event, Feedback, Live, Model, digest

JSON = "application/json"
MSGPACK = "application/msgpack"


def verdict(**changes: Any) -> bytes:
    """A feedback as JSON."""
    return msgspec.json.encode(
        {
            "prediction": "line-1:1",
            "reviewer": "ann",
            "claims": [{"output": 0, "label": "ok"}],
            "type": "feedback",
            **changes,
        }
    )


@pytest.fixture
def known(engine: Any, make: SimpleNamespace) -> str:
    """The id of a prediction that the hub knows."""
    engine.record([Event("line-1", 1, make.prediction("line-1:1"))])
    return "line-1:1"


def test_metrics_status_and_report_are_the_engines(call: Any, known: str) -> None:
    """What the engine says is passed on in the right media type."""
    metrics = call("GET", "/metrics")
    assert (metrics.body, metrics.headers["content-type"]) == (
        b"hotloop_events_total 1\n",
        "text/plain; version=0.0.4; charset=utf-8",
    )
    assert call("GET", "/v1/status").json() == {"version": 1, "events": 1}
    assert call("GET", "/v1/report").json() == {"version": 1, "events": 1}


def test_an_observation_is_predicted(call: Any, engine: Any) -> None:
    """Bytes in, prediction out, without its features; it is in the log."""
    reply = call("POST", "/v1/observations?line=line-1", b"piece", content_type="image/png")
    said = reply.json()
    assert reply.status == 200
    assert said["id"] == engine.log.records[-1].event.body.id
    assert said["proposals"] == {"rows": 1, "columns": 2, "regions": []}
    assert said["outputs"][0]["label"] == "ok"


@pytest.mark.parametrize(
    ("target", "body", "status"),
    [
        ("/v1/observations", b"piece", 422),
        ("/v1/observations?line=../x", b"piece", 422),
        ("/v1/observations?line=line-1&reference=abc", b"piece", 422),
        ("/v1/observations?line=line-1&other=1", b"piece", 422),
        ("/v1/observations?line=line-1&line=line-2", b"piece", 400),
        ("/v1/observations?line=%ff", b"piece", 400),
        ("/v1/observations?line=line-1", b"", 400),
        ("/v1/observations?line=line-1", b"bad", 422),
    ],
)
def test_an_observation_that_cannot_be_is_refused(
    call: Any, engine: Any, target: str, body: bytes, status: int
) -> None:
    """A line without a name, a reference that is none, nothing, or what is no image: nothing is logged."""
    assert call("POST", target, body).status == status
    assert engine.log.last() == 0


@pytest.mark.parametrize("kind", [JSON, MSGPACK, "application/x-msgpack", "application/json; charset=utf-8"])
def test_events_are_taken_in_both_formats(call: Any, engine: Any, make: SimpleNamespace, kind: str) -> None:
    """JSON and msgpack carry the same events; their offsets are answered in order."""
    batch = [Event("line-1", n, make.prediction(f"line-1:{n}")) for n in (1, 2)]
    data = msgspec.msgpack.encode(batch) if "msgpack" in kind else msgspec.json.encode(batch)
    assert call("POST", "/v1/events", data, role="line", content_type=kind).json() == {"offsets": [1, 2]}
    assert [r.event for r in engine.log.records] == batch


def test_events_sent_again_keep_their_offsets(call: Any, make: SimpleNamespace) -> None:
    """The same keys with the same bodies are answered alike; with others it is 409."""
    batch = [Event("line-1", 1, make.prediction("line-1:1"))]
    for _ in range(3):
        assert call("POST", "/v1/events", msgspec.json.encode(batch)).json() == {"offsets": [1]}
    other = [Event("line-1", 1, make.prediction("line-1:2"))]
    assert call("POST", "/v1/events", msgspec.json.encode(other)).status == 409


def test_no_events_are_no_work(call: Any, engine: Any) -> None:
    """An empty batch is answered without touching the log."""
    engine.log.fails = AssertionError("the log was asked")
    assert call("POST", "/v1/events", b"[]").json() == {"offsets": []}


def test_events_are_taken_whole_or_not_at_all(call: Any, engine: Any, make: SimpleNamespace) -> None:
    """One event that cannot be keeps the whole batch out."""
    batch = [Event("line-1", 1, make.prediction("line-1:1")), Event("../x", 2, make.prediction("line-1:2"))]
    reply = call("POST", "/v1/events", msgspec.json.encode(batch))
    assert reply.status == 422
    assert "event 1" in reply.json()["detail"]
    assert engine.log.last() == 0


def test_batches_are_bounded(call: Any, engine: Any, make: SimpleNamespace) -> None:
    """More events or acknowledgements than hub.events_max are 413, and the message names the setting."""
    hub = msgspec.structs.replace(engine.config.hub, events_max=2)
    engine.config = msgspec.structs.replace(engine.config, hub=hub)
    batch = [Event("line-1", n, make.prediction(f"line-1:{n}")) for n in (1, 2, 3)]
    lives = [Live(line="line-1", version=n) for n in (1, 2, 3)]
    for path, many in (("/v1/events", batch), ("/v1/live", lives)):
        reply = call("POST", path, msgspec.json.encode(many))
        assert reply.status == 413
        assert "hub.events_max" in reply.json()["detail"]
        assert call("POST", path, msgspec.json.encode(many[:2])).status == 200


def test_feedback_on_a_known_prediction_is_200(call: Any, known: str) -> None:
    """The receipt says where it is."""
    reply = call("POST", "/v1/feedback", verdict(), role="operator")
    assert (reply.status, reply.json()) == (200, {"offset": 2, "known": True, "text": ""})


def test_early_feedback_is_kept_and_said_so(call: Any, engine: Any) -> None:
    """Feedback on nothing we know is 202: kept, with a text that says that it will count."""
    reply = call("POST", "/v1/feedback", verdict(prediction="line-9:9"))
    assert reply.status == 202
    assert reply.json()["known"] is False
    assert "kept" in reply.json()["text"]
    assert isinstance(engine.log.records[0].event.body, Feedback)


def test_feedback_with_a_key_counts_once(call: Any, engine: Any, known: str) -> None:
    """However often it is sent with its Idempotency-Key, it is in the log once."""
    offsets = [call("POST", "/v1/feedback", verdict(), idempotency_key="cell-7:42").json()["offset"] for _ in range(3)]
    assert offsets == [2, 2, 2]
    assert (engine.log.records[1].event.device, engine.log.records[1].event.sequence) == ("cell-7", 42)
    assert call("POST", "/v1/feedback", verdict(reviewer="bob"), idempotency_key="cell-7:42").status == 409
    assert call("POST", "/v1/feedback", verdict(), idempotency_key="cell-7").status == 422


@pytest.mark.parametrize(
    ("body", "kind", "status"),
    [
        (b"", JSON, 400),
        (b"{", JSON, 400),
        (b"\xff\xff", JSON, 400),
        (b"[]", JSON, 422),
        (b'"\\ud800"', JSON, 400),
        (b"{}", JSON, 422),
        (verdict(claims=[{"output": "x"}]), JSON, 422),
        (verdict(kind="rumour"), JSON, 422),
        (verdict(reviewer="a/b"), JSON, 422),
        (b'{"a":' * 100_000, JSON, 422),
        (verdict(), "text/plain", 415),
        (verdict(), MSGPACK, 415),
        (verdict(), "", 202),
    ],
    ids=range(13),
)
def test_feedback_that_cannot_be_read(call: Any, body: bytes, kind: str, status: int) -> None:
    """Not JSON is 400, another type 422, another media type 415; no media type is taken as JSON."""
    reply = call("POST", "/v1/feedback", body, content_type=kind)
    assert reply.status == status, reply.body


def test_bytes_go_in_and_come_out(call: Any) -> None:
    """A blob is named by its digest and comes back as it was, as an attachment that nothing sniffs."""
    reply = call("POST", "/v1/blobs", b"template")
    assert (reply.status, reply.json()) == (201, {"digest": digest(b"template")})
    back = call("GET", f"/v1/blobs/{digest(b'template')}")
    assert back.body == b"template"
    assert back.headers["content-type"] == "application/octet-stream"
    assert back.headers["x-content-type-options"] == "nosniff"
    assert call("GET", f"/v1/blobs/{digest(b'other')}").status == 404
    assert call("GET", "/v1/blobs/..%2f..%2fetc").status == 422


def test_a_trace_is_what_is_known_of_a_prediction(call: Any, known: str) -> None:
    """Prediction and feedback in order, features left out; 404 for what is unknown."""
    call("POST", "/v1/feedback", verdict())
    page = call("GET", f"/v1/predictions/{known}").json()
    assert [r["body"]["type"] for r in page["records"]] == ["prediction", "feedback"]
    assert "data" not in page["records"][0]["body"]["proposals"]
    assert page["end"] is True
    assert call("GET", "/v1/predictions/line-9:9").status == 404
    assert call("GET", "/v1/predictions/a b").status == 422


def test_predictions_are_paged(call: Any, engine: Any, make: SimpleNamespace) -> None:
    """Pages follow one another by `next`, and leave out what is no prediction."""
    for n in range(1, 8):
        engine.record([Event("line-1", n, make.prediction(f"line-1:{n}"))])
        engine.record([Event("line-1", 100 + n, Feedback(prediction=f"line-1:{n}", reviewer="ann", claims=(Claim(),)))])
    seen, after, end = [], 0, False
    while not end:
        page = call("GET", f"/v1/predictions?after={after}&limit=3").json()
        seen += [r["body"]["id"] for r in page["records"]]
        after, end = page["next"], page["end"]
    assert seen == [f"line-1:{n}" for n in range(1, 8)]


def test_a_page_looks_at_a_bounded_number_of_records(call: Any, engine: Any, monkeypatch: Any) -> None:
    """Where there are no predictions for long, the page ends and says how far it looked."""
    monkeypatch.setattr("hotloop.hub.handlers._SCAN_MAX", 4)
    monkeypatch.setattr("hotloop.hub.handlers._SCAN_STEP", 2)
    engine.record([Event("line-1", n, Live(line="line-1", version=1)) for n in range(9)])
    assert call("GET", "/v1/predictions").json() == {"records": [], "next": 4, "end": False}
    assert call("GET", "/v1/predictions?after=8").json() == {"records": [], "next": 9, "end": True}


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "after=-1", "after=9223372036854775808", "limit=1&limit=2", "other=1"]
)
def test_pages_have_limits(call: Any, query: str) -> None:
    """A page's parameters are whole numbers in their bounds, each there once."""
    assert call("GET", f"/v1/predictions?{query}").status in (400, 422)


def test_models_are_listed_and_fetched(call: Any, engine: Any, make: SimpleNamespace) -> None:
    """The list leaves the heads out; one model comes whole."""
    engine.registry.models.append(make.model(2))
    listed = call("GET", "/v1/models?limit=1").json()["models"]
    assert [(m["version"], m["head_bytes"]) for m in listed] == [(2, 5)]
    assert "head" not in listed[0]
    whole = call("GET", "/v1/models/2", role="line")
    assert whole.headers["content-type"] == MSGPACK
    assert msgspec.msgpack.decode(whole.body, type=Model) == make.model(2)
    assert call("GET", "/v1/models/3").status == 404
    assert call("GET", "/v1/models/x").status == 422
    assert call("GET", "/v1/models/-1").status == 422


def test_lines_say_what_they_answer_with(call: Any, engine: Any) -> None:
    """Acknowledgements are passed to the engine, and the lines are shown."""
    lives = [Live(line="line-1", version=3), Live(line="line-2", version=2)]
    assert call("POST", "/v1/live", msgspec.json.encode(lives), role="line").json() == {"count": 2}
    assert engine.acknowledged == lives
    assert call("GET", "/v1/lines").json() == {"lines": {"line-1": 3, "line-2": 2}}


def test_one_bad_acknowledgement_keeps_all_out(call: Any, engine: Any) -> None:
    """A batch of acknowledgements is checked before the first is taken."""
    lives = [Live(line="line-1", version=3), Live(line="../2", version=2)]
    assert call("POST", "/v1/live", msgspec.json.encode(lives)).status == 422
    assert engine.acknowledged == []


def test_the_log_is_read_by_the_page(call: Any, engine: Any) -> None:
    """The auditor's pages have every record, and their own reading at the end."""
    engine.record([Event("line-1", n, Live(line="line-1", version=n)) for n in (1, 2, 3)])
    first = call("GET", "/v1/log?limit=2", role="auditor").json()
    assert ([r["offset"] for r in first["records"]], first["next"], first["end"]) == ([1, 2], 2, False)
    rest = call("GET", "/v1/log?after=2", role="auditor").json()
    assert [r["body"]["type"] for r in rest["records"]] == ["live", "notice"]
    assert call("GET", "/v1/log?after=999", role="auditor").json()["next"] == 999


def test_an_answer_is_json(call: Any) -> None:
    """`as_json` gives the status that it is told; what the application answers itself is not called here."""
    assert (as_json({"a": 1}, 201).status, as_json([1]).body) == (201, b"[1]")
    with pytest.raises(RequestError):
        elsewhere(None, Call(NOBODY, None))  # type: ignore[arg-type]


def test_an_order_is_logged_with_who_gave_it(call, engine):
    """It is durable when it is answered; the answer says what it means."""
    body = b'{"order": "unlearn", "reason": "he guessed", "selection": {"reviewer": "bob"}}'
    reply = call("POST", "/v1/commands", body, role="engineer", content_type="application/json")
    assert (reply.status, reply.json()["words"]) == (200, "what bob taught")
    order = engine.log.records[reply.json()["offset"] - 1].event.body
    assert (order.order, order.by, order.reason, order.selection.reviewer) == (
        "unlearn",
        "engineer",
        "he guessed",
        "bob",
    )
    assert "audit" in engine.log.records[-1].event.body.subject


@pytest.mark.parametrize("role", ["operator", "line", "auditor"])
def test_only_who_may_control_gives_orders(call, role):
    """Whoever verifies cannot also decide what answers."""
    assert (
        call("POST", "/v1/commands", b'{"order": "freeze"}', role=role, content_type="application/json").status == 403
    )


@pytest.mark.parametrize(
    "body", [b'{"order": "explode"}', b'{"order": "unlearn", "selection": {"since": 1e999}}', b"{}"]
)
def test_an_order_that_cannot_be_is_refused(call, body):
    """Unknown orders and times that are none."""
    assert call("POST", "/v1/commands", body, role="admin", content_type="application/json").status in (400, 422)


def test_the_sealed_truth_is_not_for_operators(call, engine):
    """The golden reviewer's word judges models: only a role that may control speaks for it, in either route."""
    golden = Feedback(prediction="line-1:1", reviewer="golden", claims=())
    body = msgspec.json.encode(golden)
    assert call("POST", "/v1/feedback", body, role="operator", content_type="application/json").status == 403
    assert call("POST", "/v1/feedback", body, role="admin", content_type="application/json").status == 202
    events = msgspec.json.encode([Event("line-1", 1, golden)])
    assert call("POST", "/v1/events", events, role="line", content_type="application/json").status == 403
    assert call("POST", "/v1/events", events, role="admin", content_type="application/json").status == 200


def test_the_review_order_is_shown(call):
    """Best first, as many as asked for, and what may pass."""
    page = call("GET", "/v1/review?limit=5", role="operator").json()
    assert page == {
        "pieces": [{"prediction": "line-1:1", "value": 0.5, "reason": "unsure"}], "passes": "nothing may pass yet"
    }  # fmt: skip
