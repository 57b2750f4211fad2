"""The others: as recorded, or held up."""

from __future__ import annotations

import numpy as np
import pytest
import scenes

from hotloop.verticals.driving.engines import Seen
from hotloop.verticals.driving.others import BRAKE_MAX, Others, batch_of


def stepped(scene, positions, speeds, *, reactive=True):
    """States of the others (frames, M, 6) while the planner's vehicle is at these places along its path."""
    batch = batch_of([scene])
    others, seen = Others(batch, reactive=reactive), Seen(batch)
    states = [others.now[0]]
    for frame in range(scene.frames - 1):
        ego = seen.ego(np.array([scene.start_m + positions[frame]]), np.zeros(1), np.array([speeds[frame]]))
        others.step(frame, ego)
        states.append(others.now[0])
    return np.stack(states), others


def as_recorded(scene):
    t = np.arange(scene.frames) * 0.1
    return 10.0 * t, np.full(scene.frames, 10.0)


def braked(scene, hard):
    t = np.arange(scene.frames) * 0.1
    v = np.maximum(10.0 - hard * t, 0.0)
    return np.concatenate(([0.0], v[:-1].cumsum() * 0.1)), v


def test_nobody_is_held_up_where_the_planner_drives_as_recorded():
    """Close followers, crossers, whoever: every place is the recorded one."""
    scene = scenes.with_one(scenes.road(5.0), (-7.0, 0.0), (10.0, 0.0))
    scene = scenes.with_one(scene, (20.0, -10.0), (0.0, 3.0), "bicycle", (1.8, 0.6))
    states, others = stepped(scene, *as_recorded(scene))
    assert np.array_equal(states[:, :, 0].T, scene.x)
    assert np.array_equal(states[:, :, 1].T, scene.y)
    assert not others.held_up.any()


def test_a_follower_brakes_and_is_never_earlier_than_recorded():
    """Behind one who brakes at 4 m/s2, within what brakes can do."""
    scene = scenes.with_one(scenes.road(5.0), (-13.0, 0.0), (10.0, 0.0))
    place, v = braked(scene, 4.0)
    states, others = stepped(scene, place, v)
    assert others.held_up[0, 0]
    assert (states[:, 0, 0] <= scene.x[0] + 1e-9).all()
    assert (place - states[:, 0, 0] > 4.5).all()
    assert (np.diff(states[:, 0, 3]) >= -BRAKE_MAX * 0.1 - 1e-6).all()
    assert (np.diff(states[:, 0, 0]) >= -1e-9).all()


def test_who_follows_one_that_was_held_up_brakes_too():
    """A queue of four stops without touching."""
    scene = scenes.road(8.0)
    for k in range(4):
        scene = scenes.with_one(scene, (-13.0 * (k + 1), 0.0), (10.0, 0.0))
    states, others = stepped(scene, *braked(scene, 3.0))
    assert others.held_up.all()
    assert (states[:, :-1, 0] - states[:, 1:, 0] > 4.5).all()


@pytest.mark.parametrize(
    ("start", "velocity"),
    [((-13.0, 3.5), (10.0, 0.0)), ((60.0, 0.0), (-10.0, 0.0)), ((10.0, -8.0), (0.0, 3.0))],
)
def test_next_lane_oncoming_and_crossing_are_replayed(start, velocity):
    """Whatever the planner does."""
    scene = scenes.with_one(scenes.road(4.0), start, velocity)
    states, others = stepped(scene, *braked(scene, 4.0))
    assert not others.held_up.any()
    assert np.array_equal(states[:, 0, 0], scene.x[0])


def test_nobody_reacts_where_it_is_switched_off():
    """The follower drives through."""
    scene = scenes.with_one(scenes.road(5.0), (-13.0, 0.0), (10.0, 0.0))
    states, _ = stepped(scene, *braked(scene, 4.0), reactive=False)
    assert np.array_equal(states[:, 0, 0], scene.x[0])


def test_who_comes_and_goes_is_there_for_its_frames_alone():
    """NaN before and after."""
    scene = scenes.with_one(scenes.road(4.0), (0.0, 3.5), (10.0, 0.0), frames=(10, 25))
    states, _ = stepped(scene, *as_recorded(scene))
    assert np.flatnonzero(~np.isnan(states[:, 0, 0])).tolist() == list(range(10, 26))


def test_one_that_was_held_up_goes_as_far_as_it_was_recorded():
    """It leaves at its last place, later; until then it drives where it drove."""
    scene = scenes.with_one(scenes.road(8.0), (-13.0, 0.0), (10.0, 0.0), frames=(0, 40))
    place, v = braked(scene, 2.0)
    states, _ = stepped(scene, place, v)
    there = np.flatnonzero(~np.isnan(states[:, 0, 0]))
    assert there[-1] > 40
    assert np.nanmax(states[:, 0, 0]) <= scene.x[0, 40] + 1e-9


def test_scenes_of_other_sizes_lie_side_by_side():
    """Nobody of one is in another."""
    small, large = scenes.road(2.0), scenes.wall(scenes.wall(scenes.road(4.0), 50.0), 70.0)
    batch = batch_of([small, large])
    assert batch.record.shape == (2, 2, 41, 6)
    assert np.isnan(batch.record[0]).all()
    assert batch.frames.tolist() == [21, 41]
    assert batch.record[1, :, 0, 4].tolist() == pytest.approx([110.0, 130.0])


