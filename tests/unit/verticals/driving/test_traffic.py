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


@pytest.mark.parametrize("seed", range(3))
def test_people_cross_while_the_main_road_waits(seed):
    """Nobody on the zebra while a car drives through it: within two seconds of each other none is there."""
    tracks = street(seed, seconds=120.0, noise=0.0)
    grid = as_grid(tracks)
    foot = np.array([one.kind == "pedestrian" for one in tracks.actors])
    on_zebra = (np.abs(grid.y[foot]) < 2 * LANE_M).any(axis=0)
    along = np.abs(np.sin(grid.heading[~foot])) < 0.5
    through = (along & (np.abs(grid.x[~foot] - 20.0) < 4.0) & (grid.v[~foot] > 2.0)).any(axis=0)
    wide = np.convolve(on_zebra.astype(float), np.ones(11), "same") > 0
    assert on_zebra.any()
    assert not (wide & through).any()


@pytest.mark.parametrize("seed", range(3))
def test_the_roads_take_turns(seed):
    """No car of the main road is in the crossing together with one of the side road."""
    tracks = street(seed, vehicles=24, seconds=120.0, noise=0.0)
    grid = as_grid(tracks)
    cars = np.array([one.kind == "car" for one in tracks.actors])
    side = np.abs(np.sin(grid.heading[cars])) > 0.5
    inside = (np.abs(grid.x[cars]) < LANE_M + 1) & (np.abs(grid.y[cars]) < 2 * LANE_M + 1)
    assert not ((inside & side).any(axis=0) & (inside & ~side).any(axis=0)).any()


def test_drivers_keep_their_distance():
    """Behind each other in a lane: a headway of more than half a second, always."""
    tracks = highway(6, vehicles=60, seconds=60.0, noise=0.0)
    grid, (length, _) = as_grid(tracks), sizes(tracks)
    for k in range(0, tracks.frames, 10):
        lane = np.round(grid.y[:, k] / LANE_M)
        for one in np.unique(lane):
            here = np.flatnonzero(lane == one)
            here = here[np.argsort(grid.x[here, k])]
            gap = np.diff(grid.x[here, k]) - (length[here[1:]] + length[here[:-1]]) / 2
            assert (gap / grid.v[here[:-1], k]).min(initial=9.0) > 0.4


def test_a_lone_driver_drives_as_fast_as_wanted():
    """Nobody ahead: close to the wish, but for the waves of dense traffic."""
    grid = as_grid(highway(2, vehicles=1, seconds=60.0, lanes=1, noise=0.0))
    assert 0.7 < grid.v.min() / grid.v.max() <= 1.0
    assert grid.v.max() > 20.0
    assert np.ptp(grid.y) == 0.0


@pytest.mark.parametrize(("vehicles", "seconds"), [(1, 1.0), (7, 3.3), (100, 5.0)])
def test_there_are_as_many_rows_as_asked_for(vehicles, seconds):
    """Each vehicle in each frame."""
    tracks = highway(1, vehicles=vehicles, seconds=seconds)
    assert len(tracks) == vehicles * round(seconds / STEP_S)
    assert len({one.name for one in tracks.actors}) == vehicles


@pytest.mark.parametrize("make", [highway, street])
def test_speed_and_heading_say_where_one_goes(make):
    """Without noise each place follows from the one before by v along the heading, to a few centimetres."""
    tracks = make(5, seconds=20.0, noise=0.0)
    grid = as_grid(tracks)
    vx, vy = grid.v * np.cos(grid.heading), grid.v * np.sin(grid.heading)
    for place, speed in ((grid.x, vx), (grid.y, vy)):
        ahead = place[:, :-1] + (speed[:, 1:] + speed[:, :-1]) / 2 * tracks.step_s
        off = np.abs(ahead - place[:, 1:])
        assert np.nanquantile(off, 0.99) < 0.1
        assert np.isfinite(off).sum() > 1000


def test_another_seed_is_another_drive():
    """Not the same traffic from another number."""
    one, other = highway(1, 10, 5.0), highway(2, 10, 5.0)
    assert not np.array_equal(one.x, other.x)
    assert one.source != other.source


@pytest.mark.parametrize("lanes", [1, 2, 6])
def test_a_highway_has_the_lanes_that_were_asked_for(lanes):
    """Who does not change lanes is in the middle of one; nobody is beside the road."""
    tracks = highway(4, 18, 15.0, lanes, noise=0.0)
    lane = tracks.y / LANE_M
    assert lane.min() > -1e-9
    assert lane.max() < lanes - 1 + 1e-9
    assert (np.abs(lane - np.round(lane)) < 0.01).mean() > 0.5
    assert set(np.round(lane[np.abs(lane - np.round(lane)) < 0.01]).astype(int)) == set(range(lanes))
