"""From an image (and its template) to candidates: the part of inspection that runs on every line.

A start model, in ONNX, gives class probabilities, boxes and three feature maps at stride 8. `StartModel.candidates`
keeps what could be something (recall before precision) and reads the features there. What a candidate truly is, the
reflex decides: see `candidates.py`. NumPy and ONNX Runtime, one thread; no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from typing import Annotated, Literal

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray

from hotloop.errors import ImageError, InputError, ModelError, TemplateError
from hotloop.predict.runtimes import Network, Runtime, open_network
from hotloop.types import UNREADABLE, Floats
from hotloop.verticals.inspection.score import overlaps

Pixels = NDArray[np.uint8]
Maps = NDArray[np.float32]

STRIDE_PX = 8
SIDE_MULTIPLE_PX = 32  # the coarsest stride of the backbones
CANDIDATES_MAX = 24  # a board has a dozen defects; log, verifier and gate pay for each candidate
# Measured on DeepPCB's first 800 boards: 0.02 (32 a board), 0.05 (24) and 0.1 (11) answer alike after verdicts.
SCORE_MIN = 0.1
COLD_SCORE_MIN = 0.02  # where the start model does not know the product, its scores say little
REDUCED = 128  # features that travel with a candidate, besides the scores; 96 cost a point of F, 160 gained none
SPREAD_MIN = 1e-3  # a feature that hardly moves must not be blown up
FEATURE_MAX = 6.0  # spreads from the mean: one odd feature must not drown a row
PEAKS_MAX = 512  # locations looked at before overlapping ones are dropped
OVERLAP_MAX = 0.5  # candidates that share more are one
# (map, cells around the location, how they are pooled), measured by bench/deeppcb_reflex.py on 800 boards
READ = (
    ("classes", 0, "mean"), ("boxes", 0, "mean"), ("context", 0, "mean"), ("classes", 1, "mean"),
    ("context", 1, "max"), ("context", 3, "mean"), ("context", 3, "max"), ("scores", 1, "mean"),
)  # fmt: skip
_PAIRS_MAX = 64


class Reduction(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The main directions (PCA) of what is read, on the start model's own pictures.

    Each of the `columns` directions is a column of `basis`: float16 (len(mean), columns), little-endian, C order.
    A prediction's features travel with it and stay in the log, so that their length is what a plant pays.
    """

    mean: tuple[float, ...]
    spread: tuple[float, ...]
    columns: int
    basis: bytes

    def apply(self, rows: Floats) -> Floats:
        """(n, len(mean)) -> (n, columns). ModelError if the rows are of another length."""
        if rows.shape[1] != len(self.mean):
            raise ModelError(f"What is read has {rows.shape[1]} numbers, its reduction expects {len(self.mean)}.")
        plain = ((rows - np.asarray(self.mean)) / np.asarray(self.spread)).clip(-FEATURE_MAX, FEATURE_MAX)
        basis = np.frombuffer(self.basis, "<f2").reshape(len(self.mean), self.columns).astype(np.float64)
        return np.asarray(plain @ basis)


