"""Unit tests of driving.motion: constant velocity, constant turn rate, and what is learned on top."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.learn.moments import Moments
from hotloop.testing.drives import Drive, driven, steady, tracks_of, traffic
from hotloop.types import Rows
from hotloop.verticals.driving import motion
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.pairs import pairs_of
from hotloop.verticals.driving.table import believed

LIMITS = MineConfig()


def rows_of(tracks):
    """Features, residuals and the table."""
    table = believed(tracks, LIMITS)
    return motion.features(table, pairs_of(table, LIMITS)), motion.residuals(table), table


def test_constant_velocity_is_right_for_who_drives_straight_on():
    """No residual where a record is, and NaN where the log ends."""
    _, y, table = rows_of(tracks_of(Drive(steady(12, 60), 0.0)))
    assert np.abs(y[:30]).max() < 1e-9
    assert np.isnan(y[table.frame > 49, 0]).all()
    assert np.isnan(y[table.frame > 29, 4]).all()
    assert np.isfinite(y[table.frame <= 49, 0]).all()


def test_constant_turn_rate_is_right_on_a_circle():
    """On a circle the turning prediction is where the straight one is not."""
    angle = 10.0 / 40 * 0.1 * np.arange(80)
    table = believed(tracks_of(Drive(40 * np.sin(angle), 40 - 40 * np.cos(angle))), LIMITS)
    box = table.box.take(np.array([30]))
    x, y = motion.turning(box, 2.0)
    assert np.hypot(x - table.box.x[50], y - table.box.y[50])[0] < 0.1
    x, y = motion.straight(box, 2.0)
    assert np.hypot(x - table.box.x[50], y - table.box.y[50])[0] > 3.0


def test_residuals_are_in_the_actors_own_frame():
    """Who brakes lags behind along its own heading, whatever way it drives."""
    v = np.clip(15 - 0.2 * np.arange(60), 3.0, 15.0)
    for turn in (0.0, 2.0):
        way = driven(v)
        _, y, _ = rows_of(tracks_of(Drive(way * np.cos(turn), way * np.sin(turn))))
        assert y[20, 0] == pytest.approx(-1.0, abs=0.1)
        assert abs(y[20, 1]) < 1e-6


def test_the_learned_one_is_better_than_constant_velocity():
    """On other logs of like traffic its error is smaller, and nothing learned is constant velocity."""
    moments = Moments(len(motion.FEATURES), motion.TARGETS, 1.0)
    x, y, _ = rows_of(traffic(50, 20, 120))
    known = np.isfinite(y).all(axis=1)
    before = motion.errors(moments, x, y)
    np.testing.assert_allclose(before[known], motion.errors(None, x, y)[known])
    for seed in range(4):
        rows, wanted, _ = rows_of(traffic(seed, 20, 120))
        keep = np.isfinite(wanted).all(axis=1)
        moments.learn(Rows(rows[keep], wanted[keep], np.ones(int(keep.sum()))))
    after = motion.errors(moments, x, y)
    assert after[known].mean() < 0.9 * before[known].mean()


def test_features_see_the_leader_and_the_follower():
    """Of two in a lane the rear one has a leader 15.5 m ahead that it closes in on, the front one a follower."""
    x, _, table = rows_of(tracks_of(Drive(steady(15, 20), 0.0), Drive(steady(12, 20, 20.0), 0.0)))
    rear, front = (x[(table.actor == k) & (table.frame == 0)][0] for k in (0, 1))
    name = motion.FEATURES.index
    assert (rear[name("leader")], front[name("leader")]) == (1.0, 0.0)
    assert rear[name("gap")] == pytest.approx(15.5 / 20)
    assert rear[name("closing")] == pytest.approx(3.0 / 5)
    assert front[name("follower gap")] == pytest.approx(15.5 / 20)
    assert np.abs(x).max() <= 10


def test_counts_and_quantiles_belong_together():
    """Of errors that were counted, a larger one than nearly all has a quantile near 1; classes of speed are apart."""
    rng = np.random.default_rng(1)
    errors = rng.exponential(0.5, 5000)
    counts = motion.counted(np.append(errors, np.nan), np.full(5001, 20.0))
    assert counts.sum() == 5000
    found = motion.quantile(counts, np.array([0.011, 0.35, 30.0, np.nan]), np.full(4, 20.0))
    assert found[0] < 0.05
    assert found[1] == pytest.approx(0.5, abs=0.05)
    assert 0.999 < found[2] < 1.0
    assert found[3] == 0.0
    assert motion.quantile(counts, np.array([30.0]), np.array([1.0]))[0] == 0.0


def test_calm_errors_are_uniform_in_their_own_quantiles():
    """Calibrated: of new errors of the same kind, one in a hundred is above 0.99."""
    rng = np.random.default_rng(2)
    counts = motion.counted(rng.exponential(1.0, 20_000), np.full(20_000, 10.0))
    fresh = motion.quantile(counts, rng.exponential(1.0, 20_000), np.full(20_000, 10.0))
    assert (fresh > 0.9).mean() == pytest.approx(0.1, abs=0.03)
    assert (fresh > 0.99).mean() < 0.015


def test_speeds_are_in_classes():
    """Standing and walking, town, country, motorway; backwards counts as forwards."""
    assert motion.speed_class(np.array([0.0, 5.0, 12.0, 30.0, -30.0])).tolist() == [0, 1, 2, 3, 3]
