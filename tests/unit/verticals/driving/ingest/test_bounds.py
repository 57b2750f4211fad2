"""No more is read than may be."""

from __future__ import annotations

import gzip
import tracemalloc
from pathlib import Path

import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.ingest.bounds import file_bytes, unzipped


def test_a_file_over_the_bound_is_refused(tmp_path: Path) -> None:
    """At the bound it is read."""
    path = tmp_path / "a.csv"
    path.write_bytes(b"x" * 100)
    assert file_bytes(path, 100) == b"x" * 100
    with pytest.raises(InputError, match=r"a\.csv: more than 99 bytes"):
        file_bytes(path, 99)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    """No such file, or a folder."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(InputError, match="cannot be read"):
            file_bytes(path, 10)


def test_a_gzip_bomb_is_not_unpacked() -> None:
    """200 MB of nothing in 200 kB: refused at 1 MB, with no more than a few in memory."""
    bomb = gzip.compress(bytes(200_000_000), 9)
    tracemalloc.start()
    with pytest.raises(InputError, match="more than 1000000 bytes"):
        unzipped(bomb, "a.csv.gz", 1_000_000)
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()


def test_damaged_gzip_is_refused() -> None:
    """Cut short anywhere, or with a byte changed in its check."""
    data = gzip.compress(b"id,x,y" * 100)
    assert unzipped(data, "a", 600) == b"id,x,y" * 100
    for broken in (*(data[:end] for end in range(2, len(data), 7)), data[:-6] + b"\0\0\0\0" + data[-2:]):
        with pytest.raises(InputError, match="a: damaged gzip"):
            unzipped(broken, "a", 10_000)
