"""Unit tests of driving.measures: each against a plain loop over one pair, or a roll-out in small steps."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hotloop.testing.drives import random_boxes
from hotloop.verticals.driving import measures
from hotloop.verticals.driving.measures import Boxes, Passing


def corners(box, k, t=0.0):
    """The four corners of rectangle k after t seconds straight on."""
    c, s = math.cos(box.heading[k]), math.sin(box.heading[k])
    x, y = box.x[k] + box.v[k] * t * c, box.y[k] + box.v[k] * t * s
    out = []
    for front, left in ((1, 1), (1, -1), (-1, -1), (-1, 1)):
        along, across = 0.5 * box.length[k] * front, 0.5 * box.width[k] * left
        out.append((x + along * c - across * s, y + along * s + across * c))
    return out


def to_segment(p, a, b):
    """Distance of a point to a segment."""
    dx, dy = b[0] - a[0], b[1] - a[1]
    t = max(0.0, min(1.0, ((p[0] - a[0]) * dx + (p[1] - a[1]) * dy) / (dx * dx + dy * dy)))
    return math.hypot(p[0] - a[0] - t * dx, p[1] - a[1] - t * dy)


def inside(p, corner):
    """Whether a point is in a convex polygon."""
    signs = []
    for k, a in enumerate(corner):
        b = corner[(k + 1) % 4]
        signs.append((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]))
    return all(s >= 0 for s in signs) or all(s <= 0 for s in signs)


def cross(a, b, c, d):
    """Whether two segments cross."""

    def side(p, q, r):
        return (q[0] - p[0]) * (r[1] - p[1]) - (q[1] - p[1]) * (r[0] - p[0])

    return side(a, b, c) * side(a, b, d) < 0 and side(c, d, a) * side(c, d, b) < 0


def plain_gap(one, two):
    """Distance of two polygons by all their corners and edges."""
    edges = [[(p[k], p[(k + 1) % 4]) for k in range(4)] for p in (one, two)]
    if any(inside(p, two) for p in one) or any(inside(p, one) for p in two):
        return 0.0
    if any(cross(*e, *f) for e in edges[0] for f in edges[1]):
        return 0.0
    return min([to_segment(p, *e) for p in one for e in edges[1]] + [to_segment(p, *e) for p in two for e in edges[0]])


def pair(dx, dy, turn=0.0, v=(10.0, 0.0), size=(4.0, 2.0)):
    """Two rectangles, the first at the origin along x."""
    one = [np.array([value]) for value in (0.0, 0.0, 0.0, v[0], *size, 0.0)]
    two = [np.array([value]) for value in (dx, dy, turn, v[1], *size, 0.0)]
    return Boxes(*one), Boxes(*two)


def test_the_gap_is_that_of_the_plain_polygons():
    """Over random rectangles, gap equals the least distance of corners and edges, and is 0 where they overlap."""
    a, b = random_boxes(1, 400), random_boxes(2, 400)
    plain = np.array([plain_gap(corners(a, k), corners(b, k)) for k in range(400)])
    np.testing.assert_allclose(measures.gap(a, b), plain, atol=1e-9)
    assert (plain == 0).sum() > 20
    assert ((measures.depth(a, b) >= 0) == (plain == 0)).all()


def test_the_gap_is_the_same_from_both_sides():
    """Swapping the two changes nothing."""
    a, b = random_boxes(3, 200), random_boxes(4, 200)
    np.testing.assert_allclose(measures.gap(a, b), measures.gap(b, a), atol=1e-12)
    np.testing.assert_allclose(measures.contact_s(a, b), measures.contact_s(b, a), atol=1e-9)


def test_a_cross_of_two_rectangles_overlaps():
    """Two that cross with no corner in each other have no gap."""
    a, b = pair(0.0, 0.0, np.pi / 2, size=(6.0, 1.0))
    assert measures.gap(a, b)[0] == 0.0
    assert measures.depth(a, b)[0] == pytest.approx(3.5)


def test_time_to_collision_is_that_of_a_roll_out():
    """Rolled out in steps of 5 ms by plain polygons, the first contact comes when contact_s says."""
    a, b = random_boxes(5, 250, 25.0), random_boxes(6, 250, 25.0)
    found, step = measures.contact_s(a, b), 0.005
    for k in range(250):
        close = np.isfinite(found[k]) and found[k] < 4.0
        times = np.arange(max(0.0, found[k] - 0.2), found[k] + 0.05, step) if close else np.arange(0, 4, 0.05)
        rolled = next((t for t in times if plain_gap(corners(a, k, t), corners(b, k, t)) == 0.0), None)
        if close:
            assert rolled is not None
            assert rolled == pytest.approx(found[k], abs=2 * step)
        else:
            assert rolled is None
    assert (found < 4.0).sum() > 10


def test_circles_touch_no_later_than_rectangles():
    """The bound by circles is a lower bound, so nothing is pruned that would touch."""
    a, b = random_boxes(7, 2000, 40.0), random_boxes(8, 2000, 40.0)
    exact = measures.contact_s(a, b)
    assert (measures.circle_contact_s(a, b) <= exact + 1e-9).all()
    assert np.isfinite(exact).sum() > 50


def test_along_one_line_all_times_to_collision_agree():
    """Behind a slower one on a straight line, the rectangles' time is gap / closing, and the braking its own."""
    a, b = pair(24.0, 0.0, v=(20.0, 10.0))
    stand = measures.ahead(a, b)
    assert stand.gap[0] == pytest.approx(20.0)
    assert stand.closing[0] == pytest.approx(10.0)
    assert stand.inside[0]
    assert measures.along_s(stand.gap, stand.closing)[0] == pytest.approx(2.0)
    ttc, closing = measures.contact(a, b)
    assert (ttc[0], closing[0]) == pytest.approx((2.0, 10.0))
    assert measures.headway_s(stand.gap, a.v)[0] == pytest.approx(1.0)
    assert measures.required_braking(stand.closing, ttc)[0] == pytest.approx(10.0**2 / (2 * 20.0))


