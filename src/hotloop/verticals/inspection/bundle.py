"""A backbone as one record of bytes: what kind of network, the ONNX file, and how to feed it. Its digest names it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec

from hotloop.errors import ModelError
from hotloop.types import UNREADABLE

BOXES: Final = "boxes"  # a detector with its description (`detector.py`)
LITE0: Final = "lite0"  # EfficientNet-Lite0, pooled, for whole images (`classifier.py`)
SHIPPED: Final = "shipped"  # the detector's maps, pooled, for whole images
BUNDLE_SUFFIX: Final = ".bundle"  # of a file that holds such a record, as `hotloop export` writes it
BYTES_MAX: Final = 300 * 2**20


class Bundle(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is in it. `description` is JSON for detectors, empty for others; `variants`: the same network in other forms
    (see `predict.runtimes`), each of which has passed for it.
    """

    format: int
    kind: str
    onnx: bytes
    description: bytes
    variants: dict[str, bytes] = {}

    @property
    def files(self) -> dict[str, bytes]:
        """The network in every form that there is."""
        return ({"onnx": self.onnx} if self.onnx else {}) | self.variants


def make_bundle(kind: str, onnx: bytes, description: bytes, variants: Mapping[str, bytes] | None = None) -> bytes:
    """The files as one record."""
    return msgspec.msgpack.encode(Bundle(1, kind, onnx, description, dict(variants or {})))


def with_variants(data: bytes, variants: Mapping[str, bytes], *kinds: str) -> bytes:
    """A record with these other forms of its network in place of those that it has. ModelError as `open_bundle`."""
    found = open_bundle(data, *kinds)
    return make_bundle(found.kind, found.onnx, found.description, variants)


def open_bundle(data: bytes, *kinds: str) -> Bundle:
    """The files in a record. ModelError if it is none, or of none of these kinds."""
    if len(data) > BYTES_MAX:
        raise ModelError(f"a backbone of {len(data)} bytes: at most {BYTES_MAX} are taken")
    try:
        found = msgspec.msgpack.decode(data, type=Bundle)
    except UNREADABLE as error:
        raise ModelError(f"these {len(data)} bytes are no backbone: {error}") from error
    if found.format != 1 or found.kind not in kinds:
        raise ModelError(f"a backbone of kind {found.kind[:20]!r} (format {found.format}); wanted {' or '.join(kinds)}")
    return found
