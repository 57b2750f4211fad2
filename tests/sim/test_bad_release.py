"""TRUST 17: of a thousand simulated edges at most one wave ever runs a release that breaks devices."""

from __future__ import annotations

import random

import pytest

from hotloop.config import RolloutConfig
from hotloop.fleet import Fleet
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Declined, LineReport, Live, Model

LINES = [f"line-{k:04}" for k in range(1000)]


def model(version, backbone):
    return Model(
        version=version, parent=version - 1, tier="refresh", backbone=backbone, head=b"", labels=("ok",), recipe="r"
    )


def rolled_out(bad, seed):
    """Let a release go out to a thousand edges of twenty sites; which lines ever ran it, and how it ended."""
    rng, clock = random.Random(seed), SimulatedClock()
    fleet = Fleet(RolloutConfig(), clock)
    fleet.released(model(1, "a"))
    for number, line in enumerate(LINES):
        fleet.heard(LineReport(line=line, site=f"site-{number // 50:02}", version=1))
    fleet.released(model(2, "b"))
    ran, has = set(), dict.fromkeys(LINES, 1)
    for _ in range(300):  # seconds
        clock.advance(1.0)
        for line in LINES:
            if fleet.may(line) and has[line] == 1 and rng.random() < 0.5:  # a device takes its time
                ran.add(line)
                has[line] = 0 if line in bad else 2
                if line in bad:
                    fleet.declined(Declined(line=line, version=2, stays=1, reason="it hung"))
                else:
                    fleet.acknowledged(Live(line=line, version=2))
            else:
                fleet.seen(line)
        plan = fleet.tick()
        if plan is not None and plan.action in ("roll back", "everywhere"):
            return ran, plan
    raise AssertionError("neither everywhere nor back after five minutes")


@pytest.mark.parametrize(("share", "seed"), [(1.0, 0), (0.5, 1), (0.2, 2), (0.1, 3)])
def test_a_release_that_breaks_devices_reaches_one_wave(share, seed):
    """All of the others never see it."""
    rng = random.Random(seed)
    ran, plan = rolled_out({line for line in LINES if rng.random() < share}, seed)
    assert plan.action == "roll back"
    assert len(ran) <= 100
    assert "it hung" in plan.reason


def test_a_good_release_is_everywhere_within_a_minute():
    """Though one device in two hundred is broken."""
    ran, plan = rolled_out(set(LINES[::200]), 4)
    assert plan.action == "everywhere"
    assert len(ran) >= 500
