"""Unit tests of driving.crossing: paths that cross, and how close in time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hotloop.testing.drives import Drive, steady, tracks_of, traffic
from hotloop.verticals.driving.crossing import crossings
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.table import believed

LIMITS = MineConfig()


def crossing(later, v=(10.0, 5.0), kind="car", size=(4.5, 1.8), frames=120):
    """One along x through the origin after 5 s, one along y `later` seconds after it."""
    x, y = steady(v[0], frames, -5.0 * v[0]), steady(v[1], frames, -(5.0 + later) * v[1])
    return tracks_of(Drive(x, 0.0), Drive(0.0, y, kind, *size))


def found_in(tracks):
    """Its crossings and its table."""
    table = believed(tracks, LIMITS)
    return table, crossings(table, LIMITS)


@pytest.mark.parametrize("later", [0.9, 1.5, 2.2])
def test_the_time_between_is_that_of_strips_that_are_swept(later):
    """At a right angle each needs its own length and the other's width to clear the area."""
    table, found = found_in(crossing(later))
    stay = 0.5 * (4.5 + 1.8)
    assert found.pet == pytest.approx([later - stay / 10 - stay / 5], abs=1e-6)
    assert (table.actor[found.i].tolist(), table.actor[found.j].tolist()) == ([0], [1])
    assert found.v_i[0] == pytest.approx(10.0)
    assert found.v_j[0] == pytest.approx(5.0)


def test_both_rows_are_of_the_moment_when_the_first_one_crosses():
    """The case is shown when the first one is in the area: the other is seen in the same frame."""
    table, found = found_in(crossing(1.5))
    assert table.frame[found.i[0]] == table.frame[found.j[0]] == pytest.approx(50, abs=3)


def test_the_order_in_the_table_does_not_matter():
    """If the other actor crosses first it is the first one."""
    table, found = found_in(crossing(-1.5))
    assert (table.actor[found.i].tolist(), table.actor[found.j].tolist()) == ([1], [0])


def test_long_after_is_no_crossing():
    """Ten seconds apart is nothing."""
    assert len(found_in(crossing(6.9, frames=200))[1].pet) == 0


def test_paths_that_do_not_meet_do_not_cross():
    """One that stops short of the other's path."""
    tracks = tracks_of(Drive(steady(10, 100, -50), 0.0), Drive(0.0, steady(4, 100, -60)))
    assert len(found_in(tracks)[1].pet) == 0


def test_traffic_in_lanes_is_not_looked_at():
    """Where all head one way, or its opposite, nothing crosses."""
    assert len(found_in(traffic(1, 10, 40))[1].pet) == 0
    both_ways = tracks_of(Drive(steady(10, 60), 0.0), Drive(-steady(10, 60, -40), 3.5))
    assert len(found_in(both_ways)[1].pet) == 0


def test_one_that_stands_crosses_nothing():
    """No movement, no path."""
    tracks = tracks_of(Drive(steady(10, 100, -50), 0.0), Drive(np.full(100, 0.0), np.full(100, 0.0)))
    assert len(found_in(tracks)[1].pet) == 0


def test_an_empty_log_has_none():
    """No rows, no crossings."""
    assert len(found_in(crossing(1.0).between(900, 901))[1].pet) == 0


@pytest.mark.parametrize("turn", [0.4, 1.3, 2.6, -1.1])
def test_the_compass_does_not_matter(turn):
    """Turned and moved elsewhere it is the same crossing."""
    plain = crossing(1.5)
    plain = replace(plain, x=plain.x + np.where(plain.actor == 0, 0.7, 0.0))  # not where two segments meet
    cos, sin = np.cos(turn), np.sin(turn)
    x, y = cos * plain.x - sin * plain.y + 80.0, sin * plain.x + cos * plain.y - 7.0
    _, before = found_in(plain)
    _, after = found_in(replace(plain, x=x, y=y, heading=plain.heading + turn))
    assert after.pet == pytest.approx(before.pet, abs=1e-6)
    assert (after.i.tolist(), after.j.tolist()) == (before.i.tolist(), before.j.tolist())


def test_paths_at_a_small_angle_do_not_cross():
    """At 20 degrees it is merging, at 40 it is crossing."""
    for degrees, count in ((20.0, 0), (40.0, 1)):
        turn = np.radians(degrees)
        along = steady(10, 120, -10.0 * 6.2)
        tracks = tracks_of(Drive(steady(10, 120, -50.0), 0.0), Drive(along * np.cos(turn), along * np.sin(turn)))
        assert len(found_in(tracks)[1].pet) == count


def test_each_pair_of_three_is_a_crossing_of_its_own():
    """One along x, two along y behind each other: two crossings, none between the two that follow."""
    x = steady(10, 120, -50.0)
    tracks = tracks_of(Drive(x, 0.0), Drive(0.0, steady(5, 120, -31.5)), Drive(0.0, steady(5, 120, -41.5)))
    table, found = found_in(tracks)
    pairs = sorted(zip(table.actor[found.i].tolist(), table.actor[found.j].tolist(), strict=True))
    assert pairs == [(0, 1), (0, 2)]
    assert found.pet[np.argsort(table.actor[found.j])].tolist() == pytest.approx(
        [6.3 - 5.0 - 3.15 / 10 - 3.15 / 5, 8.3 - 5.0 - 3.15 / 10 - 3.15 / 5], abs=1e-6
    )


@pytest.mark.parametrize("step_s", [0.05, 0.1, 0.25])
def test_the_step_of_the_log_does_not_matter(step_s):
    """The same drives seen more often or more seldom leave the same time between them."""
    frames = round(12.0 / step_s)
    x, y = steady(10, frames, -50.0, step_s), steady(5, frames, -32.5, step_s)
    _, found = found_in(tracks_of(Drive(x, 0.0), Drive(0.0, y), step_s=step_s))
    assert found.pet == pytest.approx([6.5 - 5.0 - 3.15 / 10 - 3.15 / 5], abs=1e-6)
