"""Check a log from end to end: every record against its seal, the chain, the tail file, and SQLite's own structure.

What SQLite can no longer reach (a rotten page above the records, or page 1 itself) is looked for in the raw
pages of the file and its WAL (`store.salvage`): a record found there is known to be whole by its seal.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

import apsw
import msgspec

from hotloop.errors import NewerFormatError, NotFoundError, StoreError
from hotloop.store import format as form
from hotloop.store.salvage import salvage
from hotloop.store.tail import Tail, TailFile
from hotloop.types import Record

FAULTS_MAX = 20  # of SQLite's own findings that a report repeats

_ROWS = f"SELECT {form.COLUMNS}, {form.CHAIN} FROM event WHERE offset > ? ORDER BY offset"  # noqa: S608


class LogReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was found in a log.

    checked: records that are as they were written. last: the highest offset that there was or should be.
    bad: offsets that cannot be read as written. salvageable: those of them that still lie whole in the raw file.
    breaks: offsets at which the chain does not follow from the record before: something was edited by hand.
    faults: what is wrong besides, in words. head: the chain at the last record, in hex: noted elsewhere, it
    shows later that not even the whole file was exchanged.
    """

    path: str
    checked: int
    last: int
    bad: tuple[int, ...] = ()
    salvageable: tuple[int, ...] = ()
    breaks: tuple[int, ...] = ()
    faults: tuple[str, ...] = ()
    head: str = ""

    @property
    def ok(self) -> bool:
        """Whether nothing at all is wrong."""
        return not (self.bad or self.breaks or self.faults)

    def __str__(self) -> str:
        """One line for people."""
        if self.ok:
            return f"{self.path}: {self.checked} records, all as written; chain {self.head[:16]}"
        parts = [f"{self.path}: {self.checked} of {self.last} records as written"]
        parts += [f"unreadable: {_list(self.bad)}"] if self.bad else []
        parts += [f"of these still whole in the raw file: {_list(self.salvageable)}"] if self.salvageable else []
        parts += [f"edited at: {_list(self.breaks)}"] if self.breaks else []
        return "; ".join([*parts, *self.faults])


class Scan:
    """One pass over a log's rows, in order: whole records come out, all else is noted.

    A row that is not whole is passed over, for its offset may be rotten as well: the gap it leaves names it.
    `watch` is an offset whose chains are kept in `watched`.
    """

    def __init__(self, watch: int = 0) -> None:
        self.checked = 0
        self.last = 0  # the highest offset that is accounted for
        self.trailing = 0  # rows passed over since the last whole record
        self.bad: list[int] = []
        self.breaks: list[int] = []
        self.chains = {form.START}  # those that the next record may follow; empty behind a gap
        self.watched: set[bytes] = set()
        self._watch = watch

    def rows(self, rows: Iterable[tuple[object, ...]]) -> Iterator[Record]:
        """The whole records in `rows`, whose columns are those of the table. Raises apsw.Error as the rows do."""
        for *columns, chain in rows:
            record = form.record(tuple(columns))
            if record is None:
                self.trailing += 1
            elif record.offset > self.last:
                self.skip_to(record.offset)
                self._follow(record.offset, columns[-1], chain)
                yield record

    def skip_to(self, offset: int) -> None:
        """Note that nothing whole lies between the last record and `offset`."""
        if offset > self.last + 1:
            self.bad.extend(range(self.last + 1, offset))
            self.chains = set()
            self.last = offset - 1

    def _follow(self, offset: int, sealed: object, chain: object) -> None:
        """Check that a whole record follows from the one before. One edit is named once, where it was made."""
        follows = {form.link(before, sealed) for before in self.chains if isinstance(sealed, bytes)}
        stored = {chain} if isinstance(chain, bytes) else set()
        if self.chains and not stored <= follows:
            self.breaks.append(offset)
        self.chains = stored if stored and stored <= follows else stored | follows
        self.checked += 1
        self.last = offset
        self.trailing = 0
        if offset == self._watch:
            self.watched = set(self.chains)


