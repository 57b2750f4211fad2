"""A small file of one process: made, reopened, refused where it is newer or in use, errors in our words."""

from __future__ import annotations

import apsw
import pytest

from hotloop.errors import DiskFullError, NewerFormatError, StoreBusyError, StoreError
from hotloop.store.local import in_our_words, opened

SCHEMA = "CREATE TABLE thing (name TEXT) STRICT"


def test_a_file_is_made_with_its_folder_and_opened_again(tmp_path):
    """What was committed is there."""
    path = str(tmp_path / "deep/file.sqlite")
    first = opened(path, SCHEMA, 3)
    first.execute("INSERT INTO thing VALUES ('a')")
    assert first.pragma("user_version") == 3
    assert first.pragma("synchronous") == 2
    with pytest.raises(StoreBusyError):
        opened(path, SCHEMA, 3)
    first.close()
    again = opened(path, SCHEMA, 3)
    assert again.execute("SELECT name FROM thing").fetchall() == [("a",)]
    again.close()


def test_a_newer_file_is_not_touched(tmp_path):
    """An older hotloop would damage it."""
    path = str(tmp_path / "file.sqlite")
    opened(path, SCHEMA, 3).close()
    with pytest.raises(NewerFormatError, match="format 3; this hotloop knows 2"):
        opened(path, SCHEMA, 2)


def test_a_damaged_file_is_told_apart(tmp_path):
    """Whoever opens it decides what to do."""
    path = tmp_path / "file.sqlite"
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(apsw.NotADBError):
        opened(str(path), SCHEMA, 1)


@pytest.mark.parametrize(
    ("error", "ours", "words"),
    [
        (apsw.FullError("x"), DiskFullError, "make room"),
        (apsw.BusyError("x"), StoreBusyError, "another process"),
        (apsw.LockedError("x"), StoreBusyError, "another process"),
        (apsw.IOError("x"), StoreError, "mend the disk"),
        (OSError("x"), StoreError, "mend the disk"),
    ],
)
def test_errors_are_told_in_our_words(error, ours, words):
    """With the file's name and what to do."""
    found = in_our_words(error, "spool.sqlite")
    assert type(found) is ours
    assert "spool.sqlite" in str(found)
    assert words in str(found)
