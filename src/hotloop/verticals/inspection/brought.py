"""A detector that somebody else trained, brought as ONNX: it proposes, and the reflex works on top of it.

What it answers with, by layout (n locations or queries, c labels; each with the axis of the batch in front):

    yolox           (n, 5 + c)  dx, dy, log w, log h in cells of strides 8, 16, 32; objectness; scores
                    (Ge et al. 2021; `export_onnx.py` of Megvii-BaseDetection/YOLOX)
    yolox-decoded   (n, 5 + c)  the same with centre x, y and w, h in pixels (`--decode_in_inference`)
    yolov5          (n, 5 + c)  as yolox-decoded
    yolov8          (4 + c, n)  centre x, y, w, h in pixels; scores
    rt-detr         scores or logits (n, c) and boxes (n, 4), centre x, y, w, h as shares of the sides (Zhao et al.
                    2023, as exported from transformers); or both in one (n, 4 + c); or labels, boxes x1 y1 x2 y2 in
                    pixels and scores, with the size of the picture as a second input (`export_onnx.py` of
                    lyuwenyu/RT-DETR)

Further outputs are features: maps (f, h, w), read at the centre of a box, or rows (n, f), one a location or query.
`bring.py` makes them outputs, and measures their scales on pictures of the line.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from hotloop.errors import ImageError, ModelError
from hotloop.predict.runtimes import Network, Runtime, open_network
from hotloop.types import Floats
from hotloop.verticals.inspection.detector import (
    CANDIDATES_MAX,
    OVERLAP_MAX,
    PEAKS_MAX,
    SCORE_MIN,
    Candidates,
    Description,
    Feed,
    Maps,
    Pixels,
    StartModel,
    described,
    distinct,
    geometry,
)

_STRIDES_PX = (8, 16, 32)
_REACH = 1  # cells around a box's centre whose mean is read besides the one under it
_LOG_SIDE_MAX = 12.0  # e^12 cells: a broken export must not overflow


@dataclass(frozen=True)
class Placed:
    """Where a picture lies in what the network sees: x' = x scale_x + left, and so on."""

    scale_x: float
    scale_y: float
    left: float
    top: float

    def back(self, regions: Floats, size: tuple[int, int]) -> Floats:
        """Boxes (n, 4) of the network's picture as boxes of the original one of `size` (height, width), within it."""
        scales = np.array([self.scale_x, self.scale_y] * 2)
        found: Floats = (regions - np.array([self.left, self.top] * 2)) / scales
        return found.clip(0, [size[1], size[0], size[1], size[0]])


@dataclass(frozen=True)
class Decoded:
    """Boxes (n, 4) px of the network's picture, and scores (n, c)."""

    regions: Floats
    scores: Floats


class BroughtModel:
    """Somebody else's detector, asked as `StartModel` is. Several threads may ask it."""

    def __init__(self, network: Network, description: Description) -> None:
        """ModelError if what it answers is not of its layout, or has other features than were measured."""
        if description.feed is None or description.template or not description.colour:
            raise ModelError("A detector that is brought has a feed, and sees a colour picture without a template.")
        if len(description.thresholds) != len(description.labels):
            raise ModelError("The description must have one threshold a label.")
        if network.size is not None and network.size != description.feed.size_px:
            raise ModelError(f"The network takes {network.size}, its description says {description.feed.size_px} px.")
        self.network, self.description, self._feed = network, description, description.feed
        columns = self.candidates(np.zeros((64, 64, 3), np.uint8)).features.shape[1]
        if description.mean and columns != len(description.mean):
            raise ModelError(f"The model has {columns} features, its description {len(description.mean)}: no pair.")

    @property
    def columns(self) -> int:
        """How many features a candidate has (0: not yet measured)."""
        return len(self.description.mean)

    def candidates(self, image: Pixels, _template: Pixels | None = None, score_min: float = SCORE_MIN) -> Candidates:
        """What in `image` (h, w, 3) may be something, best first. ImageError if it is no such array."""
        planes, placed = fitted(image, self._feed)
        outputs = [output[0] for output in self.network(planes[None])]
        found, features = split(outputs, self._feed, len(self.description.labels))
        best = found.scores.max(1, initial=0.0)
        chosen = np.flatnonzero(best > score_min)
        chosen = chosen[np.argsort(-best[chosen], kind="stable")][:PEAKS_MAX]
        regions = placed.back(found.regions[chosen], (image.shape[0], image.shape[1]))
        kept = distinct(regions, OVERLAP_MAX, CANDIDATES_MAX)
        chosen, regions = chosen[kept], regions[kept]
        scores = found.scores[chosen]
        read = [_read(part, chosen, found.regions[chosen], self._feed) for part in features]
        seen: Floats = np.concatenate((scores, geometry(regions), *read), axis=1)
        if self.description.reduction is not None:
            seen = np.concatenate((scores, self.description.reduction.apply(seen)), axis=1)
        return Candidates(regions, scores, seen.astype(np.float16))

    def inputs(self, image: Pixels, _template: Pixels | None = None) -> Maps:
        """What the network is given: (1, 3, h', w')."""
        return fitted(image, self._feed)[0][None]


