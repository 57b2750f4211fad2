"""The log's one writer: a thread that owns the write connection, commits in groups, and checkpoints.

Many threads append; each waits for the transaction that holds its events to be synced. While one group is
being synced the next one gathers, so that the cost of a sync is shared by as many as came in the meantime.
"""

from __future__ import annotations

import contextlib
import threading
from collections import deque
from concurrent.futures import Future

import apsw

from hotloop.config import StoreConfig
from hotloop.errors import CorruptError, HotloopError, InputError, KeyConflictError, OverloadError, StoreError
from hotloop.ports import Clock
from hotloop.store import format as form
from hotloop.store.format import Entry
from hotloop.store.tail import TailFile
from hotloop.types import UNREADABLE

RETRY_AFTER_S = 0.5
GROUP_EVENTS_MAX = 2000  # in one transaction; a single larger append is still one transaction
WAL_HARD_FACTOR = 8  # this many times the pages of a checkpoint, and the writer waits for readers to let go

_INSERT = "INSERT INTO event VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
_FIND = "SELECT offset, body FROM event WHERE device = ? AND sequence = ?"
_TIP = f"SELECT {form.COLUMNS}, {form.CHAIN} FROM event ORDER BY offset DESC LIMIT 1"  # noqa: S608


class _Call:
    """One `append` under way: its entries, and the promise of their offsets."""

    def __init__(self, entries: list[Entry]) -> None:
        self.entries = entries
        self.promise: Future[list[int]] = Future()


