"""The words of hotloop, in the order in which things happen. One word a concept.

    Observation -> Prediction -> Feedback -> Example -> Model -> Judgement -> Release -> Live

All are immutable records (msgspec), so that they can be logged, sent and compared as they are.
Times are seconds since 1970 UTC by the clock of the device that wrote them: they are shown and
measured, never used to put things in order. Order is the log's offset.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from hotloop.errors import ModelError

Floats: TypeAlias = NDArray[np.float64]
Region: TypeAlias = tuple[float, ...]  # (x1, y1, x2, y2) in pixels for boxes; a vertical may use another form
ALWAYS = -1e6  # a threshold that every score reaches: the best label is said, however low its score
UNREADABLE = (msgspec.MsgspecError, UnicodeDecodeError, RecursionError)  # what decoding raises for bytes that are none
Tier: TypeAlias = Literal["start", "reflex", "refresh", "consolidate", "rollback"]


def digest(data: bytes) -> str:
    """The content digest of `data`: 64 hex digits of SHA-256."""
    return hashlib.sha256(data).hexdigest()


class Payload(msgspec.Struct, frozen=True):
    """What a sensor gives: bytes of `media_type`, and the reference they are compared with, if any."""

    data: bytes
    media_type: str = "application/octet-stream"
    reference: bytes | None = None


class Observation(msgspec.Struct, frozen=True, kw_only=True):
    """Something was sensed: where, when, and the digest of its bytes (the bytes are in the lake)."""

    id: str
    site: str
    line: str
    at: float
    digest: str
    reference: str | None = None  # digest of the reference's bytes


class Proposals(msgspec.Struct, frozen=True):
    """What the backbone found worth judging: one row of features each.

    `data` is a C-ordered little-endian array (rows, columns) of float16 ("f2") or float32 ("f4"): the log
    carries it, so that a model can be rebuilt from the log alone. `regions` has one entry a row, or none where
    the row is the whole piece. `signature`: a perceptual hash of what was sensed, whose bits change little when it is
    sensed again (b"": it has none); it tells near-duplicates where there are no regions.
    """

    rows: int
    columns: int
    data: bytes
    regions: tuple[Region, ...] = ()
    kind: Literal["f2", "f4"] = "f2"
    signature: bytes = b""

    def check_size(self) -> None:
        """ModelError if `data` is not of the size that it is said to be."""
        size = self.rows * self.columns * (2 if self.kind == "f2" else 4)
        if self.rows < 0 or self.columns < 0 or len(self.data) != size:
            raise ModelError(
                f"proposals of {self.rows} x {self.columns} {self.kind} take {size} bytes, not {len(self.data)}"
            )

    def array(self) -> Floats:
        """The features as float64 (rows, columns). ModelError if `data` is not of that size, or not finite."""
        self.check_size()
        flat = np.frombuffer(self.data, dtype=f"<{self.kind}")
        if not np.isfinite(flat).all():
            raise ModelError("proposals hold a feature that is no finite number")
        return flat.reshape(self.rows, self.columns).astype(np.float64)


class Output(msgspec.Struct, frozen=True):
    """One thing the model says: a label with its score in [0, 1], where, and which proposal it came from.

    `proposal` is -1 where the proposals are not those that it was said on (see `rederived`).
    """

    label: str
    score: float
    region: Region | None = None
    proposal: int = 0


class Prediction(msgspec.Struct, frozen=True, kw_only=True, tag="prediction"):
    """What a model said of an observation. `propensity`: the probability with which it was chosen to be said."""

    id: str
    observation: Observation
    version: int
    outputs: tuple[Output, ...]
    confidence: float
    proposals: Proposals
    propensity: float = 1.0
    at: float = 0.0


def rederived(prediction: Prediction, proposals: Proposals) -> Prediction:
    """The prediction on another backbone's proposals: what was said stays, but is of none of these proposals."""
    outputs = tuple(msgspec.structs.replace(output, proposal=-1) for output in prediction.outputs)
    return msgspec.structs.replace(prediction, outputs=outputs, proposals=proposals)