def open_model(
    files: Mapping[str, bytes], description: bytes, runtimes: Sequence[Runtime] = ("cpu",)
) -> StartModel | BroughtModel:
    """A detector, one's own or brought, from its files. ModelError says what is wrong with them."""
    found = described(description)
    network = open_network(files, runtimes)
    return StartModel(network, found) if found.feed is None else BroughtModel(network, found)


def fitted(image: Pixels, feed: Feed) -> tuple[Maps, Placed]:
    """A picture (h, w, 3) RGB as the network sees it (3, h', w'), and where it lies there. ImageError."""
    if image.ndim != 3 or image.shape[2] != 3 or min(image.shape[:2]) < 1:
        raise ImageError(f"The model sees a colour image (h, w, 3), but was given an array of {image.shape}.")
    (height, width), (rows, columns) = image.shape[:2], feed.size_px
    scale_y, scale_x = rows / height, columns / width
    if feed.fit != "stretch":
        scale_y = scale_x = min(scale_y, scale_x)
    inner = (max(1, round(width * scale_x)), max(1, round(height * scale_y)))
    left, top = ((columns - inner[0]) // 2, (rows - inner[1]) // 2) if feed.fit == "centre" else (0, 0)
    canvas = np.full((rows, columns, 3), feed.pad, np.uint8)
    resized = np.asarray(Image.fromarray(image).resize(inner, Image.Resampling.BILINEAR))
    canvas[top : top + inner[1], left : left + inner[0]] = resized
    pixels = canvas[:, :, ::-1] if feed.bgr else canvas
    plain = (pixels.astype(np.float32) / feed.divisor - np.asarray(feed.mean, np.float32)) / np.asarray(
        feed.spread, np.float32
    )
    return np.ascontiguousarray(plain.transpose(2, 0, 1), np.float32), Placed(
        inner[0] / width, inner[1] / height, left, top
    )


def split(outputs: Sequence[NDArray[np.generic]], feed: Feed, labels: int) -> tuple[Decoded, list[Maps]]:
    """What a network answered: its boxes and scores, and the outputs that are features. ModelError."""
    try:
        with np.errstate(invalid="ignore", over="ignore"):  # what is no number is refused below
            if feed.layout == "rt-detr":
                found, count = _detr(outputs, feed, labels)
            else:
                found, count = _grid(np.asarray(outputs[0], np.float64), feed, labels), 1
    except (IndexError, ValueError, ModelError) as error:
        found_shapes = [output.shape for output in outputs]
        said = f"The outputs {found_shapes} are not those of {feed.layout} with {labels} labels: {error}"
        raise ModelError(said) from error
    if not (np.isfinite(found.regions).all() and np.isfinite(found.scores).all()):
        raise ModelError(f"A detector of layout {feed.layout} answers with what is no number.")
    return found, [np.asarray(output, np.float32) for output in outputs[count:]]


def _grid(rows: Floats, feed: Feed, labels: int) -> Decoded:
    """The one output of the YOLO family."""
    objectness = 0 if feed.layout == "yolov8" else 1
    if feed.layout == "yolov8":
        rows = rows.T
    if rows.ndim != 2 or rows.shape[1] != 4 + objectness + labels:
        raise ModelError(f"{rows.shape[-1]} numbers a box, not {4 + objectness + labels}")
    boxes, scores = rows[:, :4], rows[:, 4 + objectness :]
    if objectness:
        scores = scores * rows[:, 4:5]
    if feed.layout == "yolox":
        cells, strides = _cells(feed.size_px)
        if len(cells) != len(rows):
            raise ModelError(f"{len(rows)} boxes, not the {len(cells)} of strides 8, 16, 32 at {feed.size_px} px")
        sides = np.exp(boxes[:, 2:].clip(max=_LOG_SIDE_MAX)) * strides
        boxes = np.concatenate(((boxes[:, :2] + cells) * strides, sides), axis=1)
    return Decoded(_corners(boxes), scores)


def _detr(outputs: Sequence[NDArray[np.generic]], feed: Feed, labels: int) -> tuple[Decoded, int]:
    """Boxes of queries, in any of three forms; and how many outputs they took."""
    sides = np.array([feed.size_px[1], feed.size_px[0]] * 2, np.float64)
    first = np.asarray(outputs[0], np.float64)
    if first.ndim == 1:  # labels, boxes, scores
        boxes, scores = np.asarray(outputs[1], np.float64), np.asarray(outputs[2], np.float64)
        spread = np.zeros((len(first), labels))
        if len(first) and not 0 <= first.min() <= first.max() < labels:
            raise ModelError(f"a label that is none of {labels}")
        spread[np.arange(len(first)), first.astype(int)] = scores
        return Decoded(boxes.reshape(-1, 4), spread), 3
    if first.shape[1] == 4 + labels:
        return Decoded(_corners(first[:, :4] * sides), first[:, 4:]), 1
    second = np.asarray(outputs[1], np.float64)
    boxes, logits = (second, first) if second.shape[1] == 4 else (first, second)
    if boxes.shape[1] != 4 or logits.shape != (len(boxes), labels):
        raise ModelError(f"boxes of {boxes.shape}, scores of {logits.shape}")
    raw = logits.min(initial=0.0) < 0.0 or logits.max(initial=0.0) > 1.0
    scores = 1.0 / (1.0 + np.exp(-logits.clip(-50, 50))) if raw else logits
    return Decoded(_corners(boxes * sides), scores), 2


def _cells(size_px: tuple[int, int]) -> tuple[Floats, Floats]:
    """The corners (n, 2) of all cells, in cells of their own stride, and the strides (n, 1)."""
    cells, strides = [], []
    for stride in _STRIDES_PX:
        y, x = np.mgrid[: size_px[0] // stride, : size_px[1] // stride]
        cells.append(np.stack((x.ravel(), y.ravel()), axis=1))
        strides.append(np.full((x.size, 1), stride))
    return np.concatenate(cells).astype(np.float64), np.concatenate(strides).astype(np.float64)


def _corners(boxes: Floats) -> Floats:
    """Centre and sides (n, 4) as corners."""
    corners: Floats = np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), axis=1)
    return corners


def _read(part: Maps, chosen: NDArray[np.int64], regions: Floats, feed: Feed) -> Floats:
    """The features of boxes in one output: of the cell under a box's centre and the mean around it, or of its row."""
    if part.ndim == 2:
        return part[chosen].astype(np.float64)
    rows, columns = part.shape[1:]
    centres = (regions[:, :2] + regions[:, 2:]) / 2
    x = (centres[:, 0] * columns / feed.size_px[1]).astype(int).clip(0, columns - 1)
    y = (centres[:, 1] * rows / feed.size_px[0]).astype(int).clip(0, rows - 1)
    steps = np.arange(-_REACH, _REACH + 1)
    near_y = (y[:, None] + steps).clip(0, rows - 1)[:, :, None]
    near_x = (x[:, None] + steps).clip(0, columns - 1)[:, None, :]
    around = part[:, near_y, near_x].mean((2, 3))
    return np.concatenate((part[:, y, x].T, around.T), axis=1, dtype=np.float64)