def test_required_braking_just_avoids_contact():
    """Rolled out with the required deceleration, the follower reaches the leader's speed as the gap closes."""
    gap_m, closing = 18.0, 9.0
    need = float(measures.required_braking(np.array([closing]), np.array([gap_m / closing]))[0])
    left, speed, step = gap_m, closing, 1e-4
    while speed > 0:
        left -= speed * step - 0.5 * need * step * step
        speed -= need * step
    assert left == pytest.approx(0.0, abs=0.01)


def test_who_goes_away_or_stands_is_no_threat():
    """No closing: infinite time; a standing follower: infinite headway; nobody ahead: NaN; no braking is needed."""
    gaps, closing = np.array([10.0, 10.0, -1.0]), np.array([-2.0, 0.0, 5.0])
    assert np.isinf(measures.along_s(gaps, closing)[:2]).all()
    assert np.isnan(measures.along_s(gaps, closing)[2])
    headway = measures.headway_s(gaps, np.array([0.0, 5.0, 5.0]))
    assert np.isinf(headway[0])
    assert headway[1] == 2.0
    assert np.isnan(headway[2])
    assert measures.required_braking(np.array([-1.0]), np.array([2.0]))[0] == 0.0
    a, b = pair(-20.0, 0.0, v=(10.0, 5.0))
    assert np.isinf(measures.contact_s(a, b)[0])


