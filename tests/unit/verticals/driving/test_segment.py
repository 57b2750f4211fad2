"""A segment's bytes: canonical, exact, readable by any Arrow reader, and safe to open whoever sent them."""

from __future__ import annotations

import json
import random
import tracemalloc
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import InputError
from hotloop.types import digest
from hotloop.verticals.driving import segment
from hotloop.verticals.driving.tracks import KINDS, Actor, Moment, Tracks

COLUMNS = ("actor", "frame", "x", "y", "heading", "v", "a")


def some(actors: int = 3, frames: int = 20, seed: int = 0) -> Tracks:
    """Tracks of random places; the last actor has no a."""
    rng = np.random.default_rng(seed)
    n = actors * frames
    a = rng.normal(size=n)
    a[-frames:] = np.nan
    return Tracks(
        tuple(Actor(f"car {i}", KINDS[i % 8], 4.5 + i / 7, 1.8, i == 0) for i in range(actors)),
        np.repeat(np.arange(actors), frames), np.tile(np.arange(frames), actors),
        *rng.normal(size=(4, n)), a, 0.1, "a log", "d" * 64, "eu", (Moment(3, "take-over"), Moment(9, "disengagement")),
    )  # fmt: skip


def same(one: Tracks, other: Tracks) -> bool:
    """Whether two tracks are the same to the bit."""
    rest = {name: None for name in COLUMNS}
    columns = all(
        getattr(one, name).tobytes() == getattr(other, name).tobytes()
        and getattr(one, name).dtype == getattr(other, name).dtype
        for name in COLUMNS
    )
    return columns and replace(one, **rest) == replace(other, **rest)


def arrow(table: pa.Table, told: object = None, **options: object) -> bytes:
    """An Arrow file of `table` as another writer might make it, with `told` as the metadata of a segment."""
    schema = table.schema
    if told is not None:
        text = told if isinstance(told, bytes) else json.dumps(told).encode()
        schema = schema.with_metadata({b"hotloop.segment": text})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        for batch in table.to_batches() or [pa.RecordBatch.from_pylist([], schema=schema)]:
            writer.write_batch(pa.record_batch(batch.columns, schema=schema))
    return sink.getvalue().to_pybytes()


def opened(data: bytes) -> tuple[pa.Table, dict[str, object]]:
    """A segment as any Arrow reader sees it: its table and its metadata."""
    table = pa.ipc.open_file(data).read_all()
    return table, json.loads(table.schema.metadata[b"hotloop.segment"])


@st.composite
def tracks_of_any_kind(draw: st.DrawFn) -> Tracks:
    """Any tracks that `check` takes."""
    number = st.floats(-1e6, 1e6)
    names = draw(st.lists(st.text(st.characters(exclude_categories=["Cs"]), max_size=6), min_size=1, max_size=4))
    size = st.floats(0.01, 100.0)
    actors = tuple(
        Actor(name, draw(st.sampled_from(KINDS)), draw(size), draw(size), draw(st.booleans())) for name in names
    )
    keys = sorted(draw(st.sets(st.tuples(st.integers(0, len(actors) - 1), st.integers(0, 2**31 - 1)), max_size=8)))
    n = len(keys)

    def column(values: st.SearchStrategy[float]) -> np.ndarray:
        return np.array(draw(st.lists(values, min_size=n, max_size=n)), np.float64)

    moment = st.builds(Moment, st.integers(0, 2**31 - 1), st.sampled_from(["take-over", "disengagement"]))
    return Tracks(
        actors, np.array([k[0] for k in keys], np.int64), np.array([k[1] for k in keys], np.int64),
        column(number), column(number), column(st.floats(-10, 10)), column(st.floats(-200, 200)),
        column(number | st.just(float("nan"))), draw(st.floats(0.001, 10.0)),
        draw(st.sampled_from(["", "a/b.xml", "ü"])), draw(st.sampled_from(["", "d" * 64])),
        draw(st.sampled_from(["", "eu"])), tuple(draw(st.lists(moment, max_size=2))),
    )  # fmt: skip


@settings(max_examples=60, deadline=None)
@given(tracks_of_any_kind())
def test_what_is_packed_comes_out_to_the_bit(tracks: Tracks) -> None:
    """unpack(pack(t)) is t, NaN and names included, and packing that again gives the same bytes."""
    data = segment.pack(tracks)
    again = segment.unpack(data)
    assert same(again, tracks)
    assert segment.pack(again) == data


