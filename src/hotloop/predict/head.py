"""A head as bytes: a few KiB that travel with each release. No pickle: a checked record and a raw array."""

from __future__ import annotations

import msgspec
import numpy as np

from hotloop.errors import ModelError
from hotloop.types import UNREADABLE, Floats, Head

_SITES_MAX = 64
_VALUES_MAX = 8_000_000  # 32 MB of float32: far above any head, far below what would hurt an edge


class _Packed(msgspec.Struct, frozen=True, array_like=True):
    labels: tuple[str, ...]
    thresholds: tuple[float, ...]
    rows: int
    columns: int
    data: bytes  # little-endian float32, C order


class _WithOwn(_Packed, frozen=True, array_like=True):
    """Where sites have weights of their own. A head without them is written as it always was."""

    own: dict[str, bytes] = {}


def pack_head(head: Head) -> bytes:
    """`head` as bytes, its weights rounded to float32. ModelError if a weight is not finite."""
    rows, columns = head.weights.shape
    packed = (head.labels, head.thresholds, rows, columns, _as_bytes(head.weights))
    if not head.own:
        return msgspec.msgpack.encode(_Packed(*packed))
    own = {site: _as_bytes(weights) for site, weights in sorted(head.own.items())}
    return msgspec.msgpack.encode(_WithOwn(*packed, own))


def _as_bytes(weights: Floats) -> bytes:
    rounded = np.ascontiguousarray(weights, dtype="<f4")
    if not np.isfinite(rounded).all():
        raise ModelError("the head has weights that are not finite; it was not packed")
    return rounded.tobytes()


def unpack_head(data: bytes) -> Head:
    """The head that `pack_head` made. ModelError if the bytes are not one."""
    try:
        packed = msgspec.msgpack.decode(data, type=_WithOwn)
    except UNREADABLE as error:
        raise ModelError(f"these {len(data)} bytes are no head: {error}") from error
    values = packed.rows * packed.columns
    if min(packed.rows, packed.columns) < 1 or values > _VALUES_MAX or len(packed.data) != 4 * values:
        raise ModelError(f"a head of {packed.rows} x {packed.columns} cannot be {len(packed.data)} bytes long")
    if len(packed.thresholds) != len(packed.labels) or packed.columns < len(packed.labels):
        raise ModelError("a head has one threshold and at least one column a label; this one has not")
    if len(packed.own) > _SITES_MAX:
        raise ModelError(f"a head of {len(packed.own)} sites: at most {_SITES_MAX} have their own")
    own = {site: _weights(one, packed) for site, one in packed.own.items()}
    return Head(packed.labels, _weights(packed.data, packed), packed.thresholds, own)


def _weights(data: bytes, packed: _Packed) -> Floats:
    if len(data) != 4 * packed.rows * packed.columns:
        raise ModelError(f"a head of {packed.rows} x {packed.columns} cannot be {len(data)} bytes long")
    weights = np.frombuffer(data, dtype="<f4").reshape(packed.rows, packed.columns)
    if not np.isfinite(weights).all():  # before the cast, which warns of some of them
        raise ModelError("the head has weights that are not finite; it was refused")
    return weights.astype(np.float64)
