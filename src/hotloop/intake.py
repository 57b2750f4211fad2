"""What may come in from a line: names, numbers and sizes of events, checked before anything is acknowledged.

Whatever passes here can be stored, sent on as JSON, and learned from without an error.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from hotloop.config import check_name
from hotloop.errors import ConfigError, RequestError
from hotloop.types import Declined, Event, Feedback, LineReport, Live, Notice, Output, Prediction, Proposals, Region

INTEGER_MAX = 2**63 - 1  # what the log's integers hold
_ID = re.compile(r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")
_DIGEST = re.compile(r"\A[0-9a-f]{64}\Z")
_TEXT_CHARS_MAX = 4000
_LABEL_CHARS_MAX = 200
_ITEMS_MAX = 10_000  # outputs, regions or claims of one record
_SIGNATURE_BYTES_MAX = 256
_REGION_MAX = 64  # numbers of one region
_FEATURE_MAX = 1e6  # squares of larger ones would drown the moments
_RESERVED = ("hub", "audit", "engine", "labels")  # devices that only the hub itself writes as


def name(text: str, what: str) -> str:
    """`text` if it can name a line, a device, a site or a reviewer; RequestError otherwise."""
    try:
        return check_name(text, what)
    except ConfigError as error:
        raise RequestError(str(error)) from None


def identifier(text: str, what: str) -> str:
    """`text` if it can be the id of a prediction or an observation; RequestError otherwise."""
    if not _ID.match(text):
        raise RequestError(
            f"{what} {text[:80]!r} is no id: use 1 to 128 letters, digits, '.', '_', ':' or '-', "
            "a letter or digit first"
        )
    return text


def content_digest(text: str, what: str) -> str:
    """`text` if it is a digest; RequestError otherwise."""
    if not _DIGEST.match(text):
        raise RequestError(f"{what} {text[:80]!r} is no digest: it is the 64 hex digits, small, of a SHA-256")
    return text


def finite(value: float, what: str, low: float = -math.inf, high: float = math.inf) -> float:
    """`value` if it is a finite number in bounds; RequestError otherwise."""
    if not (math.isfinite(value) and low <= value <= high):
        raise RequestError(f"{what} is {value}: it is a finite number in [{low}, {high}]")
    return value


def whole(value: int, what: str) -> int:
    """`value` if it is a whole number that the log can hold; RequestError otherwise."""
    if not 0 <= value <= INTEGER_MAX:
        raise RequestError(f"{what} is {str(value)[:40]}: it is a whole number from 0 to {INTEGER_MAX}")
    return value


def text(value: str, what: str, chars_max: int = _TEXT_CHARS_MAX) -> str:
    """`value` if it is no longer than `chars_max`; RequestError otherwise."""
    if len(value) > chars_max:
        raise RequestError(f"{what} has {len(value)} characters: it has at most {chars_max}")
    return value


def device_name(value: str) -> str:
    """`value` if it can name a sender that is not the hub itself; RequestError otherwise."""
    name(value, "device")
    if _is_reserved(value):
        raise RequestError(f"device {value!r} is one of the hub's own: name the device after its line or its user")
    return value


def _is_reserved(device: str) -> bool:
    return device in _RESERVED or device.startswith("audit-")


def key(header: str) -> tuple[str, int]:
    """Device and sequence of an Idempotency-Key header `device:sequence`. RequestError if it is not one."""
    device, colon, digits = header.rpartition(":")
    if not colon or not digits.isascii() or not digits.isdecimal() or len(digits) > len(str(INTEGER_MAX)):
        raise RequestError(f"Idempotency-Key {header[:80]!r} is not of the form device:sequence, such as cell-7:42")
    return device_name(device), whole(int(digits), "the sequence of the Idempotency-Key")


def events(batch: Sequence[Event]) -> None:
    """RequestError, with the place in the batch, if an event cannot be taken from a line."""
    for place, event in enumerate(batch):
        try:
            _event(event)
        except RequestError as error:
            raise RequestError(f"event {place}: {error}", status=error.status) from None


def feedback(body: Feedback) -> None:
    """RequestError if a feedback's names, numbers and texts cannot be."""
    identifier(body.prediction, "prediction")
    name(body.reviewer, "reviewer")
    text(body.evidence, "evidence")
    finite(body.at, "at")
    _count(len(body.claims), "claims")
    for claim in body.claims:
        if claim.output is not None:
            whole(claim.output, "a claim's output")
        if claim.label is not None:
            text(claim.label, "a claim's label", _LABEL_CHARS_MAX)
        if claim.value is not None:
            finite(claim.value, "a claim's value")
        if claim.region is not None:
            _region(claim.region)


