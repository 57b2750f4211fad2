"""The embedded log beyond the laws of its port: groups, limits, ownership, rot, formats, failing disks."""

from __future__ import annotations

import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import apsw
import pytest

from hotloop.config import StoreConfig
from hotloop.errors import (
    CorruptError,
    DiskFullError,
    InputError,
    KeyConflictError,
    NewerFormatError,
    OverloadError,
    StoreBusyError,
    StoreError,
)
from hotloop.store import format as form
from hotloop.store.log import SqliteLog
from hotloop.testing.checks.log import notice
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.disk import Disk, SimulatedVfs
from hotloop.types import Event


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where a log may be."""
    return tmp_path / "log.sqlite"


@pytest.fixture
def log(path: Path) -> Iterator[SqliteLog]:
    """An open log, empty."""
    with_clock = SqliteLog(path, clock=SimulatedClock(now=50.0))
    yield with_clock
    with_clock.close()


@pytest.fixture
def vfs() -> Iterator[SimulatedVfs]:
    """A simulated disk to open a log on."""
    one = SimulatedVfs("unit-log")
    yield one
    one.unregister()


class GateClock(SimulatedClock):
    """A clock that stops the writer in the middle of its transaction until it is let go."""

    def __init__(self) -> None:
        super().__init__()
        self.reached = threading.Event()
        self.let_go = threading.Event()

    def now(self) -> float:
        self.reached.set()
        assert self.let_go.wait(60)
        return super().now()


def edit(path: Path, sql: str, *values: object) -> None:
    """Change the file of a closed log behind its back."""
    connection = apsw.Connection(str(path))
    connection.execute(sql, values)
    connection.close()


def flip(path: Path, needle: bytes) -> None:
    """Flip a bit in the middle of `needle`, wherever it lies in a file."""
    data = bytearray(path.read_bytes())
    assert data.count(needle) == 1
    data[data.index(needle) + len(needle) // 2] ^= 1
    path.write_bytes(data)


def test_it_is_set_up_to_be_durable(log: SqliteLog) -> None:
    """WAL, FULL, no checkpoint but the writer's own: what durability rests on."""
    connection = log._writer._connection
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2
    assert connection.pragma("wal_autocheckpoint") == 0


def test_the_sqlite_inside_is_newer_than_the_wal_reset_bug() -> None:
    """SQLite 3.7.0 to 3.51.2 can corrupt a WAL."""
    assert apsw.SQLITE_VERSION_NUMBER >= 3_051_003


def test_records_bear_the_time_of_arrival_by_the_hubs_clock(log: SqliteLog) -> None:
    """`received_at` is the injected clock's, whatever the device says."""
    log.append([notice(9)])
    assert log.read(0, 1)[0].received_at == 50.0


def test_many_senders_share_one_transaction(path: Path) -> None:
    """What gathers while one group is being written is committed together."""
    clock = GateClock()
    log = SqliteLog(path, StoreConfig(group_commit_s=0.0), clock)
    commits: list[int] = []
    log._writer._connection.set_wal_hook(lambda _connection, _name, pages: commits.append(pages) or 0)
    threads = [threading.Thread(target=log.append, args=([notice(0)],))]
    threads[0].start()
    assert clock.reached.wait(60)
    for number in range(1, 21):
        threads.append(threading.Thread(target=log.append, args=([notice(number)],)))
        threads[-1].start()
    while len(log._writer._waiting) < 20:
        pass
    clock.let_go.set()
    for thread in threads:
        thread.join()
    assert log.last() == 21
    assert len(commits) == 2
    log.close()


def test_a_conflict_harms_nobody_else_in_its_group(path: Path) -> None:
    """Of three senders in one transaction, the one in conflict is refused and the others are served."""
    clock = GateClock()
    log = SqliteLog(path, clock=clock)
    heard: dict[str, object] = {}

    def send(name: str, *events: Event) -> None:
        try:
            heard[name] = log.append(events)
        except KeyConflictError as error:
            heard[name] = type(error)

    sends = {"first": [notice(1)], "a": [notice(2)], "bad": [notice(3), notice(1, "x"), notice(4)], "b": [notice(5)]}
    threads = []
    for count, (name, events) in enumerate(sends.items()):
        threads.append(threading.Thread(target=send, args=(name, *events)))
        threads[-1].start()
        assert clock.reached.wait(60)
        while len(log._writer._waiting) < count:
            pass
    clock.let_go.set()
    for thread in threads:
        thread.join()
    assert heard == {"first": [1], "a": [2], "bad": KeyConflictError, "b": [3]}
    assert [record.event.sequence for record in log.read(0, 9)] == [1, 2, 5]
    log.close()


