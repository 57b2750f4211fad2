"""Bytes by name, in one SQLite file that one process owns: what a process must know again after it was killed.

Changes are put in groups, and a commit makes all that was put durable, in order and in one transaction: a power cut, or
kill -9, leaves all of a group or nothing of it. Who commits waits for one sync, however many put something meanwhile.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Final, TypeAlias

import apsw

from hotloop.errors import CorruptError
from hotloop.store.local import in_our_words, opened

Changes: TypeAlias = Mapping[str, bytes | None]
"""What is new: bytes by name; None: that name is no more."""
FORMAT: Final = 1
_SCHEMA: Final = "CREATE TABLE record (name TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT, WITHOUT ROWID"


class DiskRecords:
    """The file. May be used from several threads."""

    def __init__(self, path: Path | str, vfs: str = "") -> None:
        """StoreBusyError if another process has it, NewerFormatError, CorruptError. `vfs`: for simulation."""
        self._path = str(path)
        self._put = threading.Lock()
        self._writing = threading.Lock()
        self._pending: dict[str, bytes | None] = {}
        try:
            self._connection = opened(self._path, _SCHEMA, FORMAT, vfs)
        except (apsw.CorruptError, apsw.NotADBError) as error:
            words = f"{self._path} is damaged ({error}): move it away, and what it held is begun anew"
            raise CorruptError(words) from error

    def read(self) -> dict[str, bytes]:
        """All that is durable, by name. StoreError."""
        with self._writing:
            try:
                rows = self._connection.execute("SELECT name, data FROM record ORDER BY name")
                return {str(name): bytes(data) for name, data in rows}
            except apsw.Error as error:
                raise in_our_words(error, self._path) from error

    def put(self, changes: Changes) -> None:
        """Let these be durable with the next commit, all of them or none."""
        with self._put:
            self._pending |= changes

    def commit(self) -> None:
        """Return when all that was put before is durable. DiskFullError, StoreError: it is kept for the next commit."""
        with self._writing:
            with self._put:
                taken, self._pending = self._pending, {}
            if not taken:
                return
            try:
                with self._connection:
                    for name, data in taken.items():
                        self._write(name, data)
            except apsw.Error as error:
                with self._put:
                    self._pending = {**taken, **self._pending}
                raise in_our_words(error, self._path) from error

    def close(self) -> None:
        """Release the file. What was not committed is not kept."""
        with self._writing:
            self._connection.close()

    def _write(self, name: str, data: bytes | None) -> None:
        if data is None:
            self._connection.execute("DELETE FROM record WHERE name = ?", (name,))
        else:
            self._connection.execute("INSERT OR REPLACE INTO record VALUES (?, ?)", (name, data))
