"""One segment of a drive as bytes: an Arrow IPC file that any Arrow reader opens; the payload of the loop.

    columns   actor, frame (int32)   x, y, heading, v, a (float64; NaN where the log has no a)
    metadata  "hotloop.segment": JSON of the rest of `Tracks`: version, step_s, source, digest, region, actors, moments

The same tracks give the same bytes: one record batch, not compressed (an Arrow file of another writer with this
schema is read all the same). `unpack(pack(t))` is `t` to the bit, NaN included.

Bytes from elsewhere are hostile until they are read: nothing is decompressed (what a compressed buffer claims to hold
would be allocated), buffers are looked at where they lie, and all that is no segment is an `InputError`.
"""

from __future__ import annotations

import struct
from typing import Final

import msgspec
import numpy as np
import pyarrow as pa

from hotloop.errors import InputError
from hotloop.types import UNREADABLE
from hotloop.verticals.driving.tracks import ROWS_MAX, Actor, Moment, Tracks

MEDIA_TYPE: Final = "application/vnd.apache.arrow.file"
BYTES_MAX: Final = 300_000_000  # ROWS_MAX rows and their names
VERSION: Final = 1
_KEY: Final = b"hotloop.segment"
_MAGIC: Final = b"ARROW1\0\0"
_INTS: Final = ("actor", "frame")
_FLOATS: Final = ("x", "y", "heading", "v", "a")
_FIELDS: Final = [
    *(pa.field(name, pa.int32(), nullable=False) for name in _INTS),
    *(pa.field(name, pa.float64(), nullable=False) for name in _FLOATS),
]  # fmt: skip
_ARROW_ERRORS: Final = (pa.ArrowException, OSError, ValueError, TypeError, StopIteration, struct.error)
_HEADER, _COMPRESSION = 2, 3  # places of the fields in Arrow's tables Message and RecordBatch


class _Rest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What is not a column."""

    version: int
    step_s: float
    source: str
    digest: str
    region: str
    actors: tuple[Actor, ...]
    moments: tuple[Moment, ...]


def pack(tracks: Tracks) -> bytes:
    """The tracks as canonical bytes. InputError if they are not what tracks must be."""
    tracks.check()
    rest = _Rest(
        VERSION, float(tracks.step_s), tracks.source, tracks.digest, tracks.region, tracks.actors, tracks.moments
    )
    try:
        told = msgspec.json.encode(rest)
    except UnicodeEncodeError as error:
        raise InputError(f"{tracks.source!a}: a name that is no text: {error}") from error
    schema = pa.schema(_FIELDS, metadata={_KEY: told})
    arrays = [pa.array(np.ascontiguousarray(getattr(tracks, name), np.int32)) for name in _INTS]
    arrays += [pa.array(np.ascontiguousarray(getattr(tracks, name), np.float64)) for name in _FLOATS]
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema) as writer:
        writer.write_batch(pa.record_batch(arrays, schema=schema))
    return bytes(sink.getvalue())


def unpack(data: bytes, bytes_max: int = BYTES_MAX) -> Tracks:
    """The tracks that `pack` made `data` of. InputError, in words, for any other bytes, and for too many."""
    if len(data) > bytes_max:
        raise InputError(f"a segment of {len(data)} bytes; at most {bytes_max} are taken: cut the log into parts")
    if not data.startswith(_MAGIC):
        raise InputError("these bytes are no Arrow file, as a segment of a drive is")
    try:
        rest, batch = _opened(data)
        # Copies: an array over the bytes would be read-only, and keep them all in memory.
        columns = {name: batch.column(name).to_numpy(zero_copy_only=True) for name in (*_INTS, *_FLOATS)}
        ints = {name: columns[name].astype(np.int64) for name in _INTS}
        floats = {name: columns[name].copy() for name in _FLOATS}
    except _ARROW_ERRORS as error:
        raise InputError(f"these bytes are a damaged Arrow file: {str(error)[:200] or 'it ends too soon'}") from error
    return Tracks(
        actors=rest.actors, **ints, **floats, step_s=rest.step_s, source=rest.source, digest=rest.digest,
        region=rest.region, moments=rest.moments,
    ).check()  # fmt: skip


def _opened(data: bytes) -> tuple[_Rest, pa.RecordBatch]:
    """What lies in an Arrow file: the messages of a stream, between its magic and a footer that is not needed."""
    buffer = pa.py_buffer(data)
    messages = pa.ipc.MessageReader.open_stream(buffer.slice(len(_MAGIC)))
    first = messages.read_next_message()
    if first.type != "schema":
        raise InputError(f"this Arrow file begins with a {first.type}, not a schema")
    schema = pa.ipc.read_schema(first)
    if [(one.name, one.type) for one in schema] != [(one.name, one.type) for one in _FIELDS]:
        raise InputError(f"an Arrow file with the columns {schema.names[:9]}; a segment has {[*_INTS, *_FLOATS]}")
    rest = _rest((schema.metadata or {}).get(_KEY, b""))
    second = messages.read_next_message()
    if second.type != "record batch":
        raise InputError(f"this Arrow file holds a {second.type} where a segment has its rows")
    if _compressed(second.metadata.to_pybytes()):
        raise InputError("the rows of this Arrow file are compressed; a segment's are not")
    batch = pa.ipc.read_record_batch(second, schema)
    if batch.num_rows > ROWS_MAX:
        raise InputError(f"a segment of {batch.num_rows} rows; at most {ROWS_MAX} are taken: cut the log into parts")
    batch.validate(full=True)
    if any(column.null_count for column in batch.columns):
        raise InputError("a row of this Arrow file lacks a number; a segment's do not")
    return rest, batch


def _rest(told: bytes) -> _Rest:
    if not told:
        raise InputError(f"an Arrow file without the metadata {_KEY.decode()!r}, which a segment has")
    try:
        version = msgspec.json.decode(told, type=dict[str, msgspec.Raw]).get("version", msgspec.Raw(b"null"))
        if bytes(version) != str(VERSION).encode():
            raise InputError(f"a segment of version {bytes(version)[:20].decode()}; this hotloop reads {VERSION}")
        return msgspec.json.decode(told, type=_Rest)
    except UNREADABLE as error:
        raise InputError(f"the metadata of a segment cannot be read: {str(error)[:200]}") from error


def _compressed(message: bytes) -> bool:
    """Whether a record batch says that its buffers are compressed: read from Arrow's own (flatbuffer) table.

    pyarrow has no reader that refuses them. It has verified `message` by now, so that offsets lie within.
    """
    (root,) = struct.unpack_from("<I", message)
    header = _entry(message, root, _HEADER)
    (jump,) = struct.unpack_from("<I", message, header)
    return _entry(message, header + jump, _COMPRESSION) != 0


def _entry(message: bytes, table: int, field: int) -> int:
    """Where a field of a flatbuffer's table lies; 0 if it has none."""
    (back,) = struct.unpack_from("<i", message, table)
    (size,) = struct.unpack_from("<H", message, table - back)
    if 4 + 2 * field >= size:
        return 0
    (offset,) = struct.unpack_from("<H", message, table - back + 4 + 2 * field)
    return table + int(offset) if offset else 0
