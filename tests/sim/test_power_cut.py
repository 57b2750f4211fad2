"""TRUST 1: power cuts under the real log, its recovery cut too: nothing acknowledged is lost or out of order."""

from __future__ import annotations

import multiprocessing

import pytest

from hotloop.testing.disk import PowerCuts, Step
from hotloop.testing.power import PowerReport, check_power_cuts

CUTS = 4_000
CUTS_FULL = 150_000


def test_nothing_acknowledged_is_lost_by_a_power_cut() -> None:
    """4,000 cuts, hundreds of them in a recovery, leave every acknowledged event once and in order."""
    report = check_power_cuts(CUTS, seed=1)
    assert report.cuts == CUTS
    assert report.recoveries > CUTS / 4
    assert report.runs >= 2


@pytest.mark.full
def test_nothing_acknowledged_is_lost_by_150_000_power_cuts() -> None:
    """The whole row, on two cores."""
    with multiprocessing.get_context("spawn").Pool(2) as pool:
        reports: list[PowerReport] = pool.starmap(
            check_power_cuts, [(CUTS_FULL // 30, seed) for seed in range(30)]
        )
    assert sum(report.cuts for report in reports) == CUTS_FULL


def test_the_same_seed_makes_the_same_cuts() -> None:
    """A cut that fails can be made again from its seed."""
    assert check_power_cuts(200, seed=5) == check_power_cuts(200, seed=5)


class Luck:
    """A random generator that always says the same."""

    def __init__(self, number: float) -> None:
        self.number = number

    def random(self) -> float:
        return self.number

    def randrange(self, _stop: int) -> int:
        return 0

    def randint(self, low: int, high: int) -> int:
        return high


def cut(
    steps: list[Step], turn: int, luck: float = 0.0, image: dict[str, bytes] | None = None
) -> dict[str, bytes]:
    """What a cut after all of the steps leaves."""
    plan = PowerCuts(image or {}, steps)
    for _ in plan.points():
        pass
    return plan.survivor(turn, Luck(luck))


WRITTEN = [Step("create", "a", 0), Step("write", file=0, at=0, data=b"x" * 1000)]


def test_what_is_not_synced_may_be_gone() -> None:
    """With no luck nothing unsynced survives, not even the file's name."""
    assert cut(WRITTEN, turn=0) == {}
    assert cut([*WRITTEN, Step("sync", file=0)], turn=0) == {}
    assert cut([*WRITTEN, Step("sync folder")], turn=0) == {"a": b""}


def test_what_is_synced_stays() -> None:
    """Content and name survive any luck once both are synced."""
    steps = [*WRITTEN, Step("sync", file=0), Step("sync folder")]
    for turn in range(4):
        assert cut(steps, turn, luck=0.1) == {"a": b"x" * 1000}


def test_a_kill_loses_nothing() -> None:
    """The second kind of luck is that of kill -9: all that was written is there."""
    assert cut(WRITTEN, turn=1) == {"a": b"x" * 1000}


def test_a_write_is_torn_at_sectors() -> None:
    """Of the last write of a prefix only some sectors survive, and the others keep what they held."""
    steps = [Step("write", file=0, at=0, data=b"x" * 1000)]
    assert cut(steps, turn=2, luck=0.4, image={"a": b"y" * 1000}) == {"a": b"x" * 1000}
    assert cut(steps, turn=2, luck=0.6, image={"a": b"y" * 1000}) == {"a": b"y" * 1000}

    class Every(Luck):
        def random(self) -> float:
            self.number = 1 - self.number
            return self.number

    plan = PowerCuts({"a": b"y" * 1000}, steps)
    for _ in plan.points():
        pass
    assert plan.survivor(2, Every(0.0)) == {"a": b"y" * 512 + b"x" * 488}


def test_a_deleted_name_may_come_back() -> None:
    """A deletion counts once the folder is synced; the content that comes back is the durable one."""
    image = {"a": b"old"}
    steps = [Step("delete", "a", 0)]
    assert cut(steps, turn=0, image=image) == {"a": b"old"}
    assert cut([*steps, Step("sync folder")], turn=0, image=image) == {}
    assert cut([*steps, Step("create", "a", 1)], turn=1, image=image) == {"a": b""}


def test_a_truncation_may_be_lost() -> None:
    """An unsynced truncation leaves the old length; a write behind the old end leaves zeros between."""
    image = {"a": b"yyyy"}
    assert cut([Step("truncate", file=0, at=1)], turn=0, image=image) == {"a": b"yyyy"}
    assert cut([Step("truncate", file=0, at=1), Step("sync", file=0)], turn=0, image=image) == {"a": b"y"}
    assert cut([Step("write", file=0, at=6, data=b"x")], turn=1, image=image) == {"a": b"yyyy\0\0x"}
