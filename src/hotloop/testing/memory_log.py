"""The log in memory: the twin of `SqliteLog`, for tests and simulations. Nothing outlives the process."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hotloop.errors import KeyConflictError, StoreError
from hotloop.ports import Clock
from hotloop.store.clock import SystemClock
from hotloop.store.format import about_of, entry
from hotloop.types import Event, Record


class MemoryLog:
    """Port `Log` without a disk. May be shared by threads."""

    def __init__(self, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._records: list[Record] = []
        self._keys: dict[tuple[str, int], tuple[int, bytes]] = {}
        self._about: dict[str, list[Record]] = {}
        self._closed = False
        self._lock = threading.Lock()

    def append(self, events: Sequence[Event]) -> list[int]:
        """See `Log.append`."""
        entries = [entry(event) for event in events]
        with self._lock:
            self._check()
            keys: dict[tuple[str, int], tuple[int, bytes]] = {}
            new: list[Event] = []
            for event, one in zip(events, entries, strict=True):
                key = (one.device, one.sequence)
                first = self._keys.get(key) or keys.get(key)
                if first is None:
                    new.append(event)
                    first = (len(self._records) + len(new), one.body)
                elif first[1] != one.body:
                    raise KeyConflictError(f"{key} was used before, for another event (offset {first[0]})")
                keys[key] = first
            self._keys.update(keys)
            for event in new:
                record = Record(len(self._records) + 1, self._clock.now(), event)
                self._records.append(record)
                if (about := about_of(event.body)) is not None:
                    self._about.setdefault(about, []).append(record)
            return [keys[one.device, one.sequence][0] for one in entries]

    def read(self, after: int, limit: int) -> list[Record]:
        """See `Log.read`."""
        with self._lock:
            self._check()
            return self._records[max(after, 0) : max(after, 0) + max(limit, 0)]

    def about(self, prediction: str) -> list[Record]:
        """See `Log.about`."""
        with self._lock:
            self._check()
            return list(self._about.get(prediction, ()))

    def last(self) -> int:
        """See `Log.last`."""
        with self._lock:
            self._check()
            return len(self._records)

    def close(self) -> None:
        """See `Log.close`."""
        self._closed = True

    def _check(self) -> None:
        if self._closed:
            raise StoreError("the log in memory is closed; make another")
