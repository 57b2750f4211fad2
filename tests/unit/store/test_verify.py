"""`verify` finds every edit and all rot, names it, and still counts and salvages the rest."""

from __future__ import annotations

import random
import shutil
from pathlib import Path

import apsw
import pytest

from hotloop.errors import NewerFormatError, NotFoundError
from hotloop.store import format as form
from hotloop.store.log import SqliteLog
from hotloop.store.salvage import salvage
from hotloop.store.verify import verify_log
from hotloop.testing.checks.log import feedback, notice, prediction
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Event, Record

COUNT = 24


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Record]]:
    """A closed log of records from a few bytes to several pages, and what it holds."""
    path = tmp_path_factory.mktemp("verify") / "log"
    log = SqliteLog(path, clock=SimulatedClock(now=1000.0))
    for number in range(COUNT):
        body = (prediction("p"), feedback("p"), notice(0, "x" * (number * 701)).body)[number % 3]
        log.append([Event(f"device-{number % 2}", number, body)])
    records = log.read(0, COUNT)
    log.close()
    return path, records


@pytest.fixture
def path(written: tuple[Path, list[Record]], tmp_path: Path) -> Path:
    """A copy to harm."""
    shutil.copytree(written[0].parent, tmp_path / "copy")
    return tmp_path / "copy" / "log"


def edit(path: Path, sql: str) -> None:
    """Change the log behind its back, as someone with an SQL shell does."""
    connection = apsw.Connection(str(path))
    connection.execute(sql)
    connection.close()


def reseal(path: Path, offset: int) -> None:
    """Make a record's seal fit again: an editor who knows the format, but not how to redo the chain."""
    connection = apsw.Connection(str(path))
    row = connection.execute(f"SELECT {form.COLUMNS} FROM event WHERE offset = ?", (offset,)).fetchone()
    assert row is not None
    one = form.Entry(row[2].decode(), row[3], None, row[5])
    connection.execute("UPDATE event SET seal = ? WHERE offset = ?", (form.seal(offset, row[1], one), offset))
    connection.close()


def test_a_log_as_written_is_whole(path: Path) -> None:
    """Nothing is wrong with an honest log; verifying it twice gives the same head and changes nothing."""
    before = path.read_bytes()
    report = verify_log(path)
    assert report.ok
    assert (report.checked, report.last) == (COUNT, COUNT)
    assert verify_log(path).head == report.head != ""
    assert "all as written" in str(report)
    assert path.read_bytes() == before


def test_an_empty_log_is_whole_but_for_its_tail(tmp_path: Path) -> None:
    """A log in which nothing was ever written has no records, and no tail yet to say so."""
    SqliteLog(tmp_path / "log").close()
    report = verify_log(tmp_path / "log")
    assert (report.checked, report.last, report.bad, report.breaks) == (0, 0, (), ())


def test_a_log_in_use_can_be_verified(tmp_path: Path) -> None:
    """Verifying needs no lock and sees what is still in the WAL."""
    log = SqliteLog(tmp_path / "log")
    log.append([notice(1), notice(2)])
    report = verify_log(tmp_path / "log")
    assert report.ok
    assert report.checked == 2
    assert log.append([notice(3)]) == [3]
    log.close()


def test_there_must_be_a_log(tmp_path: Path) -> None:
    """No file is NotFoundError, and none is made."""
    with pytest.raises(NotFoundError, match=r"store\.folder"):
        verify_log(tmp_path / "log")
    assert list(tmp_path.iterdir()) == []


def test_a_newer_format_is_not_judged(path: Path) -> None:
    """What a newer hotloop wrote is not called damaged."""
    edit(path, "UPDATE meta SET value = '2' WHERE name = 'format'; PRAGMA user_version = 2")
    with pytest.raises(NewerFormatError):
        verify_log(path)


@pytest.mark.parametrize(
    "change",
    [
        "received_at = received_at + 1",
        "device = 'device-9'",
        "sequence = 999",
        "body = x'c0'",
        "seal = zeroblob(32)",
        "about = 'another'",
    ],
)
def test_an_edit_of_any_column_is_named(path: Path, change: str) -> None:
    """Whichever column is edited, the record is named, and the others are still good."""
    edit(path, f"UPDATE event SET {change} WHERE offset = 7")
    report = verify_log(path)
    assert report.bad == (7,)
    assert report.checked == COUNT - 1


def test_an_edit_of_the_chain_is_named_once(path: Path) -> None:
    """The record is whole and stays readable; where its chain was changed is named, and only there."""
    edit(path, "UPDATE event SET chain = zeroblob(32) WHERE offset = 7")
    report = verify_log(path)
    assert (report.bad, report.breaks) == ((), (7,))
    assert "edited at: 7" in str(report)


def test_an_edit_with_a_new_seal_breaks_the_chain(path: Path) -> None:
    """Who makes the seal fit again has not made the chain fit."""
    edit(path, "UPDATE event SET received_at = 5.0 WHERE offset = 9")
    reseal(path, 9)
    report = verify_log(path)
    assert (report.bad, report.breaks) == ((), (9,))


