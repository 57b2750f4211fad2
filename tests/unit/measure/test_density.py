"""How much is verified, and how often models go out."""

import pytest

from hotloop.measure import density as module
from hotloop.measure.density import DAY_S, HOUR_S, OTHER, Density, Rate
from hotloop.measure.verdicts import Verdict
from hotloop.types import Live

T = 1_000_000_800.0


def verdict(line="line-1", at=T, first=True):
    """A verdict of a line, received at `at`."""
    return Verdict("p", line, 1, 1, at, at, at, at, first)


def test_share_and_rates_by_line():
    """Verified counts predictions, not opinions; the rate is since the line's first event."""
    density = Density()
    for i in range(10):
        density.predicted("line-1", T + i)
    density.predicted("line-2", T)
    for first in (True, True, False):
        density.verdict(verdict(at=T + 2 * HOUR_S, first=first))
    one, two = density.lines()
    assert (one.line, one.predictions, one.verified, one.verdicts) == ("line-1", 10, 2, 3)
    assert one.verified_share == pytest.approx(0.2)
    assert one.verdicts_last_hour == 3
    assert one.verdicts_per_hour == pytest.approx(1.5)
    assert (two.verdicts, two.verified_share) == (0, 0.0)


def test_all_lines_together():
    """The overall row adds the lines; its version is that of the line furthest behind."""
    density = Density()
    assert (density.overall().predictions, density.overall().version) == (0, 0)
    for i, line in enumerate(("line-1", "line-2", "line-3")):
        density.predicted(line, T)
        density.verdict(verdict(line))
        if i:
            density.live(Live(line=line, version=10 + i), T)
    whole = density.overall()
    assert (whole.line, whole.predictions, whole.verified, whole.verdicts_last_hour) == ("all", 3, 3, 3)
    assert whole.version == 11


def test_the_first_hour_counts_as_begun():
    """One verdict in the first second is not 3600 an hour."""
    density = Density()
    density.predicted("line-1", T)
    density.verdict(verdict())
    assert density.lines()[0].verdicts_per_hour == 1.0


def test_lines_beyond_the_limit_are_counted_together(monkeypatch):
    """A sender who makes up names cannot fill the memory."""
    monkeypatch.setattr(module, "LINES_MAX", 2)
    density = Density()
    for i in range(6):
        density.predicted(f"line-{i}", T)
    assert {line.line: line.predictions for line in density.lines()} == {OTHER: 4, "line-0": 1, "line-1": 1}


def test_releases_by_tier_and_day(story):
    """Every version counts once, whatever stages it goes through; rates are by the hub's clock."""
    density = Density()
    stages = (1, "start", T), (2, "reflex", T + 60), (2, "reflex", T + 70), (3, "refresh", T + 80)
    for version, tier, at in stages:
        density.released(story.release(version, 0, tier=tier).event.body, at)
    density.released(story.release(4, 0).event.body, T + 2 * DAY_S)
    cadence = density.cadence()
    assert cadence.releases == {"start": 1, "reflex": 2, "refresh": 1}
    assert cadence.releases_last_day == 1
    assert cadence.releases_per_day == pytest.approx(2.0)


def test_what_the_gate_decided_is_counted(story):
    """Refused and held updates, and the verdicts held back, are separate numbers."""
    density = Density()
    for decision, refused in (("promote", ()), ("refuse", (1, 2)), ("hold", ()), ("promote", (5,))):
        density.judged(story.judgement(decision, refused=refused).event.body)
    cadence = density.cadence()
    assert (cadence.refused, cadence.held, cadence.refused_verdicts) == (1, 1, 3)


def test_a_rate_slides():
    """Events leave the window a twelfth at a time, and all at once after a long silence."""
    rate = Rate(12.0)
    for second in range(24):
        rate.add(T + second)
    assert rate.count(T + 23) == 12
    assert rate.count(T + 29) == 6
    assert rate.count(T + 1000) == 0


def test_a_clock_that_jumps_back_loses_nothing():
    """An event from before the newest part counts into it."""
    rate = Rate(12.0)
    rate.add(T)
    rate.add(T - 500)
    assert rate.count(T) == 2