def test_the_bytes_do_not_change_from_release_to_release() -> None:
    """Segments are known by the digest of their bytes: an Arrow library that lays them out anew must be noticed."""
    tracks = Tracks(
        (Actor("1", "car", 4.5, 1.8, ego=True),), np.zeros(2, np.int64), np.arange(2), np.array([0.0, 1.0]),
        np.zeros(2), np.zeros(2), np.full(2, 10.0), np.full(2, np.nan), 0.1, "log", "d", "eu",
    )  # fmt: skip
    assert digest(segment.pack(tracks)) == "0bd280ab67d0c463cf7c5b786708ac1f124500c15473b8f27c8d37107446ebcd"


def test_a_nans_own_bits_are_kept() -> None:
    """A NaN with a payload, and minus zero, come out with the bits they went in with."""
    tracks = some()
    tracks.a[0] = np.frombuffer(np.uint64(0x7FF8_0000_DEAD_BEEF).tobytes(), np.float64)[0]
    tracks.x[1] = -0.0
    out = segment.unpack(segment.pack(tracks))
    assert out.a[:1].view(np.uint64)[0] == 0x7FF8_0000_DEAD_BEEF
    assert np.signbit(out.x[1])


def test_any_arrow_reader_opens_it() -> None:
    """Without hotloop: the columns by name, and the rest as JSON."""
    tracks = some()
    table, told = opened(segment.pack(tracks))
    assert table.column_names == list(COLUMNS)
    assert np.array_equal(table["x"].to_numpy(), tracks.x)
    assert (told["step_s"], told["region"], told["version"]) == (0.1, "eu", 1)
    assert told["actors"][0] == {"name": "car 0", "kind": "car", "length": 4.5, "width": 1.8, "ego": True}
    assert told["moments"][1] == {"frame": 9, "what": "disengagement"}


def test_what_comes_out_can_be_written_to_and_holds_no_bytes() -> None:
    """The arrays are the caller's own."""
    out = segment.unpack(segment.pack(some()))
    for name in COLUMNS:
        assert getattr(out, name).flags.writeable
        assert getattr(out, name).flags.owndata


def test_an_arrow_file_of_another_writer_is_read() -> None:
    """Other alignment, an older metadata version: the same tracks, since only what is said counts."""
    tracks = some()
    table, told = opened(segment.pack(tracks))
    other = arrow(table, told, metadata_version=pa.ipc.MetadataVersion.V4)
    assert other != segment.pack(tracks)
    assert same(segment.unpack(other), tracks)


def test_a_minute_takes_milliseconds_and_48_bytes_a_row() -> None:
    """600 frames of 17 actors take less than 0.5 MB (the bound of time is the bench's)."""
    assert len(segment.pack(some(17, 600))) < 500_000


@pytest.mark.parametrize("codec", ["zstd", "lz4"])
def test_compressed_rows_are_refused_before_anything_is_decompressed(codec: str) -> None:
    """A few kilobytes that say that they hold gigabytes: refused, and nothing of that size allocated."""
    n = 3_000_000
    zeros = pa.table({name: pa.array(np.zeros(n, np.int32 if i < 2 else np.float64)) for i, name in enumerate(COLUMNS)})
    fields = [field.with_nullable(False) for field in zeros.schema]
    _, told = opened(segment.pack(some()))
    bomb = arrow(zeros.cast(pa.schema(fields)), told, compression=codec)
    assert len(bomb) < 1_000_000
    before = pa.total_allocated_bytes()
    tracemalloc.start()
    with pytest.raises(InputError, match="compressed"):
        segment.unpack(bomb)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    assert pa.total_allocated_bytes() <= before
    tracemalloc.stop()


def test_too_many_bytes_are_refused_unread() -> None:
    """The bound is looked at first."""
    with pytest.raises(InputError, match="at most 100 are taken"):
        segment.unpack(segment.pack(some()), bytes_max=100)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"version": 2}, "version 2"),
        ({"version": None}, "version null"),
        ({"step_s": 0.0}, "step"),
        ({"step_s": "0.1"}, "cannot be read"),
        ({"actors": []}, "a row of actor"),
        ({"actors": [{"name": "x", "kind": "ufo", "length": 4, "width": 2}]}, "cannot be read"),
        ({"actors": [{"name": "x", "kind": "car", "length": 0, "width": 2}] * 3}, "0.0 x 2.0"),
        ({"moments": [{"frame": -1, "what": "take-over"}]}, "frames are 0"),
        ({"moments": [{"frame": 10**30, "what": "take-over"}]}, "cannot be read|frames are 0"),
        ({"extra": 1}, "cannot be read"),
    ],
)
def test_metadata_that_says_what_cannot_be_is_refused(change: dict[str, object], words: str) -> None:
    """Each by what is wrong with it."""
    table, told = opened(segment.pack(some()))
    with pytest.raises(InputError, match=words):
        segment.unpack(arrow(table, {**told, **change}))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"null", b"\xff\xfe", b'{"version":' + b"[" * 100_000])
