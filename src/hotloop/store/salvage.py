"""Find records in the raw pages of a damaged log, without SQLite: each one is known to be whole by its seal.

Reads the table leaves of the file and of its WAL as https://sqlite.org/fileformat2.html lays them down. Nothing
is ever deleted from a log, so any whole copy of a record that lies in a page is the record.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
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


def salvage(path: Path, wanted: Callable[[int], bool] | None = None) -> Iterator[Record]:
    """Every record that lies whole somewhere in the log at `path` or its WAL, once, in no order.

    With `wanted` only those at offsets of which it says so, which is much quicker.
    """
    pages = _Pages(path)
    found: set[int] = set()
    for page in pages:
        if page[0] != _LEAF:
            continue
        for at in _cells(page):
            try:
                size, start = _varint(page, at)
                offset, start = _varint(page, start)
            except IndexError:
                continue
            if offset not in found and (wanted is None or wanted(offset)):
                record = _record(offset, page, (start, size), pages)
                if record is not None:
                    found.add(offset)
                    yield record


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


def _cells(page: bytes) -> Iterator[int]:
    """Where the cells of a leaf begin, as far as its header can be believed."""
    count = int.from_bytes(page[3:5], "big")
    for index in range(min(count, (_PAGE - 8) // 2)):
        yield int.from_bytes(page[8 + 2 * index : 10 + 2 * index], "big")


def _record(offset: int, page: bytes, place: tuple[int, int], pages: _Pages) -> Record | None:
    """The record whose row is at `place` (start, bytes) of a leaf, or None if it is not whole."""
    for skip_wal in (False, True):  # an overflow page may be rotten in one place and whole in the other
        try:
            columns = _columns(_payload(page, place, pages, skip_wal=skip_wal))
        except (IndexError, struct.error):
            continue
        record = form.record((offset, *columns[1:7])) if len(columns) == _COLUMNS else None
        if record is not None:
            return record
    return None


def _payload(page: bytes, place: tuple[int, int], pages: _Pages, *, skip_wal: bool) -> bytes:
    """A row's bytes: those in its leaf, then those in its chain of overflow pages. IndexError if that is broken."""
    start, size = place
    if size <= _LOCAL_MAX:
        return page[start : start + size]
    local = _LOCAL_MIN + (size - _LOCAL_MIN) % (_PAGE - 4)
    local = local if local <= _LOCAL_MAX else _LOCAL_MIN
    parts = [page[start : start + local]]
    number = int.from_bytes(page[start + local : start + local + 4], "big")
    left = size - local
    while left > 0:
        more = pages.newest(number, skip_wal=skip_wal)
        if len(more) < _PAGE:
            raise IndexError(number)
        parts.append(more[4 : 4 + left])
        left -= len(parts[-1])
        number = int.from_bytes(more[:4], "big")
    return b"".join(parts)


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
