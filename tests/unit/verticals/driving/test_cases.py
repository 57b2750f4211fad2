"""Unit tests of driving.cases, through mine: each case where it is, and not where it only seems to be."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hotloop.testing.drives import Drive, driven, steady, tracks_of
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.mine import mine, mined

LIMITS = MineConfig()


def found(tracks, case):
    """The findings of one case."""
    return [one for one in mine(tracks, None, LIMITS) if one.case == case]


def test_two_that_drive_into_each_other_collide():
    """Rear-end at 10 m/s relative speed: one collision of severity 1, with a short time to collision before it."""
    tracks = tracks_of(Drive(steady(20, 40), 0.0), Drive(steady(10, 40, 25.0), 0.0))
    one = found(tracks, "collision")
    assert [(c.actors, c.severity) for c in one] == [((0, 1), 1.0)]
    assert one[0].value == pytest.approx(10.0, abs=1e-6)
    assert one[0].first == pytest.approx(21, abs=1)
    assert [c.actors for c in found(tracks, "short time to collision")] == [(0, 1)]


def test_two_that_begin_in_each_other_do_not_collide():
    """What overlaps when first seen together is the tracker's mistake: counted, and no case."""
    tracks = tracks_of(Drive(steady(10, 40), 0.0), Drive(steady(12, 40, 1.0), 0.0))
    result = mined(tracks, None, LIMITS)
    assert not [c for c in result.findings if c.case == "collision"]
    assert result.doubts.overlapping == 1


def test_one_that_appears_in_another_does_not_collide():
    """A track that begins in the middle of a car is no collision, either."""
    tracks = tracks_of(Drive(steady(10, 60), 0.0), Drive(steady(10, 30, 31.0), 0.0, first=30))
    result = mined(tracks, None, LIMITS)
    assert not [c for c in result.findings if c.case == "collision"]
    assert result.doubts.overlapping == 1


def test_the_faster_one_is_the_subject_of_a_short_time():
    """Time to collision at its worst is below the limit, and the one that closes in is named first."""
    v = np.concatenate((np.full(15, 22.0), np.linspace(22, 10, 20), np.full(15, 10.0)))
    tracks = tracks_of(Drive(steady(10, 50, 36.0), 0.0), Drive(driven(v), 0.0))
    one = found(tracks, "short time to collision")
    assert [c.actors for c in one] == [(1, 0)]
    assert 0 < one[0].value <= LIMITS.ttc_s_max
    assert 0.2 < one[0].severity < 1.0


def test_a_worse_time_is_more_severe():
    """The faster one comes in, the worse."""
    severity = []
    for fast in (14.0, 18.0, 24.0):
        v = np.concatenate((np.full(12, fast), np.linspace(fast, 10, 15), np.full(15, 10.0)))
        tracks = tracks_of(Drive(steady(10, 42, 32.0), 0.0), Drive(driven(v), 0.0))
        severity.append(max((c.severity for c in found(tracks, "short time to collision")), default=0.0))
    assert severity == sorted(severity)
    assert severity[2] > severity[0]


def test_cars_that_overtake_in_the_next_lane_are_no_case():
    """Passing at 10 m/s with 1.7 m between: nothing at all."""
    tracks = tracks_of(Drive(steady(25, 60), 0.0), Drive(steady(15, 60, 25.0), 3.5))
    assert mine(tracks, None, LIMITS) == []


def test_oncoming_traffic_is_no_case():
    """Two that meet on a straight road in their own lanes."""
    tracks = tracks_of(Drive(steady(15, 60), 0.0), Drive(-steady(15, 60, -100.0), 3.5))
    assert mine(tracks, None, LIMITS) == []


def test_a_near_miss_is_close_and_fast():
    """0.3 m at 10 m/s relative speed is a near miss; at 1 m/s it is parking."""
    for v, count in ((25.0, 1), (16.0, 0)):
        tracks = tracks_of(Drive(steady(v, 60), 0.0), Drive(steady(15, 60, 20.0), 2.1))
        one = found(tracks, "near miss")
        assert len(one) == count
        assert all(c.value == pytest.approx(0.3, abs=1e-6) and c.actors == (0, 1) for c in one)


def test_tailgating_is_a_short_headway():
    """8 m behind at 20 m/s is 0.4 s; 20 m behind is none; at a walking pace it is none, either."""
    for gap, v, count in ((8.0, 20.0, 1), (20.0, 20.0, 0), (1.0, 3.0, 0)):
        one = found(tracks_of(Drive(steady(v, 50), 0.0), Drive(steady(v, 50, gap + 4.5), 0.0)), "short headway")
        assert len(one) == count
        assert all(c.value == pytest.approx(gap / v) and c.actors == (0, 1) for c in one)


def test_only_the_next_one_ahead_counts_for_the_headway():
    """With two ahead, the nearer one is the leader."""
    drives = [Drive(steady(20, 40, start), 0.0) for start in (0.0, 10.0, 20.0)]
    assert [c.actors for c in found(tracks_of(*drives), "short headway")] == [(0, 1), (1, 2)]


