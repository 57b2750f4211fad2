"""The ports: where hotloop touches the world. At most five methods each.

An adapter is whatever passes the laws of its port (`hotloop.testing.checks`). Methods raise only
errors of `hotloop.errors`. All ports but Learner and Vertical may be called from several threads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

from hotloop.types import (
    Change,
    Embedding,
    Event,
    Example,
    Floats,
    Head,
    Live,
    Model,
    Neighbour,
    Outcome,
    Output,
    Payload,
    Proposals,
    Record,
    Release,
    Rows,
    RunsOn,
    Spooled,
    SpoolState,
)


class Log(Protocol):
    """One append-only sequence of events. Everything else is derived from it."""

    def append(self, events: Sequence[Event]) -> list[int]:
        """Make the events durable, then return their offsets (1, 2, 3, ... without gaps, in the order given).

        An event whose key (device, sequence) is already here is not written again: its first offset is
        returned. The same key with another body raises KeyConflictError. Either all of the events are taken
        or, on an error, none is acknowledged. DiskFullError leaves the log usable.
        """
        ...

    def read(self, after: int, limit: int) -> list[Record]:
        """At most `limit` durable records with offsets above `after`, in order. Raises CorruptError by offset."""
        ...

    def about(self, prediction: str) -> list[Record]:
        """Every record of a prediction and of the feedback on it, in order; empty if there is none."""
        ...

    def last(self) -> int:
        """The highest durable offset; 0 for an empty log."""
        ...

    def close(self) -> None:
        """Release it. What was acknowledged stays."""
        ...


class Lake(Protocol):
    """Bytes by their content digest, and embeddings that can be searched; versioned."""

    def put(self, blobs: Sequence[bytes]) -> list[str]:
        """Make the bytes durable, then return their digests. Bytes that are here already are kept once."""
        ...

    def get(self, digest: str) -> bytes:
        """The bytes of a digest, checked against it. NotFoundError, CorruptError."""
        ...

    def embed(self, rows: Sequence[Embedding]) -> int:
        """Add embeddings (vectors of one length); returns the table's new version, which rises by each call."""
        ...

    def nearest(self, vector: Sequence[float], count: int, version: int | None = None) -> list[Neighbour]:
        """The `count` nearest embeddings, nearest first, as of a version (None: now)."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Learner(Protocol):
    """A tier of learning: applies changes, takes them back, gives the head that follows from them."""

    def learn(self, changes: Sequence[Change]) -> None:
        """Unlearn each change's `before` and learn its `after`."""
        ...

    def unlearn(self, examples: Sequence[Example]) -> None:
        """Take out what these examples taught: equal to never having seen them."""
        ...

    def head(self) -> Head:
        """The head that follows from all that is learned now."""
        ...

    def state(self) -> bytes:
        """Everything that `restore` needs, as bytes; its size does not depend on how much was learned."""
        ...

    def restore(self, state: bytes) -> None:
        """Become what `state` was. ModelError if it is of another recipe."""
        ...


class Registry(Protocol):
    """Model versions. Versions rise; what was published under a version never changes."""

    def add(self, model: Model) -> None:
        """Keep a model. ModelError if its version is not above every version here."""
        ...

    def get(self, version: int) -> Model:
        """A model by version. NotFoundError."""
        ...

    def latest(self) -> int:
        """The highest version; 0 for an empty registry."""
        ...

    def history(self, limit: int) -> list[Model]:
        """The newest models first, at most `limit`; their heads may be left out (b"")."""
        ...

    def close(self) -> None:
        """Release it."""
        ...


class Channel(Protocol):
    """The way to the lines: releases go out, acknowledgements come back."""

    def publish(self, release: Release, model: Model) -> None:
        """Offer a model to every line. A version not above the last one raises ModelError."""
        ...

    def follow(self, line: str, after: int, timeout_s: float) -> Model | None:
        """The newest model above version `after`: now, or as soon as there is one; None after `timeout_s`.

        A line that was away gets the newest in one step, not each one it missed.
        """
        ...

    def acknowledge(self, live: Live) -> None:
        """A line says which version it now answers with."""
        ...

    def lines(self) -> Mapping[str, int]:
        """The version that each line has acknowledged."""
        ...

    def close(self) -> None:
        """End every `follow` that waits."""
        ...


