"""Rectangles and paths."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import InputError
from hotloop.verticals.driving.geometry import Boxes, along, headings, onto, overlaps, resampled, speed_limits, wrapped


def box(x, y, heading=0.0, length=4.0, width=2.0):
    return Boxes(*(np.array([float(one)]) for one in (x, y, heading, length, width)))


def inside(points, b):
    """Which of the points (n, 2) are in the rectangle: the oracle."""
    dx, dy = points[:, 0] - b.x, points[:, 1] - b.y
    fore = dx * np.cos(b.heading) + dy * np.sin(b.heading)
    side = dy * np.cos(b.heading) - dx * np.sin(b.heading)
    return (np.abs(fore) <= b.length / 2) & (np.abs(side) <= b.width / 2)


@settings(max_examples=60, deadline=None)
@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(-3, 3), st.floats(-3, 3))
def test_rectangles_overlap_where_a_point_is_in_both(x, y, one, other):
    """A dense grid of points decides the same, a hair's breadth apart."""
    a, b = box(0, 0, one), box(x, y, other, 3.0, 1.0)
    grid = np.stack(np.meshgrid(np.linspace(-4, 4, 161), np.linspace(-4, 4, 161)), axis=-1).reshape(-1, 2)
    shared = (inside(grid, a) & inside(grid, b)).any()
    grown = box(x, y, other, 3.3, 1.3)
    if shared:
        assert overlaps(a, b)[0]
    if overlaps(a, b)[0]:
        assert (inside(grid, box(0, 0, one, 4.3, 2.3)) & inside(grid, grown)).any()


def test_nobody_overlaps_what_is_not_there():
    """NaN is no place, so there is no overlap and no warning."""
    assert not overlaps(box(0, 0), box(np.nan, 0))[0]
    assert not overlaps(box(0, 0), box(0, 0, np.nan))[0]


def test_corner_to_corner_is_no_overlap_though_the_circles_do():
    """Turned rectangles beside each other are apart by their own axes."""
    assert not overlaps(box(0, 0, 0.0), box(3.0, -1.0, np.pi / 4, 4.0, 0.5))[0]
    assert overlaps(box(0, 0, 0.0), box(2.2, -0.5, np.pi / 4, 4.0, 0.5))[0]


def test_a_way_becomes_points_a_metre_apart_with_straight_ends():
    """Before and after it goes on as it began and ended."""
    path = resampled(np.stack((np.arange(0.0, 50.0, 0.7), np.zeros(72)), axis=1), 10.0, 20.0)
    steps = np.hypot(*np.diff(path, axis=0).T)
    assert np.allclose(steps, 1.0, atol=1e-9)
    assert path[0] == pytest.approx((-10.0, 0.0))
    assert path[-1, 0] >= 49 + 18
    assert np.abs(path[:, 1]).max() < 1e-9


def test_jitter_of_one_who_hardly_moves_gives_no_direction():
    """A car that stands for a while keeps its heading along the way."""
    rng = np.random.default_rng(0)
    x = np.concatenate((np.arange(0.0, 20.0, 0.5), np.full(100, 20.0), np.arange(20.0, 40.0, 0.5)))
    way = np.stack((x, np.zeros(len(x))), axis=1) + rng.normal(scale=0.03, size=(len(x), 2))
    assert np.abs(headings(resampled(way, 5.0, 5.0))).max() < 0.15


def test_who_never_moved_has_no_way():
    """It is said, not guessed."""
    with pytest.raises(InputError, match="no direction"):
        resampled(np.zeros((30, 2)), 10.0, 10.0)
    with pytest.raises(InputError, match="no direction"):
        resampled(np.zeros((1, 2)), 10.0, 10.0)


def test_along_and_onto_are_each_others_inverse_on_a_bend():
    """Metres s and d of a place of s and d are s and d, to a few centimetres on a bend of 50 m."""
    turn = np.arange(0.0, 2.0, 1 / 50)
    path = np.stack((50 * np.sin(turn), 50 * (1 - np.cos(turn))), axis=1)
    s, d = np.linspace(5, 80, 30), np.linspace(-3, 3, 30)
    rows = np.repeat(path[None], 30, axis=0)
    x, y, heading = along(rows, headings(rows), s, d)
    found_s, found_d = onto(path, x, y)
    assert np.abs(found_d - d).max() < 0.05
    assert np.abs(found_s - s).max() < 0.1
    assert np.abs(heading - s / 50).max() < 0.02


