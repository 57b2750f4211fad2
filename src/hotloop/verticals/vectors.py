"""Plain feature vectors in, one label out: any sensor's problem can start here.

A payload is a JSON list of numbers. The head is closed-form ridge regression on the scaled features, a constant,
and optionally a seeded random ReLU projection of them (Rahimi & Recht 2008), for borders that are not straight.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec
import numpy as np
from msgspec import Meta

from hotloop.config import LoopConfig, Section, own_table
from hotloop.errors import ConfigError, InputError, ModelError
from hotloop.types import (
    ALWAYS,
    UNREADABLE,
    Claim,
    Example,
    Floats,
    Head,
    Outcome,
    Output,
    Payload,
    Proposals,
    Rows,
    digest,
)

_VALUE_MAX = 1e6  # of a feature or a projection: larger ones would drown the moments


def vertical(config: LoopConfig) -> Vectors:
    """Entry point: the vertical for `config`. ConfigError if `[vectors]` cannot be."""
    return Vectors(own_table(config, "vectors", VectorsConfig), config.learn.seed)


class VectorsConfig(Section, frozen=True):
    """`[vectors]`: plain feature vectors in, one label out."""

    labels: tuple[str, ...] = ()
    columns: Annotated[int, Meta(ge=1, le=4096)] = 16
    projected: Annotated[int, Meta(ge=0, le=4096)] = 0  # random ReLU features added to the plain ones
    center: tuple[float, ...] = ()  # subtracted from each column
    scale: tuple[float, ...] = ()  # each column is divided by it: its usual spread


class Vectors:
    """The vertical for plain vectors: one proposal a payload, which is the payload."""

    def __init__(self, config: VectorsConfig, seed: int) -> None:
        if len(config.labels) < 2 or len(set(config.labels)) != len(config.labels):
            raise ConfigError('[vectors] labels: name at least two different labels, such as ["ok", "worn"]')
        for name, values in (("center", config.center), ("scale", config.scale)):
            if values and len(values) != config.columns:
                raise ConfigError(f"[vectors] {name}: give {config.columns} numbers, one a column, or none")
        if any(value <= 0 for value in config.scale):
            raise ConfigError("[vectors] scale: every number must be above 0")
        self._config = config
        self._center = np.array(config.center or [0.0] * config.columns)
        self._scale = np.array(config.scale or [1.0] * config.columns)
        random = np.random.default_rng(seed)
        self._projection = random.normal(size=(config.columns, config.projected)) / np.sqrt(config.columns)
        self._offsets = random.normal(size=config.projected)
        self.backbone = ""
        scaled = digest(np.concatenate([self._center, self._scale]).astype("<f8").tobytes())[:12]
        self.recipe = f"vectors {config.columns}+{config.projected}, scaled by {scaled}, seed {seed}"

    def start(self) -> Head:
        """Cold: it knows nothing, so it gives every label the score 0 and says the first."""
        columns = 1 + self._config.columns + self._config.projected
        count = len(self._config.labels)
        return Head(self._config.labels, np.zeros((columns, count)), (ALWAYS,) * count)

    def propose(self, payload: Payload) -> Proposals:
        """The vector itself. InputError if it is not a JSON list of `columns` finite numbers."""
        try:
            values = msgspec.json.decode(payload.data, type=list[float])
        except UNREADABLE as error:
            raise InputError(f"a vector is a JSON list of numbers: {error}") from error
        if len(values) != self._config.columns:
            raise InputError(f"this loop's vectors have {self._config.columns} numbers; this one has {len(values)}")
        with np.errstate(over="ignore", invalid="ignore"):
            scaled = (np.array(values) - self._center) / self._scale
            largest = np.abs(self._expand(scaled[None, :])).max()
        if not largest <= _VALUE_MAX:  # NaN is not, either
            raise InputError(
                f"a vector's numbers are finite, and centered, scaled and projected within ±{_VALUE_MAX:g}; this one "
                "reaches beyond: set [vectors] scale to the usual spread of each column"
            )
        return Proposals(1, len(values), scaled.astype("<f4").tobytes(), kind="f4")

    def answer(self, proposals: Proposals, head: Head) -> tuple[Output, ...]:
        """The label with the highest score; one output a vector. ModelError if it is no vector of this loop."""
        scores = (self._expand(proposals.array()) @ head.weights)[0]
        best = int(scores.argmax())
        return (Output(head.labels[best], float(np.clip(scores[best], 0, 1))),)

    def teach(self, example: Example) -> Rows:
        """One row: 1 for the label that it truly has; the mean of the reviewers where they differ."""
        votes = [
            (vote, example.weight(k))
            for k, f in enumerate(example.feedback)
            if (vote := self._vote(f.claims)) is not None
        ]
        x = self._expand(example.prediction.proposals.array())
        if not votes or not any(weight for _, weight in votes):
            return Rows(x[:0], np.zeros((0, len(self._config.labels))), np.zeros(0))
        weights = np.array([weight for _, weight in votes])
        return Rows(x, np.average([vote for vote, _ in votes], axis=0, weights=weights)[None], weights.max()[None])

    def outcomes(self, outputs: Sequence[Output], example: Example) -> tuple[Outcome, ...]:
        """A hit where output and truth agree; else a false alarm of the one and a miss of the other."""
        rows = self.teach(example)
        if len(rows.w) == 0 or not outputs:
            return ()
        truth = self._config.labels[int(rows.y[0].argmax())]
        said = outputs[0].label
        if said == truth:
            return (Outcome("hit", truth),)
        return (Outcome("false alarm", said), Outcome("missed", truth))

    def _expand(self, x: Floats) -> Floats:
        """(1, columns) to (1, d): a constant, the features, and their projection. ModelError if it is another shape."""
        if x.shape != (1, self._config.columns):
            raise ModelError(f"a vector of this loop is 1 x {self._config.columns}, not {x.shape[0]} x {x.shape[1]}")
        projected = np.maximum(x @ self._projection + self._offsets, 0.0)
        return np.concatenate([np.ones((len(x), 1)), x, projected], axis=1)

    def _vote(self, claims: Sequence[Claim]) -> Floats | None:
        """What one reviewer's claims say of the labels; None if they name none."""
        named = [claim.label for claim in claims if claim.label in self._config.labels]
        if not named:
            return None
        return np.array([1.0 if label == named[0] else 0.0 for label in self._config.labels])
