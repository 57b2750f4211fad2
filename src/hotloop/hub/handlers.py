"""What each route does: functions of the engine and a checked call. They may block: they run in threads."""

from __future__ import annotations

from typing import Any

import msgspec

from hotloop import intake
from hotloop.errors import AccessError, RequestError
from hotloop.hub import shown
from hotloop.hub.table import Answer, Call, Served
from hotloop.store.signing import FIRST_ROOT
from hotloop.types import Command, Declined, Feedback, LineReport, Live, Payload, Prediction

MSGPACK = "application/msgpack"
BYTES = "application/octet-stream"
METRICS = "text/plain; version=0.0.4; charset=utf-8"

_SCAN_MAX = 20_000  # records that one page of predictions looks at
_SCAN_STEP = 1000
_NO_SNIFF = (
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"private, max-age=31536000, immutable"),
)
_LATER = (
    "The prediction is not known here (yet). The feedback is kept and will count as soon as the prediction "
    "arrives; nothing more need be done. If it never does: check the prediction's id."
)


def as_json(value: Any, status: int = 200) -> Answer:
    """An answer of a record, as JSON."""
    return Answer(status, msgspec.json.encode(value))


def metrics(served: Served, _call: Call) -> Answer:
    """Prometheus exposition."""
    return Answer(200, served.metrics_text().encode(), METRICS)


def status(served: Served, _call: Call) -> Answer:
    """The loop's state now."""
    return as_json(served.snapshot())


def report(served: Served, _call: Call) -> Answer:
    """Latencies and quality so far."""
    return as_json(served.report())


def observe(served: Served, call: Call) -> Answer:
    """Predict here. The body is the payload as the sensor gave it."""
    line = intake.name(call.params.line, "line")
    call.caller.act_as(line, "line")
    reference = call.params.reference
    if reference is not None:
        intake.content_digest(reference, "reference")
    if not call.body:
        raise RequestError("the body is empty: send the bytes that the sensor gave, such as a PNG", status=400)
    payload = Payload(data=call.body, media_type=call.media_type)
    return as_json(shown.show_prediction(served.observe(payload, line, reference)))


def events(served: Served, call: Call) -> Answer:
    """Events of a line, whole or not at all; each counts once however often it is sent."""
    batch = call.body
    limit = served.config.hub.events_max
    if len(batch) > limit:
        raise RequestError(
            f"there are {len(batch)} events in one request: send at most {limit} (`hub.events_max`)",
            status=413,
        )
    intake.events(batch)
    for event in batch:
        call.caller.act_as(event.device, "device")
        if isinstance(event.body, Live | Declined):
            call.caller.act_as(event.body.line, "line")
        elif isinstance(event.body, Prediction):
            call.caller.act_as(event.body.observation.line, "line")
            call.caller.act_as(event.body.id.rpartition(":")[0], "prediction")  # ids can be guessed; the first stands
        elif isinstance(event.body, Feedback):
            _as_reviewer(served, call, event.body)
    return as_json(shown.Offsets(served.record(batch) if batch else []))


def feedback(served: Served, call: Call) -> Answer:
    """A verdict. With an Idempotency-Key it may be sent again and counts once."""
    body: Feedback = call.body
    intake.feedback(body)
    _as_reviewer(served, call, body)
    if call.key:
        device, sequence = intake.key(call.key)
        call.caller.act_as(device, "device")  # whoever takes another's key first keeps the other's event out
        receipt = served.feedback(body, device, sequence)
    else:
        receipt = served.feedback(body)
    if receipt.known:
        return as_json(shown.Taken(receipt.offset, known=True))
    return as_json(shown.Taken(receipt.offset, known=False, text=_LATER), 202)


def _as_reviewer(served: Served, call: Call, body: Feedback) -> None:
    """AccessError unless the caller may speak as that reviewer: the sealed truth is no operator's to write."""
    call.caller.act_as(body.reviewer, "reviewer")
    if body.reviewer == served.config.trust.golden and not call.caller.may("control"):
        raise AccessError(
            f"{body.reviewer!r} gives the sealed truth (`trust.golden`): only a role with the permission 'control' may "
            "speak for it. Use a reviewer's name of your own",
            known=True,
        )