def read_all(connection: apsw.Connection, scan: Scan, after: int = 0) -> Iterator[Record]:
    """The whole records above `after`, in order. apsw.CorruptError where SQLite cannot go on."""
    yield from scan.rows(connection.execute(_ROWS, (after,)))


def verify_log(path: Path) -> LogReport:
    """Check the log at `path` in full. Damage is reported, not raised; nothing that it holds is changed.

    NotFoundError if there is none, NewerFormatError for a newer format. A log that is in use can be checked too.
    """
    if not path.is_file():
        raise NotFoundError(f"there is no log at {path}. Look at store.folder in loop.toml")
    faults: list[str] = []
    tail = _tail(path, faults)
    scan = Scan(watch=tail.offset)
    try:
        connection = form.connect(str(path), readonly=True)
        with contextlib.closing(connection):
            _pass_over(connection, scan, tail.offset)
            faults += _structure(connection)
    except NewerFormatError:
        raise
    except StoreError as error:
        faults.append(str(error))
    if scan.watched and tail.chain not in scan.watched:
        faults.append(f"record {tail.offset} is not the one that was acknowledged under this offset")
    head = next(iter(scan.chains)).hex() if len(scan.chains) == 1 else ""
    found: set[int] = set()
    if scan.bad or scan.trailing or faults or tail.offset > scan.last:
        missing, end = set(scan.bad), scan.last
        found = {record.offset for record in salvage(path, lambda at: at > end or at in missing)}
    scan.skip_to(max(scan.last + scan.trailing, tail.offset, *found, 0) + 1)
    return LogReport(
        path=str(path),
        checked=scan.checked,
        last=scan.last,
        bad=tuple(scan.bad),
        salvageable=tuple(offset for offset in scan.bad if offset in found),
        breaks=tuple(scan.breaks),
        faults=tuple(faults),
        head=head,
    )


def _tail(path: Path, faults: list[str]) -> Tail:
    """What the tail file says; offset 0 if it says nothing."""
    try:
        file = TailFile(str(path), readonly=True)
        tail = file.read()
        file.close()
    except apsw.Error:
        tail = None
    if tail is None or tail.damaged:
        faults.append(
            f"{path}-tail is {'damaged' if tail else 'missing'}: without it a loss of the newest records goes unseen. "
            "The next append writes it anew"
        )
    return tail or Tail(0, b"")


def _pass_over(connection: apsw.Connection, scan: Scan, upto: int) -> None:
    """Run `scan` over all rows; where SQLite cannot go on, go on behind. Offsets are known to reach `upto`."""
    after = 0
    while True:
        try:
            for _ in read_all(connection, scan, after):
                pass
        except apsw.Error:
            after = max(after, scan.last) + 1
            if after > max(upto, _highest(connection)):
                return
        else:
            return


def _highest(connection: apsw.Connection) -> int:
    """The highest offset that the table or an index knows, as far as it makes sense; 0 if none can be read."""
    for source in ("event", "event INDEXED BY event_key"):
        with contextlib.suppress(apsw.Error):
            count, highest = connection.execute(f"SELECT count(*), max(offset) FROM {source}").get  # noqa: S608
            if isinstance(highest, int):
                return min(highest, 2 * int(count) + 1)
    return 0


def _structure(connection: apsw.Connection) -> list[str]:
    """What SQLite finds wrong with its own pages and indices."""
    try:
        lines = [str(line) for (line,) in connection.execute(f"PRAGMA integrity_check({FAULTS_MAX})")]
    except (apsw.Error, UnicodeDecodeError) as error:
        lines = [str(error)]
    return [f"SQLite: {' '.join(line.split())}" for line in lines if line != "ok"]


def _list(offsets: tuple[int, ...]) -> str:
    """Offsets in words, short also for very many."""
    more = f" and {len(offsets) - 10} more" if len(offsets) > 10 else ""
    return ", ".join(str(offset) for offset in offsets[:10]) + more