class Claim(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One statement of a feedback.

    About an output (`output` is its index): `label` is what it truly is, None that there is nothing (a false
    alarm). About something the model did not list: `output` is None, with a label and, for boxes, a region.
    `value` carries a measurement or reward.
    """

    output: int | None = None
    label: str | None = None
    region: Region | None = None
    value: float | None = None


class Feedback(msgspec.Struct, frozen=True, kw_only=True, tag="feedback", forbid_unknown_fields=True):
    """What someone, or a sensor, found out about a prediction.

    `complete` says that the claims are all there is: what they do not mention is not there. A key that there is not
    is refused, for a misspelt `complete` would teach the opposite of what was meant.
    """

    prediction: str
    reviewer: str
    claims: tuple[Claim, ...]
    kind: Literal["verdict", "measurement", "reward"] = "verdict"
    complete: bool = True
    at: float = 0.0
    evidence: str = ""


class SliceFinding(msgspec.Struct, frozen=True):
    """What the gate found on a part of the examples (a class, a line, a site, the golden set).

    `difference`: mean loss of the candidate less the champion's, over `count` examples that both were judged on;
    `e_value`: evidence that the candidate is worse there by more than the tolerance.
    """

    name: str
    count: int
    difference: float
    e_value: float


class Judgement(msgspec.Struct, frozen=True, kw_only=True, tag="judgement"):
    """What the gate found on a candidate against the champion, with its evidence in words.

    "rollback": the model that answers was found worse than the one before it, which comes back.
    """

    candidate: int
    champion: int
    decision: Literal["promote", "hold", "refuse", "rollback"]
    reason: str
    count: int  # verified examples that both were judged on
    difference: float  # mean loss of the candidate less the champion's; below 0 is better
    e_value: float  # evidence that the candidate is worse (an e-value: 20 is 1 in 20 by chance)
    learned_to: int  # the candidate has seen the log up to this offset
    refused: tuple[int, ...] = ()  # offsets of the feedback that was held back
    singly: bool = False  # the group was refused as a whole and then tried verdict by verdict
    deferred: tuple[int, ...] = ()  # offsets of the feedback beyond its reviewer's quota: it waits
    tier: Tier = "reflex"
    slices: tuple[SliceFinding, ...] = ()  # those that were looked at, worst first
    at: float = 0.0


class Release(msgspec.Struct, frozen=True, kw_only=True, tag="release"):
    """A model version on its way to the lines. It has learned all feedback up to offset `learned_to`."""

    version: int
    parent: int
    tier: Tier
    digest: str
    learned_to: int
    stage: Literal["shadow", "canary", "wave", "everywhere", "rolled back"] = "everywhere"
    joined_at: float = 0.0
    learned_at: float = 0.0
    gated_at: float = 0.0
    at: float = 0.0


class Live(msgspec.Struct, frozen=True, kw_only=True, tag="live"):
    """A line's own acknowledgement that it now answers with `version`."""

    line: str
    version: int
    at: float = 0.0


class Declined(msgspec.Struct, frozen=True, kw_only=True, tag="declined"):
    """A line did not take a release, or went back from it by itself; it answers with `stays` for that."""

    line: str
    version: int
    stays: int
    reason: str
    at: float = 0.0


class LineReport(msgspec.Struct, frozen=True, kw_only=True):
    """How a line's device is, in its own words; sent every few seconds, and not logged."""

    line: str
    site: str
    version: int
    waiting: int = 0  # events and payloads in its spool
    spool_bytes: int = 0
    dropped: dict[str, int] = {}  # since its spool was made, by "kind: why"
    latency_ms: float = 0.0  # from payload to answer, the median of the newest
    trouble: str = ""
    at: float = 0.0


class Notice(msgspec.Struct, frozen=True, kw_only=True, tag="notice"):
    """Something an operator should read later: a setting changed, a store was repaired, a ceiling was met."""

    subject: str
    text: str
    at: float = 0.0


class Selection(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Which feedback is meant: all that is given must hold; nothing given selects nothing.

    `verdict` is the offset of one feedback, `since` a time by the hub's clock (seconds since 1970).
    """

    verdict: int | None = None
    reviewer: str | None = None
    site: str | None = None
    since: float | None = None


OrderName: TypeAlias = Literal[
    "refresh", "consolidate", "promote", "rollback", "freeze", "thaw", "unlearn", "reinstate", "pin", "unpin"
]


class Command(msgspec.Struct, frozen=True, kw_only=True, tag="command", forbid_unknown_fields=True):
    """What an engineer told the loop to do, and why.

    "refresh", "consolidate": retrain now. "promote": release the candidate that the gate held. "rollback": go back
    to `version` (0: the last checkpoint). "freeze", "thaw": no model changes in between. "unlearn": take out what
    `selection` taught. "reinstate": the reviewer of `selection`, who was distrusted, starts anew. "pin": `line` stays
    with what it has, "unpin": no more.
    """

    order: OrderName
    by: str
    reason: str = ""
    version: int = 0
    selection: Selection = Selection()
    line: str = ""
    at: float = 0.0


class Staged(msgspec.Struct, frozen=True, kw_only=True, tag="staged"):
    """How far a release on another backbone may go from now on, and why.

    `first`: the version that brought the backbone; `lines`: those that may take it (all of them if "everywhere", none
    if "begin" or "roll back").
    """

    action: Literal["begin", "offer", "everywhere", "roll back"]
    first: int
    backbone: str
    number: int = 0  # of the wave
    lines: tuple[str, ...] = ()
    reason: str = ""
    at: float = 0.0


class Candidate(msgspec.Struct, frozen=True, kw_only=True, tag="candidate"):
    """A model that a slower tier has trained, ready for the gate. Its bytes are in the lake, by digest.

    `features`: the verified examples' proposals on the new backbone (see `Rederivation`). Feedback on predictions up
    to offset `trained_to` was there to be trained on.
    """

    tier: Literal["refresh", "consolidate"]
    backbone: str
    features: str
    count: int
    trained_to: int
    seconds: float  # from the trigger to here
    reason: str  # what triggered it
    at: float = 0.0


class Rederived(msgspec.Struct, frozen=True, kw_only=True, tag="rederived"):
    """Predictions seen by another backbone than the one that made them: `features` is in the lake, by digest."""

    backbone: str
    features: str
    count: int
    at: float = 0.0


class Asked(msgspec.Struct, frozen=True, kw_only=True, tag="asked"):
    """A prediction that nobody flagged was drawn for a human to look at, with probability `propensity`."""

    prediction: str
    propensity: float
    reason: Literal["audit", "gold"] = "audit"
    at: float = 0.0


Body: TypeAlias = (
    Prediction
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


class Rederivation(msgspec.Struct, frozen=True):
    """What a backbone proposes for predictions that another one made: the blob behind `features`."""

    backbone: str
    proposals: dict[str, Proposals]  # by prediction id


class Event(msgspec.Struct, frozen=True):
    """One entry of the log. (device, sequence) is its idempotency key, made before the first send."""

    device: str
    sequence: int
    body: Body


SpoolKind: TypeAlias = Literal[
    "verdict", "judged", "judged payload", "flagged", "flagged payload", "unflagged", "unflagged payload"
]


class Spooled(msgspec.Struct, frozen=True):
    """Something that a line has still to deliver: an event's msgpack, or a payload's bytes.

    `kind` says how dear it is, dearest first (see `SpoolKind`): a spool that is full drops the cheapest kind, oldest
    first, and never a verdict, nor a prediction that a verdict is about ("judged"). `of`: the id of the prediction that
    it belongs to. `number`: given by the spool.
    """

    kind: SpoolKind
    of: str
    at: float
    data: bytes
    number: int = 0


class SpoolState(msgspec.Struct, frozen=True):
    """How full a spool is. `dropped`: how much was given up since the spool was made, by "kind: why"."""

    events: int
    payloads: int
    size_bytes: int
    oldest_at: float  # of what waits, by the line's clock; 0.0: nothing waits
    dropped: dict[str, int]


class Record(msgspec.Struct, frozen=True):
    """An event as the log keeps it: its offset (1, 2, 3, ...) and the hub's time when it was taken."""

    offset: int
    received_at: float
    event: Event


class Example(msgspec.Struct, frozen=True):
    """A prediction joined with the last word of each reviewer, in the order of the reviewers' names.

    `weights`: how much each word counts, in [0, 1]; empty: all count 1.
    """

    prediction: Prediction
    feedback: tuple[Feedback, ...]
    weights: tuple[float, ...] = ()

    def weight(self, index: int) -> float:
        """How much the word with this index counts."""
        return self.weights[index] if self.weights else 1.0


class Change(msgspec.Struct, frozen=True):
    """What one event did to an example: `before` is unlearned, `after` is learned; None where there is none."""

    offset: int
    before: Example | None
    after: Example | None


class Outcome(msgspec.Struct, frozen=True):
    """How one output, or one truth without an output, turned out."""

    kind: Literal["hit", "false alarm", "missed", "right"]  # "right": nothing there, nothing said
    label: str


@dataclass(frozen=True)
class Rows:
    """What learning sees of an example: features x (n, d), targets y (n, c), weights w (n,) >= 0."""

    x: Floats
    y: Floats
    w: Floats


@dataclass(frozen=True)
class Head:
    """The part of a model that changes often: scores = x @ weights, one column a label.

    `weights` is (d, c); an output is said when its score reaches its label's threshold. `own`: the weights of sites
    that are served better by others than the shared ones.
    """

    labels: tuple[str, ...]
    weights: Floats
    thresholds: tuple[float, ...]
    own: Mapping[str, Floats] = field(default_factory=dict)

    def at(self, site: str) -> Head:
        """The head that answers at a site."""
        return Head(self.labels, self.own.get(site, self.weights), self.thresholds)


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A bundle: the backbone by digest, the head's bytes (see `predict.head`), and where it came from."""

    version: int
    parent: int
    tier: Tier
    backbone: str  # digest of the backbone's bytes; "" for loops on plain vectors
    head: bytes
    labels: tuple[str, ...]
    recipe: str  # name of what made it, with its seed
    learned_to: int = 0
    alike: float = 0.0  # of pieces, the share that it answers as its parent does, as the gate found; 0.0: not known
    at: float = 0.0


class RunsOn(msgspec.Struct, frozen=True):
    """The runtime that a network is on ("": it has none), and why what was wanted before that is not used."""

    runtime: str = ""
    passed_over: tuple[str, ...] = ()

    def __str__(self) -> str:
        """In words; "" where there is no network."""
        why = f" ({'; '.join(self.passed_over)})" if self.passed_over else ""
        return f"on {self.runtime}{why}" if self.runtime else ""


class Embedding(msgspec.Struct, frozen=True):
    """A row of the lake's vector table: whose it is, and one vector for it."""

    prediction: str
    digest: str
    label: str
    vector: tuple[float, ...]


class Neighbour(msgspec.Struct, frozen=True):
    """An embedding near to the one asked for; `distance` is squared Euclidean."""

    prediction: str
    digest: str
    label: str
    distance: float