def test_a_full_queue_refuses_with_a_time_to_come_back(path: Path) -> None:
    """More than store.pending_events_max undurable events raise OverloadError; what was taken is kept."""
    clock = GateClock()
    log = SqliteLog(path, StoreConfig(pending_events_max=3), clock)
    first = threading.Thread(target=log.append, args=([notice(1), notice(2)],))
    first.start()
    assert clock.reached.wait(60)
    with pytest.raises(OverloadError, match="pending_events_max") as caught:
        log.append([notice(3), notice(4)])
    assert caught.value.retry_after_s > 0
    clock.let_go.set()
    first.join()
    assert log.append([notice(3), notice(4)]) == [3, 4]
    log.close()


def test_an_append_that_could_never_fit_is_not_told_to_come_back(path: Path) -> None:
    """One append of more than the queue holds is an InputError: waiting would not help."""
    log = SqliteLog(path, StoreConfig(pending_events_max=3))
    with pytest.raises(InputError, match="send them in parts"):
        log.append([notice(number) for number in range(4)])
    assert log.last() == 0
    log.close()


def test_close_waits_for_what_was_handed_in(path: Path) -> None:
    """An append under way when the log is closed is committed and answered."""
    clock = GateClock()
    log = SqliteLog(path, clock=clock)
    heard: list[int] = []
    sender = threading.Thread(target=lambda: heard.extend(log.append([notice(1)])))
    sender.start()
    assert clock.reached.wait(60)
    closer = threading.Thread(target=log.close)
    closer.start()
    clock.let_go.set()
    sender.join()
    closer.join()
    assert heard == [1]


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_nobody_waits_for_a_writer_that_died(path: Path) -> None:
    """If a bug ends the writer's thread, the append under way and later ones hear a StoreError."""

    class BrokenClock(SimulatedClock):
        def now(self) -> float:
            raise ZeroDivisionError

    log = SqliteLog(path, clock=BrokenClock())
    with pytest.raises(StoreError, match="stopped"):
        log.append([notice(1)])
    with pytest.raises(StoreError, match="closed"):
        log.append([notice(2)])
    log.close()


def test_a_second_owner_is_refused(log: SqliteLog, path: Path) -> None:
    """One log has one writer, also within a process; the first goes on."""
    with pytest.raises(StoreBusyError, match="running already"):
        SqliteLog(path)
    assert log.append([notice(1)]) == [1]


def test_a_killed_owner_lets_go(path: Path) -> None:
    """The lock of a process ends with it, kill -9 included, and what it acknowledged is there."""
    code = (
        "import sys, os, pathlib\n"
        "from hotloop.store.log import SqliteLog\n"
        "from hotloop.testing.checks.log import notice\n"
        "log = SqliteLog(pathlib.Path(sys.argv[1]))\n"
        "log.append([notice(1)])\n"
        "print('ready', flush=True)\n"
        "sys.stdin.read()\n"
    )
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with child:
        assert child.stdout.readline() == b"ready\n"
        with pytest.raises(StoreBusyError):
            SqliteLog(path)
        child.kill()
    log = SqliteLog(path)
    assert log.append([notice(2), notice(1)]) == [2, 1]
    log.close()


def test_a_newer_format_is_refused_and_left_alone(path: Path) -> None:
    """A log of a newer hotloop raises NewerFormatError with its writer's name; no byte of it changes."""
    SqliteLog(path).close()
    edit(path, "UPDATE meta SET value = '7' WHERE name = 'format'")
    edit(path, "UPDATE meta SET value = 'hotloop 9.1' WHERE name = 'writer'")
    edit(path, "PRAGMA user_version = 7")
    before = path.read_bytes()
    with pytest.raises(NewerFormatError, match=r"hotloop 9\.1 in format 7"):
        SqliteLog(path)
    assert path.read_bytes() == before
    with pytest.raises(NewerFormatError):  # the lock was let go
        SqliteLog(path)


@pytest.mark.parametrize("pragma", ["user_version = 3", "user_version = 0", "application_id = 1"])
def test_a_rotten_header_is_not_taken_for_another_format(path: Path, pragma: str) -> None:
    """Where header and content disagree it is damage, not another version or another program."""
    SqliteLog(path).close()
    edit(path, f"PRAGMA {pragma}")
    with pytest.raises(CorruptError, match="header"):
        SqliteLog(path)