class Feed(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a detector that somebody else trained is fed and what it answers with: see `brought.py`.

    A picture is fitted into `size_px` (height, width): `corner` and `centre` keep its proportions and fill up with
    `pad`, `stretch` does not. Pixels are (p / divisor - mean) / spread, in the order RGB, or BGR.
    """

    layout: Literal["yolox", "yolox-decoded", "yolov5", "yolov8", "rt-detr"]
    size_px: tuple[int, int]
    fit: Literal["corner", "centre", "stretch"]
    divisor: Annotated[float, Meta(gt=0)] = 255.0
    bgr: bool = False
    pad: Annotated[int, Meta(ge=0, le=255)] = 114
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    spread: tuple[float, float, float] = (1.0, 1.0, 1.0)


class Description(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is written beside a start model: how to feed it and how to read its features."""

    labels: Annotated[tuple[str, ...], Meta(min_length=1, max_length=256)]
    planes: Literal["grey", "grey+template", "colour", "colour+template"]
    thresholds: tuple[float, ...]  # one a label: from this score on it is said
    mean: tuple[float, ...] = ()  # of each feature over candidates on the same pictures; empty: not yet measured
    spread: tuple[float, ...] = ()
    reduction: Reduction | None = None  # how what is read is made short; None: features are as read
    shift: float = 0.0  # log-odds added to every score
    recipe: str = ""
    seed: int = 0
    format: Literal[1] = 1
    feed: Feed | None = None  # of a detector that somebody else trained (`brought.py`); None: one of `train.py`

    @property
    def colour(self) -> bool:
        """Whether it sees three channels."""
        return self.planes.startswith("colour")

    @property
    def template(self) -> bool:
        """Whether it compares with a reference."""
        return self.planes.endswith("template")


@dataclass(frozen=True)
class Candidates:
    """What is worth judging: regions (n, 4) px x1 y1 x2 y2, scores (n, c), features (n, f) float16; n <= 24.

    The first c features are the scores: the start model's class probabilities.
    """

    regions: Floats
    scores: Floats
    features: NDArray[np.float16]


class StartModel:
    """A detector as it was trained, ready to be asked. Several threads may ask it."""

    def __init__(self, network: Network, description: Description) -> None:
        """ModelError if the network does not fit its description."""
        if len(description.thresholds) != len(description.labels):
            raise ModelError("The description must have one threshold a label.")
        self.network, self.description = network, description
        blank = np.zeros((64, 64, 3) if description.colour else (64, 64), np.uint8)
        columns = self.candidates(blank, blank if description.template else None).features.shape[1]
        if description.mean and not columns == len(description.mean) == len(description.spread):
            raise ModelError(
                f"The model has {columns} features, its description {len(description.mean)} means and "
                f"{len(description.spread)} spreads: these two files are not a pair."
            )

    @property
    def columns(self) -> int:
        """How many features a candidate has (0: not yet measured)."""
        return len(self.description.mean)

    def candidates(
        self, image: Pixels, template: Pixels | None = None, score_min: float = SCORE_MIN
    ) -> Candidates:
        """What in `image` (h, w) or (h, w, 3) may be something, best first.

        ImageError, TemplateError if they are not what the model compares.
        """
        probabilities, sides, *maps = self._run(self._planes(image, template))
        height, width = image.shape[:2]
        rows, columns, regions = _peaks(probabilities, sides, (width, height), score_min)
        scores = _shifted(probabilities[:, rows, columns].T, self.description.shift)
        seen: Floats = np.concatenate((scores, geometry(regions), read(probabilities, maps, rows, columns)), axis=1)
        if self.description.reduction is not None:
            seen = np.concatenate((scores, self.description.reduction.apply(seen)), axis=1)
        return Candidates(regions, scores.astype(np.float64), seen.astype(np.float16))

    def pooled(self, image: Pixels, template: Pixels | None = None) -> Floats:
        """The mean, the largest and the spread of each feature map over an image: (f,). Errors as `candidates`."""
        _, _, *maps = self._run(self._planes(image, template))
        return np.concatenate([pick(plane, (1, 2)) for plane in maps for pick in (np.mean, np.max, np.std)])

    def _run(self, planes: Maps) -> list[Maps]:
        """Probabilities, sides and the three feature maps, each (c, h / 8, w / 8)."""
        rows, columns = (side // STRIDE_PX for side in planes.shape[1:])
        found = self.network(_enlarged(planes, self.network.size)[None])
        outputs: list[Maps] = [output[0][:, :rows, :columns] for output in found if output.ndim == 4]
        labels = len(self.description.labels)
        if len(outputs) != 5 or len(outputs[0]) != labels or len(outputs[1]) != 4:
            shapes = [output.shape for output in outputs]
            raise ModelError(f"The model's outputs {shapes} are not those of a detector of {labels} labels.")
        return outputs

    def inputs(self, image: Pixels, template: Pixels | None = None) -> Maps:
        """What the network is given: (1, planes, h', w')."""
        return self._planes(image, template)[None]

    def _planes(self, image: Pixels, template: Pixels | None) -> Maps:
        """The network's input: -1 to 1, padded with 0 to whole strides: (planes, h', w')."""
        colour = self.description.colour
        wanted = "a colour image (h, w, 3)" if colour else "a grey image (h, w)"
        if image.ndim != (3 if colour else 2) or min(image.shape[:2]) < 1:
            raise ImageError(f"The model sees {wanted}, but was given an array of {image.shape}.")
        seen = [image]
        if self.description.template:
            if template is None:
                raise TemplateError("The model compares with a template, but there is none: send it with the image.")
            if template.shape != image.shape:
                raise TemplateError(f"The template is {template.shape}, the image {image.shape}: they must be equal.")
            seen.append(template)
        stack = np.concatenate([part.transpose(2, 0, 1) if colour else part[None] for part in seen])
        height, width = stack.shape[1:]
        lack = ((0, 0), (0, -height % SIDE_MULTIPLE_PX), (0, -width % SIDE_MULTIPLE_PX))
        return np.pad(stack.astype(np.float32) / np.float32(127.5) - np.float32(1.0), lack)


def load(onnx: bytes, description: bytes, runtimes: Sequence[Runtime] = ("cpu",)) -> StartModel:
    """A start model from its two files' bytes. ModelError says what is wrong with them."""
    return open_start({"onnx": onnx}, description, runtimes)


def open_start(files: Mapping[str, bytes], description: bytes, runtimes: Sequence[Runtime]) -> StartModel:
    """As `load`, from the forms in which its network is there."""
    return StartModel(open_network(files, runtimes), described(description))


def described(description: bytes) -> Description:
    """What a description says. ModelError if it is none."""
    try:
        return msgspec.json.decode(description, type=Description)
    except UNREADABLE as error:
        raise ModelError(f"The start model's description is not one: {error}") from error


def measured(description: Description, rows: Floats) -> Description:
    """A description with the reduction and the scales of its features, from rows (n, f) that are read of candidates.

    InputError if there are not two.
    """
    labels = len(description.labels)
    if len(rows) < 2:
        raise InputError("The model finds nothing on the pieces it is checked on: train it longer, or on more pieces.")
    reduced = reduction(rows, REDUCED)
    features = np.concatenate((rows[:, :labels], reduced.apply(rows)), axis=1)
    spread = features.std(0) + SPREAD_MIN
    spread[labels:] = spread[labels:].mean()  # directions keep their proportions: the small ones are mostly noise
    return msgspec.structs.replace(
        description,
        reduction=reduced,
        mean=tuple(np.round(features.mean(0), 5).tolist()),
        spread=tuple(np.round(spread, 5).tolist()),
    )


def reduction(rows: Floats, columns: int) -> Reduction:
    """The main directions of rows (n, f), at most `columns` of them."""
    mean, spread = np.round(rows.mean(0), 5), np.round(rows.std(0) + SPREAD_MIN, 5)
    plain = ((rows - mean) / spread).clip(-FEATURE_MAX, FEATURE_MAX)
    _, directions = np.linalg.eigh(plain.T @ plain)
    basis = directions[:, ::-1][:, :columns].astype("<f2")
    return Reduction(tuple(mean.tolist()), tuple(spread.tolist()), basis.shape[1], basis.tobytes())


def boards_files() -> tuple[bytes, bytes]:
    """The two files of the start model for boards that hotloop ships: ONNX and its description."""
    folder = resources.files("hotloop.verticals.inspection") / "start"
    return (folder / "boards.onnx").read_bytes(), (folder / "boards.json").read_bytes()


def boards_model() -> StartModel:
    """The start model for boards that hotloop ships, trained on drawn boards (`train.py`)."""
    return load(*boards_files())


def _peaks(
    probabilities: Maps, sides: Maps, size: tuple[int, int], score_min: float
) -> tuple[np.ndarray, np.ndarray, Floats]:
    """The best locations whose boxes do not overlap much, whatever their class: rows, columns, boxes px."""
    best = probabilities.max(0)
    flat = best.ravel()
    chosen = np.flatnonzero(flat > score_min)
    chosen = chosen[np.argsort(-flat[chosen], kind="stable")][:PEAKS_MAX]
    rows, columns = np.divmod(chosen, best.shape[1])
    x, y = (columns + 0.5) * STRIDE_PX, (rows + 0.5) * STRIDE_PX
    left, top, right, bottom = sides[:, rows, columns].astype(np.float64)
    regions = np.stack((x - left, y - top, x + right, y + bottom), axis=1)
    regions = regions.clip(0, [size[0], size[1], size[0], size[1]])
    kept = distinct(regions, OVERLAP_MAX, CANDIDATES_MAX)
    return rows[kept], columns[kept], regions[kept]


def distinct(regions: Floats, overlap_max: float, count_max: int) -> NDArray[np.int64]:
    """Indices of regions (best first) none of which overlaps a better one by more than `overlap_max`."""
    kept: list[int] = []
    alive = np.prod(regions[:, 2:] - regions[:, :2], axis=1) > 0
    # All pairs at once are quicker for the few that a head judges, row by row for the many that a map proposes.
    pairs = overlaps(regions, regions) if len(regions) <= _PAIRS_MAX else None
    for index in range(len(regions)):
        if alive[index]:
            kept.append(index)
            if len(kept) == count_max:
                break
            shares = overlaps(regions[index : index + 1], regions)[0] if pairs is None else pairs[index]
            alive &= shares <= overlap_max
    return np.array(kept, np.int64)


def _enlarged(planes: Maps, size: tuple[int, int] | None) -> Maps:
    """Planes padded with 0 to the one size that a network takes. ModelError if they are larger."""
    if size is None or planes.shape[1:] == size:
        return planes
    lack = (size[0] - planes.shape[1], size[1] - planes.shape[2])
    if min(lack) < 0:
        raise ModelError(
            f"The network takes pictures up to {size[1]} x {size[0]} pixels, this one is {planes.shape[2]} x "
            f"{planes.shape[1]}: export it again with pictures of this size, or let it run on the CPU."
        )
    return np.pad(planes, ((0, 0), (0, lack[0]), (0, lack[1])))


def _shifted(scores: Maps, shift: float) -> Maps:
    """Probabilities (n, c) with `shift` added to their log-odds."""
    odds = scores / np.maximum(1.0 - scores, np.float32(1e-6)) * np.float32(np.exp(shift))
    moved: Maps = odds / (1.0 + odds)
    return moved


def geometry(regions: Floats) -> Floats:
    """The logarithms of a box's width and height: (n, 2)."""
    sides: Floats = np.log(regions[:, 2:] - regions[:, :2] + 1.0)
    return sides


def read(probabilities: Maps, maps: list[Maps], rows: np.ndarray, columns: np.ndarray) -> Floats:
    """The features at locations (n,) of maps (c, h, w): (n, f). What is read was chosen by measurement: `READ`."""
    sources = {"scores": probabilities, "classes": maps[0], "boxes": maps[1], "context": maps[2]}
    parts = [_around(sources[name], rows, columns, reach, how) for name, reach, how in READ]
    return np.concatenate(parts, axis=1, dtype=np.float64)


def _around(plane: Maps, rows: np.ndarray, columns: np.ndarray, reach: int, how: str) -> Maps:
    """The mean or the largest of a map over the square of `reach` cells around locations: (n, c).

    Beyond the border its last cell goes on.
    """
    if reach == 0:
        return plane[:, rows, columns].T
    steps = np.arange(-reach, reach + 1)
    y = (rows[:, None] + steps).clip(0, plane.shape[1] - 1)
    x = (columns[:, None] + steps).clip(0, plane.shape[2] - 1)
    squares = plane[:, y[:, :, None], x[:, None, :]]
    pooled: Maps = squares.mean((2, 3)) if how == "mean" else squares.max((2, 3))
    return pooled.T