def test_deleted_records_are_named(path: Path) -> None:
    """From the middle they leave a gap; the end is known by the tail file."""
    edit(path, f"DELETE FROM event WHERE offset IN (4, 5, {COUNT - 1}, {COUNT})")
    report = verify_log(path)
    assert report.bad == (4, 5, COUNT - 1, COUNT)
    assert report.last == COUNT


def test_swapped_records_are_named(path: Path) -> None:
    """A seal holds its offset, so that two records cannot change places."""
    edit(path, "UPDATE event SET offset = 1000 WHERE offset = 3")
    edit(path, "UPDATE event SET offset = 3 WHERE offset = 4")
    edit(path, "UPDATE event SET offset = 4 WHERE offset = 1000")
    assert verify_log(path).bad == (3, 4)


def test_another_log_in_its_place_is_noticed(path: Path, tmp_path: Path) -> None:
    """A whole and honest log of as many records is not the one that was acknowledged: the tail file knows."""
    other = SqliteLog(tmp_path / "other" / "log")
    other.append([notice(number) for number in range(COUNT)])
    other.close()
    shutil.copy(tmp_path / "other" / "log", path)
    report = verify_log(path)
    assert not report.ok
    assert any("not the one that was acknowledged" in fault for fault in report.faults)


def test_every_random_edit_is_found(path: Path) -> None:
    """100 changes of one value each, wherever: none passes."""
    rng = random.Random(27)
    columns = ("received_at", "device", "sequence", "about", "body", "seal", "chain")
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA synchronous = OFF")
    for _ in range(100):
        column, offset = rng.choice(columns), rng.randint(1, COUNT)
        (old,) = connection.execute(f"SELECT {column} FROM event WHERE offset = ?", (offset,)).fetchone()
        new = rng.randbytes(32) if isinstance(old, bytes) else "x" * 9 if isinstance(old, str) else (old or 0) + 5000
        if column == "about":
            new = "somewhere else"
        connection.execute(f"UPDATE event SET {column} = ? WHERE offset = ?", (new, offset))
        report = verify_log(path)
        assert offset in report.bad + report.breaks, column
        connection.execute(f"UPDATE event SET {column} = ? WHERE offset = ?", (old, offset))
    connection.close()
    assert verify_log(path).ok


def test_a_missing_tail_is_told(path: Path) -> None:
    """Without it a loss of the end could not be seen, and the report says so."""
    path.with_name("log-tail").unlink()
    report = verify_log(path)
    assert report.checked == COUNT
    assert any("tail is missing" in fault for fault in report.faults)


def test_a_rotten_index_is_told(path: Path) -> None:
    """An entry that is missing from an index would hide a record from `about`: SQLite's own check tells."""
    connection = apsw.Connection(str(path))
    (root,) = connection.execute("SELECT rootpage FROM sqlite_schema WHERE name = 'event_about'").fetchone()
    connection.close()
    data = bytearray(path.read_bytes())
    at = (root - 1) * form.PAGE_BYTES
    data[at + 4] -= 1  # one cell fewer
    path.write_bytes(data)
    report = verify_log(path)
    assert report.checked == COUNT
    assert any(fault.startswith("SQLite: ") for fault in report.faults)


def test_records_behind_a_lost_first_page_are_salvaged(path: Path, written: tuple[Path, list[Record]]) -> None:
    """SQLite opens nothing without page 1; all records still lie in the raw file and are had from there."""
    data = bytearray(path.read_bytes())
    data[: form.PAGE_BYTES] = bytes(form.PAGE_BYTES)
    path.write_bytes(data)
    report = verify_log(path)
    assert (report.checked, report.last) == (0, COUNT)
    assert report.salvageable == report.bad == tuple(range(1, COUNT + 1))
    assert sorted(salvage(path), key=lambda record: record.offset) == written[1]


def test_salvage_takes_only_what_is_wanted(path: Path) -> None:
    """Asked for some offsets it gives these, each once."""
    assert sorted(record.offset for record in salvage(path, {3, 17}.__contains__)) == [3, 17]


def test_salvage_survives_garbage(tmp_path: Path) -> None:
    """Random pages that look like table leaves give no records and no errors."""
    rng = random.Random(1)
    pages = [b"\x0d" + rng.randbytes(form.PAGE_BYTES - 1) for _ in range(20)]
    (tmp_path / "log").write_bytes(b"".join(pages))
    (tmp_path / "log-wal").write_bytes(rng.randbytes(10_000))
    assert list(salvage(tmp_path / "log")) == []


def test_a_log_cut_in_half_keeps_its_first_half(path: Path) -> None:
    """Of a file that was cut short all missing records are named."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])
    report = verify_log(path)
    assert report.last == COUNT
    assert report.checked + len(report.bad) == COUNT
    assert report.checked + len(report.salvageable) > COUNT // 4
    assert not report.ok
