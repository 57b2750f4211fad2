"""The logs that hotloop brings keep the laws of the port."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest

from hotloop.ports import Log
from hotloop.store.log import SqliteLog
from hotloop.testing.checks.log import LAWS, Law, Opener, check_log
from hotloop.testing.memory_log import MemoryLog


def sqlite(folder: Path) -> Opener:
    """Opens one and the same file."""
    return lambda: SqliteLog(folder / "log.sqlite")


def memory() -> Opener:
    """Opens one and the same records."""
    kept = MemoryLog()

    def opened() -> Log:
        log = copy.copy(kept)
        log._closed = False
        return log

    return opened


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_sqlite_log_keeps(law: Law, tmp_path: Path) -> None:
    """The embedded log keeps each law."""
    law(sqlite(tmp_path))


@pytest.mark.parametrize("law", LAWS, ids=lambda law: law.__name__)
def test_the_memory_log_keeps(law: Law) -> None:
    """The twin in memory keeps each law."""
    law(memory())


def test_every_law_is_in_the_list() -> None:
    """A law that is written but not listed would never be asked."""
    from hotloop.testing.checks import log

    written = [one for name, one in vars(log).items() if getattr(one, "__annotations__", {}).get("opened")]
    assert set(written) == set(LAWS)
    assert all(law.__doc__ for law in LAWS)


def test_check_log_makes_a_new_log_for_each_law() -> None:
    """`check_log` runs all laws, each on a log of its own."""
    made: list[Opener] = []
    check_log(lambda: made.append(memory()) or made[-1])
    assert len(made) == len(LAWS)


class Deaf(MemoryLog):
    """Breaks one law: duplicates are written again."""

    def append(self, events):
        self._keys.clear()
        return super().append(events)


def test_a_log_that_breaks_a_law_is_found() -> None:
    """A log that forgets its keys fails the checks."""
    with pytest.raises(AssertionError):
        check_log(lambda: Deaf)
