"""Power cuts under an installation: a device always starts with a complete release that was checked."""

from __future__ import annotations

import contextlib
import random

import msgspec

from hotloop.errors import StoreError
from hotloop.store.slots import Slots
from hotloop.testing.disk import Disk, Image, PowerCuts, SimulatedVfs, Step
from hotloop.types import Model, digest

_LUCKS = 4


class SlotPowerReport(msgspec.Struct, frozen=True):
    """How many cuts were made, and how many of them in the middle of an installation."""

    cuts: int
    midway: int


class _Moment(msgspec.Struct, frozen=True):
    """After so many steps of the disk this version was acknowledged as what answers."""

    steps: int
    version: int


def check_slot_cuts(count: int, seed: int = 0) -> SlotPowerReport:
    """Make `count` power cuts. AssertionError names the cut after which no complete release was there."""
    rng, vfs = random.Random(seed), SimulatedVfs(f"slots-{seed}")
    cuts = midway = 0
    try:
        while True:
            steps, moments, bundles = _work(vfs, rng)
            plan = PowerCuts({}, steps)
            chosen = set(rng.sample(range(len(steps) + 1), min(len(steps) + 1, 60)))
            for done in plan.points():
                for turn in range(_LUCKS if done in chosen else 0):
                    place = f"seed {seed}, step {done}, luck {turn}"
                    _recover(vfs, plan.survivor(turn, rng), moments, bundles, (done, place))
                    cuts += 1
                    midway += all(moment.steps != done for moment in moments)
                    if cuts >= count:
                        return SlotPowerReport(cuts, midway)
    finally:
        vfs.unregister()


def _work(vfs: SimulatedVfs, rng: random.Random) -> tuple[list[Step], list[_Moment], dict[int, bytes]]:
    """Install releases on old and new backbones, go back now and then, start again."""
    vfs.disk = Disk()
    moments, bundles, bundle = [_Moment(0, 0)], {0: b""}, b""
    version = 0
    with contextlib.closing(Slots("slots", vfs.name)) as slots:
        for _ in range(25):
            if rng.random() < 0.2 and version > 1:
                found = slots.back()
                moments.append(_Moment(len(vfs.disk.steps), 0 if found is None else found.model.version))
            else:
                version += 1
                if rng.random() < 0.4:
                    bundle = rng.randbytes(rng.choice((100, 9_000, 40_000)))
                bundles[version] = bundle
                slots.install(_model(version, bundle, rng), bundle, proven=True)
                moments.append(_Moment(len(vfs.disk.steps), version))
            moments[-1] = _Moment(len(vfs.disk.steps), moments[-1].version)
    return vfs.disk.steps, moments, bundles


def _model(version: int, bundle: bytes, rng: random.Random) -> Model:
    backbone = digest(bundle) if bundle else ""
    head = rng.randbytes(rng.choice((50, 5_000)))
    return Model(
        version=version, parent=version - 1, tier="reflex", backbone=backbone, head=head, labels=("ok",), recipe="r"
    )


def _recover(
    vfs: SimulatedVfs, image: Image, moments: list[_Moment], bundles: dict[int, bytes], at: tuple[int, str]
) -> None:
    """What a device starts with after a cut is whole, and the last acknowledged, or the one under way."""
    done, place = at
    vfs.disk = Disk(image)
    known = max(k for k, moment in enumerate(moments) if moment.steps <= done)
    allowed = {moment.version for moment in moments[known : known + 2]}
    try:
        with contextlib.closing(Slots("slots", vfs.name)) as slots:
            found = slots.start()
    except StoreError as error:
        raise AssertionError(f"{place}: the device does not start after a power cut: {error}") from error
    version = 0 if found is None else found.model.version
    assert version in allowed, f"{place}: version {version} answers, not one of {sorted(allowed)}"
    if found is not None:
        assert found.bundle == bundles[version], f"{place}: version {version} has not its own backbone"