def test_side_by_side_comes_together_across_and_not_along():
    """One that is overtaken and drifts over slowly: the closing speed is the slow one across."""
    a, b = pair(2.0, 3.0, turn=-0.05, v=(20.0, 10.0))
    ttc, closing = measures.contact(a, b)
    assert ttc[0] > 0
    assert closing[0] < 1.0
    assert measures.relative_speed(a, b)[0] > 9.0


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_turning_is_that_of_small_steps(seed):
    """The arc after t seconds is what thousands of small straight steps make of it."""
    box = random_boxes(seed, 20)
    x, y, heading = box.x.copy(), box.y.copy(), box.heading.copy()
    steps, t = 4000, 2.0
    for _ in range(steps):
        way = box.v * t / steps
        middle = heading + 0.5 * box.bend * way
        x, y, heading = x + way * np.cos(middle), y + way * np.sin(middle), heading + box.bend * way
    moved = measures.turned(box, t)
    np.testing.assert_allclose(moved.x, x, atol=1e-4)
    np.testing.assert_allclose(moved.y, y, atol=1e-4)
    np.testing.assert_allclose(moved.heading, heading, atol=1e-9)


def test_oncoming_traffic_in_a_bend_does_not_touch_along_its_bends():
    """Straight on, two that meet in a bend would touch; along the bend they pass each other."""
    radius, angle = 40.0, 0.6
    one = [0.0, -radius, 0.0, 5.0, 4.5, 1.8, 1 / radius]
    inner = radius - 3.5
    two = [inner * math.sin(angle), -inner * math.cos(angle), angle + math.pi, 18.0, 4.5, 1.8, -1 / inner]
    a, b = (Boxes(*(np.array([value]) for value in values)) for values in (one, two))
    assert measures.contact_s(a, b)[0] < 2.0
    assert np.isinf(measures.turning_contact_s(a, b, 4.0)[0])


def test_straight_ahead_a_roll_out_finds_the_same_time():
    """Without a bend, rolling out gives the exact time to within a step."""
    a, b = pair(24.0, 0.3, v=(20.0, 10.0))
    assert measures.turning_contact_s(a, b, 4.0)[0] == pytest.approx(measures.contact_s(a, b)[0], abs=0.1)


def test_a_leader_in_a_bend_is_on_the_path():
    """30 m ahead around a bend is inside the path only if the bend is taken into account."""
    radius, angle = 60.0, 0.5
    lead = (radius * math.sin(angle), radius * (1 - math.cos(angle)), angle)
    for bend, expected in ((1 / radius, True), (0.0, False)):
        a = Boxes(*(np.array([value]) for value in (0.0, 0.0, 0.0, 10.0, 4.5, 1.8, bend)))
        b = Boxes(*(np.array([value]) for value in (*lead, 10.0, 4.5, 1.8, bend)))
        assert bool(measures.ahead(a, b).inside[0]) is expected


@pytest.mark.parametrize(("later", "angle"), [(1.5, math.pi / 2), (2.0, math.pi / 3), (1.0, -math.pi / 2.5)])
def test_post_encroachment_time_is_that_of_a_roll_out(later, angle):
    """Rolled out, the first one's last moment in the common area to the second one's first is the PET."""
    v_a, v_b, size = 8.0, 6.0, (4.0, 1.8)
    at = Passing(*(np.array([value]) for value in (3.0, 3.0 + later, v_a, v_b, angle)), size, size)
    found = float(measures.post_encroachment_s(at)[0])
    times = np.arange(0.0, 8.0, 0.002)
    # a drives along x, b at the angle; both strips are swept lines of half a width: the area is where both are
    c, s = abs(math.cos(angle)), abs(math.sin(angle))
    half = 0.5 * (size[1] + size[1] * c) / s
    in_a = np.abs(v_a * (times - 3.0)) <= half + 0.5 * size[0]
    in_b = np.abs(v_b * (times - 3.0 - later)) <= half + 0.5 * size[0]
    assert found == pytest.approx(times[in_b].min() - times[in_a].max(), abs=0.01)


def test_angles_wrap():
    """3π/2 is -π/2."""
    assert measures.wrapped(np.array([1.5 * np.pi]))[0] == pytest.approx(-0.5 * np.pi)
