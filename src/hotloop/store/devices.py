"""Devices: a line's computer enrols once with a code, and has a token of its own from then on, until it is revoked.

    invite   an engineer's code for one line, good once and for some hours
    enrol    the code is changed for a token that speaks for that line alone
    revoke   a lost device is a stranger from the next request on

One SQLite file in the store's folder, so that the command line and a running hub may use it side by side. Codes and
tokens are random (256 bits); only their SHA-256 is kept.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from hotloop.errors import AccessError, NotFoundError, StoreError
from hotloop.ports import Clock

_FILE: Final = "devices.sqlite"
_BYTES: Final = 32
_BUSY_MS: Final = 5000
_SCHEMA: Final = """
CREATE TABLE IF NOT EXISTS device (
    line TEXT PRIMARY KEY,
    code TEXT,
    until REAL NOT NULL DEFAULT 0,
    token TEXT UNIQUE,
    since REAL NOT NULL DEFAULT 0,
    revoked INTEGER NOT NULL DEFAULT 0
) STRICT
"""


class Device(msgspec.Struct, frozen=True):
    """A line's computer as the hub knows it; `since`: of its token, or of its revocation."""

    line: str
    state: str  # "invited", "enrolled" or "revoked"
    since: float


class Devices:
    """The devices of a store. May be used from several threads, and processes."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """StoreError if the file cannot be opened."""
        self._path, self.clock, self._lock = folder / _FILE, clock, threading.Lock()
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._path.touch(mode=0o600)
            self._connection = apsw.Connection(str(self._path))
            self._connection.set_busy_timeout(_BUSY_MS)
            self._connection.pragma("synchronous", "FULL")
            self._connection.execute(_SCHEMA)
        except (apsw.Error, OSError) as error:
            raise StoreError(f"{self._path} cannot be opened ({error}): mend the disk, or its owner") from error

    def invite(self, line: str, hours: float) -> str:
        """A code for a line's computer. An older code of that line is good no more; a token is, until the new one."""
        code = secrets.token_urlsafe(_BYTES)
        self._run(
            "INSERT INTO device (line, code, until) VALUES (?1, ?2, ?3) "
            "ON CONFLICT (line) DO UPDATE SET code = ?2, until = ?3, revoked = 0",
            line,
            _hashed(code),
            self.clock.now() + 3600.0 * hours,
        )
        return code

    def enrol(self, line: str) -> str:
        """A token for the line whose code was shown; the code is good no more. AccessError if it was used meanwhile."""
        token = secrets.token_urlsafe(_BYTES)
        changed = self._run(
            "UPDATE device SET token = ?, since = ?, code = NULL WHERE line = ? AND code IS NOT NULL RETURNING line",
            _hashed(token),
            self.clock.now(),
            line,
        )
        if not changed:
            raise AccessError(f"the code of line {line!r} was used: make another with hotloop enrol", known=True)
        return token

    def revoke(self, line: str) -> None:
        """A device is a stranger from now on, and its code is good no more. NotFoundError."""
        sql = "UPDATE device SET token = NULL, code = NULL, revoked = 1, since = ? WHERE line = ? RETURNING line"
        if not self._run(sql, self.clock.now(), line):
            raise NotFoundError(f"no device of line {line!r} was ever invited: `hotloop enrol --line` invites one")

    def known(self, secret: bytes) -> tuple[str, bool]:
        """The line that a token or a code (its SHA-256) is of, and whether it is a token; ("", False) for neither."""
        sql = "SELECT line, coalesce(token = ?1, 0) FROM device WHERE token = ?1 OR (code = ?1 AND until >= ?2)"
        found = self._run(sql, secret.hex(), self.clock.now())
        return (str(found[0][0]), bool(found[0][1])) if found else ("", False)

    def all(self) -> list[Device]:
        """Every device, by line."""
        rows = self._run("SELECT line, token IS NOT NULL, revoked, since FROM device ORDER BY line")
        return [
            Device(line, "revoked" if revoked else "enrolled" if token else "invited", since)
            for line, token, revoked, since in rows
        ]

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def _run(self, statement: str, *values: str | float) -> list[Any]:
        with self._lock:
            try:
                return self._connection.execute(statement, values).fetchall()
            except apsw.Error as error:
                raise StoreError(f"{self._path} failed ({error}): mend the disk, and try again") from error


def _hashed(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()
