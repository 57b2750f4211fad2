"""MCAP: our messages and Foxglove's scenes, packed in each way, broken and hostile."""

from __future__ import annotations

import io
import json
import math
import random
import tracemalloc

import numpy as np
import pytest
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.records import Chunk
from mcap.writer import CompressionType, Writer

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest import mcap
from hotloop.verticals.driving.ingest.bounds import Bounds
from hotloop.verticals.driving.tracks import Moment, Tracks

STEP_NS = 100_000_000


def packed(
    messages: list[object], topic: str = "/tracks", schema: str = "Frame", encoding: str = "json",
    how: CompressionType = CompressionType.ZSTD,
) -> bytes:  # fmt: skip
    """A file of one channel, a message each tenth of a second; bytes as they are, all else as JSON."""
    out = io.BytesIO()
    writer = Writer(out, compression=how)
    writer.start()
    form = writer.register_schema(schema, "jsonschema", b"{}")
    channel = writer.register_channel(topic, encoding, form)
    for i, one in enumerate(messages):
        data = one if isinstance(one, bytes) else json.dumps(one).encode()
        writer.add_message(channel, 1_000_000_000 + STEP_NS * i, data, 0)
    writer.finish()
    return out.getvalue()


def frame(i: int, **more: object) -> dict[str, object]:
    """A frame of an ego that drives and a pedestrian that stands."""
    ego = {"id": "me", "kind": "car", "ego": True, "x": 1.0 * i, "y": 0.0, "heading": 0.0, "v": 9.5, "a": None}
    return {"actors": [ego, {"id": "p", "kind": "pedestrian", "length": 0.5, "width": 0.5, "x": 9, "y": 3}], **more}


def read(data: bytes, **bounds: int) -> Tracks:
    """The tracks of a file."""
    return mcap.tracks(data, "a.mcap", Bounds(**bounds))


@pytest.mark.parametrize("how", list(CompressionType))
def test_our_messages_packed_in_each_way(how: CompressionType) -> None:
    """Actors, places, what is left out derived, and what the log says of a frame."""
    out = read(packed([frame(0), frame(1), frame(2, told=["take-over"])], how=how))
    who = [(one.name, one.kind, one.ego, one.length) for one in out.actors]
    assert who == [("me", "car", True, 4.5), ("p", "pedestrian", False, 0.5)]
    assert out.x[out.rows_of(0)].tolist() == [0, 1, 2]
    assert out.v.tolist() == [9.5, 9.5, 9.5, 0, 0, 0]
    assert np.isnan(out.a).all()
    assert (out.step_s, out.moments) == (0.1, (Moment(2, "take-over"),))


def test_the_step_may_be_said() -> None:
    """Then times are frames of it."""
    assert read(packed([frame(0, step_s=0.05), frame(1)])).frame[:2].tolist() == [0, 2]
    with pytest.raises(InputError, match="step"):
        read(packed([frame(0, step_s=0.0), frame(1)]))


def test_foxgloves_scenes() -> None:
    """A cube is an actor: heading by its quaternion, size by its own, kind and ego by metadata; speed by places."""
    half = math.pi / 8
    entities = [
        {"id": "7", "cubes": [{"pose": {"position": {"x": i * math.sqrt(0.5), "y": i * math.sqrt(0.5), "z": 0},
        "orientation": {"x": 0, "y": 0, "z": math.sin(half), "w": math.cos(half)}}, "size": {"x": 5, "y": 2, "z": 1}}],
        "metadata": [{"key": "kind", "value": "truck"}, {"key": "ego", "value": "true"}]} for i in range(3)
    ]  # fmt: skip
    out = read(packed([{"entities": [one, {"id": "text"}]} for one in entities], "/scene", "foxglove.SceneUpdate"))
    (one,) = out.actors
    assert (one.name, one.kind, one.length, one.width, one.ego) == ("7", "truck", 5, 2, True)
    assert np.allclose(out.heading, math.pi / 4)
    assert np.allclose(out.v, 10)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "broken MCAP"),
        (b"\x89MCAP0\r\n", "broken MCAP|no JSON"),
        (packed([frame(0)], topic="/other"), "no JSON messages"),
        (packed([b"\x08\x01"], encoding="protobuf"), "no JSON messages"),
        (packed([{"actors": []}]), "with an actor"),
        (packed([b"{"]), "not of its form"),
        (packed([b"[" * 100_000]), "not of its form"),
        (packed([frame(0), {"actors": [{"id": "me", "x": "far"}]}]), "not of its form"),
        (packed([frame(0), {"actors": [{"id": "me", "x": 1e300, "y": 0}]}]), "a.mcap: x of actor 'me'"),
        (packed([{"actors": [{"id": "me", "kind": "ufo", "x": 0, "y": 0}]}]), "not of its form"),
        (packed([frame(0)]), "one moment"),
        (packed([{"actors": frame(0)["actors"] * 2}, frame(1)]), "twice"),
    ],
)
def test_what_is_no_such_file_is_refused(data: bytes, words: str) -> None:
    """By what is wrong."""
    with pytest.raises(InputError, match=words):
        read(data)


def bomb(size: int, says: int) -> bytes:
    """A chunk of so many zeros, in few bytes, that says that it holds `says`."""
    builder = RecordBuilder()
    Chunk("zstd", zstandard.compress(bytes(size)), 0, 0, 0, says).write(builder)
    return b"\x89MCAP0\r\n" + builder.end()


@pytest.mark.parametrize(
    ("says", "words"), [(2**60, "are read"), (300_000_000, "are read"), (1000, "not what it says")]
)
def test_a_bomb_is_not_unpacked(says: int, words: str) -> None:
    """300 MB in 10 kB, whatever it says that it is."""
    data = bomb(300_000_000, says)
    tracemalloc.start()
    with pytest.raises(InputError, match=words):
        read(data)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_bounds_hold_over_all_chunks() -> None:
    """Rows, and bytes once unpacked."""
    data = packed([frame(i) for i in range(5)])
    with pytest.raises(InputError, match="more than 4 rows"):
        read(data, rows_max=4)
    with pytest.raises(InputError, match="once decompressed"):
        read(data, unpacked_bytes_max=100)


def test_damaged_files_never_do_worse_than_an_input_error() -> None:
    """600 files with bytes changed or cut out: tracks that hold, or InputError."""
    rng = random.Random(11)
    seeds = [packed([frame(i) for i in range(4)], how=how) for how in CompressionType]
    refused = 0
    for _ in range(600):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice([1, 1, 3])):
            at = rng.randrange(len(data))
            data[at : at + rng.choice([1, 1, 8])] = rng.choice([b"", b"\xff", b"\0", rng.randbytes(1)])
        try:
            read(bytes(data)).check()
        except InputError:
            refused += 1
    assert 100 < refused < 600