def test_metadata_that_is_no_record_is_refused(text: bytes) -> None:
    """Empty, cut short, of another form, no text at all, nested without end."""
    table, _ = opened(segment.pack(some()))
    with pytest.raises(InputError, match="metadata"):
        segment.unpack(arrow(table, text))


def test_an_arrow_file_of_something_else_is_refused() -> None:
    """Other columns, other types, no metadata, nulls in a row."""
    table, told = opened(segment.pack(some()))
    nulls = table.set_column(6, pa.field("a", pa.float64()), pa.array([None] * len(table), pa.float64()))
    for other, words in (
        (arrow(pa.table({"n": [1]})), "columns"),
        (arrow(table.drop_columns("a"), told), "columns"),
        (arrow(table.set_column(2, "x", table["x"].cast(pa.float32())), told), "columns"),
        (arrow(table.replace_schema_metadata(None)), "metadata"),
        (arrow(nulls, told), "lacks a number"),
    ):
        with pytest.raises(InputError, match=words):
            segment.unpack(other)


def test_rows_that_are_no_tracks_are_refused() -> None:
    """Out of order, a frame twice, infinite: by `check`, whoever packed them."""
    table, told = opened(segment.pack(some()))
    upside_down = table.take(list(range(len(table)))[::-1])
    infinite = table.set_column(6, table.schema.field("a"), pa.array(np.full(len(table), np.inf)))
    for other, words in ((upside_down, "twice or out of order"), (infinite, "infinite")):
        with pytest.raises(InputError, match=words):
            segment.unpack(arrow(other, told))


@pytest.mark.parametrize(
    "data", [b"", b"ARROW1", b"ARROW1\0\0", b"ARROW1\0\0" + b"\xff" * 64, b"PK\3\4", b"<xml/>", b"\x93NUMPY"]
)
def test_other_bytes_are_refused(data: bytes) -> None:
    """By InputError."""
    with pytest.raises(InputError):
        segment.unpack(data)


def test_a_file_cut_short_anywhere_in_its_rows_is_refused() -> None:
    """Every length up to the end of the rows; what is after them is the footer, which is not read."""
    data = segment.pack(some(1, 4))
    footer = int.from_bytes(data[-10:-6], "little")
    for end in range(len(data) - footer - 18):
        with pytest.raises(InputError):
            segment.unpack(data[:end])


def test_damaged_bytes_never_do_worse_than_an_input_error() -> None:
    """3,000 segments with bytes changed, cut out, put in or swapped: tracks that hold, or InputError."""
    rng = random.Random(7)
    seeds = [segment.pack(some(2, 5)), segment.pack(some(1, 1)), segment.pack(some(2, 2).between(9, 9))]
    refused = 0
    for _ in range(3000):
        data = bytearray(rng.choice(seeds))
        for _ in range(rng.choice([1, 1, 2, 8])):
            at = rng.randrange(len(data))
            size = rng.choice([1, 1, 4, 8, 64])
            act = rng.randrange(4)
            if act == 0:
                data[at : at + size] = rng.choice([b"\xff", b"\0", b"\x7f", rng.randbytes(1)]) * size
            elif act == 1:
                del data[at : at + size]
            elif act == 2:
                data[at:at] = rng.randbytes(size)
            else:
                data[at] ^= 1 << rng.randrange(8)
        try:
            segment.unpack(bytes(data)).check()
        except InputError:
            refused += 1
    assert 1000 < refused < 3000


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_bytes_of_no_kind_after_the_magic_are_refused(tail: bytes) -> None:
    """Whatever follows the magic."""
    with pytest.raises(InputError):
        segment.unpack(b"ARROW1\0\0" + tail)


@pytest.mark.parametrize(
    "wrong",
    [{"step_s": 11.0}, {"source": "\ud800"}, {"actors": ()}, {"moments": (Moment(2**31, "take-over"),)}],
)
def test_tracks_that_are_none_are_not_packed(wrong: dict[str, object]) -> None:
    """What could not be unpacked is refused before."""
    with pytest.raises(InputError):
        segment.pack(replace(some(), **wrong))
