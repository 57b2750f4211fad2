"""The embedded log: one SQLite file in WAL mode, one writer, group commit, readers beside it.

Durable means synced: `append` returns when the transaction that holds its events is on the disk
(`synchronous = FULL`), never before. The rules of the file are in `format`, the writing in `writer`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import apsw

from hotloop.config import StoreConfig
from hotloop.errors import CorruptError, DiskFullError, StoreBusyError, StoreError
from hotloop.ports import Clock
from hotloop.store import format as form
from hotloop.store.clock import SystemClock
from hotloop.store.writer import Writer
from hotloop.types import Event, Record

CHECKPOINT_PAGES = 1000  # of 4 KiB: the WAL is moved into the file when it has grown this long
IDLE_READERS_MAX = 8

_READ = f"SELECT {form.COLUMNS} FROM event WHERE offset > ? ORDER BY offset LIMIT ?"  # noqa: S608
_ONE = f"SELECT {form.COLUMNS} FROM event WHERE offset = ?"  # noqa: S608
_ABOUT = f"SELECT {form.COLUMNS} FROM event WHERE about = ? ORDER BY offset"  # noqa: S608


class SqliteLog:
    """Port `Log` on one file. One process writes it; a second one is refused with StoreBusyError.

    `vfs` names another SQLite VFS than the system's (`hotloop.testing.disk`). Such a disk has no shared
    memory and belongs to one process: there `append`, `last` and `close` work, reading needs a reopening.
    """

    def __init__(
        self,
        path: Path,
        settings: StoreConfig | None = None,
        clock: Clock | None = None,
        *,
        vfs: str = "",
        checkpoint_pages: int = CHECKPOINT_PAGES,
    ) -> None:
        """Open the log at `path`, made new if it is not there.

        StoreBusyError, NewerFormatError, DiskFullError, CorruptError (also if acknowledged records are gone).
        """
        self._path = str(path)
        self._lock = None if vfs else _own(path)
        try:
            self._writer = Writer(self._path, vfs, settings or StoreConfig(), clock or SystemClock(), checkpoint_pages)
        except StoreError:
            self._unlock()
            raise
        self._readers = _Readers(self._path)

    def append(self, events: Sequence[Event]) -> list[int]:
        """See `Log.append`. OverloadError when store.pending_events_max events wait already."""
        return self._writer.append([form.entry(event) for event in events]) if events else []

    def read(self, after: int, limit: int) -> list[Record]:
        """See `Log.read`. Stops short before a rotten record, and raises CorruptError when it is the first.

        CorruptError.offsets names it, and those directly behind it: go on with `after` = the last of them.
        """
        upto = min(self.last(), max(after, 0) + max(limit, 0))
        with self._readers.one() as reader:
            records = _read_run(reader, max(after, 0), upto)
            if records or upto <= max(after, 0):
                return records
            bad = _rotten_run(reader, max(after, 0), upto)
        raise CorruptError(
            f"{self._path}: {_span(bad)} cannot be read as written. `hotloop verify` shows the extent; "
            f"restore from a backup, or read on after offset {bad[-1]}",
            offsets=bad,
        )

    def about(self, prediction: str) -> list[Record]:
        """See `Log.about`. CorruptError names those of its records that are rotten."""
        with self._readers.one() as reader:
            rows = reader.execute(_ABOUT, (prediction,)).fetchall()
        records = [form.record(row) for row in rows]
        bad = tuple(int(str(row[0])) for row, record in zip(rows, records, strict=True) if record is None)
        if bad:
            raise CorruptError(
                f"{self._path}: {_span(bad)} about prediction {prediction!r} cannot be read as written. "
                "See `hotloop verify`; restore from a backup",
                offsets=bad,
            )
        return [record for record in records if record is not None]

    def last(self) -> int:
        """See `Log.last`."""
        self._readers.check()
        return self._writer.last

    def close(self) -> None:
        """See `Log.close`. What was handed to `append` before is still committed; closing twice is harmless."""
        self._readers.close()  # first: the last connection to close moves the WAL into the file
        self._writer.close()
        self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            self._lock.close()


class _Readers:
    """Connections for reading, taken and given back by any thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._idle: list[apsw.Connection] = []
        self._closed = False
        self._guard = threading.Lock()

    @contextlib.contextmanager
    def one(self) -> Iterator[apsw.Connection]:
        """A connection of one's own for a while. Failures of SQLite come out as StoreError."""
        self.check()
        with self._guard:
            connection = self._idle.pop() if self._idle else None
        if connection is None:
            connection = form.connect(self._path, readonly=True)
        try:
            yield connection
        except apsw.Error as error:
            raise form.store_error(error, self._path, connection) from error
        finally:
            with self._guard:
                keep = not self._closed and len(self._idle) < IDLE_READERS_MAX
                if keep:
                    self._idle.append(connection)
            if not keep:
                connection.close()

    def check(self) -> None:
        """StoreError after `close`."""
        if self._closed:
            raise StoreError(f"the log {self._path} is closed; open it again")

    def close(self) -> None:
        """Close the idle ones now, those in use when they come back."""
        with self._guard:
            self._closed = True
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def _read_run(reader: apsw.Connection, after: int, upto: int) -> list[Record]:
    """The good records after `after`, up to `upto` or to the first that is missing or rotten."""
    records: list[Record] = []
    with contextlib.suppress(apsw.CorruptError):  # a rotten page: what came before it is good
        for row in reader.execute(_READ, (after, upto - after)):
            record = form.record(row)
            if record is None or record.offset != after + len(records) + 1:
                break
            records.append(record)
    return records


def _rotten_run(reader: apsw.Connection, after: int, upto: int) -> tuple[int, ...]:
    """The offsets directly after `after` that cannot be read, the first of which is known not to be."""
    bad = [after + 1]
    while bad[-1] < upto and not _readable(reader, bad[-1] + 1):
        bad.append(bad[-1] + 1)
    return tuple(bad)


def _readable(reader: apsw.Connection, offset: int) -> bool:
    try:
        row = reader.execute(_ONE, (offset,)).fetchone()
    except apsw.CorruptError:
        return False
    return row is not None and form.record(row) is not None


def _span(offsets: tuple[int, ...]) -> str:
    """Offsets in words, short also for very many."""
    shown = ", ".join(str(offset) for offset in offsets[:5])
    more = f" and {len(offsets) - 5} more up to {offsets[-1]}" if len(offsets) > 5 else ""
    return f"{'records' if len(offsets) > 1 else 'record'} {shown}{more}"


def _own(path: Path) -> IO[bytes]:
    """Lock the log for this process; the kernel lets go when the process ends, however it ends."""
    name = f"{path}-lock"
    try:
        if not path.parent.is_dir():
            path.parent.mkdir(parents=True)
            _sync_folder(path.parent.parent)
        file = open(name, "ab")  # noqa: PTH123, SIM115 - held open for as long as the log is
    except OSError as error:
        kind = DiskFullError if error.errno in form.FULL else StoreError
        raise kind(
            f"{name} cannot be opened: {error.strerror}. Make room, or set store.folder to a place that can be written"
        ) from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise StoreBusyError(
            f"{path} belongs to a hotloop that is running already. Stop it, or give this one another store.folder"
        ) from error
    return file


def _sync_folder(folder: Path) -> None:
    """Make the entries of a folder durable."""
    number = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(number)
    finally:
        os.close(number)
