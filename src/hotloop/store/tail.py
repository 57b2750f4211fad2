"""The tail file: how far the log had got, kept beside it so that a silent loss of its end is noticed."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

import apsw

_FORM = struct.Struct("<8sq32s")
_MAGIC = b"hltail1\n"
_SLOT_BYTES = 512  # a sector each, so that a torn write leaves the other slot whole
_SUM_BYTES = 16


@dataclass(frozen=True)
class Tail:
    """The newest durable offset when it was written, and the chain there. `damaged`: slots that were rotten."""

    offset: int
    chain: bytes
    damaged: int = 0


class TailFile:
    """The file `<log>-tail`: two slots, written in turn. Used by one thread at a time.

    Goes through the log's own VFS, so that a simulated disk loses its writes too. Raises apsw.Error.
    """

    def __init__(self, log: str, vfs: str = "", *, readonly: bool = False) -> None:
        create = apsw.SQLITE_OPEN_READWRITE | apsw.SQLITE_OPEN_CREATE
        mode = apsw.SQLITE_OPEN_READONLY if readonly else create
        name = log + "-tail"
        self._file = apsw.VFSFile(vfs, name, [mode | apsw.SQLITE_OPEN_MAIN_DB, 0])
        self._readonly = readonly
        self._turn = 0
        if not readonly and self._file.xFileSize() < 2 * _SLOT_BYTES:
            self._file.xWrite(bytes(2 * _SLOT_BYTES), 0)  # its room is taken now: a full disk cannot stop it later

    def read(self) -> Tail | None:
        """The newer of the slots; None where there is none yet. A damaged one is counted."""
        size = self._file.xFileSize()
        data = self._file.xRead(min(size, 2 * _SLOT_BYTES), 0) if size else b""
        slots = [data[at : at + _FORM.size + _SUM_BYTES] for at in (0, _SLOT_BYTES)]
        tails = [_parse(slot) for slot in slots]
        damaged = sum(tail is None and any(slot) for tail, slot in zip(tails, slots, strict=True))
        best = max((tail for tail in tails if tail), key=lambda tail: tail.offset, default=None)
        if best is None:
            return Tail(0, b"", damaged) if damaged else None
        self._turn = 1 - tails.index(best)
        return Tail(best.offset, best.chain, damaged)

    def write(self, offset: int, chain: bytes) -> None:
        """Say that everything up to `offset` is durable. Not synced: an older tail is weaker but never wrong."""
        packed = _FORM.pack(_MAGIC, offset, chain)
        self._file.xWrite(packed + _sum(packed), self._turn * _SLOT_BYTES)
        self._turn = 1 - self._turn

    def close(self) -> None:
        """Sync and release it."""
        try:
            if not self._readonly:
                self._file.xSync(apsw.SQLITE_SYNC_NORMAL)
        finally:
            self._file.xClose()


def _sum(packed: bytes) -> bytes:
    return hashlib.blake2b(packed, digest_size=_SUM_BYTES).digest()


def _parse(slot: bytes) -> Tail | None:
    packed = slot[: _FORM.size]
    if len(packed) < _FORM.size or slot[_FORM.size :] != _sum(packed):
        return None
    _, offset, chain = _FORM.unpack(packed)
    return Tail(offset, chain)
