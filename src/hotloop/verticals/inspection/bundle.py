"""A backbone as one record of bytes: what kind of network, the ONNX file, and how to feed it. Its digest names it."""

from __future__ import annotations

from typing import Final

import msgspec

from hotloop.errors import ModelError

BOXES: Final = "boxes"  # a detector with its description (`detector.py`)
LITE0: Final = "lite0"  # EfficientNet-Lite0, pooled, for whole images (`classifier.py`)
SHIPPED: Final = "shipped"  # the detector's maps, pooled, for whole images
BYTES_MAX: Final = 300 * 2**20


class Bundle(msgspec.Struct, frozen=True):
    """What is in it. `description` is JSON for detectors, empty for others."""

    format: int
    kind: str
    onnx: bytes
    description: bytes


def make_bundle(kind: str, onnx: bytes, description: bytes) -> bytes:
    """The files as one record."""
    return msgspec.msgpack.encode(Bundle(1, kind, onnx, description))


def open_bundle(data: bytes, *kinds: str) -> Bundle:
    """The files in a record. ModelError if it is none, or of none of these kinds."""
    if len(data) > BYTES_MAX:
        raise ModelError(f"a backbone of {len(data)} bytes: at most {BYTES_MAX} are taken")
    try:
        found = msgspec.msgpack.decode(data, type=Bundle)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelError(f"these {len(data)} bytes are no backbone: {error}") from error
    if found.format != 1 or found.kind not in kinds:
        raise ModelError(f"a backbone of kind {found.kind[:20]!r} (format {found.format}); wanted {' or '.join(kinds)}")
    return found
