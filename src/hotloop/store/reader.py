"""Read a log without owning it: for reports and replays, also while a hub writes it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import apsw

from hotloop.errors import NotFoundError
from hotloop.store import format as form
from hotloop.store.verify import Scan, read_all
from hotloop.types import Record

_ABOUT = f"SELECT {form.COLUMNS} FROM event WHERE about = ? ORDER BY offset"  # noqa: S608
_LAST = "SELECT max(offset) FROM event"


class LogReader:
    """The log at `path`, to read. NotFoundError if there is none. Close it. For one thread."""

    def __init__(self, path: Path) -> None:
        if not path.is_file():
            raise NotFoundError(f"{path} is not there: this loop has not run yet. Start it with: hotloop up")
        self._path = str(path)
        self._connection = form.connect(self._path, readonly=True)

    def last(self) -> int:
        """The highest offset now."""
        return self._connection.execute(_LAST).get or 0

    def records(self) -> Iterator[Record]:
        """Every whole record, in order; what is not as it was written is passed over (`hotloop verify` names it)."""
        scan = Scan()
        after, last = 0, self.last()
        while after <= last:
            try:
                yield from read_all(self._connection, scan, after)
            except (apsw.CorruptError, apsw.IOError):
                after = max(after, scan.last) + 1
            else:
                return

    def about(self, prediction: str) -> list[Record]:
        """The whole records of a prediction and of the feedback on it, in order."""
        try:
            rows = self._connection.execute(_ABOUT, (prediction,)).fetchall()
        except apsw.Error as error:
            raise form.store_error(error, self._path) from error
        return [record for row in rows if (record := form.record(row)) is not None]

    def close(self) -> None:
        """Release it."""
        self._connection.close()
