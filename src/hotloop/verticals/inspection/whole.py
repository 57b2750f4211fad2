"""Whole pieces: good, or which kind of bad. One row of a frozen backbone's features a piece; the head is learned."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from hotloop.errors import ConfigError, ModelError
from hotloop.sense.images import decode_image
from hotloop.types import ALWAYS, Claim, Example, Feedback, Floats, Head, Outcome, Output, Payload, Proposals, Rows
from hotloop.verticals.inspection.classifier import backbone, expand
from hotloop.verticals.inspection.settings import InspectionConfig
from hotloop.verticals.inspection.start_labels import labelled_payloads


class WholeImage:
    """The vertical for products without boxes. A piece of which nothing is claimed is good."""

    def __init__(self, config: InspectionConfig, seed: int) -> None:
        kinds = tuple(label for label in config.labels if label != config.good)
        if not kinds:
            raise ConfigError(
                '[inspection] task = "image" needs the kinds of defects: labels = ["crack", "dent"]'
            )
        self._config = config
        self.labels = (config.good, *kinds)
        path = None if config.start in ("boards", "none") else Path(config.start)
        self._backbone = backbone(path)
        self.backbone = self._backbone.digest
        self.recipe = f"whole image, {self._backbone.columns} columns, seed {seed}"

    def start(self) -> Head:
        """Cold: every piece is good until a verdict says otherwise."""
        weights = np.zeros((self._backbone.columns + 1, len(self.labels)))
        return Head(self.labels, weights, (ALWAYS,) * len(self.labels))

    def propose(self, payload: Payload) -> Proposals:
        """The features of the piece. ImageError if it cannot be read."""
        features = self._backbone.features(decode_image(payload.data, self._config.images))
        return Proposals(1, len(features), features.astype("<f2").tobytes())

    def answer(self, proposals: Proposals, head: Head) -> tuple[Output, ...]:
        """The kind with the highest score, as one output; none for a piece that is good."""
        scores = (self._row(proposals) @ head.weights)[0]
        best = int(scores.argmax())
        if best == 0:
            return ()
        return (Output(head.labels[best], float(np.clip(scores[best], 0, 1))),)

    def teach(self, example: Example) -> Rows:
        """One row: 1 for what it truly is; the mean of the reviewers where they differ."""
        votes = [vote for feedback in example.feedback if (vote := self._vote(feedback)) is not None]
        x = self._row(example.prediction.proposals)
        if not votes:
            return Rows(x[:0], np.zeros((0, len(self.labels))), np.zeros(0))
        return Rows(x, np.mean(votes, axis=0)[None], np.ones(1))

    def outcomes(self, outputs: Sequence[Output], example: Example) -> tuple[Outcome, ...]:
        """A good piece called good is "right"; the true kind is a hit; else a false alarm, a miss, or both."""
        rows = self.teach(example)
        if len(rows.w) == 0:
            return ()
        truth = self.labels[int(rows.y[0].argmax())]
        said = outputs[0].label if outputs else self._config.good
        if said == truth:
            return (Outcome("right" if truth == self._config.good else "hit", truth),)
        alarm = () if said == self._config.good else (Outcome("false alarm", said),)
        missed = () if truth == self._config.good else (Outcome("missed", truth),)
        return (*alarm, *missed)

    def labelled(self) -> list[Callable[[], tuple[Payload, tuple[Claim, ...]]]]:
        """The pieces of `[inspection] labelled`, to start from."""
        return labelled_payloads(self._config.labelled, self.labels)

    def _row(self, proposals: Proposals) -> Floats:
        """The row x (1, d) of a piece. ModelError if the features are not of this backbone."""
        features = proposals.array()
        if features.shape != (1, self._backbone.columns):
            raise ModelError(
                f"a piece has 1 x {self._backbone.columns} features here, not {features.shape[0]} x {features.shape[1]}"
            )
        return expand(features)

    def _vote(self, feedback: Feedback) -> Floats | None:
        """What one reviewer says; None if they say nothing of the kind."""
        named = [claim.label for claim in feedback.claims if claim.label in self.labels]
        refuted = any(claim.label is None for claim in feedback.claims)
        if not named and (feedback.complete or refuted):
            named = [self._config.good]
        if not named:
            return None
        return np.array([1.0 if label == named[0] else 0.0 for label in self.labels])
