"""MCAP files (mcap.dev) with JSON messages -> Tracks. Two kinds of messages are read, told by the channel:

    topic /tracks            one message a frame, of the form `Frame` below; units and plane as in Tracks:
                             {"step_s": 0.1, "actors": [{"id": "7", "kind": "car", "length": 4.5, "width": 1.8, "ego":
                             false, "x": 1.0, "y": 2.0, "heading": 0.1, "v": 9.5, "a": null}], "told": ["take-over"]}
                             heading, v and a may be left out; step_s too (then the median step of the messages' times)
    schema foxglove.SceneUpdate  entities with one cube each: its pose (m, quaternion) and size (x: length, y: width);
                             the kind by the entity's metadata "kind", ego by its metadata "ego" = "true"; v derived

If a file has both, /tracks is read. A frame's time is the message's log time, from the first one on. Other topics,
encodings (protobuf, CDR) and attachments are passed over. Chunks may be compressed by lz4 or zstd; one that holds more
than it says, or more than is allowed, is refused before it is unpacked whole.
"""

from __future__ import annotations

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import Final

import lz4.frame
import msgspec
import numpy as np
import zstandard
from mcap.exceptions import McapError
from mcap.records import Channel, Chunk, Message, Schema
from mcap.stream_reader import StreamReader

from hotloop.errors import InputError
from hotloop.types import UNREADABLE
from hotloop.verticals.driving.ingest.bounds import Bounds
from hotloop.verticals.driving.ingest.rows import Rows, frames_of, step_of, tracks_of
from hotloop.verticals.driving.tracks import Actor, Kind, Moment, Told, Tracks

TOPIC: Final = "/tracks"
SCENE: Final = "foxglove.SceneUpdate"
_CHUNK_MAX: Final = 64_000_000
_END: Final = b"\x02" + struct.pack("<QQQI", 20, 0, 0, 0) + b"\x89MCAP0\r\n"  # a footer: a chunk's records have none
_BROKEN: Final = (
    McapError, struct.error, ValueError, IndexError, KeyError, EOFError, RuntimeError, UnicodeDecodeError, MemoryError,
    zstandard.ZstdError, OverflowError,
)  # fmt: skip


class One(msgspec.Struct, frozen=True):
    """An actor in a frame of /tracks."""

    id: str
    x: float
    y: float
    kind: Kind = "unknown"
    length: float = 4.5
    width: float = 1.8
    ego: bool = False
    heading: float | None = None
    v: float | None = None
    a: float | None = None


class Frame(msgspec.Struct, frozen=True):
    """A message of /tracks."""

    actors: tuple[One, ...]
    step_s: float | None = None
    told: tuple[Told, ...] = ()


class _Xyz(msgspec.Struct, frozen=True):
    x: float
    y: float
    z: float = 0.0
    w: float = 1.0


class _Pose(msgspec.Struct, frozen=True):
    position: _Xyz
    orientation: _Xyz


class _Cube(msgspec.Struct, frozen=True):
    pose: _Pose
    size: _Xyz


class _Pair(msgspec.Struct, frozen=True):
    key: str
    value: str


class _Entity(msgspec.Struct, frozen=True):
    id: str
    cubes: tuple[_Cube, ...] = ()
    metadata: tuple[_Pair, ...] = ()


class _Scene(msgspec.Struct, frozen=True):
    entities: tuple[_Entity, ...] = ()


def tracks(data: bytes, source: str, bounds: Bounds) -> Tracks:
    """The tracks of an MCAP file's bytes. InputError if it is none, is broken, or holds too much."""
    channels: dict[int, str] = {}
    schemas: dict[int, str] = {}
    found: dict[str, list[tuple[float, Frame]]] = {TOPIC: [], SCENE: []}
    rows = 0
    try:
        for record in _records(data, bounds.unpacked_bytes_max):
            if isinstance(record, Schema):
                schemas[record.id] = record.name
            elif isinstance(record, Channel) and record.message_encoding == "json":
                kind = TOPIC if record.topic == TOPIC else schemas.get(record.schema_id, "")
                channels[record.id] = kind if kind in found else ""
            elif isinstance(record, Message) and channels.get(record.channel_id):
                kind = channels[record.channel_id]
                frame = _frame(record.data, kind)
                rows += len(frame.actors)
                found[kind].append((record.log_time * 1e-9, frame))
                if rows > bounds.rows_max:
                    raise InputError(f"{source}: more than {bounds.rows_max} rows; cut the log into parts")
    except UNREADABLE as error:
        raise InputError(f"{source}: a message that is not of its form: {str(error)[:200]}") from error
    except _BROKEN as error:
        raise InputError(f"{source}: broken MCAP: {type(error).__name__} {str(error)[:200]}") from error
    frames = found[TOPIC] or found[SCENE]
    if not rows or not frames:
        raise InputError(f"{source}: no JSON messages of topic {TOPIC} or schema {SCENE} with an actor in them")
    return _tracks(sorted(frames, key=lambda one: one[0]), source)


