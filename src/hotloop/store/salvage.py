"""Find records in the raw pages of a damaged log, without SQLite: each one is known to be whole by its seal.

Reads the table leaves of the file and of its WAL as https://sqlite.org/fileformat2.html lays them down. Nothing
is ever deleted from a log, so any whole copy of a record that lies in a page is the record.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from hotloop.store import format as form
from hotloop.types import Record

_PAGE = form.PAGE_BYTES
_LEAF = 0x0D
_WAL_HEADER, _FRAME_HEADER = 32, 24
_LOCAL_MAX = _PAGE - 35  # bytes of a row that may lie in its leaf (section 1.6 of the file format)
_LOCAL_MIN = (_PAGE - 12) * 32 // 255 - 23
_COLUMNS = 8
_INTEGER_BYTES = (0, 1, 2, 3, 4, 6, 8)  # by serial type


def salvage(path: Path) -> Iterator[Record]:
    """Every record that lies whole somewhere in the log at `path` or its WAL, in no order, some more than once."""
    pages = _Pages(path)
    for page in pages:
        if page[0] == _LEAF:
            yield from _leaf(page, pages)


class _Pages:
    """All pages of the file, then of its WAL; those of a number, the newest first."""

    def __init__(self, path: Path) -> None:
        self._file = path.read_bytes()
        wal = path.with_name(path.name + "-wal")
        self._wal = wal.read_bytes() if wal.is_file() else b""
        self._frames: dict[int, list[int]] = {}
        size = _FRAME_HEADER + _PAGE
        for at in range(_WAL_HEADER, len(self._wal) - size + 1, size):
            number = int.from_bytes(self._wal[at : at + 4], "big")
            self._frames.setdefault(number, []).append(at + _FRAME_HEADER)

    def __iter__(self) -> Iterator[bytes]:
        for at in range(0, len(self._file) - _PAGE + 1, _PAGE):
            yield self._file[at : at + _PAGE]
        for places in self._frames.values():
            for at in places:
                yield self._wal[at : at + _PAGE]

    def newest(self, number: int, *, skip_wal: bool) -> bytes:
        """The page of a number; empty if there is none."""
        places = [] if skip_wal else self._frames.get(number, [])
        if places:
            return self._wal[places[-1] : places[-1] + _PAGE]
        return self._file[(number - 1) * _PAGE : number * _PAGE] if number > 0 else b""


def _leaf(page: bytes, pages: _Pages) -> Iterator[Record]:
    """The whole records of a table leaf."""
    count = int.from_bytes(page[3:5], "big")
    for index in range(min(count, (_PAGE - 8) // 2)):
        at = int.from_bytes(page[8 + 2 * index : 10 + 2 * index], "big")
        for skip_wal in (False, True):  # an overflow page may be rotten in one place and whole in the other
            found = _cell(page, at, pages, skip_wal=skip_wal)
            if found is not None:
                yield found
                break


def _cell(page: bytes, at: int, pages: _Pages, *, skip_wal: bool) -> Record | None:
    """The record in the cell at byte `at` of a leaf, or None if there is no whole one."""
    try:
        size, at = _varint(page, at)
        offset, at = _varint(page, at)
        if size <= _LOCAL_MAX:
            payload = page[at : at + size]
        else:
            local = _LOCAL_MIN + (size - _LOCAL_MIN) % (_PAGE - 4)
            local = local if local <= _LOCAL_MAX else _LOCAL_MIN
            payload = page[at : at + local]
            number = int.from_bytes(page[at + local : at + local + 4], "big")
            while len(payload) < size:
                more = pages.newest(number, skip_wal=skip_wal)
                if len(more) < _PAGE:
                    return None
                payload += more[4 : 4 + size - len(payload)]
                number = int.from_bytes(more[:4], "big")
        columns = _columns(payload)
    except (IndexError, struct.error):
        return None
    return form.record((offset, *columns[1:7])) if len(columns) == _COLUMNS else None


def _columns(payload: bytes) -> list[object]:
    """The values of a row. IndexError if it is none of ours."""
    end, at = _varint(payload, 0)
    kinds: list[int] = []
    while at < end and len(kinds) < _COLUMNS:
        kind, at = _varint(payload, at)
        kinds.append(kind)
    at = end
    values: list[object] = []
    for index, kind in enumerate(kinds):
        size = (kind - 12) // 2 if kind >= 12 else 8 if kind == 7 else _INTEGER_BYTES[kind] if kind < 7 else 0
        raw = payload[at : at + size]
        values.append(_value(kind, raw, real=index == 1))
        at += size
    return values


def _value(kind: int, raw: bytes, *, real: bool) -> object:
    """One value by its serial type; SQLite stores a whole number of a REAL column as an integer."""
    if kind == 0:
        return None
    if kind >= 12:
        return raw  # text as its bytes
    if kind == 7:
        return float(struct.unpack(">d", raw)[0])
    number = kind - 8 if kind in (8, 9) else int.from_bytes(raw, "big", signed=True)
    return float(number) if real else number


def _varint(data: bytes, at: int) -> tuple[int, int]:
    """SQLite's variable-length integer at byte `at`, and the place behind it."""
    value = 0
    for index in range(8):
        byte = data[at + index]
        value = value << 7 | byte & 0x7F
        if byte < 0x80:
            return value, at + index + 1
    return value << 8 | data[at + 8], at + 9
