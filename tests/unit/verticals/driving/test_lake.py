"""The table of tracks: a log is one commit, comes out as it went in, and any Lance reader opens it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import lance
import numpy as np
import pytest

from hotloop.errors import ConfigError, CorruptError, InputError, NotFoundError
from hotloop.verticals.driving import segment
from hotloop.verticals.driving.lake import TrackLake
from hotloop.verticals.driving.tracks import Actor, Moment, Tracks


def some(seed: int = 0, actors: int = 3, frames: int = 20, region: str = "") -> Tracks:
    """A log whose last actor has no row."""
    rng = np.random.default_rng(seed)
    n = (actors - 1) * frames
    a = rng.normal(size=n)
    a[::3] = np.nan
    return Tracks(
        tuple(Actor(f"car {i}", "car", 4.5 + i, 1.8, i == 0) for i in range(actors)),
        np.repeat(np.arange(actors - 1), frames), np.tile(np.arange(frames), actors - 1),
        *rng.normal(size=(4, n)), a, 0.25, f"log {seed}", f"{seed:064x}", region,
        (Moment(3, "take-over"), Moment(19, "disengagement")),
    )  # fmt: skip


def test_a_log_comes_out_to_the_bit(tmp_path: Path) -> None:
    """All fields: names without a row, moments, NaN; also after the table is opened anew."""
    lake = TrackLake(tmp_path)
    logs = [some(i) for i in range(3)]
    assert [lake.append(one) for one in logs] == [True] * 3
    for opened in (lake, TrackLake(tmp_path)):
        assert opened.known() == {one.digest for one in logs}
        for one in logs:
            assert segment.pack(opened.read(one.digest)) == segment.pack(one)


def test_a_part_of_a_log(tmp_path: Path) -> None:
    """The frames asked for, with the moments in them, as `between` cuts them; also beyond the end."""
    lake = TrackLake(tmp_path)
    lake.append(some())
    for first, last in ((3, 7), (0, 0), (19, 30), (50, 60)):
        assert segment.pack(lake.read(some().digest, first, last)) == segment.pack(some().between(first, last))


def test_a_log_is_kept_once_and_in_one_commit(tmp_path: Path) -> None:
    """The second time nothing is written."""
    lake = TrackLake(tmp_path)
    assert lake.append(some())
    version = lance.dataset(str(lake.path)).version
    assert not lake.append(some())
    assert not TrackLake(tmp_path).append(some())
    assert lance.dataset(str(lake.path)).version == version == 1


def test_any_lance_reader_opens_it(tmp_path: Path) -> None:
    """Without us: columns by name, one row an actor and frame, strings and numbers of their own."""
    lake = TrackLake(tmp_path, "eu")
    lake.append(some(region="eu"))
    table = lance.dataset(str(lake.path)).to_table(filter="actor = 'car 1' AND time_s >= 1.0")
    assert len(table) == 16
    row = table.to_pylist()[0]
    assert (row["frame"], row["time_s"], row["kind"], row["ego"], row["length"]) == (4, 1.0, "car", False, 5.5)
    assert (row["source"], row["region"], row["step_s"]) == ("log 0", "eu", 0.25)
    assert row["x"] == some().x[24]


def test_a_table_of_a_region_refuses_logs_of_another_by_name(tmp_path: Path) -> None:
    """A log of no region goes anywhere; one of a region only there, and not into a table of none."""
    eu, free = TrackLake(tmp_path / "eu", "eu"), TrackLake(tmp_path / "free")
    assert eu.append(some(0, region="eu"))
    assert eu.append(some(1))
    for lake, region in ((eu, "us"), (free, "eu")):
        with pytest.raises(InputError, match=f"log 2: a log of region '{region}'"):
            lake.append(some(2, region=region))
        assert some(2).digest not in lake.known()
    with pytest.raises(ConfigError, match="region 'eu', not 'us'"):
        TrackLake(tmp_path / "eu", "us")


def test_what_is_erased_is_off_the_disk(tmp_path: Path) -> None:
    """All rows in all versions, others stay; it may come again."""
    lake = TrackLake(tmp_path)
    for i in range(3):
        lake.append(replace(some(i), source=f"secret street {i}"))
    assert lake.erase(some(1).digest) == 40
    assert lake.known() == {some(0).digest, some(2).digest}
    assert not [path for path in tmp_path.rglob("*") if path.is_file() and b"secret street 1" in path.read_bytes()]
    assert len(lake.read(some(2).digest)) == 40
    with pytest.raises(NotFoundError):
        lake.read(some(1).digest)
    assert lake.erase(some(1).digest) == 0
    assert lake.append(some(1))


@pytest.mark.parametrize("wrong", ["", "abc", "A" * 64, "' OR 1=1 --", "0" * 63 + "'"])
def test_a_digest_is_never_a_condition(tmp_path: Path, wrong: str) -> None:
    """What is no 64 hex digits is refused before it comes near a query."""
    lake = TrackLake(tmp_path)
    lake.append(some())
    for do in (lake.read, lake.erase, lambda digest: lake.append(replace(some(), digest=digest))):
        with pytest.raises(InputError, match="no digest"):
            do(wrong)
    assert len(lake.known()) == 1


def test_an_empty_or_wrong_log_is_refused(tmp_path: Path) -> None:
    """And nothing is written."""
    lake = TrackLake(tmp_path)
    with pytest.raises(InputError, match="no rows"):
        lake.append(some().between(50, 60))
    with pytest.raises(InputError, match="step"):
        lake.append(replace(some(), step_s=0.0))
    assert lake.known() == frozenset()
    with pytest.raises(NotFoundError):
        lake.read(some().digest)


def test_many_logs_are_tidied_and_stay(tmp_path: Path) -> None:
    """Small files are gathered on the way; every log is still there."""
    lake = TrackLake(tmp_path)
    for i in range(70):
        lake.append(some(i, frames=3))
    assert len(lance.dataset(str(lake.path)).get_fragments()) < 70
    assert len(TrackLake(tmp_path).known()) == 70
    assert segment.pack(lake.read(some(40).digest)) == segment.pack(some(40, frames=3))


def test_rotten_data_is_named(tmp_path: Path) -> None:
    """A file that was written over: CorruptError, no traceback of another library."""
    lake = TrackLake(tmp_path)
    lake.append(some())
    for path in lake.path.glob("data/*.lance"):
        path.write_bytes(b"\0" * path.stat().st_size)
    with pytest.raises(CorruptError, match="cannot be read"):
        TrackLake(tmp_path).read(some().digest)
