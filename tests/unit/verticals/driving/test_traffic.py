"""Synthetic traffic: lawful, smooth, without collisions, and the same for the same seed."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.tracks import as_grid
from hotloop.verticals.driving.traffic import LANE_M, STEP_S, highway, street


def sizes(tracks):
    """Length and width by actor."""
    return np.array([(one.length, one.width) for one in tracks.actors]).T


def touching(tracks, room=0.2):
    """(frame, actor, actor) of all whose rectangles come within `room`, by projections on the first one's heading."""
    grid, (length, width) = as_grid(tracks), sizes(tracks)
    found = []
    for k in range(0, tracks.frames, 3):
        x, y, turn = grid.x[:, k], grid.y[:, k], grid.heading[:, k]
        dx, dy = x - x[:, None], y - y[:, None]
        cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
        along, across = dx * cos + dy * sin, dy * cos - dx * sin
        c, s = np.abs(np.cos(turn - turn[:, None])), np.abs(np.sin(turn - turn[:, None]))
        near = np.abs(along) < (length[:, None] + length * c + width * s) / 2 + room
        near &= np.abs(across) < (width[:, None] + length * s + width * c) / 2 + room
        np.fill_diagonal(near, val=False)
        found += [(k, int(a), int(b)) for a, b in np.argwhere(near & near.T)]
    return found


@pytest.mark.parametrize("make", [highway, street])
def test_a_seed_says_it_all(make):
    """Equal seeds give equal numbers, other seeds others; what comes out is a valid table at 10 Hz."""
    one, same, other = make(3, seconds=20.0), make(3, seconds=20.0), make(4, seconds=20.0)
    assert one.actors == same.actors
    for name in ("actor", "frame", "x", "y", "heading", "v", "a"):
        np.testing.assert_array_equal(getattr(one, name), getattr(same, name))
    assert not np.array_equal(one.x, other.x)
    assert one.check() is one
    assert (one.step_s, one.frames) == (0.1, 200)


@pytest.mark.parametrize("seed", range(4))
def test_nobody_touches_anybody_on_the_highway(seed):
    """Common driving: what is risky is planted, not an accident of the model."""
    assert touching(highway(seed, 40, 60.0)) == []


@pytest.mark.parametrize("seed", range(4))
def test_nobody_touches_anybody_on_the_street(seed):
    """Lights and the zebra keep them apart; whoever walks together is left out."""
    tracks = street(seed, seconds=90.0)
    foot = {k for k, one in enumerate(tracks.actors) if one.kind == "pedestrian"}
    assert [one for one in touching(tracks, 0.0) if not {one[1], one[2]} <= foot] == []


@pytest.mark.parametrize("make", [highway, street])
def test_nobody_jumps(make):
    """Places follow from speeds, and speeds change as brakes and engines allow."""
    grid = as_grid(make(1, noise=0.0))
    moved = np.hypot(np.diff(grid.x, axis=1), np.diff(grid.y, axis=1)) / STEP_S
    mean = (grid.v[:, 1:] + grid.v[:, :-1]) / 2
    cars = np.array([one.kind != "pedestrian" for one in make(1).actors])
    assert np.abs(moved - mean)[cars].max() < 1.0
    assert np.abs(np.diff(grid.v, axis=1)[cars] / STEP_S).max() < 5.5


def test_the_highway_has_what_a_highway_has():
    """Trucks among cars, lanes that are changed smoothly, drivers that differ."""
    tracks = highway(2, vehicles=60, seconds=120.0, lanes=4, noise=0.0)
    grid = as_grid(tracks)
    assert {one.kind for one in tracks.actors} == {"car", "truck"}
    changed = np.ptp(grid.y, axis=1) > 0.9 * LANE_M
    assert 3 <= changed.sum() < 60
    assert grid.y.min() >= -0.01
    assert grid.y.max() <= 3 * LANE_M + 0.01
    sideways = np.abs(np.diff(grid.y, 2, axis=1)) / STEP_S**2
    assert sideways.max() < 1.5
    assert 20.0 < grid.v.mean() < 32.0
    assert grid.v.mean(axis=1).std() > 0.5


def test_the_street_has_lights_and_people():
    """Some stop, all cross the road where they may, and the crossing road is driven."""
    tracks = street(5, vehicles=18, pedestrians=6, seconds=120.0)
    grid = as_grid(tracks)
    foot = np.array([one.kind == "pedestrian" for one in tracks.actors])
    assert foot.sum() == 6
    assert (grid.v[~foot] < 0.3).any(axis=1).sum() >= 3
    assert (np.ptp(grid.y[foot], axis=1) > 4 * LANE_M).sum() >= 3
    assert (np.ptp(grid.y[~foot], axis=1) > 50.0).sum() >= 2
    on_road = np.abs(grid.y[foot]) < 2 * LANE_M
    assert np.abs(grid.x[foot][on_road] - 20.0).max() < 8.0


def test_noise_is_the_sensors_and_can_be_left_out():
    """The same drive, seen better or worse."""
    plain, noisy = (highway(1, 10, 10.0, noise=noise) for noise in (0.0, 2.0))
    assert 0.03 < float(np.std(noisy.x - plain.x)) < 0.05
    assert float(np.std(noisy.v - plain.v)) == pytest.approx(0.06, rel=0.1)
    assert (noisy.v >= 0.0).all()


@pytest.mark.parametrize(
    "wrong", [{"vehicles": 0}, {"vehicles": 3000}, {"seconds": 0.1}, {"seconds": float("nan")}, {"lanes": 0}]
)
def test_what_cannot_be_driven_is_refused(wrong):
    """By name, with what can be."""
    with pytest.raises(InputError, match="driven"):
        highway(1, **wrong)