def test_beyond_its_ends_a_path_goes_straight_on():
    """A place after the last point, and one before the first, are where the end points to."""
    path = np.stack((np.arange(0.0, 11.0), np.zeros(11)), axis=1)[None]
    assert along(path, headings(path), np.array([15.0]), np.array([1.0]))[0][0] == pytest.approx(15.0)
    assert along(path, headings(path), np.array([-5.0]), np.array([1.0]))[1][0] == pytest.approx(1.0)


def test_bends_are_slowed_to_in_time():
    """The limit in a bend of 20 m is by its sideways acceleration, and it is slowed to softly."""
    turn = np.arange(0.0, 1.5, 1 / 20)
    bend = np.stack((100 + 20 * np.sin(turn), 20 * (1 - np.cos(turn))), axis=1)
    path = np.concatenate((np.stack((np.arange(100.0), np.zeros(100)), axis=1), bend))
    limit = speed_limits(path, 20.0, aside=3.0, comfort=1.5)
    assert limit[110] == pytest.approx(np.sqrt(3.0 * 20), rel=0.05)
    assert limit[0] == pytest.approx(np.sqrt(3.0 * 20 + 2 * 1.5 * 100), rel=0.03)
    assert ((limit[:-1] ** 2 - limit[1:] ** 2) / 2 <= 1.5 + 1e-9).all()


@given(st.floats(-100, 100))
def test_angles_are_wrapped_to_the_same_direction(angle):
    """Within ±π, and as the sine and cosine say."""
    one = wrapped(np.array([angle]))[0]
    assert -np.pi <= one <= np.pi
    assert np.cos(one) == pytest.approx(np.cos(angle), abs=1e-9)
    assert np.sin(one) == pytest.approx(np.sin(angle), abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(-6, 6), st.floats(-6, 6), st.floats(-3, 3), st.floats(-3, 3), st.floats(-3, 3))
def test_overlap_is_mutual_and_does_not_depend_on_where_north_is(x, y, one, other, turned):
    """Swapped, and turned about any angle, it is the same."""
    a, b = box(0, 0, one), box(x, y, other, 3.0, 1.5)
    cos, sin = np.cos(turned), np.sin(turned)
    both = overlaps(a, b)[0]
    assert overlaps(b, a)[0] == both
    moved = box(x * cos - y * sin, x * sin + y * cos, other + turned, 3.0 + (1e-9 if both else -1e-9), 1.5)
    assert overlaps(box(0, 0, one + turned), moved)[0] == both


def test_many_are_asked_at_once():
    """One against three, two against two: shapes as arrays broadcast."""
    three = Boxes(np.array([0.0, 3.9, 4.1]), np.zeros(3), np.zeros(3), np.full(3, 4.0), np.full(3, 2.0))
    assert overlaps(box(0, 0), three).tolist() == [True, True, False]
    table = Boxes(*(column[:, None] for column in (three.x, three.y, three.heading, three.length, three.width)))
    assert overlaps(table, three).shape == (3, 3)
    assert overlaps(table, three).tolist() == [[True, True, False], [True, True, True], [False, True, True]]


@settings(max_examples=25, deadline=None)
@given(st.floats(0.8, 3.0), st.floats(0.0, 0.03), st.integers(20, 60))
def test_any_way_is_a_metre_a_point_and_keeps_its_shape(step, bend, count):
    """Points lie on the way that was driven, to a few centimetres."""
    turn = bend * step * np.arange(count)
    way = np.cumsum(step * np.stack((np.cos(turn), np.sin(turn)), axis=1), axis=0)
    path = resampled(way, 5.0, 5.0)
    steps = np.hypot(*np.diff(path, axis=0).T)
    assert np.abs(steps - 1.0).max() < 0.02
    inside = path[10:-10]
    _, d = onto(resampled(way, 0.0, 0.0), inside[:, 0], inside[:, 1])
    assert np.abs(d).max() < 0.1


def test_limits_on_a_straight_road_are_what_is_wanted():
    """Nothing slows it."""
    path = np.stack((np.arange(50.0), np.zeros(50)), axis=1)
    assert speed_limits(path, 13.0, 3.0, 1.5) == pytest.approx(np.full(50, 13.0))
