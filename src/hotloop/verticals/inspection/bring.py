"""Bring a detector of one's own, as ONNX.

    python -m hotloop.verticals.inspection.bring MINE.onnx --layout yolov8 --labels scratch,dent --images FOLDER
        --out MINE.bundle

What its heads branch from becomes an output, so that the reflex has features to learn on; their scales are measured on
pictures of the line. Then `[inspection] start = "MINE.bundle"`. The layouts are those of `brought.py`. Extra
`hotloop[train]` (onnx); no torch.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from rich.progress import track

from hotloop.adapters.folder import payloads_of
from hotloop.config import SenseConfig
from hotloop.errors import HotloopError, InputError, ModelError
from hotloop.predict.runtimes import open_network
from hotloop.sense.images import decode_image
from hotloop.types import Floats
from hotloop.verticals.inspection.brought import BroughtModel
from hotloop.verticals.inspection.bundle import BOXES, make_bundle
from hotloop.verticals.inspection.detector import COLD_SCORE_MIN, Description, Feed, Pixels, measured

_FEEDS: Final[dict[str, dict[str, Any]]] = {  # how each family is fed by its own tools
    "yolox": {"fit": "corner", "divisor": 1.0, "bgr": True},
    "yolox-decoded": {"fit": "corner", "divisor": 1.0, "bgr": True},
    "yolov5": {"fit": "centre"},
    "yolov8": {"fit": "centre"},
    "rt-detr": {"fit": "stretch"},
}
_STRIDES_PX: Final = (8, 16, 32)
_CHANNELS_LEAST: Final = 8
_BRANCHING: Final = ("Conv", "MatMul", "Gemm")
_SIDE_PX: Final = 640  # where the file leaves it open


def brought(onnx_file: bytes, description: Description, pictures: Sequence[Pixels]) -> bytes:
    """A detector as a bundle: features made outputs, their scales measured on `pictures` (h, w, 3).

    ModelError if it is no model, or not of its layout; InputError if it finds nothing on the pictures.
    """
    if description.feed is None:
        raise ModelError("a detector that is brought needs a feed: its layout, and how it is fed")
    widened = with_features(onnx_file, description.feed)
    model = BroughtModel(open_network({"onnx": widened}), description)
    rows = [model.candidates(picture, score_min=COLD_SCORE_MIN).features for picture in pictures]
    seen: Floats = np.concatenate(rows).astype(np.float64)
    return make_bundle(BOXES, widened, msgspec.json.encode(measured(description, seen)))


def with_features(onnx_file: bytes, feed: Feed) -> bytes:
    """The file with the maps (or the rows of queries) from which its heads branch as further outputs.

    The last one of each stride 8, 16, 32 that goes into two convolutions at least, and the last rows that go into two
    products. A file in which there are none stays as it is: its reflex has scores and the sides of boxes alone.
    """
    try:
        model = onnx.load_from_string(onnx_file)
        _fix_size(model, feed.size_px)
        shaped = onnx.shape_inference.infer_shapes(model)
    except (DecodeError, onnx.shape_inference.InferenceError) as error:
        raise ModelError(f"these {len(onnx_file)} bytes are no ONNX model that can be read: {error}") from error
    shapes = {one.name: _shape(one) for one in shaped.graph.value_info}
    there = {output.name for output in model.graph.output}
    chosen: dict[tuple[int, ...], str] = {}
    for node in shaped.graph.node:
        for name in node.output:
            if name not in there and (place := _place(shapes.get(name, ()), feed)) and _branches(model, name):
                chosen[place] = name  # the last one of its place
    for _, name in sorted(chosen.items()):
        model.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    return bytes(model.SerializeToString())


def _fix_size(model: onnx.ModelProto, size_px: tuple[int, int]) -> None:
    """One picture of one size."""
    image = model.graph.input[0].type.tensor_type.shape.dim
    if len(image) != 4:
        raise ModelError(f"its first input has {len(image)} axes, not those of a picture (1, 3, h, w)")
    for axis, side in enumerate((1, 3, *size_px)):
        if image[axis].dim_value not in (0, side):
            raise ModelError(f"its input is {[one.dim_value for one in image]}, not (1, 3, {size_px[0]}, {size_px[1]})")
        image[axis].dim_value = side


def _shape(value: onnx.ValueInfoProto) -> tuple[int, ...]:
    return tuple(one.dim_value for one in value.type.tensor_type.shape.dim)


def _place(shape: tuple[int, ...], feed: Feed) -> tuple[int, ...]:
    """The stride of a map (1, f, h, w), or (0,) for rows of queries (1, n, f); () for anything else."""
    if len(shape) == 4 and shape[1] >= _CHANNELS_LEAST:
        for stride in _STRIDES_PX:
            if shape[2:] == (feed.size_px[0] // stride, feed.size_px[1] // stride):
                return (stride,)
    if feed.layout == "rt-detr" and len(shape) == 3 and shape[2] >= _CHANNELS_LEAST:
        return (0,)
    return ()


def _branches(model: onnx.ModelProto, name: str) -> bool:
    """Whether two heads at least begin here."""
    return sum(name in node.input and node.op_type in _BRANCHING for node in model.graph.node) >= 2


def _feed(onnx_file: bytes, given: argparse.Namespace) -> Feed:
    """How the file is fed: as its family is, in the size that it says."""
    try:
        dims = onnx.load_from_string(onnx_file).graph.input[0].type.tensor_type.shape.dim
    except (DecodeError, IndexError) as error:
        raise ModelError(f"{given.onnx} is no ONNX model: {error}") from error
    sides = [one.dim_value for one in dims][2:4]
    rows, columns = (side if side > 0 else given.side for side in (sides if len(sides) == 2 else (0, 0)))
    if min(rows, columns) < _STRIDES_PX[-1]:
        raise InputError(f"pictures of {rows} x {columns} px: a detector sees at least {_STRIDES_PX[-1]} px (--side)")
    try:
        family = _FEEDS[given.layout] | json.loads(given.feed)
        return msgspec.convert({"layout": given.layout, "size_px": (rows, columns), **family}, Feed)
    except (ValueError, TypeError) as error:
        raise InputError(f"--feed {given.feed}: {error}") from error


def _labels(text: str) -> tuple[str, ...]:
    """Labels by commas: each once, none empty."""
    labels = tuple(label.strip() for label in text.split(","))
    if not all(labels) or len(set(labels)) != len(labels):
        raise InputError(f"--labels {text}: name each class of the file once, in order, by commas")
    return labels


def main(arguments: Sequence[str] | None = None) -> None:
    """Bring a file."""
    parser = argparse.ArgumentParser(prog="python -m hotloop.verticals.inspection.bring", description=__doc__)
    parser.add_argument("onnx", type=Path)
    parser.add_argument("--layout", choices=list(_FEEDS), required=True)
    parser.add_argument("--labels", required=True, help="its classes in order, by commas")
    parser.add_argument("--images", type=Path, required=True, help="a folder of pieces, as the line sees them")
    parser.add_argument("--out", type=Path, required=True, help="the bundle to write")
    parser.add_argument("--threshold", type=float, default=0.5, help="from this score on a box is said")
    parser.add_argument("--side", type=int, default=_SIDE_PX, help="height and width in px, where the file is open")
    parser.add_argument("--feed", default="{}", help='what differs from its family, as JSON: {"divisor": 1.0}')
    given = parser.parse_args(arguments)
    try:
        data = given.onnx.read_bytes()
    except OSError as error:
        raise ModelError(f"{given.onnx} cannot be read: {error.strerror}") from error
    labels = _labels(given.labels)
    if not 0.0 < given.threshold <= 1.0:
        raise InputError(f"--threshold {given.threshold}: a score is above 0, at most 1")
    description = Description(labels, "colour", (given.threshold,) * len(labels), feed=_feed(data, given))
    pieces = payloads_of(SenseConfig(reference_suffix=""), given.images)
    pictures = [as_colour(decode_image(piece.data)) for piece in track(pieces, "measuring features")]
    bundle = brought(data, description, pictures)
    try:
        given.out.write_bytes(bundle)
    except OSError as error:
        raise InputError(f"{given.out} cannot be written: {error.strerror}") from error
    columns = len(msgspec.json.decode(msgspec.msgpack.decode(bundle)["description"])["mean"])
    print(f'{given.out}: {columns} features a box. Set [inspection] start = "{given.out}"')  # noqa: T201


def as_colour(pixels: Pixels) -> Pixels:
    """A picture with three channels."""
    if pixels.size == 0:
        raise InputError("an empty picture")
    return np.repeat(pixels[:, :, None], 3, axis=2) if pixels.ndim == 2 else pixels


if __name__ == "__main__":
    try:
        main()
    except HotloopError as error:
        sys.exit(f"{type(error).__name__}: {error}")
