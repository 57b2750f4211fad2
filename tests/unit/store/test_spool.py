"""The spool's file: set aside when it is damaged, refused to a second process, full disks told in our words."""

from __future__ import annotations

import apsw
import pytest

from hotloop.config import EdgeConfig
from hotloop.errors import DiskFullError, NewerFormatError, StoreBusyError, StoreError
from hotloop.store.spool import DiskSpool
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Spooled

ITEM = Spooled("flagged", "p", 1e18, b"data")


def opened(tmp_path):
    return DiskSpool(tmp_path / "deep/spool.sqlite", EdgeConfig(), SimulatedClock())


@pytest.mark.parametrize("damage", [b"no database at all" * 400, None])
def test_a_damaged_file_is_set_aside_and_a_new_one_begun(tmp_path, damage):
    """A line does not stop because of its spool; what is left of the old one can be looked at."""
    spool = opened(tmp_path)
    spool.put([Spooled("flagged", f"p{k}", 1e18, bytes(3000)) for k in range(50)], {})
    spool.close()
    path = tmp_path / "deep/spool.sqlite"
    whole = path.read_bytes()
    path.write_bytes(damage or whole[:8192] + b"\xff" * 4096 + whole[12288:])
    again = opened(tmp_path)
    again.put([ITEM], {})
    assert again.state().events == 1
    assert len(list((tmp_path / "deep").glob("spool.sqlite.damaged-*"))) == 1
    again.close()


def test_one_process_at_a_time_owns_it(tmp_path):
    """The other is told."""
    spool = opened(tmp_path)
    with pytest.raises(StoreBusyError, match="one agent a line"):
        opened(tmp_path)
    spool.close()


def test_a_newer_format_is_left_alone(tmp_path):
    """It is not ours to change."""
    spool = opened(tmp_path)
    spool._connection.pragma("user_version", 99)
    spool.close()
    with pytest.raises(NewerFormatError, match="format 99"):
        opened(tmp_path)


def test_a_spool_of_format_1_is_read_on(tmp_path):
    """It knew no piece that was judged; nothing of it is lost, and each is as dear as it was."""
    kinds = ("verdict", "flagged", "flagged payload", "unflagged", "unflagged payload")
    spool = opened(tmp_path)
    spool.put([Spooled(kind, kind, 1e18, kind.encode()) for kind in kinds], {})
    spool.put([Spooled(kind, "told", 1e18, f"told {kind}".encode()) for kind in kinds], {})
    for old, kind in enumerate(kinds):
        spool._run("UPDATE spool SET kind = ? WHERE data IN (?, ?)", old, kind.encode(), f"told {kind}".encode())
    spool._connection.pragma("user_version", 1)
    spool.close()
    again = opened(tmp_path)
    found = again.waiting("events", 9) + again.waiting("payloads", 9)
    assert sorted((one.kind, one.of) for one in found if one.of != "told") == sorted((kind, kind) for kind in kinds)
    judged = ["judged", "judged", "judged payload", "judged payload", "verdict"]
    assert sorted(one.kind for one in found if one.of == "told") == judged
    assert again._connection.pragma("user_version") == 2
    again.close()


def test_a_disk_that_gives_nothing_is_said(tmp_path):
    """In our words: whoever asks is not taken down by it."""
    spool = opened(tmp_path)
    spool._run("DROP TABLE spool")
    for ask in (spool.state, lambda: spool.waiting("events", 1)):
        with pytest.raises(StoreError, match=r"spool\.sqlite failed"):
            ask()
    spool.close()


def test_a_folder_that_cannot_be_made_is_said(tmp_path):
    """In our words."""
    (tmp_path / "deep").write_text("a file")
    with pytest.raises(StoreError, match=r"spool\.sqlite"):
        opened(tmp_path)


def test_a_damaged_file_that_cannot_be_set_aside_is_said(tmp_path, monkeypatch):
    """With its name."""
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep/spool.sqlite").write_bytes(b"no database at all" * 400)

    def failing(self, target):
        raise OSError("read only")

    monkeypatch.setattr("pathlib.Path.replace", failing)
    with pytest.raises(StoreError, match="cannot be set aside: read only"):
        opened(tmp_path)


@pytest.mark.parametrize(("error", "ours"), [(apsw.FullError, DiskFullError), (apsw.IOError, StoreError)])
def test_a_change_that_fails_changes_nothing(tmp_path, monkeypatch, error, ours):
    """Neither what waits nor what it knows of its size."""
    spool = opened(tmp_path)
    spool.put([ITEM], {})
    before = spool.state()

    def failing(lost):
        raise error("no")

    monkeypatch.setattr(spool, "_count", failing)
    with pytest.raises(ours):
        spool.put([ITEM, ITEM], {"x": 1})
    assert spool.state() == before
    spool.close()
