"""What a line has still to deliver, on its own disk or in memory: see the port `Spool`.

On disk it is one SQLite file (WAL, synced before `put` returns), so that a power cut takes nothing that was put. A
file that is found damaged is set aside and a new one begun: a line must not stop because of its spool.
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Literal, get_args

import apsw

from hotloop.config import EdgeConfig
from hotloop.errors import StoreError
from hotloop.ports import Clock
from hotloop.store.local import in_our_words, opened
from hotloop.types import Spooled, SpoolKind, SpoolState, digest

FORMAT: Final = 2
KINDS: Final[tuple[SpoolKind, ...]] = get_args(SpoolKind)  # dearest first: their places are what the file holds
_EVENTS: Final = "(0, 1, 3, 5)"
_PAYLOADS: Final = "(2, 4, 6)"
_DEARER: Final = {3: 1, 4: 2, 5: 1, 6: 2}  # what becomes of a piece's own once a verdict is about it
_KEPT: Final = 1  # up to this one nothing is dropped: a verdict, and the prediction it is about
_DROP_STEP: Final = 64
_CHEAPEST: Final = "SELECT number, kind FROM spool WHERE kind > ? ORDER BY kind DESC, number LIMIT ?"
_UPGRADES: Final = {  # format 1 knew nothing that was judged
    1: "UPDATE spool SET kind = kind + 2 WHERE kind > 0;"
    "UPDATE spool SET kind = CASE kind WHEN 3 THEN 1 WHEN 5 THEN 1 ELSE 2 END "
    "WHERE kind > 2 AND of IN (SELECT of FROM spool WHERE kind = 0)"
}
_SCHEMA: Final = """
CREATE TABLE spool (
    number INTEGER PRIMARY KEY AUTOINCREMENT,
    kind INTEGER NOT NULL,
    of TEXT NOT NULL,
    at REAL NOT NULL,
    digest TEXT,
    size INTEGER NOT NULL,
    data BLOB NOT NULL
) STRICT;
CREATE INDEX spool_kind ON spool (kind, number);
CREATE INDEX spool_of ON spool (of);
CREATE INDEX spool_at ON spool (at);
CREATE UNIQUE INDEX spool_digest ON spool (digest) WHERE digest IS NOT NULL;
CREATE TABLE dropped (reason TEXT PRIMARY KEY, count INTEGER NOT NULL) STRICT;
"""


class DiskSpool:
    """A spool in one file. May be used from several threads."""

    def __init__(self, path: Path | str, config: EdgeConfig, clock: Clock, vfs: str = "") -> None:
        """StoreBusyError if another process has it; NewerFormatError. `vfs` can be given for simulation."""
        self._path, self._config, self._clock, self._vfs = str(path), config, clock, vfs
        self._lock = threading.Lock()
        try:
            self._connection = self._opened()
        except (apsw.CorruptError, apsw.NotADBError):
            self._set_aside()
            self._connection = self._opened()
        self._bytes = int(self._one("SELECT coalesce(sum(size), 0) FROM spool"))

    def put(self, items: Sequence[Spooled], lost: Mapping[str, int]) -> None:
        """See `Spool`."""
        with self._changing():
            for item in items:
                self._insert(item)
            self._count(lost)
            self._drop_old()
            self._drop_surplus()

    def waiting(self, what: Literal["events", "payloads"], limit: int) -> list[Spooled]:
        """See `Spool`."""
        kinds = _EVENTS if what == "events" else _PAYLOADS
        rows = f"SELECT number, kind, of, at, data FROM spool WHERE kind IN {kinds} ORDER BY number LIMIT ?"  # noqa: S608
        with self._reading():
            return [
                Spooled(KINDS[kind], of, at, data, number) for number, kind, of, at, data in self._rows(rows, limit)
            ]

    def done(self, items: Sequence[Spooled]) -> None:
        """See `Spool`."""
        with self._changing():
            for item in items:
                self._forget("number = ?", item.number)

    def state(self) -> SpoolState:
        """See `Spool`."""
        with self._reading():
            return SpoolState(
                events=int(self._one(f"SELECT count(*) FROM spool WHERE kind IN {_EVENTS}")),  # noqa: S608
                payloads=int(self._one(f"SELECT count(*) FROM spool WHERE kind IN {_PAYLOADS}")),  # noqa: S608
                size_bytes=self._bytes,
                oldest_at=float(self._one("SELECT coalesce(min(at), 0.0) FROM spool")),
                dropped=dict(self._rows("SELECT reason, count FROM dropped")),
            )

    def close(self) -> None:
        """See `Spool`."""
        with self._lock:
            self._connection.close()

    @contextlib.contextmanager
    def _changing(self) -> Iterator[None]:
        """All of it or nothing, synced at its end."""
        with self._lock:
            before = self._bytes
            try:
                with self._connection:
                    yield
            except apsw.Error as error:
                self._bytes = before
                raise in_our_words(error, self._path) from error

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """StoreError where the disk gives nothing."""
        with self._lock:
            try:
                yield
            except apsw.Error as error:
                raise in_our_words(error, self._path) from error

    def _insert(self, item: Spooled) -> None:
        place = KINDS.index(item.kind)
        name = digest(item.data) if item.kind.endswith("payload") else None
        if item.kind == "verdict":
            for cheap, dear in _DEARER.items():
                self._run("UPDATE spool SET kind = ? WHERE of = ? AND kind = ?", dear, item.of, cheap)
        if name is not None and self._run("SELECT 1 FROM spool WHERE digest = ?", name).fetchone():
            self._run("UPDATE spool SET kind = min(kind, ?), of = ? WHERE digest = ?", place, item.of, name)
            return
        size = len(item.data)
        self._run(
            "INSERT INTO spool (kind, of, at, digest, size, data) VALUES (?, ?, ?, ?, ?, ?)",
            *(place, item.of, item.at, name, size, item.data),
        )
        self._bytes += size

    def _drop_old(self) -> None:
        """What is older than it may be, verdicts and what they are about apart."""
        limit = self._clock.now() - self._config.spool_age_s_max
        old = f"kind > {_KEPT} AND at < ?"
        counts = list(self._rows(f"SELECT kind, count(*) FROM spool WHERE {old} GROUP BY kind", limit))  # noqa: S608
        if counts:
            self._count({f"{KINDS[kind]}: too old": count for kind, count in counts})
            self._forget(old, limit)

    def _drop_surplus(self) -> None:
        """The cheapest kind, oldest first, until the rest fits."""
        while self._bytes > self._config.spool_bytes_max:
            cheapest = list(self._rows(_CHEAPEST, _KEPT, _DROP_STEP))
            if not cheapest:
                return  # verdicts, and what they are about: kept whatever they take
            for number, kind in cheapest:
                if self._bytes <= self._config.spool_bytes_max:
                    return
                self._count({f"{KINDS[kind]}: full": 1})
                self._forget("number = ?", number)

    def _forget(self, which: str, value: float) -> None:
        gone = self._run(f"SELECT coalesce(sum(size), 0) FROM spool WHERE {which}", value).fetchone()  # noqa: S608
        self._run(f"DELETE FROM spool WHERE {which}", value)  # noqa: S608
        self._bytes -= int(gone[0]) if gone else 0

    def _count(self, lost: Mapping[str, int]) -> None:
        for why, count in lost.items():
            self._run("INSERT INTO dropped VALUES (?1, ?2) ON CONFLICT DO UPDATE SET count = count + ?2", why, count)

    def _run(self, statement: str, *values: str | float | bytes | None) -> apsw.Cursor:
        return self._connection.execute(statement, values)

    def _rows(self, statement: str, *values: float) -> Iterator[Any]:
        """Rows of what this class itself wrote: of the types of their columns."""
        return iter(self._connection.execute(statement, values))

    def _one(self, statement: str) -> float:
        return float(next(iter(self._connection.execute(statement)))[0])

    def _opened(self) -> apsw.Connection:
        return opened(self._path, _SCHEMA, FORMAT, self._vfs, _UPGRADES)

    def _set_aside(self) -> None:
        """A damaged file is kept beside, for whoever wants to look at it."""
        aside = f"{self._path}.damaged-{int(time.time())}"
        try:
            Path(self._path).replace(aside)
            for rest in ("-wal", "-shm"):
                Path(self._path + rest).unlink(missing_ok=True)
        except OSError as error:
            raise StoreError(f"{self._path} is damaged and cannot be set aside: {error}") from error


class MemorySpool:
    """The same without a disk: for lines that are simulated, or whose device must not be written to."""

    def __init__(self, config: EdgeConfig, clock: Clock) -> None:
        self._config, self._clock = config, clock
        self._items: OrderedDict[int, Spooled] = OrderedDict()
        self._digests: dict[str, int] = {}
        self._dropped: Counter[str] = Counter()
        self._bytes = self._number = 0
        self._lock = threading.Lock()

    def put(self, items: Sequence[Spooled], lost: Mapping[str, int]) -> None:
        """See `Spool`."""
        with self._lock:
            for item in items:
                self._keep(item)
            self._dropped.update(lost)
            limit = self._clock.now() - self._config.spool_age_s_max
            droppable = KINDS[_KEPT + 1 :]
            self._drop([item for item in self._items.values() if item.at < limit and item.kind in droppable], "too old")
            for kind in reversed(droppable):
                if self._bytes > self._config.spool_bytes_max:
                    self._drop([item for item in self._items.values() if item.kind == kind], "full")

    def waiting(self, what: Literal["events", "payloads"], limit: int) -> list[Spooled]:
        """See `Spool`."""
        with self._lock:
            return _first(self._items.values(), what, limit)

    def done(self, items: Sequence[Spooled]) -> None:
        """See `Spool`."""
        with self._lock:
            for item in items:
                self._forget(item.number)

    def state(self) -> SpoolState:
        """See `Spool`."""
        with self._lock:
            payloads = sum(item.kind.endswith("payload") for item in self._items.values())
            oldest = min((item.at for item in self._items.values()), default=0.0)
            return SpoolState(len(self._items) - payloads, payloads, self._bytes, oldest, dict(self._dropped))

    def close(self) -> None:
        """See `Spool`. What waits is gone with the process."""

    def _keep(self, item: Spooled) -> None:
        if item.kind == "verdict":
            for number, other in self._items.items():
                if other.of == item.of:
                    self._items[number] = _dearer(other, _DEARER.get(KINDS.index(other.kind), 0))
        name = digest(item.data) if item.kind.endswith("payload") else ""
        if (known := self._digests.get(name)) is not None:
            place = min(KINDS.index(item.kind), KINDS.index(self._items[known].kind))
            self._items[known] = Spooled(KINDS[place], item.of, self._items[known].at, item.data, known)
            return
        self._number += 1
        self._items[self._number] = Spooled(item.kind, item.of, item.at, item.data, self._number)
        self._bytes += len(item.data)
        if name:
            self._digests[name] = self._number

    def _drop(self, items: Iterable[Spooled], why: str) -> None:
        for item in items:
            if why == "full" and self._bytes <= self._config.spool_bytes_max:
                return
            self._dropped[f"{item.kind}: {why}"] += 1
            self._forget(item.number)

    def _forget(self, number: int) -> None:
        item = self._items.pop(number, None)
        if item is not None:
            self._bytes -= len(item.data)
            if item.kind.endswith("payload"):
                self._digests.pop(digest(item.data), None)


def _dearer(item: Spooled, place: int) -> Spooled:
    """The item as a dearer kind; as it is where there is none."""
    return Spooled(KINDS[place], item.of, item.at, item.data, item.number) if place else item


def _first(items: Iterable[Spooled], what: Literal["events", "payloads"], limit: int) -> list[Spooled]:
    found: list[Spooled] = []
    for item in items:
        if len(found) == limit:
            break
        if item.kind.endswith("payload") == (what == "payloads"):
            found.append(item)
    return found
