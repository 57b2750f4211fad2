"""What the hub shows of the records: the same words, without the bytes that nobody reads."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from hotloop.intake import INTEGER_MAX
from hotloop.types import (
    Asked,
    Candidate,
    Command,
    Declined,
    Feedback,
    Judgement,
    Live,
    Model,
    Notice,
    Observation,
    OrderName,
    Output,
    Prediction,
    Record,
    Rederived,
    Region,
    Release,
    Selection,
    Staged,
    Tier,
)

Offset = Annotated[int, Meta(ge=0, le=INTEGER_MAX)]
Text = Annotated[str, Meta(max_length=200)]


class ShownProposals(msgspec.Struct, frozen=True):
    """Proposals without their features."""

    rows: int
    columns: int
    regions: tuple[Region, ...]


class ShownPrediction(msgspec.Struct, frozen=True, kw_only=True, tag="prediction"):
    """A prediction without its features."""

    id: str
    observation: Observation
    version: int
    outputs: tuple[Output, ...]
    confidence: float
    proposals: ShownProposals
    propensity: float
    at: float


class ShownRecord(msgspec.Struct, frozen=True):
    """A record of the log: its place, when the hub took it, its key, and its body."""

    offset: int
    received_at: float
    device: str
    sequence: int
    body: (
        ShownPrediction
        | Feedback
        | Judgement
        | Release
        | Live
        | Declined
        | Notice
        | Command
        | Candidate
        | Rederived
        | Asked
        | Staged
    )


class ShownModel(msgspec.Struct, frozen=True, kw_only=True):
    """A model without its head's bytes."""

    version: int
    parent: int
    tier: Tier
    backbone: str
    labels: tuple[str, ...]
    recipe: str
    learned_to: int
    at: float
    head_bytes: int


class Health(msgspec.Struct, frozen=True):
    """`ok`, or what hinders the hub now."""

    status: str
    detail: str = ""


class Offsets(msgspec.Struct, frozen=True):
    """Where the events of a request are in the log, in the order given."""

    offsets: list[int]


class Taken(msgspec.Struct, frozen=True):
    """A feedback is durable. `known`: there is such a prediction; if not, `text` says what that means."""

    offset: int
    known: bool
    text: str = ""


class Digest(msgspec.Struct, frozen=True):
    """The content digest of bytes that were kept."""

    digest: str


class Lines(msgspec.Struct, frozen=True):
    """The version that each line has acknowledged."""

    lines: dict[str, int]


class RecordPage(msgspec.Struct, frozen=True):
    """Records in order. Ask again with `after` = `next`; there was no more when `end` is True."""

    records: list[ShownRecord]
    next: int
    end: bool


class ModelPage(msgspec.Struct, frozen=True):
    """The newest models first."""

    models: list[ShownModel]


class Acknowledged(msgspec.Struct, frozen=True):
    """How many acknowledgements were taken."""

    count: int


class ObserveParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The line it comes from, and the digest of the reference it is compared with, if any."""

    line: Text
    reference: Text | None = None


class PageParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Offsets above `after`, at most `limit` of them."""

    after: Offset = 0
    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class LimitParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """At most `limit` of them."""

    limit: Annotated[int, Meta(ge=1, le=1000)] = 100


class VersionParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A model's version."""

    version: Offset


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What an engineer orders, and why. See `Command`: `selection` is for "unlearn" and "reinstate", `version` for
    "rollback", `line` for "pin" and "unpin".
    """

    order: OrderName
    reason: Annotated[str, Meta(max_length=1000)] = ""
    version: Offset = 0
    selection: Selection = Selection()
    line: Annotated[str, Meta(max_length=64)] = ""


class Ordered(msgspec.Struct, frozen=True):
    """The order is durable at `offset`. `words`: what it means here and now, such as the releases that it affects."""

    offset: int
    words: str


class ReviewParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How many pieces."""

    limit: Annotated[int, Meta(ge=1, le=200)] = 20


class ShownReview(msgspec.Struct, frozen=True):
    """A piece to look at: how much it would teach (any unit, higher first), and why it is here."""

    prediction: str
    value: float
    reason: str


class ReviewPage(msgspec.Struct, frozen=True):
    """What to look at, best first. `passes`: what may pass without a human, in words."""

    pieces: list[ShownReview]
    passes: str


class DigestParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A content digest."""

    digest: Text


class PredictionParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A prediction's id."""

    id: Text


class Enrolled(msgspec.Struct, frozen=True):
    """The device's token, shown once, and the root that it is to trust."""

    token: str
    root: bytes


class FileParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A file's name in the repository of releases."""

    name: Text


class FollowParams(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The line that follows, and the version that it has."""

    line: Text
    after: Offset = 0


def show_prediction(prediction: Prediction) -> ShownPrediction:
    """A prediction as it is shown."""
    proposals = prediction.proposals
    return ShownPrediction(
        id=prediction.id,
        observation=prediction.observation,
        version=prediction.version,
        outputs=prediction.outputs,
        confidence=prediction.confidence,
        proposals=ShownProposals(proposals.rows, proposals.columns, proposals.regions),
        propensity=prediction.propensity,
        at=prediction.at,
    )


def show_record(record: Record) -> ShownRecord:
    """A record as it is shown."""
    event = record.event
    body = show_prediction(event.body) if isinstance(event.body, Prediction) else event.body
    return ShownRecord(record.offset, record.received_at, event.device, event.sequence, body)


def show_model(model: Model) -> ShownModel:
    """A model as it is shown."""
    return ShownModel(
        version=model.version,
        parent=model.parent,
        tier=model.tier,
        backbone=model.backbone,
        labels=model.labels,
        recipe=model.recipe,
        learned_to=model.learned_to,
        at=model.at,
        head_bytes=len(model.head),
    )