def command(served: Served, call: Call) -> Answer:
    """An order: durable first, carried out by the next turns."""
    order: shown.Order = call.body
    if order.selection.since is not None:
        intake.finite(order.selection.since, "since")
    given = Command(
        order=order.order,
        by=call.caller.name,
        reason=order.reason,
        version=order.version,
        selection=order.selection,
        line=order.line,
    )
    words = served.affected(order.selection) if order.order == "unlearn" else "it is carried out by the next turn"
    return as_json(shown.Ordered(served.command(given).offset, words))


def review(served: Served, call: Call) -> Answer:
    """Where a human should look next."""
    pieces, passes = served.review(call.params.limit)
    return as_json(shown.ReviewPage([shown.ShownReview(*piece) for piece in pieces], passes))


def put_blob(served: Served, call: Call) -> Answer:
    """Keep bytes; answers their digest."""
    return as_json(shown.Digest(served.lake.put([call.body])[0]), 201)


def get_blob(served: Served, call: Call) -> Answer:
    """Bytes by their digest."""
    digest = intake.content_digest(call.params.digest, "blob")
    return Answer(200, served.lake.get(digest), BYTES, _NO_SNIFF)


def trace(served: Served, call: Call) -> Answer:
    """Everything that is known of one prediction."""
    records = served.trace(intake.identifier(call.params.id, "prediction"))
    last = records[-1].offset if records else 0
    return as_json(shown.RecordPage([shown.show_record(r) for r in records], last, end=True))


def predictions(served: Served, call: Call) -> Answer:
    """Predictions in the order of the log. A page looks at a bounded number of records, up to `next`."""
    found: list[shown.ShownRecord] = []
    at: int = call.params.after
    stop = at + _SCAN_MAX
    while at < stop:
        records = served.log.read(at, _SCAN_STEP)
        for record in records:
            at = record.offset
            if isinstance(record.event.body, Prediction):
                found.append(shown.show_record(record))
                if len(found) == call.params.limit:
                    return as_json(shown.RecordPage(found, at, end=False))
        if len(records) < _SCAN_STEP:
            return as_json(shown.RecordPage(found, at, end=True))
    return as_json(shown.RecordPage(found, at, end=False))


def records(served: Served, call: Call) -> Answer:
    """The log as it is, for an auditor."""
    page = served.log.read(call.params.after, call.params.limit)
    last = page[-1].offset if page else call.params.after
    return as_json(shown.RecordPage([shown.show_record(r) for r in page], last, end=len(page) < call.params.limit))


def enrol(served: Served, call: Call) -> Answer:
    """A token for a device, for the code of its line."""
    root = served.signer.file(FIRST_ROOT)
    return as_json(shown.Enrolled(served.devices.enrol(call.caller.subject), root))


def release_file(served: Served, call: Call) -> Answer:
    """A file of the repository of releases."""
    return Answer(200, served.signer.file(intake.identifier(call.params.name, "name")), BYTES)


def models(served: Served, call: Call) -> Answer:
    """The newest models."""
    return as_json(shown.ModelPage([shown.show_model(m) for m in served.registry.history(call.params.limit)]))


def model(served: Served, call: Call) -> Answer:
    """One model, whole, as msgpack."""
    return Answer(200, msgspec.msgpack.encode(served.registry.get(call.params.version)), MSGPACK)


def lines(served: Served, _call: Call) -> Answer:
    """The version that each line answers with."""
    return as_json(shown.Lines(dict(served.channel.lines())))


def report_line(served: Served, call: Call) -> Answer:
    """A line says how it is."""
    said: LineReport = call.body
    intake.report(said)
    call.caller.act_as(said.line, "line")
    served.fleet.heard(said)
    return as_json(shown.Acknowledged(1))


def fleet(served: Served, _call: Call) -> Answer:
    """Every line, and how far a release has got with them."""
    return as_json(served.fleet.view())


def acknowledge(served: Served, call: Call) -> Answer:
    """Lines say which version they answer with now."""
    batch: list[Live] = call.body
    limit = served.config.hub.events_max
    if len(batch) > limit:
        raise RequestError(
            f"there are {len(batch)} acknowledgements: send at most {limit} (`hub.events_max`)", status=413
        )
    for live in batch:
        intake.live(live)
        call.caller.act_as(live.line, "line")
    if batch:
        served.acknowledge(*batch)
    return as_json(shown.Acknowledged(len(batch)))


def elsewhere(_served: Served, call: Call) -> Answer:
    """Routes that the application answers itself (health, OpenAPI, streams) never come here."""
    raise RequestError(f"this route is not called like that ({call.media_type or 'no body'})", status=400)
