"""Bit rot in a log: every record is read as it was written, or named as lost; never wrong, never silently gone."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec

from hotloop.config import StoreConfig
from hotloop.errors import CorruptError, StoreError
from hotloop.store.log import SqliteLog
from hotloop.store.salvage import salvage
from hotloop.store.verify import LogReport, verify_log
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Event, Feedback, Notice, Record

EVENTS = 30
PAGE_RECORDS_MAX = 24  # of these events in one 4 KiB page: what a single flipped bit may cost
_SETTINGS = StoreConfig(group_commit_s=0.0)


class RotReport(msgspec.Struct, frozen=True):
    """How many bits were flipped, how many did harm, and the most records that one of them made unreadable."""

    places: int
    harmful: int
    lost_most: int


def check_bit_rot(folder: Path, places: int, seed: int = 0, opened_every: int = 100) -> RotReport:
    """Flip one bit at each of `places` places of a log, closed or left by a crash. AssertionError names the place.

    `verify_log` meets every one of them; the running log, for which all is copied, two of `opened_every`.
    """
    rng = random.Random(seed)
    logs = [_written(folder / "closed", crash=False), _written(folder / "crashed", crash=True)]
    harmful = lost_most = 0
    for number in range(places):
        path, records = logs[number % 2]
        file, at, bit = _aim(path, rng)
        place = f"seed {seed}, place {number}: bit {bit} of byte {at} of {file.name} ({path.parent.name})"
        with _flipped(file, at, bit):
            report = verify_log(path)
            _check_report(report, path, records, place)
            if number % opened_every < len(logs):
                _check_reading(path, set(report.bad), records, place)
        harmful += not report.ok
        lost_most = max(lost_most, len(report.bad) - len(report.salvageable))
    return RotReport(places, harmful, lost_most)


def _written(folder: Path, *, crash: bool) -> tuple[Path, list[Record]]:
    """A log and what it holds; with `crash` as a killed process leaves it, half of it still in the WAL."""
    path = folder / "log"
    log = SqliteLog(path, _SETTINGS, SimulatedClock())
    for number in range(EVENTS):
        body = (
            Notice(subject="rot", text="x" * (40, 900, 5000)[number % 3])
            if number % 2
            else Feedback(prediction=f"p-{number}", reviewer="ann", claims=())
        )
        log.append([Event(f"device-{number % 3}", number, body)])
        if crash and number == EVENTS // 2:
            log.close()
            log = SqliteLog(path, _SETTINGS, SimulatedClock())
    records = log.read(0, EVENTS)
    left = folder / "left"
    if crash:
        shutil.copytree(folder, left, ignore=shutil.ignore_patterns("left"))
    log.close()
    return (left if crash else folder) / "log", records


def _aim(path: Path, rng: random.Random) -> tuple[Path, int, int]:
    """A file of the log, a byte and a bit of it: anywhere, with more weight on headers and the tail file."""
    parts = [path, path.with_name("log-wal"), path.with_name("log-tail")]
    files = [part for part in parts if part.is_file() and part.stat().st_size]
    file = rng.choices(files, [max(one.stat().st_size, 4096) for one in files])[0]
    size = file.stat().st_size
    at = rng.randrange(min(size, 160)) if rng.random() < 0.1 else rng.randrange(size)
    return file, at, rng.randrange(8)


@contextlib.contextmanager
def _flipped(file: Path, at: int, bit: int) -> Iterator[None]:
    """A file with one bit flipped, and afterwards as it was."""
    number = os.open(file, os.O_RDWR)
    try:
        byte = os.pread(number, 1, at)
        os.pwrite(number, bytes([byte[0] ^ 1 << bit]), at)
        yield
        os.pwrite(number, byte, at)
    finally:
        os.close(number)


def _check_report(report: LogReport, path: Path, records: list[Record], place: str) -> None:
    """Every record is either whole or named, and nearly all that are named still lie in the raw file."""
    everyone = set(range(1, len(records) + 1))
    assert report.last == len(records), f"{place}: verify knows of {report.last} records, not {len(records)}"
    assert report.checked + len(report.bad) == len(records), f"{place}: a record is neither whole nor named"
    assert set(report.bad) <= everyone, f"{place}: verify names records that never were: {report.bad}"
    lost = set(report.bad) - set(report.salvageable)
    assert len(lost) <= PAGE_RECORDS_MAX, f"{place}: one bit made {len(lost)} records unreadable"
    if report.salvageable:
        for record in salvage(path, set(report.salvageable).__contains__):
            assert record == records[record.offset - 1], f"{place}: salvaged another record than was written"


def _check_reading(path: Path, bad: set[int], records: list[Record], place: str) -> None:
    """The running log gives back what was written, names what it cannot, or refuses to open: nothing else."""
    copy = path.parent / "copy"
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(path.parent, copy, ignore=shutil.ignore_patterns("*-shm", "*-lock", "left"))
    try:
        log = SqliteLog(copy / path.name, _SETTINGS, SimulatedClock())
    except StoreError:
        return  # loud; the rest is had from `salvage`
    named: set[int] = set()
    with contextlib.closing(log):
        assert log.last() == len(records), f"{place}: the log opens with {log.last()} records"
        after = 0
        while after < len(records):
            try:
                read = log.read(after, len(records))
            except CorruptError as error:
                named |= set(error.offsets)
                after = error.offsets[-1]
            else:
                assert read == records[after : after + len(read)], f"{place}: read other records than were written"
                assert read, f"{place}: nothing was read after {after}, and no error raised"
                after = read[-1].offset
    assert named <= bad, f"{place}: verify did not name {named - bad}"