class Writer:
    """Commits appends in groups, in the order in which they came. Start it by making it."""

    def __init__(self, path: str, vfs: str, settings: StoreConfig, clock: Clock, checkpoint_pages: int) -> None:
        self._path = path
        self._settings = settings
        self._clock = clock
        self._checkpoint_pages = checkpoint_pages
        self._wal_pages = 0
        self._connection = form.connect(path, vfs)
        self._connection.set_wal_hook(self._note_pages)
        self._tail: TailFile | None = None
        self._tip: tuple[int, bytes] | None = None
        self._waiting: deque[_Call] = deque()
        self._group: list[_Call] = []  # being committed
        self._pending = 0  # events that wait or are being committed
        self._crowd = 1  # calls in the group before
        self._closing = False
        self._wake = threading.Condition()
        try:
            self._tail = TailFile(path, vfs)
            self.last = self._load_tip()[0]
        except (apsw.Error, StoreError) as error:
            failure = self._in_our_words(error)
            self._release()
            raise failure from error
        self._thread = threading.Thread(target=self._run, name="hotloop-log", daemon=True)
        self._thread.start()

    def append(self, entries: list[Entry]) -> list[int]:
        """Wait until the entries are durable; their offsets."""
        call = _Call(entries)
        with self._wake:
            if self._closing:
                raise StoreError(f"the log {self._path} is closed; open it again to append")
            if len(entries) > self._settings.pending_events_max:
                raise InputError(
                    f"{len(entries)} events in one append are more than store.pending_events_max = "
                    f"{self._settings.pending_events_max}: send them in parts"
                )
            if self._pending + len(entries) > self._settings.pending_events_max:
                raise OverloadError(
                    f"{self._pending} events wait for the disk of {self._path} already; "
                    f"send again in {RETRY_AFTER_S} s, or raise store.pending_events_max",
                    retry_after_s=RETRY_AFTER_S,
                )
            self._pending += len(entries)
            self._waiting.append(call)
            self._wake.notify()
        return call.promise.result()

    def close(self) -> None:
        """Commit what waits, then release the file."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._gather():
                self._serve(self._group)
        finally:  # also if a bug ends this thread: nobody may wait for ever
            with self._wake:
                self._closing = True
                left, self._waiting = self._waiting, deque()
            for call in [call for call in (*self._group, *left) if not call.promise.done()]:
                call.promise.set_exception(StoreError(f"the log {self._path} stopped; open it again and send again"))
            self._release()

    def _gather(self) -> bool:
        """Wait for the next group and take it; False at the end.

        When others were with the last call they are likely to be on their way again, so the group waits for
        them a little. A sender that is alone never waits.
        """
        with self._wake:
            while not self._waiting and not self._closing:
                self._wake.wait()
            if self._crowd > 1 and self._settings.group_commit_s > 0:
                self._wake.wait_for(
                    lambda: len(self._waiting) >= self._crowd or self._closing, self._settings.group_commit_s
                )
            group: list[_Call] = []
            self._group = group
            size = 0
            while self._waiting and (not group or size + len(self._waiting[0].entries) <= GROUP_EVENTS_MAX):
                group.append(self._waiting.popleft())
                size += len(group[-1].entries)
            self._crowd = len(group)
            return bool(group)

    def _serve(self, group: list[_Call]) -> None:
        """Commit a group and tell its callers: offsets, their own conflict, or the disk's failure for all."""
        answers: list[list[int] | HotloopError]
        try:
            answers = self._commit(group)
        except (apsw.Error, StoreError) as error:
            self._tip = None  # what the disk holds now is read again before the next group
            with contextlib.suppress(apsw.Error):  # if it fails here, the next group tries again
                self._roll_back()
            answers = [self._in_our_words(error) for _ in group]
        with self._wake:
            self._pending -= sum(len(call.entries) for call in group)
        for call, answer in zip(group, answers, strict=True):
            if isinstance(answer, HotloopError):
                call.promise.set_exception(answer)
            else:
                call.promise.set_result(answer)
        if self._wal_pages >= self._checkpoint_pages:
            self._checkpoint()

    def _in_our_words(self, error: apsw.Error | StoreError) -> StoreError:
        if isinstance(error, StoreError):
            return error
        return form.store_error(error, self._path, self._connection)

    def _commit(self, group: list[_Call]) -> list[list[int] | HotloopError]:
        """Write a group in one transaction; it is durable on return. apsw.Error if none of it is."""
        answers: list[list[int] | HotloopError] = []
        self._roll_back()
        self._connection.execute("BEGIN IMMEDIATE")
        tip = self._load_tip()
        for call in group:
            try:
                tip, offsets = self._place(call.entries, tip)
                answers.append(offsets)
            except (KeyConflictError, CorruptError) as error:
                answers.append(error)
        self._connection.execute("COMMIT")
        self._tip = tip
        if tip[0] > self.last:  # also if a commit that had failed is on the disk after all
            self._write_tail(tip)
            self.last = tip[0]
        return answers

    def _roll_back(self) -> None:
        """Take back a group that failed; often SQLite has done so itself."""
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")

    def _place(self, entries: list[Entry], tip: tuple[int, bytes]) -> tuple[tuple[int, bytes], list[int]]:
        """Write one call's new entries after `tip`; the tip after them and every entry's offset.

        All keys are looked up before anything is written, so that a refused call leaves nothing behind.
        """
        taken: dict[tuple[str, int], tuple[int, bytes]] = {}
        offsets: list[int] = []
        new: list[tuple[int, Entry]] = []
        offset, chain = tip
        for one in entries:
            key = (one.device, one.sequence)
            first = taken.get(key) or self._connection.execute(_FIND, key).fetchone()
            if first is None:
                offset += 1
                first = (offset, one.body)
                new.append((offset, one))
            elif first[1] != one.body:
                self._compare(first, one)
            taken[key] = first
            offsets.append(first[0])
        received_at = self._clock.now()
        for at, one in new:
            sealed = form.seal(at, received_at, one)
            chain = form.link(chain, sealed)
            row = (at, received_at, one.device, one.sequence, one.about, one.body, sealed, chain)
            self._connection.execute(_INSERT, row)
        return (offset, chain), offsets

    def _compare(self, first: tuple[int, bytes], one: Entry) -> None:
        """Refuse another event under a key that is taken; the same one, written by another version, may pass."""
        try:
            same = form.same_body(first[1], one.body)
        except UNREADABLE as error:
            raise CorruptError(
                f"{self._path}: record {first[0]} is damaged, so that its retry cannot be compared with it. "
                "See `hotloop verify`; restore a backup",
                offsets=(first[0],),
            ) from error
        if not same:
            raise KeyConflictError(
                f"device {one.device!r} used sequence {one.sequence} before, for another event (offset {first[0]}). "
                "Nothing of this request was taken: give each new event of a device a sequence of its own"
            )

    def _load_tip(self) -> tuple[int, bytes]:
        """The last durable offset and its chain; from the disk at first and after a failure."""
        if self._tip is None:
            self._tip = self._read_tip()
        return self._tip

    def _read_tip(self) -> tuple[int, bytes]:
        """The end of the log on the disk, checked. CorruptError if it is not where it was."""
        tail = self._tail.read() if self._tail else None
        known = tail.offset if tail else 0
        row = self._connection.execute(_TIP).fetchone() or (0, form.START)
        offset, chain = row[0], row[-1]
        whole = offset == 0 or form.record(row[:-1]) is not None
        if tail and not whole and offset == known:  # the record is rotten, but not its place in the chain
            return known, tail.chain
        if not whole:
            raise CorruptError(
                f"the last record of {self._path} (offset {offset}) is not as it was written. "
                "See `hotloop verify` for the extent, and restore a backup",
                offsets=(offset,),
            )
        if offset < known:
            raise CorruptError(
                f"{self._path} ends at offset {offset}, but records up to {known} were acknowledged: "
                f"{known - offset} are gone. Restore a backup, or see `hotloop verify` for what is still whole; "
                f"to go on without them, delete {self._path}-tail",
                offsets=tuple(range(offset + 1, known + 1)),
            )
        return offset, chain

    def _write_tail(self, tip: tuple[int, bytes]) -> None:
        if self._tail is not None:
            with contextlib.suppress(apsw.Error):  # the events are durable; an older tail is weaker, not wrong
                self._tail.write(*tip)

    def _note_pages(self, _connection: apsw.Connection, _name: str, pages: int) -> int:
        self._wal_pages = pages
        return apsw.SQLITE_OK

    def _checkpoint(self) -> None:
        """Move the WAL into the file. If that fails all of it still lies in the WAL, and the next group tries again."""
        hard = self._wal_pages >= WAL_HARD_FACTOR * self._checkpoint_pages
        mode = apsw.SQLITE_CHECKPOINT_RESTART if hard else apsw.SQLITE_CHECKPOINT_PASSIVE
        with contextlib.suppress(apsw.Error):
            self._connection.wal_checkpoint(mode=mode)

    def _release(self) -> None:
        """Close the connection (which moves the WAL into the file) and the tail."""
        with contextlib.suppress(apsw.Error):  # on a full or failed disk everything durable stays in the WAL
            self._connection.close()
        if self._tail is not None:
            with contextlib.suppress(apsw.Error):
                self._tail.close()