def test_hard_braking_is_found_with_its_worst_value():
    """7 m/s2 for a second and a half."""
    v = np.concatenate((np.full(20, 20.0), 20 - 0.7 * np.arange(1, 16), np.full(20, 9.5)))
    one = found(replace(tracks_of(Drive(driven(v), 0.0)), v=v), "hard braking")
    assert [c.actors for c in one] == [(0,)]
    assert one[0].value == pytest.approx(7.0, abs=0.01)
    assert 20 <= one[0].peak <= 35


def test_comfortable_braking_is_no_case():
    """3 m/s2 is what everybody does."""
    v = np.concatenate((np.full(20, 20.0), 20 - 0.3 * np.arange(1, 31), np.full(10, 11.0)))
    assert mine(replace(tracks_of(Drive(driven(v), 0.0)), v=v), None, LIMITS) == []


def test_a_jerk_is_a_change_of_acceleration():
    """From 4 m/s2 down to 5 m/s2 up within 0.3 s."""
    a = np.concatenate((np.full(20, -4.0), np.full(20, 5.0)))
    v = 20 + np.cumsum(a * 0.1)
    one = found(replace(tracks_of(Drive(driven(v), 0.0)), v=v), "jerk")
    assert [c.actors for c in one] == [(0,)]
    assert one[0].peak == pytest.approx(20, abs=2)
    assert one[0].severity <= 0.35


def lane_change(frames, at, width=3.6, steps=4.0):
    """From `width` to 0 around a frame."""
    return width / (1 + np.exp((np.arange(frames) - at) / steps))


def test_who_comes_in_short_before_another_cuts_in():
    """From the lane beside into a gap of 0.5 s: one cut-in, the one that comes in first."""
    tracks = tracks_of(Drive(steady(20, 100), 0.0), Drive(steady(20, 100, 14.5), lane_change(100, 50)))
    one = found(tracks, "cut-in")
    assert [c.actors for c in one] == [(1, 0)]
    assert one[0].value == pytest.approx(0.5, abs=0.05)
    assert 45 <= one[0].peak <= 80


def test_changing_lanes_far_ahead_is_no_cut_in():
    """The same 40 m ahead."""
    tracks = tracks_of(Drive(steady(20, 100), 0.0), Drive(steady(20, 100, 44.5), lane_change(100, 50)))
    assert found(tracks, "cut-in") == []


def test_who_moves_in_behind_another_is_not_cut_in_on():
    """If the follower changes lanes, the one ahead did not cut in."""
    tracks = tracks_of(Drive(steady(20, 100), lane_change(100, 50)), Drive(steady(20, 100, 14.5), 0.0))
    assert found(tracks, "cut-in") == []


def crossing(later, kind):
    """One along x, and one across its path before it."""
    size = (0.6, 0.6) if kind == "pedestrian" else (4.5, 1.8)
    v = 1.5 if kind == "pedestrian" else 6.0
    x, y = steady(10, 120, -50.0 - 10.0 * later), steady(v, 120, -5.0 * v)
    return tracks_of(Drive(x, 0.0), Drive(0.0, y, kind, *size))


def test_a_pedestrian_that_crosses_shortly_before_a_car():
    """The driver is the subject, the one on foot the other; 6 s before is none."""
    one = found(crossing(2.0, "pedestrian"), "pedestrian crossing")
    assert [c.actors for c in one] == [(0, 1)]
    assert 0 <= one[0].value < 2.0
    assert found(crossing(6.0, "pedestrian"), "pedestrian crossing") == []


def test_two_cars_that_cross_shortly_after_each_other():
    """The later one is the subject."""
    one = found(crossing(1.6, "car"), "crossing")
    assert [c.actors for c in one] == [(0, 1)]
    assert found(crossing(1.6, "car"), "pedestrian crossing") == []


def test_two_on_foot_are_no_crossing():
    """Pedestrians walk through each other's paths all day."""
    x, y = steady(1.5, 120, -7.5), steady(1.4, 120, -6.0)
    tracks = tracks_of(Drive(x, 0.0, "pedestrian", 0.5, 0.5), Drive(0.0, y, "pedestrian", 0.5, 0.5))
    assert found(tracks, "pedestrian crossing") + found(tracks, "crossing") == []


@pytest.mark.parametrize("headway", [0.15, 0.3, 0.45])
def test_a_short_headway_is_as_severe_as_it_is_short(headway):
    """From 0.1 at the limit to 0.4 at the bumper, in proportion."""
    gap = 20.0 * headway
    (one,) = found(tracks_of(Drive(steady(20, 40), 0.0), Drive(steady(20, 40, gap + 4.5), 0.0)), "short headway")
    assert one.actors == (0, 1)
    assert one.value == pytest.approx(headway)
    assert one.severity == pytest.approx(0.1 + 0.3 * (1 - headway / LIMITS.headway_s_max))