def _records(data: bytes, bytes_max: int) -> Iterator[object]:
    """All records of the file, those in chunks unpacked, in the order in which they lie."""
    left = bytes_max
    for record in StreamReader(io.BytesIO(data), emit_chunks=True, record_size_limit=len(data)).records:
        if isinstance(record, Chunk):
            inner = _unpacked(record, min(left, _CHUNK_MAX))
            left -= len(inner)
            stream = io.BytesIO(inner + _END)
            limit = len(inner) + len(_END)
            for one in StreamReader(stream, skip_magic=True, emit_chunks=True, record_size_limit=limit).records:
                if isinstance(one, Chunk):  # the library would unpack it whole, whatever it holds
                    raise McapError("a chunk within a chunk")
                yield one
        else:
            yield record


def _unpacked(chunk: Chunk, bytes_max: int) -> bytes:
    """A chunk's records. InputError if they are over the bound; ValueError if they are not what the chunk says."""
    size = chunk.uncompressed_size
    if size > bytes_max:
        raise InputError(f"an MCAP chunk of {size} bytes once decompressed; {bytes_max} are read")
    if chunk.compression == "zstd":
        out = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(chunk.data)).read(size + 1)
    elif chunk.compression == "lz4":
        out = lz4.frame.LZ4FrameDecompressor().decompress(chunk.data, max_length=size + 1)
    elif chunk.compression == "":
        out = chunk.data
    else:
        raise ValueError(f"chunks are packed by {chunk.compression!r}; lz4 and zstd are read")
    if len(out) != size or (chunk.uncompressed_crc and zlib.crc32(out) != chunk.uncompressed_crc):
        raise ValueError("a chunk that is not what it says")
    return bytes(out)


def _frame(data: bytes, kind: str) -> Frame:
    """A message of either kind as a frame."""
    if kind == TOPIC:
        return msgspec.json.decode(data, type=Frame)
    out = []
    for entity in msgspec.json.decode(data, type=_Scene).entities:
        told = {pair.key: pair.value for pair in entity.metadata}
        if len(entity.cubes) == 1:
            cube, turn = entity.cubes[0], entity.cubes[0].pose.orientation
            heading = math.atan2(
                2 * (turn.w * turn.z + turn.x * turn.y), 1 - 2 * (turn.y * turn.y + turn.z * turn.z)
            )  # fmt: skip
            of = msgspec.convert(told.get("kind", "unknown"), Kind)
            out.append(
                One(
                    entity.id, cube.pose.position.x, cube.pose.position.y, of, cube.size.x, cube.size.y,
                    told.get("ego") == "true", heading,
                )
            )  # fmt: skip
    return Frame(tuple(out))


def _tracks(frames: list[tuple[float, Frame]], source: str) -> Tracks:
    time_s = np.array([at for at, _ in frames]) - frames[0][0]
    step_s = next((frame.step_s for _, frame in frames if frame.step_s is not None), None)
    if step_s is None:
        step_s = step_of(time_s, source)
    if not 0.001 <= step_s <= 10.0:
        raise InputError(f"{source}: a step of {step_s} s; 0.001 to 10 s are taken")
    number = frames_of(time_s, step_s, source)
    index: dict[str, int] = {}
    actors: list[Actor] = []
    rows, moments = [], []
    for at, (_, frame) in zip(number.tolist(), frames, strict=True):
        moments += [Moment(int(at), told) for told in frame.told]
        for one in frame.actors:
            if one.id not in index:
                index[one.id] = len(actors)
                actors.append(Actor(one.id, one.kind, one.length, one.width, one.ego))
            told = (math.nan if value is None else value for value in (one.heading, one.v, one.a))
            rows.append((index[one.id], at, one.x, one.y, *told))
    return tracks_of(Rows.of(rows), actors, step_s, source, moments)