def test_another_programs_database_is_refused(path: Path) -> None:
    """A SQLite file that is no log is not written to."""
    edit(path, "CREATE TABLE mine (x)")
    before = path.read_bytes()
    with pytest.raises(StoreError, match="another program"):
        SqliteLog(path)
    assert path.read_bytes() == before


def test_a_file_that_is_no_database_is_refused(path: Path) -> None:
    """Garbage raises CorruptError."""
    path.write_bytes(b"no database" * 1000)
    with pytest.raises(CorruptError):
        SqliteLog(path)


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A folder under a file cannot be made: StoreError says where."""
    (tmp_path / "file").write_text("x")
    with pytest.raises(StoreError, match=r"store\.folder"):
        SqliteLog(tmp_path / "file" / "log.sqlite")


def test_missing_folders_are_made(tmp_path: Path) -> None:
    """The log's folder need not be there."""
    log = SqliteLog(tmp_path / "a" / "b" / "log.sqlite")
    assert log.append([notice(1)]) == [1]
    log.close()


def test_a_rotten_record_is_named_and_the_rest_is_read(path: Path) -> None:
    """Reading stops before it, raises CorruptError with its offset, and goes on behind it."""
    log = SqliteLog(path)
    log.append([notice(number, f"the text of number {number} is here") for number in range(1, 7)])
    log.close()
    flip(path, b"the text of number 3 is here")
    log = SqliteLog(path)
    assert [record.offset for record in log.read(0, 10)] == [1, 2]
    with pytest.raises(CorruptError, match="record 3 ") as caught:
        log.read(2, 10)
    assert caught.value.offsets == (3,)
    assert [record.offset for record in log.read(3, 10)] == [4, 5, 6]
    assert log.append([notice(7)]) == [7]
    log.close()


def test_missing_records_are_named_together(path: Path) -> None:
    """A hole in the log is one error that names all of it, so that reading can go on behind."""
    log = SqliteLog(path)
    log.append([notice(number) for number in range(1, 21)])
    log.close()
    edit(path, "DELETE FROM event WHERE offset BETWEEN 5 AND 14")
    log = SqliteLog(path)
    with pytest.raises(CorruptError, match="5 more up to 14") as caught:
        log.read(4, 100)
    assert caught.value.offsets == tuple(range(5, 15))
    assert [record.offset for record in log.read(14, 100)] == list(range(15, 21))
    log.close()


def test_about_names_its_rotten_records(path: Path) -> None:
    """A rotten feedback is not left out in silence."""
    from hotloop.testing.checks.log import feedback

    log = SqliteLog(path)
    log.append([Event("d", number, feedback("p-1", f"reviewer-{number}")) for number in range(3)])
    log.close()
    edit(path, "UPDATE event SET body = x'c0' WHERE offset = 2")
    log = SqliteLog(path)
    with pytest.raises(CorruptError) as caught:
        log.about("p-1")
    assert caught.value.offsets == (2,)
    log.close()


def test_lost_acknowledged_records_are_not_passed_over(path: Path) -> None:
    """If the end of the log is gone it does not open and write over it; deleting the tail file accepts the loss."""
    log = SqliteLog(path)
    log.append([notice(number) for number in range(1, 6)])
    log.close()
    edit(path, "DELETE FROM event WHERE offset > 3")
    with pytest.raises(CorruptError, match="2 are gone") as caught:
        SqliteLog(path)
    assert caught.value.offsets == (4, 5)
    path.with_name(path.name + "-tail").unlink()
    log = SqliteLog(path)
    assert log.append([notice(4)]) == [4]
    log.close()


def test_a_rotten_wal_is_not_taken_for_the_end(path: Path, tmp_path: Path) -> None:
    """SQLite drops what is behind a rotten WAL frame without a word; the log does not."""
    log = SqliteLog(path)
    log.append([notice(1)])
    log.append([notice(2, "in the second transaction")])
    log.append([notice(3)])
    left = tmp_path / "left"
    shutil.copytree(tmp_path, left, ignore=shutil.ignore_patterns("left", "*-shm"))
    log.close()
    wal = left / "log.sqlite-wal"
    data = bytearray(wal.read_bytes())
    data[data.index(b"in the second transaction")] ^= 1
    wal.write_bytes(data)
    with pytest.raises(CorruptError, match="acknowledged") as caught:
        SqliteLog(left / "log.sqlite")
    assert caught.value.offsets == (2, 3)


