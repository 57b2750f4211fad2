"""Power cuts under the real spool: what was put is there, what was delivered may come again, counts are right."""

from __future__ import annotations

import contextlib
import random
from typing import Literal

import msgspec

from hotloop.config import EdgeConfig
from hotloop.errors import StoreError
from hotloop.store.spool import KINDS, DiskSpool
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.disk import Disk, Image, PowerCuts, SimulatedVfs
from hotloop.types import Spooled

_LIMITS = EdgeConfig(spool_bytes_max=20_000, spool_age_s_max=1e12)
_LUCKS = 4
_WHAT: tuple[Literal["events", "payloads"], ...] = ("events", "payloads")


class SpoolPowerReport(msgspec.Struct, frozen=True):
    """How many cuts were made, and how much the runs that were cut had dropped."""

    cuts: int
    dropped: int


class _Moment(msgspec.Struct, frozen=True):
    """After so many steps of the disk this was acknowledged: what waits, and how much was dropped so far."""

    steps: int
    waiting: frozenset[str]
    dropped: int


def check_spool_cuts(count: int, seed: int = 0) -> SpoolPowerReport:
    """Make `count` power cuts. AssertionError names the cut at which the spool broke its word."""
    rng, vfs = random.Random(seed), SimulatedVfs(f"spool-{seed}")
    cuts = dropped = 0
    try:
        while True:
            vfs.disk = Disk()
            moments, lost = _work(vfs, rng)
            dropped += lost
            plan = PowerCuts({}, vfs.disk.steps)
            points = list(range(len(vfs.disk.steps) + 1))
            chosen = set(rng.sample(points, min(len(points), 60)))
            for done in plan.points():
                if done not in chosen:
                    continue
                for turn in range(_LUCKS):
                    _recover(vfs, plan.survivor(turn, rng), moments, done, f"seed {seed}, step {done}, luck {turn}")
                    cuts += 1
                    if cuts >= count:
                        return SpoolPowerReport(cuts, dropped)
    finally:
        vfs.unregister()


def _work(vfs: SimulatedVfs, rng: random.Random) -> tuple[list[_Moment], int]:
    """Put, deliver and drop for a while; what was acknowledged when."""
    clock = SimulatedClock()
    moments = [_Moment(0, frozenset(), 0)]
    with contextlib.closing(DiskSpool("spool", _LIMITS, clock, vfs.name)) as spool:
        for step in range(40):
            if rng.random() < 0.3:
                spool.done(spool.waiting(rng.choice(("events", "payloads")), 4))
            else:
                sizes = [rng.choice((50, 500, 3000)) for _ in range(rng.randint(1, 3))]
                blobs = [rng.randbytes(size) for size in sizes]
                spool.put([Spooled(rng.choice(KINDS), f"{step}-{n}", 1e9, blob) for n, blob in enumerate(blobs)], {})
            moments.append(_moment(len(vfs.disk.steps), spool))
    return moments, moments[-1].dropped


def _moment(steps: int, spool: DiskSpool) -> _Moment:
    """What the spool holds now."""
    there = (item.of for what in _WHAT for item in spool.waiting(what, 10_000))
    return _Moment(steps, frozenset(there), sum(spool.state().dropped.values()))


def _recover(vfs: SimulatedVfs, image: Image, moments: list[_Moment], done: int, place: str) -> None:
    """Open the spool on what a cut left: it is as after the last acknowledged change, or as after the one under way."""
    vfs.disk = Disk(image)
    known = max(k for k, moment in enumerate(moments) if moment.steps <= done)
    try:
        spool = DiskSpool("spool", _LIMITS, SimulatedClock(), vfs.name)
    except StoreError as error:
        raise AssertionError(f"{place}: the spool does not open after a power cut: {error}") from error
    with contextlib.closing(spool):
        found = _moment(0, spool)
    allowed = [_Moment(0, moment.waiting, moment.dropped) for moment in moments[known : known + 2]]
    missing = moments[known].waiting - found.waiting
    assert found in allowed, f"{place}: missing {sorted(missing)}; {found.dropped} dropped, not {allowed[0].dropped}"
