"""Fine-tuning a detector on verified pieces, with rehearsal: for `refresh.py`.

Pieces are drawn so that rare kinds, and the newest verdicts, come as often as the common and the old; where the loop
began with the boards model, a part of each batch is drawn boards, so that it does not unlearn the products it has not
seen here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from hotloop.errors import InputError, ModelError
from hotloop.types import Example, Floats, Payload
from hotloop.verticals.inspection.boards import KINDS
from hotloop.verticals.inspection.bundle import BOXES, make_bundle, open_bundle
from hotloop.verticals.inspection.detector import described
from hotloop.verticals.inspection.export import (
    TOLERANCE,
    detector_to_onnx,
    difference,
    recipe_of,
    swap_weights,
    weights_of,
)
from hotloop.verticals.inspection.nets import Detector, Served, build
from hotloop.verticals.inspection.task import Detection
from hotloop.verticals.inspection.train import (
    REFUTED,
    BoardSource,
    Patch,
    Recipe,
    Tuning,
    aim,
    board_checks,
    describe,
    disturb,
    save_description,
    shuffled,
)
from hotloop.verticals.inspection.truth import agreed, words_of

_CHECK_EVERY = 10  # of the pieces, one is set aside to measure thresholds and features on
_CHECKS_MAX = 60
_DRAWN_CHECKS = 20
_DRAWN_KEPT = 96  # drawn boards that are rehearsed
_DRAWN_SHARE = 0.2  # of the patches (held-out product, 3,000 steps: 0.2 gave F 97.3 %, 0.6 gave 96.6 %)
_STEPS_LEAST, _STEPS_PIECE = 400, 8
_RATE = 2e-3
_NEW_SHARE = 1.0  # how much more often the newest pieces come than the oldest


class Rehearsal:
    """Patches of verified pieces, balanced, mixed with drawn ones."""

    def __init__(self, pieces: Sequence[Patch], labels: tuple[str, ...], drawn: BoardSource | None) -> None:
        self.labels, self.inputs = labels, len(pieces[0].planes)
        self._pieces, self._drawn = list(pieces), drawn
        self._chances = balance([piece.classes for piece in pieces])
        self._binary = all(set(np.unique(piece.planes)) <= {0, 255} for piece in pieces[:5]) or drawn is not None

    def patch(self, rng: np.random.Generator, side_px: int) -> Patch:
        """One patch."""
        if self._drawn is not None and rng.random() < _DRAWN_SHARE:
            return self._drawn.patch(rng, side_px)
        piece = self._pieces[int(rng.choice(len(self._pieces), p=self._chances))]
        patch = shuffled(aim(piece, rng, side_px), rng)
        if self._binary:
            return disturb(patch, rng)
        gain, lift = rng.uniform(0.85, 1.15), rng.uniform(-16, 16)
        planes = (patch.planes.astype(np.float32) - 127) * gain + 127 + lift
        return replace(patch, planes=planes.clip(0, 255).astype(np.uint8))


def balance(classes: Sequence[np.ndarray]) -> Floats:
    """How often each piece is drawn, oldest first: (n,), sums to 1. Rare kinds and new pieces come more often."""
    there = [one[one != REFUTED] for one in classes]
    counts = np.bincount(np.concatenate([np.zeros(0, int), *there]).astype(int), minlength=1) + 1.0
    rarity = counts.max() / counts
    weights = np.array([np.sqrt(rarity[one].max()) if len(one) else 1.0 for one in there])
    weights *= 1.0 + _NEW_SHARE * np.arange(len(weights)) / max(len(weights) - 1, 1)
    return np.asarray(weights / weights.sum())


class BoxesRun:
    """See `refresh.Run`."""

    def __init__(
        self, begun: Detection, examples: Sequence[Example], read: Callable[[Example], Payload], seed: int
    ) -> None:
        """InputError if there is no example to train on."""
        if not examples:
            raise InputError("there is no verified piece to train on")
        patches = [patch_of(begun, example, read(example)) for example in examples]
        aside = [p for p in patches[::_CHECK_EVERY] if p.complete][:_CHECKS_MAX] if len(patches) >= _CHECK_EVERY else []
        kept = [p for p in patches if not any(p is other for other in aside)]
        boards = tuple(begun.labels) == KINDS and begun.planes == "grey+template"
        drawn = BoardSource(seed, kept=_DRAWN_KEPT, per_patch=0.0) if boards else None
        self.source = Rehearsal(kept, begun.labels, drawn)
        self._checks = [
            *map(_named, aside or kept[:_CHECKS_MAX]),
            *(board_checks(seed, _DRAWN_CHECKS) if boards else []),
        ]
        self._begun = open_bundle(begun.bundle(), BOXES)
        if described(self._begun.description).feed is not None:
            raise ModelError("a detector that was brought is trained by its own tools, not by a refresh")
        self._seed = seed
        self.steps_max = _STEPS_LEAST + _STEPS_PIECE * len(kept)
        self._recipe = replace(Recipe(), backbone=recipe_of(self._begun.description), rate=_RATE, seed=seed)
        self.restart(1)

    def restart(self, steps: int) -> None:
        """Begin at the job's backbone again, for so many steps. New kinds begin anew."""
        self._recipe = replace(self._recipe, steps=steps)
        detector = build(self._recipe.backbone, self.source.inputs, len(self.source.labels))
        own = detector.state_dict()
        fitting = {k: v for k, v in weights_of(self._begun.onnx).items() if k in own and own[k].shape == v.shape}
        if not fitting:
            raise ModelError("none of the backbone's weights fits its own network: it was made by another hotloop")
        detector.load_state_dict(own | fitting)
        self._tuning = Tuning(detector, self._recipe)

    def step(self, number: int) -> float:
        """A step on a batch drawn from (seed, number)."""
        return self._tuning.step(number, self.source, np.random.default_rng((self._seed, 3, number)))

    def state(self) -> dict[str, torch.Tensor]:
        """See `Tuning.state`."""
        return self._tuning.state()

    def restore(self, state: dict[str, torch.Tensor]) -> None:
        """See `Tuning.restore`."""
        self._tuning.restore(state)

    def bundle(self) -> bytes:
        """The trained detector, by weight swap, with its thresholds and feature statistics measured anew."""
        onnx = swapped(self._begun.onnx, self._tuning.done(), self.source.inputs)
        description = describe(onnx, self.source, self._recipe, self._checks)
        return make_bundle(BOXES, onnx, save_description(description))