@pytest.mark.parametrize(("hard", "severity"), [(5.5, 0.34), (7.5, 0.5), (10.0, 0.7)])
def test_braking_is_as_severe_as_it_is_hard(hard, severity):
    """0.3 at the limit, and 0.08 more for each m/s2."""
    v = np.concatenate((np.full(20, 30.0), 30.0 - hard * 0.1 * np.arange(1, 21), np.full(20, 30.0 - 2 * hard)))
    (one,) = found(tracks_of(Drive(driven(v), 0.0)), "hard braking")
    assert one.value == pytest.approx(hard, rel=0.03)
    assert one.severity == pytest.approx(severity, abs=0.03)


def test_a_cut_in_is_the_worse_the_less_is_left():
    """With half of the gap it is more severe, and its headway is the one that was left."""
    told = []
    for ahead in (8.0, 14.0):
        y = np.concatenate((np.full(20, 3.6), np.linspace(3.6, 0.0, 25), np.zeros(30)))
        tracks = tracks_of(Drive(steady(20, 75), 0.0), Drive(steady(20, 75, ahead + 4.5), y))
        (one,) = found(tracks, "cut-in")
        assert one.actors == (1, 0)
        assert one.value == pytest.approx(ahead / 20.0, abs=0.02)
        assert one.severity == pytest.approx(0.25 + 0.35 * (1 - ahead / 20.0), abs=0.02)
        told.append(one.severity)
    assert told[0] > told[1]


def test_who_changes_lanes_himself_is_not_cut_in_on():
    """The follower moves over behind one who stays in its lane: it is no cut-in by who is ahead."""
    y = np.concatenate((np.full(20, 3.6), np.linspace(3.6, 0.0, 25), np.zeros(30)))
    tracks = tracks_of(Drive(steady(20, 75), y), Drive(steady(20, 75, 10.0), 0.0))
    assert found(tracks, "cut-in") == []


@pytest.mark.parametrize("fast", [1.5, 6.0, 12.0])
def test_a_crossing_counts_by_the_speed_of_who_drives(fast):
    """The same time between both is worse before a fast car than before a slow one; full from 8 m/s on."""
    frames = 200
    walker = Drive(0.0, steady(1.5, frames, -1.5 * 10.0), "pedestrian", 0.6, 0.6)
    car = Drive(steady(fast, frames, -fast * 12.5), 0.0)
    (one,) = found(tracks_of(walker, car), "pedestrian crossing")
    assert one.actors == (1, 0)
    share = 1 - one.value / LIMITS.pedestrian_pet_s_max
    assert one.severity == pytest.approx(0.1 + 0.6 * share * np.clip(fast / 8.0, 0.3, 1.0), abs=1e-6)


def test_turning_the_map_changes_nothing():
    """The same drives along another compass direction, elsewhere, are the same findings as severe."""
    y = np.concatenate((np.full(20, 3.6), np.linspace(3.6, 0.0, 25), np.zeros(30)))
    v = np.concatenate((np.full(45, 20.0), np.linspace(20.0, 8.0, 15), np.full(15, 8.0)))
    tracks = tracks_of(Drive(steady(20, 75), 0.0), Drive(driven(v, 13.0), y), Drive(steady(22, 75, -40.0), 7.2))
    plain = mine(tracks, None, LIMITS)
    assert {one.case for one in plain} >= {"cut-in", "hard braking", "collision"}
    for turn in (0.7, 2.0, -2.9):
        cos, sin = np.cos(turn), np.sin(turn)
        x, side = cos * tracks.x - sin * tracks.y + 500.0, sin * tracks.x + cos * tracks.y - 90.0
        turned = mine(replace(tracks, x=x, y=side, heading=tracks.heading + turn), None, LIMITS)
        assert [(one.case, one.actors) for one in turned] == [(one.case, one.actors) for one in plain]
        spans = [[(one.first, one.peak, one.last) for one in some] for some in (plain, turned)]
        assert np.abs(np.array(spans[0]) - np.array(spans[1])).max() <= 1  # a bound that is met to the last digit
        assert [one.severity for one in turned] == pytest.approx([one.severity for one in plain], abs=1e-6)


def test_a_mirrored_road_has_the_same_cases():
    """Left and right do not matter: who drives on the other side cuts in just as much."""
    y = np.concatenate((np.full(20, 3.6), np.linspace(3.6, 0.0, 25), np.zeros(30)))
    told = []
    for side in (1.0, -1.0):
        tracks = tracks_of(Drive(steady(20, 75), 0.0), Drive(steady(20, 75, 13.0), side * y))
        told.append([(one.case, one.actors, one.first, one.peak, one.last) for one in mine(tracks, None, LIMITS)])
    assert told[0] == told[1] != []


def test_tighter_limits_find_no_more():
    """What is found with a time to collision below 1 s is found below 2 s, too, by its actors and within its frames."""
    v = np.concatenate((np.full(10, 24.0), np.linspace(24, 10, 14), np.full(20, 10.0)))
    tracks = tracks_of(Drive(steady(10, 44, 33.0), 0.0), Drive(driven(v), 0.0))
    wide, tight = (
        [one for one in mine(tracks, None, MineConfig(ttc_s_max=most)) if one.case == "short time to collision"]
        for most in (2.0, 1.0)
    )
    assert wide
    for one in tight:
        assert any(w.actors == one.actors and w.first <= one.first and one.last <= w.last for w in wide)
