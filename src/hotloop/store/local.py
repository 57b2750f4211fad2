"""A small SQLite file that one process alone uses, on a device's disk: opened, synced, and its errors in our words."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path

import apsw

from hotloop.errors import DiskFullError, NewerFormatError, StoreBusyError, StoreError


def opened(
    path: str, schema: str, newest: int, vfs: str = "", upgrades: Mapping[int, str] | None = None
) -> apsw.Connection:
    """The file at `path`, made with `schema` if it is not there. What was committed survives a power cut.

    `upgrades`: by an older format, the statement that makes the next one of it.

    StoreBusyError if another process has it, NewerFormatError above the format `newest`; apsw.CorruptError and
    apsw.NotADBError if it is damaged. `vfs` can be given for simulation.
    """
    try:
        if not vfs:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        connection = apsw.Connection(path, vfs=vfs or None)
    except (apsw.Error, OSError) as error:
        raise in_our_words(error, path) from error
    with ExitStack() as stack:
        stack.callback(connection.close)
        _prepare(connection, path, schema, newest)
        _upgrade(connection, path, newest, upgrades or {})
        stack.pop_all()
    return connection


def in_our_words(error: Exception, path: str) -> StoreError:
    """The error as one of ours."""
    if isinstance(error, apsw.FullError):
        return DiskFullError(f"the disk of {path} is full: make room; what was written before is safe")
    if isinstance(error, apsw.BusyError | apsw.LockedError):
        return StoreBusyError(f"{path} is in use by another process: one agent a line. Stop the other one")
    return StoreError(f"{path} failed ({error}): mend the disk; if it stays so, move the file away")


def _prepare(connection: apsw.Connection, path: str, schema: str, newest: int) -> None:
    """Settings, and the tables of a new file."""
    try:
        connection.set_busy_timeout(0)
        connection.pragma("locking_mode", "EXCLUSIVE")
        connection.pragma("journal_mode", "WAL")
        connection.pragma("synchronous", "FULL")
        found = connection.pragma("user_version")
        if found == 0:
            with connection:
                connection.execute(schema)
                connection.pragma("user_version", newest)
        check = connection.pragma("quick_check")
    except (apsw.CorruptError, apsw.NotADBError):
        raise
    except apsw.Error as error:
        raise in_our_words(error, path) from error
    if found > newest:
        raise NewerFormatError(f"{path} has format {found}; this hotloop knows {newest}: update it")
    if check != "ok":
        raise apsw.CorruptError(str(check))


def _upgrade(connection: apsw.Connection, path: str, newest: int, upgrades: Mapping[int, str]) -> None:
    """Bring an older file to the newest format, one at a time."""
    try:
        while (found := connection.pragma("user_version")) < newest:
            with connection:
                connection.execute(upgrades[found])
                connection.pragma("user_version", found + 1)
    except apsw.Error as error:
        raise in_our_words(error, path) from error
