"""Reading a log without owning it: while it is written, and where it is damaged."""

from __future__ import annotations

import apsw
import pytest

from hotloop.config import StoreConfig
from hotloop.errors import NotFoundError, StoreError
from hotloop.feedback import verdict
from hotloop.store.log import SqliteLog
from hotloop.store.reader import LogReader
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Event, Notice


def noted(sequence):
    return Event("hub", sequence, Notice(subject="s", text=str(sequence)))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "log.sqlite"


@pytest.fixture
def log(path):
    found = SqliteLog(path, StoreConfig(group_commit_s=0.0), clock=SimulatedClock())
    yield found
    found.close()


@pytest.fixture
def reader(log, path):
    found = LogReader(path)
    yield found
    found.close()


def test_a_loop_that_never_ran_says_so(path):
    """With the command that starts it; nothing is made."""
    with pytest.raises(NotFoundError, match="hotloop up"):
        LogReader(path)
    assert not path.exists()


def test_it_reads_what_the_owner_wrote(log, reader):
    """The same records as the log's own, in order."""
    log.append([noted(k) for k in range(1, 6)])
    assert list(reader.records()) == log.read(0, 10)
    assert reader.last() == 5


def test_it_sees_what_is_written_while_it_is_open(log, reader):
    """A report of a running hub is of now."""
    assert (reader.last(), list(reader.records())) == (0, [])
    log.append([noted(1)])
    assert reader.last() == 1
    log.append([noted(2)])
    assert [record.offset for record in reader.records()] == [1, 2]


def test_the_owner_goes_on_while_it_reads(log, reader):
    """A half-read log does not hold up an append."""
    log.append([noted(k) for k in range(1, 4)])
    records = reader.records()
    assert next(records).offset == 1
    assert log.append([noted(4)]) == [4]
    assert [record.offset for record in records][:2] == [2, 3]


def test_it_cannot_write(log, reader):
    """It was opened to read."""
    with pytest.raises(apsw.ReadOnlyError):
        reader._connection.execute("DELETE FROM event")


def test_it_finds_what_is_about_a_prediction(log, reader):
    """As the log's own look-up does; nothing for a name that is not there."""
    log.append([noted(1), Event("t", 1, verdict("p", [], "ann")), Event("t", 2, verdict("q", [], "ann"))])
    log.append([Event("t", 3, verdict("p", [], "bob"))])
    assert reader.about("p") == log.about("p")
    assert [record.offset for record in reader.about("p")] == [2, 4]
    assert reader.about("nobody") == []


def damaged(path, offset):
    """Change the body of one record behind the log's back."""
    connection = apsw.Connection(str(path))
    for (name,) in connection.execute("SELECT name FROM sqlite_schema WHERE type = 'trigger'").fetchall():
        connection.execute(f"DROP TRIGGER {name}")
    connection.execute("UPDATE event SET body = x'00' WHERE offset = ?", (offset,))
    connection.close()


def test_a_record_that_is_not_as_written_is_passed_over(path):
    """All others are read; the damaged one is neither told nor an error here."""
    log = SqliteLog(path, StoreConfig(group_commit_s=0.0), clock=SimulatedClock())
    log.append([noted(1), Event("t", 1, verdict("p", [], "ann")), noted(2), Event("t", 2, verdict("p", [], "bob"))])
    log.close()
    damaged(path, 2)
    reader = LogReader(path)
    assert [record.offset for record in reader.records()] == [1, 3, 4]
    assert [record.offset for record in reader.about("p")] == [4]
    reader.close()


def test_a_file_that_is_no_log_is_an_error(path):
    """Named, and left as it is."""
    path.write_bytes(b"not a database" * 1000)
    with pytest.raises(StoreError, match=r"log.sqlite"):
        LogReader(path)
    assert path.read_bytes() == b"not a database" * 1000
