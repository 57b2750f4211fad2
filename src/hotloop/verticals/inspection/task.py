"""The vertical for images: boxes by a detector, or one kind for the whole piece, with the reflex on its features."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from hotloop.config import LoopConfig
from hotloop.errors import ConfigError, ModelError, TemplateError
from hotloop.ports import Vertical
from hotloop.sense.images import Pixels, decode_image
from hotloop.types import (
    Claim,
    Example,
    Floats,
    Head,
    Outcome,
    Output,
    Payload,
    Proposals,
    Region,
    Rows,
    RunsOn,
    digest,
)
from hotloop.verticals.inspection.brought import open_model
from hotloop.verticals.inspection.bundle import BOXES, BUNDLE_SUFFIX, make_bundle, open_bundle, with_variants
from hotloop.verticals.inspection.candidates import HIT_OVERLAP, Expansion, assign, decide
from hotloop.verticals.inspection.detector import COLD_SCORE_MIN, SCORE_MIN, Description, boards_files
from hotloop.verticals.inspection.score import Boxes, hits, overlaps, truths_of
from hotloop.verticals.inspection.settings import InspectionConfig, settings_of
from hotloop.verticals.inspection.start_labels import labelled_payloads
from hotloop.verticals.inspection.truth import Said, agreed, words_of
from hotloop.verticals.inspection.whole import WholeImage

_PROPOSALS_MAX = 256  # on one piece: the gate keeps the rows of the last `gate.window_examples` pieces in memory
_COORDINATE_MAX = 1e6
_SMOOTH_SHARE = 24  # a piece without a template is compared with itself at a 24th of its side


def vertical(config: LoopConfig) -> Vertical:
    """Entry point: the vertical for `config`. ConfigError, ModelError if `[inspection]` cannot be."""
    settings = settings_of(config)
    if settings.task == "image":
        return WholeImage(settings, config.learn.seed)
    return Detection(settings, config.learn.seed)


class Detection:
    """Boxes: the start model proposes, the head decides."""

    def __init__(self, config: InspectionConfig, seed: int, bundle: bytes | None = None) -> None:
        """On the start model of `config`, or on the backbone of a bundle. ModelError if its bytes are none."""
        self._config, self._seed = config, seed
        self._bundle = bundle or _start_bundle(config)
        self.backbone = digest(self._bundle)
        files = open_bundle(self._bundle, BOXES)
        self._model = open_model(files.files, files.description, config.runtimes)
        known = self._model.description.labels
        self.labels = config.labels or known
        if config.start == "none" and not config.labels:
            raise ConfigError('[inspection] start = "none" begins without knowledge: name the labels, labels = [...]')
        strange = config.start == "none" or not set(self.labels) <= set(known)
        self._score_min = COLD_SCORE_MIN if strange else SCORE_MIN
        self._expand = Expansion(self._model.description, seed)
        self._prior = _prior(self._expand, self._model.description, self.labels, cold=config.start == "none")
        begins = "cold" if config.start == "none" else "warm"
        self.recipe = f"detection, {self._expand.columns} columns, {begins}, seed {seed}"

    def bundle(self) -> bytes:
        """The backbone as one record: its network and its description."""
        return self._bundle

    def revived(self, bundle: bytes) -> Detection:
        """The same on another backbone. ModelError if the bytes are none, or of other labels."""
        other = Detection(self._config, self._seed, bundle)
        if other.labels != self.labels or other.planes != self.planes:
            raise ModelError(
                f"the backbone is for {', '.join(other.labels)} on {other.planes}; this loop has "
                f"{', '.join(self.labels)} on {self.planes}"
            )
        return other

    def trainer(self) -> tuple[str, ...]:
        """What trains it again, in a child process."""
        return ("hotloop.verticals.inspection.refresh",)

    @property
    def runtime(self) -> RunsOn:
        """What the network runs on."""
        return self._model.network.runs_on

    def converted(self, variant: str, payloads: Sequence[Payload]) -> bytes:
        """The network in another form. ModelError, ImageError."""
        from hotloop.verticals.inspection.variants import converted  # noqa: PLC0415 - torch, onnx: the extra train

        return converted(variant, self._bundle, [self._model.inputs(*self.pictures(one)) for one in payloads])

    def carrying(self, variants: Mapping[str, bytes]) -> bytes:
        """The backbone with other forms of its network."""
        return with_variants(self._bundle, variants, BOXES)

    @property
    def planes(self) -> str:
        """What the network sees: "grey", "grey+template", "colour" or "colour+template"."""
        return self._model.description.planes

    def pictures(self, payload: Payload) -> tuple[Pixels, Pixels | None]:
        """The image, and the template that it is compared with if there is one. ImageError if they cannot be used."""
        image = self._pixels(payload.data)
        return image, self._template(payload, image) if self._model.description.template else None

    def start(self) -> Head:
        """The start model's own answers; for labels that it does not know, and in a cold start, none."""
        known = dict(zip(self._model.description.labels, self._model.description.thresholds, strict=True))
        thresholds = tuple(known.get(label, 0.5) for label in self.labels)
        return Head(self.labels, self._prior, thresholds)

    def propose(self, payload: Payload) -> Proposals:
        """What the start model finds worth judging. ImageError if the image or its template cannot be used."""
        image, template = self.pictures(payload)
        smooth = self._model.description.template and payload.reference is None
        found = self._model.candidates(image, template, COLD_SCORE_MIN if smooth else self._score_min)
        regions = tuple(tuple(round(float(v), 1) for v in region) for region in found.regions)
        rows, columns = found.features.shape
        return Proposals(rows, columns, found.features.astype("<f2").tobytes(), regions)

    def answer(self, proposals: Proposals, head: Head) -> tuple[Output, ...]:
        """The proposals that reach their label's threshold, best first, none on top of a better one."""
        if proposals.rows == 0:
            return ()
        scores = self._expand(proposals.array()) @ head.weights[:, : len(head.labels)]
        kept, boxes = decide(_regions(proposals), scores, head.thresholds)
        return tuple(
            Output(head.labels[label], round(float(score), 4), proposals.regions[index], int(index))
            for index, label, score in zip(kept, boxes.labels, boxes.scores, strict=True)
        )

    def teach(self, example: Example) -> Rows:
        """One row a proposal that a reviewer spoke of; where reviewers differ, the mean of what they say."""
        proposals = example.prediction.proposals
        count = len(self.labels)
        if proposals.rows == 0:
            return Rows(np.zeros((0, self._expand.columns)), np.zeros((0, count)), np.zeros(0))
        regions, features = _regions(proposals), proposals.array()
        total, voices, weight = (np.zeros((proposals.rows, n)) for n in (count, 1, 1))
        for index, word in enumerate(words_of(example, self.labels)):
            voice = example.weight(index)
            lesson = assign(regions, word.truths, count, complete=word.complete, refuted=_refuted(word, regions))
            total[lesson.rows] += voice * lesson.y
            weight[lesson.rows, 0] = np.maximum(weight[lesson.rows, 0], voice * lesson.w)
            voices[lesson.rows] += voice
        rows = np.flatnonzero(voices)
        x = self._expand(features[rows])
        return Rows(x, total[rows] / voices[rows], weight[rows, 0])

    def outcomes(self, outputs: Sequence[Output], example: Example) -> tuple[Outcome, ...]:
        """Hits, false alarms and misses by what the reviewers agree on; "right" for a good piece called good."""
        words = words_of(example, self.labels)
        truths = agreed(words)
        placed = [o for o in outputs if o.label in self.labels and o.region is not None and len(o.region) == 4]
        taken = hits(_boxes(placed, self.labels), truths).tolist()
        complete = any(word.complete for word in words)
        refuted = {index for word in words for index in word.refuted if index >= 0}
        nothing = np.concatenate([np.zeros((0, 4)), *(word.nothing for word in words)])
        told = [Outcome("hit", output.label) for output, truth in zip(placed, taken, strict=True) if truth >= 0]
        told += [
            Outcome("false alarm", output.label)
            for output, truth in zip(placed, taken, strict=True)
            if truth < 0 and (complete or output.proposal in refuted or _on(output.region, nothing))
        ]
        missed = sorted(set(range(len(truths.labels))) - set(taken))
        told += [Outcome("missed", self.labels[int(truths.labels[k])]) for k in missed]
        if not told and complete:
            return (Outcome("right", ""),)
        return tuple(told)

    def labelled(self) -> list[Callable[[], tuple[Payload, tuple[Claim, ...]]]]:
        """The pieces of `[inspection] labelled`, to start from. LayoutError if it is in no known layout."""
        return labelled_payloads(self._config.labelled, self.labels)

    def _pixels(self, data: bytes) -> Pixels:
        pixels = decode_image(data, self._config.images)
        colour = self._model.description.colour
        if colour and pixels.ndim == 2:
            return np.repeat(pixels[:, :, None], 3, axis=2)
        return pixels if colour or pixels.ndim == 2 else _grey(pixels)

    def _template(self, payload: Payload, image: Pixels) -> Pixels:
        """The reference; for pieces that have none, the image itself without its small parts."""
        if payload.reference is not None:
            template = self._pixels(payload.reference)
            if template.shape != image.shape:
                sizes = "{1} x {0}".format(*template.shape), "{1} x {0}".format(*image.shape)
                raise TemplateError(f"the template is {sizes[0]} pixels, the image {sizes[1]}: they must be equal")
            return template
        if self._config.reference:
            raise TemplateError(
                "this loop compares each piece with a reference template, and none came with the image: send it "
                "(?reference=DIGEST, or a file beside the image), or set [inspection] reference = false"
            )
        return smoothed(image)