def test_each_scene_of_many_is_stepped_as_if_alone():
    """A queue beside an empty road, and beside another queue."""
    queue = scenes.road(6.0)
    for k in range(3):
        queue = scenes.with_one(queue, (-13.0 * (k + 1), 0.0), (10.0, 0.0))
    place, v = braked(queue, 3.0)
    alone, _ = stepped(queue, place, v)
    batch = batch_of([scenes.road(6.0), queue, queue])
    others, seen = Others(batch), Seen(batch)
    for frame in range(queue.frames - 1):
        s = np.array([one.start_m for one in batch.scenarios]) + place[frame]
        others.step(frame, seen.ego(s, np.zeros(3), np.full(3, v[frame])))
    assert np.allclose(others.now[1, :3], alone[-1], equal_nan=True)
    assert np.allclose(others.now[2, :3], alone[-1], equal_nan=True)
    assert np.isnan(others.now[0]).all()


def test_a_follower_that_was_held_up_drives_on_when_the_way_is_free():
    """The planner brakes for 2 s and then speeds up: who is behind does, too, and stays later than recorded."""
    scene = scenes.with_one(scenes.road(10.0), (-10.0, 0.0), (10.0, 0.0))
    t = np.arange(scene.frames) * 0.1
    v = np.where(t < 2.0, 10.0 - 3.5 * t, np.minimum(3.0 + 2.0 * (t - 2.0), 12.0))
    place = np.concatenate(([0.0], v[:-1].cumsum() * 0.1))
    states, _ = stepped(scene, place, v)
    assert states[:, 0, 3].min() < 6.0
    assert states[-1, 0, 3] > 8.0
    assert states[-1, 0, 0] < scene.x[0, -1] - 1.0


def test_who_is_told_along_the_path_is_told_as_it_is():
    """Ahead and oncoming, crossing from the right."""
    scene = scenes.with_one(scenes.road(2.0), (30.0, 3.0), (-8.0, 0.0))
    scene = scenes.with_one(scene, (20.0, -6.0), (0.0, 2.0), "pedestrian", (0.5, 0.6))
    s, d, turn, fore, across = Others(batch_of([scene])).along_path()
    assert s[0] == pytest.approx([90.0, 80.0])
    assert d[0] == pytest.approx([3.0, -6.0])
    assert np.abs(turn[0]) == pytest.approx([np.pi, np.pi / 2], abs=1e-3)
    assert fore[0] == pytest.approx([-8.0, 0.0], abs=0.01)
    assert across[0] == pytest.approx([0.0, 2.0], abs=0.01)


@pytest.mark.parametrize("wide", [0.0, 1.0, 1.9])
def test_a_follower_that_overlaps_its_way_by_a_little_is_a_follower(wide):
    """Up to the two half widths and 20 cm to the side it has to brake."""
    scene = scenes.with_one(scenes.road(4.0), (-13.0, wide), (10.0, 0.0))
    _, others = stepped(scene, *braked(scene, 4.0))
    assert others.held_up[0, 0]


def test_who_is_ahead_of_the_planner_does_not_wait_for_it():
    """It goes on as recorded, however slow the one behind is."""
    scene = scenes.with_one(scenes.road(4.0), (13.0, 0.0), (10.0, 0.0))
    states, others = stepped(scene, *braked(scene, 4.0))
    assert not others.held_up.any()
    assert np.array_equal(states[:, 0, 0], scene.x[0])


def test_who_was_held_up_gets_on_again_no_faster_than_one_can():
    """After the planner's vehicle has driven off, up to the recorded speed with at most 2 m/s2, and never above it."""
    scene = scenes.with_one(scenes.road(12.0), (-11.0, 0.0), (10.0, 0.0))
    t = np.arange(scene.frames) * 0.1
    v = np.where(t < 2.0, 10.0 - 4.0 * t, np.minimum(2.0 + 6.0 * (t - 2.0), 25.0))
    place = np.concatenate(([0.0], ((v[1:] + v[:-1]) / 2 * 0.1).cumsum()))
    states, others = stepped(scene, place, v)
    speed = states[:, 0, 3]
    assert others.held_up[0, 0]
    assert speed.min() < 6.0
    assert np.diff(speed).max() <= 2.0 * 0.1 + 1e-9
    assert np.diff(speed).max() > 0.15
    assert np.nanmax(speed) <= 10.0 + 1e-9
    assert speed[-1] > speed.min() + 3.0


def test_who_stands_behind_does_not_roll_into_who_stands():
    """Both come to a stop, and there is still room between them at the end."""
    scene = scenes.with_one(scenes.road(10.0), (-20.0, 0.0), (10.0, 0.0))
    place, v = braked(scene, 5.0)
    states, _ = stepped(scene, place, v)
    assert states[-1, 0, 3] == pytest.approx(0.0, abs=0.3)
    assert place[-1] - states[-1, 0, 0] > scenes.CAR[0]


def test_the_clock_of_each_is_its_own():
    """The first of two followers is held up; the other, in the next lane, is where it was recorded in every frame."""
    scene = scenes.with_one(scenes.road(5.0), (-11.0, 0.0), (10.0, 0.0))
    scene = scenes.with_one(scene, (-11.0, 3.5), (10.0, 0.0))
    states, others = stepped(scene, *braked(scene, 5.0))
    assert others.held_up[0].tolist() == [True, False]
    assert np.array_equal(states[:, 1, 0], scene.x[1])
