"""Unit tests of driving.table: what is believed of a log, and what follows from it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hotloop.testing.drives import Drive, driven, steady, tracks_of, traffic
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.table import believed

LIMITS = MineConfig()


def test_a_track_of_one_frame_is_not_believed():
    """One frame, or less than half a second, is left out and counted; the others stay."""
    table = believed(tracks_of(Drive(steady(10, 30), 0.0), Drive([5.0], [9.0]), Drive(steady(10, 4), 20.0)), LIMITS)
    assert set(table.actor.tolist()) == {0}
    assert table.doubts.short == 2


def test_a_track_is_cut_where_it_jumps():
    """A change of place by 15 m in a frame makes two pieces of one actor, and is counted."""
    x = steady(10, 40)
    x[20:] += 15
    table = believed(tracks_of(Drive(x, 0.0)), LIMITS)
    assert len(np.unique(table.piece)) == 2
    assert table.doubts.jumps == 1
    assert (table.actor == 0).all()


def test_missing_frames_cut_a_track_without_being_a_jump():
    """An actor that is lost for a second comes back as another piece."""
    tracks = tracks_of(Drive(steady(10, 60), 0.0))
    keep = (tracks.frame < 20) | (tracks.frame > 32)
    columns = {name: getattr(tracks, name)[keep] for name in ("actor", "frame", "x", "y", "heading", "v", "a")}
    table = believed(replace(tracks, **columns), LIMITS)
    assert len(np.unique(table.piece)) == 2
    assert table.doubts.jumps == 0


def test_braking_is_the_slope_of_the_speed():
    """With a steady 6 m/s2 the middle of the braking has that acceleration, and no jerk."""
    v = np.concatenate((np.full(20, 20.0), 20.0 - 0.6 * np.arange(1, 21), np.full(20, 8.0)))
    table = believed(replace(tracks_of(Drive(driven(v), 0.0)), v=v), LIMITS)
    assert table.a[30] == pytest.approx(-6.0, abs=1e-9)
    assert table.jerk[30] == pytest.approx(0.0, abs=1e-9)
    assert table.a[5] == pytest.approx(0.0, abs=1e-9)
    assert table.jerk[20] < -5


def test_no_tyre_brakes_with_30():
    """A speed that falls by 24 m/s within a second is counted as unphysical."""
    v = np.concatenate((np.full(20, 26.0), np.linspace(26, 2, 9), np.full(20, 2.0)))
    assert believed(replace(tracks_of(Drive(driven(v), 0.0)), v=v), LIMITS).doubts.unphysical > 0


def test_a_circle_has_its_bend():
    """On a circle of 50 m the bend is 1/50, and nobody drifts across the course."""
    angle = 10.0 / 50 * 0.1 * np.arange(80)
    table = believed(tracks_of(Drive(50 * np.sin(angle), 50 - 50 * np.cos(angle))), LIMITS)
    assert table.box.bend[40] == pytest.approx(0.02, rel=0.02)
    assert abs(table.drift[40]) < 0.1


def test_a_lane_change_drifts_across_the_course():
    """Who changes lanes has a speed across its own course; who drives straight has none."""
    x = steady(20, 80)
    side = 3.6 / (1 + np.exp(-(np.arange(80) - 40) / 5.0))
    table = believed(tracks_of(Drive(x, side), Drive(x, 10.0)), LIMITS)
    drift = table.drift[table.actor == 0]
    assert drift.argmax() == pytest.approx(40, abs=2)
    assert drift.max() > 0.8
    assert np.abs(table.drift[table.actor == 1]).max() < 1e-9


def test_nothing_gives_nothing():
    """An empty table has no rows and no doubts."""
    empty = traffic(0, 1, 5).between(100, 200)
    table = believed(empty, LIMITS)
    assert len(table) == 0
    assert table.doubts.short == 0