def swapped(onnx: bytes, detector: Detector, inputs: int) -> bytes:
    """The detector as ONNX: its weights put into the file at hand, or exported anew where the kinds are others.

    ModelError if what is served would answer differently from what was trained.
    """
    served = Served(detector).eval()
    try:
        data = swap_weights(onnx, served.state_dict())
    except ModelError:
        return detector_to_onnx(detector, inputs)
    worst = difference(served, data, (1, inputs, 96, 64))
    if not worst <= TOLERANCE:
        raise ModelError(f"the exported model answers differently from the trained one: by {worst:.2g}")
    return data


def patch_of(begun: Detection, example: Example, payload: Payload) -> Patch:
    """A verified piece as it is trained on: what its reviewers agree on, and what they call nothing."""
    words = [word for k, word in enumerate(words_of(example, begun.labels)) if example.weight(k) > 0]
    truths = agreed(words)
    outputs = example.prediction.outputs
    nothing = [o.region for word in words for o in outputs if o.proposal in word.refuted and o.region is not None]
    refuted = np.array([*nothing, *(box for word in words for box in word.nothing.tolist())], float).reshape(-1, 4)
    boxes = np.concatenate([truths.regions, refuted])
    classes = np.concatenate([truths.labels.astype(int), np.full(len(refuted), REFUTED)])
    complete = bool(words) and all(word.complete for word in words)
    image, template = begun.pictures(payload)
    pictures = [image] if template is None else [image, template]
    planes = np.concatenate([p.transpose(2, 0, 1) if p.ndim == 3 else p[None] for p in pictures])
    return Patch(planes, boxes, classes, complete)


def _named(patch: Patch) -> Patch:
    """Without what is refuted."""
    there = patch.classes != REFUTED
    return replace(patch, boxes=patch.boxes[there], classes=patch.classes[there])
