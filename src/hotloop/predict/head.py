"""A head as bytes: a few KiB that travel with each release. No pickle: a checked record and a raw array."""

from __future__ import annotations

import msgspec
import numpy as np

from hotloop.errors import ModelError
from hotloop.types import Head

_VALUES_MAX = 8_000_000  # 32 MB of float32: far above any head, far below what would hurt an edge


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    rows: int
    columns: int
    data: bytes  # little-endian float32, C order


def pack_head(head: Head) -> bytes:
    """`head` as bytes, its weights rounded to float32. ModelError if a weight is not finite."""
    weights = np.ascontiguousarray(head.weights, dtype="<f4")
    if not np.isfinite(weights).all():
        raise ModelError("the head has weights that are not finite; it was not packed")
    rows, columns = weights.shape
    packed = _Packed(head.labels, head.thresholds, rows, columns, weights.tobytes())
    return msgspec.msgpack.encode(packed)


def unpack_head(data: bytes) -> Head:
    """The head that `pack_head` made. ModelError if the bytes are not one."""
    try:
        packed = msgspec.msgpack.decode(data, type=_Packed)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise ModelError(f"these {len(data)} bytes are no head: {error}") from error
    values = packed.rows * packed.columns
    if min(packed.rows, packed.columns) < 1 or values > _VALUES_MAX or len(packed.data) != 4 * values:
        raise ModelError(f"a head of {packed.rows} x {packed.columns} cannot be {len(packed.data)} bytes long")
    if len(packed.thresholds) != len(packed.labels) or packed.columns < len(packed.labels):
        raise ModelError("a head has one threshold and at least one column a label; this one has not")
    weights = np.frombuffer(packed.data, dtype="<f4").reshape(packed.rows, packed.columns)
    if not np.isfinite(weights).all():  # before the cast, which warns of some of them
        raise ModelError("the head has weights that are not finite; it was refused")
    return Head(packed.labels, weights.astype(np.float64), packed.thresholds)
