"""Whole pieces: good, or which kind of bad. One row of a frozen backbone's features a piece; the head is learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from hotloop.errors import ConfigError, ModelError
from hotloop.sense.images import decode_image
from hotloop.types import (
    ALWAYS,
    Claim,
    Example,
    Feedback,
    Floats,
    Head,
    Outcome,
    Output,
    Payload,
    Proposals,
    Rows,
    RunsOn,
    digest,
)
from hotloop.verticals.inspection.bundle import LITE0, SHIPPED, with_variants
from hotloop.verticals.inspection.classifier import backbone, expand, signature, start_bundle
from hotloop.verticals.inspection.settings import InspectionConfig
from hotloop.verticals.inspection.start_labels import labelled_payloads


class WholeImage:
    """The vertical for products without boxes. A piece of which nothing is claimed is good."""

    def __init__(self, config: InspectionConfig, seed: int, bundle: bytes | None = None) -> None:
        """On the network of `config`, or on the one of a bundle. ModelError if its bytes are none."""
        kinds = tuple(label for label in config.labels if label != config.good)
        if not kinds:
            raise ConfigError('[inspection] task = "image" needs the kinds of defects: labels = ["crack", "dent"]')
        self._config, self._seed = config, seed
        self.labels = (config.good, *kinds)
        path = None if config.start in ("boards", "none") else Path(config.start)
        self._bundle = bundle or start_bundle(path)
        self._backbone = backbone(self._bundle, config.runtimes)
        self.backbone = digest(self._bundle)
        self.recipe = f"whole image, {self._backbone.columns} columns, seed {seed}"

    def bundle(self) -> bytes:
        """The network as one record."""
        return self._bundle

    def revived(self, bundle: bytes) -> WholeImage:
        """The same on another network of the same kind. ModelError if the bytes are none."""
        return WholeImage(self._config, self._seed, bundle)

    def trainer(self) -> tuple[str, ...]:
        """What trains it again, in a child process."""
        return ("hotloop.verticals.inspection.refresh",)

    @property
    def runtime(self) -> RunsOn:
        """What the network runs on."""
        return self._backbone.network.runs_on

    def converted(self, variant: str, payloads: Sequence[Payload]) -> bytes:
        """The network in another form. ModelError, ImageError."""
        from hotloop.verticals.inspection.variants import converted  # noqa: PLC0415 - torch, onnx: the extra train

        images = (decode_image(one.data, self._config.images) for one in payloads)
        return converted(variant, self._bundle, [self._backbone.inputs(image) for image in images])

    def carrying(self, variants: Mapping[str, bytes]) -> bytes:
        """The backbone with other forms of its network."""
        return with_variants(self._bundle, variants, LITE0, SHIPPED)

    def start(self) -> Head:
        """Cold: every piece is good until a verdict says otherwise."""
        weights = np.zeros((self._backbone.columns + 1, len(self.labels)))
        return Head(self.labels, weights, (ALWAYS,) * len(self.labels))

    def propose(self, payload: Payload) -> Proposals:
        """The features of the piece. ImageError if it cannot be read."""
        image = decode_image(payload.data, self._config.images)
        features = self._backbone.features(image)
        return Proposals(1, len(features), features.astype("<f2").tobytes(), signature=signature(image))

    def answer(self, proposals: Proposals, head: Head) -> tuple[Output, ...]:
        """The kind with the highest score, as one output; none for a piece that is good."""
        scores = (self._row(proposals) @ head.weights)[0]
        best = int(scores.argmax())
        if best == 0:
            return ()
        return (Output(head.labels[best], float(np.clip(scores[best], 0, 1))),)

    def teach(self, example: Example) -> Rows:
        """One row: 1 for what it truly is; the mean of the reviewers where they differ."""
        votes = [
            (vote, example.weight(k)) for k, f in enumerate(example.feedback) if (vote := self.vote(f)) is not None
        ]
        x = self._row(example.prediction.proposals)
        if not votes or not any(weight for _, weight in votes):
            return Rows(x[:0], np.zeros((0, len(self.labels))), np.zeros(0))
        weights = np.array([weight for _, weight in votes])
        return Rows(x, np.average([vote for vote, _ in votes], axis=0, weights=weights)[None], weights.max()[None])

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

    def vote(self, feedback: Feedback) -> Floats | None:
        """What one reviewer says; None if they say nothing of the kind."""
        named = [claim.label for claim in feedback.claims if claim.label in self.labels]
        refuted = any(claim.label is None for claim in feedback.claims)
        if not named and (feedback.complete or refuted):
            named = [self._config.good]
        if not named:
            return None
        return np.array([1.0 if label == named[0] else 0.0 for label in self.labels])
