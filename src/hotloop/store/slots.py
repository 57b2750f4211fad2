"""Two places for a release on a device's disk: what answers, and what answered before it.

A release is put into the place that does not answer, and answers in the same transaction: a power cut leaves the one
or the other, whole. What is read is compared with its digest; if it is not what was written, the other one answers.
A release that has not proven itself (`proven`) and was started twice took the process down: the other one answers.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import apsw
import msgspec

from hotloop.store.local import in_our_words, opened
from hotloop.types import UNREADABLE, Model, digest

FORMAT: Final = 1
_STARTS_MAX: Final = 2  # of a release that has not proven itself
_SCHEMA: Final = """
CREATE TABLE slot (
    place INTEGER PRIMARY KEY,
    model BLOB NOT NULL,
    digest TEXT NOT NULL,
    backbone TEXT NOT NULL
) STRICT;
CREATE TABLE backbone (digest TEXT PRIMARY KEY, data BLOB NOT NULL) STRICT;
CREATE TABLE state (place INTEGER NOT NULL, proven INTEGER NOT NULL, starts INTEGER NOT NULL) STRICT;
INSERT INTO state VALUES (0, 1, 0);
"""


@dataclass(frozen=True)
class Installed:
    """A release as it was installed; `bundle` is its backbone's bytes (b"": the one that the device was built with)."""

    model: Model
    bundle: bytes


class Slots:
    """The two places, in one SQLite file. May be used from several threads."""

    def __init__(self, path: Path | str, vfs: str = "") -> None:
        """StoreBusyError if another process has it; StoreError. `vfs` can be given for simulation."""
        self._path = str(path)
        self._lock = threading.Lock()
        try:
            self._connection = opened(self._path, _SCHEMA, FORMAT, vfs)
        except apsw.Error as error:
            raise in_our_words(error, self._path) from error

    def install(self, model: Model, bundle: bytes, *, proven: bool) -> None:
        """Let a release answer from the next start on. DiskFullError, StoreError: all is as it was.

        `bundle`: its backbone's bytes; b"" where they are here already, or are those that the device was built with.
        """
        data = msgspec.msgpack.encode(model)
        with self._lock:
            try:
                with self._connection:
                    place = 1 - self._place()
                    backbone = digest(bundle) if bundle else self._known(model.backbone)
                    self._run("INSERT OR REPLACE INTO slot VALUES (?, ?, ?, ?)", place, data, digest(data), backbone)
                    if bundle:
                        self._run("INSERT OR REPLACE INTO backbone VALUES (?, ?)", backbone, bundle)
                    self._run("DELETE FROM backbone WHERE digest NOT IN (SELECT backbone FROM slot)")
                    self._run("UPDATE state SET place = ?, proven = ?, starts = 0", place, int(proven))
            except apsw.Error as error:
                raise in_our_words(error, self._path) from error

    def start(self) -> Installed | None:
        """What answers at a start of the process: the newest release that is whole and does not take the process down;
        None if there is none (then the start model does).
        """
        with self._lock:
            try:
                place, proven, starts = next(self._run("SELECT place, proven, starts FROM state"))
                fatal = not proven and starts >= _STARTS_MAX
                over, found = fatal, None if fatal else self._read(place)
                if found is None:
                    place, over = 1 - place, True
                    found = self._read(place)
            except apsw.Error as error:
                raise in_our_words(error, self._path) from error
            with suppress(apsw.Error), self._connection:  # a disk that is full can be read: the line answers as before
                if over:
                    self._over(place)
                if fatal:  # else it would answer again where the other place holds none
                    self._run("DELETE FROM slot WHERE place = ?", 1 - place)
                self._run("UPDATE state SET starts = starts + 1")
        return found

    def proven(self) -> None:
        """What answers has answered well: it may be started as often as need be."""
        with self._lock:
            try:
                self._run("UPDATE state SET proven = 1, starts = 0 WHERE proven = 0 OR starts > 0")
            except apsw.Error as error:
                raise in_our_words(error, self._path) from error

    def back(self) -> Installed | None:
        """Let what answered before answer again; None if nothing whole did: then the start model does."""
        with self._lock:
            try:
                with self._connection:
                    bad = self._place()
                    found = self._read(1 - bad)
                    self._over(1 - bad)
                    self._run("DELETE FROM slot WHERE place = ?", bad)
            except apsw.Error as error:
                raise in_our_words(error, self._path) from error
        return found

    def close(self) -> None:
        """Release the file."""
        with self._lock:
            self._connection.close()

    def _known(self, backbone: str) -> str:
        """The digest of a backbone that is here, else "": the one that the device was built with."""
        row = self._run("SELECT digest FROM backbone WHERE digest = ?", backbone).fetchone()
        return str(row[0]) if row else ""

    def _place(self) -> int:
        return int(next(self._run("SELECT place FROM state"))[0])

    def _over(self, place: int) -> None:
        """Go over to a place, as proven: it has answered before."""
        self._run("UPDATE state SET place = ?, proven = 1, starts = 0", place)

    def _read(self, place: int) -> Installed | None:
        """What lies in a place, if it is whole."""
        row = self._run("SELECT model, digest, backbone FROM slot WHERE place = ?", place).fetchone()
        if row is None:
            return None
        data, written, backbone = row
        bundle: object = b""
        if backbone:
            kept = self._run("SELECT data FROM backbone WHERE digest = ?", backbone).fetchone()
            bundle = kept[0] if kept else None
        if not isinstance(data, bytes) or not isinstance(bundle, bytes) or digest(data) != written:
            return None
        if backbone and digest(bundle) != backbone:
            return None
        try:
            return Installed(msgspec.msgpack.decode(data, type=Model), bundle)
        except UNREADABLE:
            return None

    def _run(self, statement: str, *values: str | float | bytes) -> Any:
        """Rows of what this class itself wrote: of the types of their columns."""
        return self._connection.execute(statement, values)