def smoothed(image: Pixels) -> Pixels:
    """An image without what is small: down to a 24th of its longer side by means, and up again."""
    height, width = image.shape[:2]
    side = max(1, max(height, width) // _SMOOTH_SHARE)
    small = Image.fromarray(image).resize((max(1, width // side), max(1, height // side)), Image.Resampling.BOX)
    return np.asarray(small.resize((width, height), Image.Resampling.BICUBIC))


def _grey(pixels: Pixels) -> Pixels:
    """Luma of RGB (ITU-R BT.601)."""
    grey: Pixels = (pixels @ np.array([0.299, 0.587, 0.114]) + 0.5).astype(np.uint8)
    return grey


def _refuted(word: Said, regions: Floats) -> list[int]:
    """The proposals that a word calls nothing: by their index, or by place where they were another backbone's."""
    known = [index for index in word.refuted if 0 <= index < len(regions)]
    placed = overlaps(regions, word.nothing).max(1, initial=0.0) >= HIT_OVERLAP
    return [*known, *np.flatnonzero(placed).tolist()]


def _on(region: Region | None, others: Floats) -> bool:
    """Whether a box is one of others."""
    if region is None or not len(others):
        return False
    return bool(overlaps(np.asarray(region, np.float64)[None], others).max() >= HIT_OVERLAP)


def _start_bundle(config: InspectionConfig) -> bytes:
    """The start model as a bundle. ModelError if its files are not there."""
    if config.start in ("boards", "none"):
        return make_bundle(BOXES, *boards_files())
    path = Path(config.start)
    try:
        if path.suffix == BUNDLE_SUFFIX:
            return path.read_bytes()
        onnx, description = path.read_bytes(), path.with_suffix(".json").read_bytes()
    except OSError as error:
        raise ModelError(
            f"the start model {path} (a .bundle, or an .onnx and a .json beside it) cannot be read: {error.strerror}. "
            f"Train one with: python -m hotloop.verticals.inspection.train {path}"
        ) from error
    return make_bundle(BOXES, onnx, description)


def _prior(expand: Expansion, description: Description, labels: Sequence[str], *, cold: bool) -> Floats:
    """The head that passes the start model's scores through for the labels that it knows: (columns, labels)."""
    prior = np.zeros((expand.columns, len(labels)))
    if not cold:
        for column, label in enumerate(labels):
            if label in description.labels:
                prior[:, column] = expand.prior()[:, description.labels.index(label)]
    return prior


def _regions(proposals: Proposals) -> Floats:
    """The boxes of proposals (n, 4) px. ModelError if they have not one box each, of finite numbers."""
    if len(proposals.regions) != proposals.rows or any(len(region) != 4 for region in proposals.regions):
        raise ModelError(f"{proposals.rows} proposals need as many boxes x1, y1, x2, y2")
    if proposals.rows > _PROPOSALS_MAX:
        raise ModelError(f"{proposals.rows} proposals on one piece: at most {_PROPOSALS_MAX} are taken")
    regions = np.asarray(proposals.regions, np.float64).reshape(-1, 4)
    if not (np.abs(regions) <= _COORDINATE_MAX).all():  # NaN is not, either
        raise ModelError(f"a box of the proposals is not within ±{_COORDINATE_MAX:g} pixels")
    return regions


def _boxes(outputs: Sequence[Output], labels: Sequence[str]) -> Boxes:
    """Outputs that have a place and a known label, as boxes."""
    boxes = truths_of([output.region or () for output in outputs], [labels.index(o.label) for o in outputs])
    return Boxes(boxes.regions, boxes.labels, np.array([output.score for output in outputs]))