@pytest.mark.parametrize("keep_tail", [True, False])
def test_a_rotten_last_record_does_not_break_the_chain(path: Path, keep_tail: bool) -> None:
    """The tail file knows the chain at the last record; without it there is nothing to build on."""
    log = SqliteLog(path)
    log.append([notice(1), notice(2)])
    log.close()
    edit(path, "UPDATE event SET body = x'00' WHERE offset = 2")
    if keep_tail:
        log = SqliteLog(path)
        assert log.append([notice(3)]) == [3]
        log.close()
    else:
        path.with_name(path.name + "-tail").unlink()
        with pytest.raises(CorruptError, match="last record"):
            SqliteLog(path)


def test_a_retry_of_a_rotten_record_is_neither_accepted_nor_a_conflict(path: Path) -> None:
    """Whether it is the same event cannot be known: CorruptError names the record, and the log goes on."""
    log = SqliteLog(path)
    log.append([notice(1), notice(2)])
    log.close()
    edit(path, "UPDATE event SET body = x'c1' WHERE offset = 1")
    log = SqliteLog(path)
    with pytest.raises(CorruptError) as caught:
        log.append([notice(1)])
    assert caught.value.offsets == (1,)
    assert log.append([notice(2), notice(3)]) == [2, 3]
    log.close()


def test_a_full_disk_is_named_and_outlived(vfs: SimulatedVfs) -> None:
    """DiskFullError while there is no room; then the same log goes on, with nothing lost or doubled."""
    log = SqliteLog(Path("log"), vfs=vfs.name)
    log.append([notice(1)])
    vfs.disk.fail(0, 1000, apsw.FullError)
    for _ in range(3):
        with pytest.raises(DiskFullError, match="Make room"):
            log.append([notice(2)])
    assert log.last() == 1
    vfs.disk.heal()
    assert log.append([notice(2), notice(1)]) == [2, 1]
    log.close()


def test_a_failing_disk_is_a_store_error(vfs: SimulatedVfs) -> None:
    """EIO is told apart from a full disk, and is outlived as well."""
    log = SqliteLog(Path("log"), vfs=vfs.name)
    vfs.disk.fail(0, 1, apsw.IOError)
    with pytest.raises(StoreError, match="disk of log failed") as caught:
        log.append([notice(1)])
    assert not isinstance(caught.value, DiskFullError)
    assert log.append([notice(1)]) == [1]
    log.close()


def test_a_failing_checkpoint_costs_nothing(vfs: SimulatedVfs) -> None:
    """The events stay durable in the WAL; the log goes on, and a later checkpoint moves them."""
    log = SqliteLog(Path("log"), vfs=vfs.name)
    log.append([notice(1, "x" * 9000)])
    size = len(vfs.disk.files[vfs.disk.names["log"]])
    vfs.disk.fail(0, 1000, apsw.IOError)
    log._writer._checkpoint()
    assert len(vfs.disk.files[vfs.disk.names["log"]]) == size
    vfs.disk.heal()
    assert log.append([notice(2), notice(1, "x" * 9000)]) == [2, 1]
    log._writer._checkpoint()
    assert len(vfs.disk.files[vfs.disk.names["log"]]) > size
    log.close()


def test_a_log_on_a_full_disk_opens_when_there_is_room(vfs: SimulatedVfs) -> None:
    """Opening fails with a StoreError, leaves nothing half made, and succeeds later."""
    vfs.disk = Disk()
    vfs.disk.fail(4, 1000, apsw.FullError)
    with pytest.raises(StoreError):
        SqliteLog(Path("log"), vfs=vfs.name)
    vfs.disk.heal()
    log = SqliteLog(Path("log"), vfs=vfs.name)
    assert log.append([notice(1)]) == [1]
    log.close()


def test_the_wal_does_not_grow_for_ever(path: Path) -> None:
    """The writer moves the WAL into the file as it goes, while readers come and go."""
    log = SqliteLog(path, checkpoint_pages=16)
    for number in range(60):
        log.append([notice(number, "x" * 4000)])
        log.read(0, 1)
    assert path.with_name(path.name + "-wal").stat().st_size < 40 * (form.PAGE_BYTES + 24)
    log.close()
    assert not path.with_name(path.name + "-wal").exists()
