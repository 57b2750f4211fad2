"""A full or failing disk under the log: nothing acknowledged is lost, and it goes on by itself when there is room."""

from __future__ import annotations

import contextlib
import random
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import apsw
import msgspec

from hotloop.config import StoreConfig
from hotloop.errors import CorruptError, DiskFullError, StoreError
from hotloop.store import format as form
from hotloop.store.log import SqliteLog
from hotloop.store.verify import Scan, read_all, verify_log
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.disk import Disk, SimulatedVfs
from hotloop.types import Event, Notice

EVENTS = 24
ATTEMPTS_MAX = 100  # of one append, while the disk fails
_SETTINGS = StoreConfig(group_commit_s=0.0)


class FullDiskReport(msgspec.Struct, frozen=True):
    """How many limits were met, how many appends and openings they refused, and how many of these as DiskFullError."""

    limits: int
    refused: int
    full: int


def check_failing_calls(limits: int, seed: int = 0) -> FullDiskReport:
    """Let the n-th write, truncate or sync of a simulated disk fail, once or often, with ENOSPC or EIO."""
    rng = random.Random(seed)
    vfs = SimulatedVfs(f"full-{seed}")
    refused = full = 0
    try:
        for number in range(limits):
            vfs.disk = Disk()
            error = rng.choice((apsw.FullError, apsw.IOError))
            vfs.disk.fail(rng.randrange(160), rng.choice((1, 2, 5, 30)), error)
            place = f"seed {seed}, limit {number} ({error.__name__})"
            failures = _fill_simulated(vfs, rng, error, place)
            assert not any(isinstance(one, CorruptError) for one in failures), f"{place}: {failures} says it is damaged"
            if error is apsw.FullError:
                full += sum(isinstance(one, DiskFullError) for one in failures)
            refused += len(failures)
            vfs.disk.heal()
            _check_simulated(vfs, place)
    finally:
        vfs.unregister()
    return FullDiskReport(limits, refused, full)


def _fill_simulated(vfs: SimulatedVfs, rng: random.Random, error: type[apsw.Error], place: str) -> list[StoreError]:
    """Append all events, again and again where that is refused, to one log that stays open."""
    failures: list[StoreError] = []
    log: SqliteLog | None = None
    while log is None:
        assert len(failures) < ATTEMPTS_MAX, f"{place}: the log does not open again"
        try:
            log = SqliteLog(Path("log"), _SETTINGS, SimulatedClock(), vfs=vfs.name, checkpoint_pages=8)
        except StoreError as failure:
            failures.append(failure)
    with contextlib.closing(log):
        done = 0
        while done < EVENTS:
            group = [_event(number) for number in range(done, min(EVENTS, done + rng.randint(1, 3)))]
            try:
                offsets = log.append(group)
            except StoreError as failure:
                failures.append(failure)
                _check_failure(failures, error, place)
                continue
            assert offsets == list(range(done + 1, done + 1 + len(group))), f"{place}: wrong offsets {offsets}"
            done += len(group)
    return failures


def _check_failure(failures: list[StoreError], error: type[apsw.Error], place: str) -> None:
    assert len(failures) < ATTEMPTS_MAX, f"{place}: the log does not recover: {failures[-1]}"
    named = isinstance(failures[-1], DiskFullError)
    assert named == (error is apsw.FullError), f"{place}: raised {failures[-1]!r}"


def _check_simulated(vfs: SimulatedVfs, place: str) -> None:
    scan = Scan()
    with contextlib.closing(form.connect("log", vfs.name)) as connection:
        events = [record.event for record in read_all(connection, scan)]
    assert events == [_event(number) for number in range(EVENTS)], f"{place}: events lost, doubled or out of order"
    assert (scan.bad, scan.breaks) == ([], []), f"{place}: the log is damaged"


def check_file_limits(folder: Path, limits: int, seed: int = 0) -> FullDiskReport:
    """Let real files grow to odd sizes only (RLIMIT_FSIZE), then lift the limit under the open log.

    Changes the limit of the process it runs in: give it a child of its own (`python -m hotloop.testing.full_disk`).
    """
    rng = random.Random(seed)
    refused = 0
    for number in range(limits):
        size = rng.randrange(1, 200_000) | 1
        place = f"seed {seed}, limit {number} ({size} bytes)"
        path = folder / f"log-{number}"
        failures = _fill_limited(path, size, rng, place)
        assert all(isinstance(one, DiskFullError) for one in failures), f"{place}: {failures} is no DiskFullError"
        refused += len(failures)
        report = verify_log(path)
        assert (report.ok, report.checked) == (True, EVENTS), f"{place}: {report}"
        for file in folder.iterdir():
            file.unlink()
    return FullDiskReport(limits, refused, refused)


def _fill_limited(path: Path, size: int, rng: random.Random, place: str) -> list[StoreError]:
    """Append under a limit until the disk is full, then go on without it; what was acknowledged must be there."""
    failures: list[StoreError] = []
    pages = rng.choice((8, 1000))
    log: SqliteLog | None = None
    done = 0
    with _limited(size):
        try:
            log = SqliteLog(path, _SETTINGS, SimulatedClock(), checkpoint_pages=pages)
            while done < EVENTS:
                done = log.append([_event(done)])[-1]
        except StoreError as failure:
            failures.append(failure)
    log = log or SqliteLog(path, _SETTINGS, SimulatedClock(), checkpoint_pages=pages)
    with contextlib.closing(log):
        assert log.last() >= done, f"{place}: {done} were acknowledged, {log.last()} are there"
        offsets = log.append([_event(number) for number in range(EVENTS)])
        assert offsets == list(range(1, EVENTS + 1)), f"{place}: after making room the offsets are {offsets}"
        assert [record.event for record in log.read(0, EVENTS)] == [_event(number) for number in range(EVENTS)], place
    return failures


@contextlib.contextmanager
def _limited(size: int) -> Iterator[None]:
    """No file of this process may grow over `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def _event(number: int) -> Event:
    return Event("device", number, Notice(subject="full", text="x" * (37 * number % 8000)))


if __name__ == "__main__":
    sys.stdout.buffer.write(
        msgspec.json.encode(check_file_limits(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
    )
