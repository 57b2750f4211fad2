"""TRUST 6: a line that is offline for a day; and power cuts under its spool."""

from __future__ import annotations

import pytest

from hotloop.config import EdgeConfig
from hotloop.testing.offline_line import check_offline_day
from hotloop.testing.spool_power import check_spool_cuts


def test_a_line_that_was_offline_delivers_everything_once_and_in_order(tmp_path):
    """12 hours at four events a minute, with 30 % of the acknowledgements lost and 20 restarts."""
    report = check_offline_day(tmp_path, events=8_640)
    assert report.arrived == report.events
    assert report.dropped == {}
    assert report.requests > report.events / 200


def test_what_a_full_spool_drops_is_counted_to_the_last(tmp_path):
    """A spool for a fraction of the day: the rest is missing, and counted; no verdict is."""
    report = check_offline_day(tmp_path, events=4_000, limits=EdgeConfig(spool_bytes_max=200_000))
    assert report.arrived < report.events
    assert set(report.dropped) == {"flagged: full"}


def test_what_becomes_too_old_is_counted_to_the_last(tmp_path):
    """A spool for two hours."""
    report = check_offline_day(tmp_path, events=4_000, limits=EdgeConfig(spool_age_s_max=7_200.0))
    assert report.arrived < report.events
    assert set(report.dropped) == {"flagged: too old"}


@pytest.mark.full
def test_a_whole_day_at_an_event_a_second(tmp_path):
    """The whole row: 86,400 events."""
    report = check_offline_day(tmp_path)
    assert report.arrived == 86_400


def test_a_power_cut_takes_nothing_that_was_put():
    """4,000 cuts under the real spool: it is as after the last change that was acknowledged, or the one under way."""
    report = check_spool_cuts(4_000, seed=1)
    assert report.cuts == 4_000
    assert report.dropped > 0