def live(body: Live) -> None:
    """RequestError if an acknowledgement's names and numbers cannot be."""
    name(body.line, "line")
    whole(body.version, "version")
    finite(body.at, "at")


def report(body: LineReport) -> None:
    """RequestError if what a line says of itself cannot be."""
    name(body.line, "line")
    name(body.site, "site")
    for number, what in ((body.version, "version"), (body.waiting, "waiting"), (body.spool_bytes, "spool_bytes")):
        whole(number, what)
    text(body.trouble, "trouble")
    finite(body.latency_ms, "latency_ms")
    finite(body.at, "at")
    _count(len(body.dropped), "dropped")
    for why, count in body.dropped.items():
        text(why, "what was dropped", _LABEL_CHARS_MAX)
        whole(count, "dropped")


def _event(event: Event) -> None:
    """One event from a line: key and body."""
    device_name(event.device)
    whole(event.sequence, "sequence")
    body = event.body
    if isinstance(body, Prediction):
        _prediction(body)
    elif isinstance(body, Feedback):
        feedback(body)
    elif isinstance(body, Live):
        live(body)
    elif isinstance(body, Declined):
        name(body.line, "line")
        whole(body.version, "version")
        whole(body.stays, "stays")
        text(body.reason, "reason")
        finite(body.at, "at")
    elif isinstance(body, Notice):
        text(body.subject, "subject", _LABEL_CHARS_MAX)
        text(body.text, "text")
        finite(body.at, "at")
    else:
        raise RequestError(
            f"a {type(body).__name__.lower()} is the hub's own to write: "
            "a line sends predictions, feedback, live, declined and notices"
        )


def _prediction(body: Prediction) -> None:
    """A prediction: names, scores, and features that are all there."""
    if _is_reserved(identifier(body.id, "prediction").partition(":")[0]):
        raise RequestError(f"prediction {body.id!r} has an id that only the hub gives: begin it with the line's name")
    seen = body.observation
    identifier(seen.id, "observation")
    name(seen.site, "site")
    name(seen.line, "line")
    finite(seen.at, "the observation's at")
    content_digest(seen.digest, "the observation's digest")
    if seen.reference is not None:
        content_digest(seen.reference, "the observation's reference")
    whole(body.version, "version")
    finite(body.confidence, "confidence", 0.0, 1.0)
    finite(body.propensity, "propensity", 0.0, 1.0)
    finite(body.at, "at")
    _proposals(body.proposals)
    _count(len(body.outputs), "outputs")
    for output in body.outputs:
        _output(output, body.proposals.rows)


def _output(output: Output, rows: int) -> None:
    """An output: a label, a score, and the proposal that it came from."""
    text(output.label, "an output's label", _LABEL_CHARS_MAX)
    finite(output.score, "an output's score", 0.0, 1.0)
    if not 0 <= output.proposal < max(rows, 1):
        raise RequestError(f"an output is of proposal {str(output.proposal)[:40]}, but there are {rows}")
    if output.region is not None:
        _region(output.region)


def _proposals(proposals: Proposals) -> None:
    """Features: as many bytes as rows and columns say, all in bounds, with a region each or none."""
    rows, columns = proposals.rows, proposals.columns
    size = rows * columns * (2 if proposals.kind == "f2" else 4)
    if rows < 0 or columns < 0 or size != len(proposals.data):
        raise RequestError(
            f"proposals of {str(rows)[:40]} x {str(columns)[:40]} {proposals.kind} are not {len(proposals.data)} bytes"
        )
    features = np.frombuffer(proposals.data, dtype=f"<{proposals.kind}")
    if not float(np.abs(features).max(initial=0.0)) <= _FEATURE_MAX:  # NaN is not, either
        raise RequestError(f"proposals hold a feature that is no number within ±{_FEATURE_MAX:g}")
    if rows > _ITEMS_MAX or len(proposals.regions) not in (0, rows):
        raise RequestError(
            f"proposals have {len(proposals.regions)} regions for {rows} rows (at most {_ITEMS_MAX}): "
            "give one each, or none"
        )
    for region in proposals.regions:
        _region(region)
    if len(proposals.signature) > _SIGNATURE_BYTES_MAX:
        raise RequestError(f"a signature has {len(proposals.signature)} bytes: it has at most {_SIGNATURE_BYTES_MAX}")


def _region(region: Region) -> None:
    """A region: a few finite numbers."""
    if len(region) > _REGION_MAX or not all(map(math.isfinite, region)):
        raise RequestError(f"a region is at most {_REGION_MAX} finite numbers")


def _count(count: int, what: str) -> None:
    """Lists of bounded length."""
    if count > _ITEMS_MAX:
        raise RequestError(f"there are {count} {what}: at most {_ITEMS_MAX} are taken", status=413)
