"""Power cuts under the real log: nothing acknowledged is lost, nothing is doubled, all is in order.

One run of `SqliteLog` on a simulated disk gives a journal; each cut of it gives a disk that a power cut could
have left. The log is opened on it, must hold what was acknowledged, takes the senders' retries, and the journal
of *that* run (the recovery, then the retries) is cut in turn.
"""

from __future__ import annotations

import contextlib
import random
from collections.abc import Sequence
from pathlib import Path

import apsw
import msgspec

from hotloop.config import StoreConfig
from hotloop.errors import StoreError
from hotloop.store import format as form
from hotloop.store.log import SqliteLog
from hotloop.store.verify import Scan, read_all
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.disk import Disk, Image, PowerCuts, SimulatedVfs, Step
from hotloop.types import Event, Notice

LUCKS = 4  # survivors of each cut point: see PowerCuts
DEPTH = 3  # a cut, a cut of its recovery, and one of that
_PATH = "log"
_SETTINGS = StoreConfig(group_commit_s=0.0)


class PowerReport(msgspec.Struct, frozen=True):
    """How many cuts were made, how many of them in a recovery, and how many runs they were cuts of."""

    cuts: int
    recoveries: int
    runs: int


class _Run(msgspec.Struct):
    """A run on a disk: the steps it took, and after how many of them how much was acknowledged."""

    steps: list[Step]
    acknowledged: list[tuple[int, int]]  # (steps done, last offset acknowledged)

    def durable(self, done: int) -> int:
        """The last offset that was acknowledged when `done` steps were done."""
        return max((last for steps, last in self.acknowledged if steps <= done), default=0)


def check_power_cuts(count: int, seed: int = 0) -> PowerReport:
    """Make `count` power cuts. AssertionError names the cut at which the log broke its word."""
    rng = random.Random(seed)
    vfs = SimulatedVfs(f"power-{seed}")
    try:
        return _cut_runs(count, seed, rng, vfs)
    except StoreError as error:
        raise AssertionError(f"seed {seed}: the log failed on a disk that works: {error}") from error
    finally:
        vfs.unregister()


def _cut_runs(count: int, seed: int, rng: random.Random, vfs: SimulatedVfs) -> PowerReport:
    cuts = recoveries = runs = 0
    while True:
        sent = _events(rng, count=16)
        run = _work(vfs, sent, rng)
        plan = PowerCuts({}, run.steps)
        runs += 1
        for done in plan.points():
            for turn in range(LUCKS):
                place = f"seed {seed}, run {runs}, step {done}, luck {turn}"
                image, depth = plan.survivor(turn, rng), 1
                known = run.durable(done)
                while True:
                    after = _recover(vfs, image, sent, known, rng, place)
                    cuts += 1
                    recoveries += depth > 1
                    if cuts >= count:
                        return PowerReport(cuts, recoveries, runs)
                    if depth == DEPTH or rng.random() < 0.5:
                        break
                    image, known, place = _cut_once(image, after, known, rng, place)
                    depth += 1


def _cut_once(image: Image, run: _Run, known: int, rng: random.Random, place: str) -> tuple[Image, int, str]:
    """One cut of a recovery: the disk it leaves, what is acknowledged by then, and where that was."""
    plan = PowerCuts(image, run.steps)
    aim, luck = rng.randint(0, len(run.steps)), rng.randrange(LUCKS)
    for done in plan.points():
        if done == aim:
            break
    return plan.survivor(luck, rng), max(known, run.durable(aim)), f"{place}, then step {aim}, luck {luck}"


def _events(rng: random.Random, count: int) -> list[Event]:
    """Events of two devices, from a few bytes to several pages."""
    sizes = [rng.choice((0, 40, 400, 1500, 5000)) for _ in range(count)]
    return [
        Event(f"device-{number % 2}", number // 2, Notice(subject="test", text="x" * size, at=float(number)))
        for number, size in enumerate(sizes)
    ]


def _work(vfs: SimulatedVfs, sent: Sequence[Event], rng: random.Random) -> _Run:
    """Append everything in small groups with some retries, closing and opening the log in between."""
    vfs.disk = Disk()
    acknowledged: list[tuple[int, int]] = []
    pages = rng.choice((4, 8, 1000))  # so that checkpoints are cut too, and long WALs
    done = 0
    while done < len(sent):
        log = _open(vfs, pages)
        for _ in range(rng.randint(2, 12)):
            group = sent[max(0, done - rng.randrange(3)) : done + rng.randint(1, 4)]
            if not group:
                break
            done = max(done, log.append(group)[-1])
            acknowledged.append((len(vfs.disk.steps), done))
        log.close()
    return _Run(vfs.disk.steps, acknowledged)


def _recover(
    vfs: SimulatedVfs, image: Image, sent: Sequence[Event], known: int, rng: random.Random, place: str
) -> _Run:
    """Open the log on what a cut left, retry from what was acknowledged, and check all of it."""
    vfs.disk = disk = Disk(image)
    try:
        log = _open(vfs, checkpoint_pages=4)
    except StoreError as error:
        raise AssertionError(f"{place}: the log does not open after a power cut: {error}") from error
    with contextlib.closing(log):
        assert log.last() >= known, f"{place}: {known} were acknowledged, {log.last()} are there"
        first = max(1, known)
        retried = sent[first - 1 : log.last() + rng.randrange(3)] if rng.random() < 0.5 else []
        offsets = log.append(retried)
        assert offsets == list(range(first, first + len(retried))), f"{place}: a retry got other offsets"
        run = _Run(disk.steps, [(len(disk.steps), offsets[-1] if offsets else known)])
        last = log.last()
    scan = Scan()
    with contextlib.closing(form.connect(_PATH, vfs.name, readonly=True)) as connection:
        try:
            events = [record.event for record in read_all(connection, scan)]
        except apsw.Error as error:
            raise AssertionError(f"{place}: the log cannot be read: {error}") from error
    damage = (scan.bad, scan.breaks, scan.trailing)
    assert damage == ([], [], 0), f"{place}: damaged (missing, edited, rotten at the end): {damage}"
    assert events == list(sent[:last]), f"{place}: events lost, doubled or out of order"
    return run


def _open(vfs: SimulatedVfs, checkpoint_pages: int) -> SqliteLog:
    return SqliteLog(Path(_PATH), _SETTINGS, SimulatedClock(), vfs=vfs.name, checkpoint_pages=checkpoint_pages)