class Spool(Protocol):
    """What a line has still to deliver, in order. Bounded: what it drops is counted, by kind and reason.

    A verdict makes what it is about as dear as what was flagged: truth about nothing teaches nothing.
    """

    def put(self, items: Sequence[Spooled], lost: Mapping[str, int]) -> None:
        """Keep the items; then drop what is too old or too much. `lost` counts what never got here. DiskFullError
        leaves all as it was.

        A payload whose bytes wait already is kept once.
        """
        ...

    def waiting(self, what: Literal["events", "payloads"], limit: int) -> list[Spooled]:
        """The oldest that wait, in the order in which they were put."""
        ...

    def done(self, items: Sequence[Spooled]) -> None:
        """Forget what was delivered."""
        ...

    def state(self) -> SpoolState:
        """How full it is, and what was dropped."""
        ...

    def close(self) -> None:
        """Release it. What waits stays."""
        ...


class Clock(Protocol):
    """Time, so that it can be simulated."""

    def now(self) -> float:
        """Seconds since 1970 UTC. May jump."""
        ...

    def monotonic(self) -> float:
        """Seconds from some start; never goes back."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class Snapshots(Protocol):
    """Where the learner's state is kept between two starts. Losing it costs a rebuild from the log, nothing else."""

    def load(self) -> bytes | None:
        """The newest state, or None."""
        ...

    def save(self, state: bytes) -> None:
        """Keep a state in place of the last one."""
        ...


class Vertical(Protocol):
    """A domain: what its payloads mean. The only place that knows boards, aisles or cut-ins. Pure but for its
    model files, which it loads when it is made. On proposals, heads or examples that do not fit it, `answer`, `teach`
    and `outcomes` raise ModelError or InputError and nothing else: a log may hold those of another vertical.

    `backbone` is the digest of its backbone's bytes ("" if it has none), `recipe` names what made it, with seeds.
    """

    @property
    def backbone(self) -> str:
        """Digest of the backbone's bytes."""
        ...

    @property
    def recipe(self) -> str:
        """What made it."""
        ...

    def start(self) -> Head:
        """The head to begin with: the start model's answers, or one that says nothing (cold start)."""
        ...

    def propose(self, payload: Payload) -> Proposals:
        """What in the payload is worth judging, with its features. InputError if it cannot be read."""
        ...

    def answer(self, proposals: Proposals, head: Head) -> tuple[Output, ...]:
        """What the head says of the proposals, best first."""
        ...

    def teach(self, example: Example) -> Rows:
        """What the example's feedback says about its proposals, as rows to learn from; possibly none."""
        ...

    def outcomes(self, outputs: Sequence[Output], example: Example) -> tuple[Outcome, ...]:
        """How outputs for the example's observation turned out, as its feedback has it."""
        ...


@runtime_checkable
class Refreshable(Protocol):
    """A vertical whose backbone can be trained again. A backbone travels as one bundle of bytes, kept by its digest."""

    def bundle(self) -> bytes:
        """The backbone that answers now; its digest is `backbone`."""
        ...

    def revived(self, bundle: bytes) -> Vertical:
        """The same vertical on another backbone. ModelError if the bytes are none of its own."""
        ...

    def trainer(self) -> Sequence[str]:
        """The module and arguments, run as `python -m ...` with the job's folder added, that train in a child
        process.
        """
        ...


@runtime_checkable
class Exportable(Protocol):
    """A vertical whose network can be had in other forms (`predict.runtimes`), for devices on which they do better."""

    @property
    def runtime(self) -> RunsOn:
        """What its network runs on, and why not on what was wanted before that."""
        ...

    def converted(self, variant: str, payloads: Sequence[Payload]) -> bytes:
        """The network in another form, made with payloads such as the line sees. ModelError if it cannot be had."""
        ...

    def carrying(self, variants: Mapping[str, bytes]) -> bytes:
        """The backbone as a bundle that has these forms in it."""
        ...


@runtime_checkable
class Exploring(Protocol):
    """A vertical that chooses at random: what is logged of a choice has to say with what chance it was made."""

    def propensity(self, outputs: Sequence[Output]) -> float:
        """The chance with which these outputs were chosen, in (0, 1]."""
        ...


@runtime_checkable
class Costing(Protocol):
    """A vertical that can tell what a verified example would have cost under a head: gate and watch then bet on costs,
    where they bet on rights and wrongs else.
    """

    def costs(self, examples: Sequence[Example], heads: Sequence[Head], expects: Head) -> Floats:
        """The cost of each example under each head (heads, examples), in [0, 1]; NaN where an example cannot tell.

        `expects` is the head that answers now: what was not tried is priced by it alone, the same for all heads, so
        that none can praise itself. A head whose numbers are none costs 1; an example that does not fit cannot tell.
        Raises nothing. The same arguments give the same costs.
        """
        ...


@dataclass(frozen=True)
class Ports:
    """What an engine stands on."""

    log: Log
    lake: Lake
    registry: Registry
    channel: Channel
    clock: Clock
    snapshots: Snapshots
