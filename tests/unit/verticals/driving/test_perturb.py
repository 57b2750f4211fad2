"""What might have happened."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import InputError
from hotloop.verticals.driving.perturb import SPREAD, Perturbation, draw, perturbed, plausible

NUMBERS = st.just(0.0) | st.floats(0.01, 3) | st.floats(-3, -0.01)  # a change of 5e-324 shrinks to none


def crowd():
    scene = scenes.with_one(scenes.road(5.0), (20.0, 0.0), (9.0, 0.0))
    scene = scenes.with_one(scene, (-15.0, 0.0), (10.0, 0.0))
    return scenes.with_one(scene, (5.0, 3.5), (11.0, 0.0), frames=(5, 40))


def change(**parts):
    return Perturbation(**({"speed": (0.0,) * 3, "gap": (0.0,) * 3, "size": (0.0,) * 3} | parts))


def test_nothing_changed_is_the_recorded_scene():
    """At distance 0."""
    scene = crowd()
    assert perturbed(scene, change()).digest == scene.digest
    assert change().distance == 0.0


def test_a_speed_of_one_deviation_more_is_8_percent_along_the_same_way():
    """From the same first place; the others stay."""
    scene = crowd()
    faster = perturbed(scene, change(speed=(1.0, 0.0, 0.0)))
    assert faster.v[0, 0] == pytest.approx(9.0 * (1 + SPREAD["speed"]), abs=1e-3)
    assert faster.x[0, 0] == scene.x[0, 0]
    assert faster.x[0, -1] - 20.0 == pytest.approx(45.0 * (1 + SPREAD["speed"]), abs=0.01)
    assert np.array_equal(faster.x[1:], scene.x[1:], equal_nan=True)


def test_a_gap_moves_one_along_its_way():
    """Ahead, and back beyond where it was first seen."""
    for deviations in (1.0, -2.0):
        moved = perturbed(crowd(), change(gap=(0.0, 0.0, deviations)))
        assert (moved.x[2] - crowd().x[2])[5:41] == pytest.approx(np.full(36, deviations * SPREAD["gap"]), abs=0.01)


def test_a_way_with_a_bend_is_kept():
    """Faster along a bend is still on the bend."""
    scene = crowd()
    turn = np.linspace(0, 1, scene.frames)
    scene.x[0], scene.y[0], scene.heading[0] = 20 + 40 * np.sin(turn), 40 * (1 - np.cos(turn)), turn
    faster = perturbed(scene, change(speed=(-2.0, 0.0, 0.0)))
    radius = np.hypot(faster.x[0] - 20, faster.y[0] - 40)
    assert np.abs(radius - 40).max() < 0.01


def test_sizes_own_speed_and_delay():
    """Each in its own unit."""
    scene = perturbed(crowd(), change(size=(2.0, 0.0, 0.0), own=-1.0, late=2.0))
    assert scene.others[0].length == pytest.approx(4.5 * 1.1)
    assert scene.seat.v == pytest.approx(9.5)
    assert scene.latency == 4


def test_what_stands_is_moved_where_it_points():
    """It has no way of its own."""
    scene = scenes.wall(scenes.road(3.0), 40.0)
    moved = perturbed(scene, Perturbation((0.0,), (-1.0,), (0.0,)))
    assert moved.x[0] == pytest.approx(np.full(scene.frames, 38.0))


@settings(max_examples=40, deadline=None)
@given(st.just(0.0) | st.floats(0.01, 1), st.lists(NUMBERS, min_size=9, max_size=9))
def test_a_smaller_share_is_nearer_by_as_much(share, values):
    """Distance is a norm of what is changed."""
    one = Perturbation(tuple(values[:3]), tuple(values[3:6]), tuple(values[6:]), 1.0, 0.5)
    assert one.shrunk(share).distance == pytest.approx(share * one.distance, abs=1e-9)


def test_drawn_ones_are_plausible_seeded_and_sorted():
    """The same seed gives the same scenes, another one others; the nearest come first."""
    scene = crowd()
    drawn = draw(scene, 3, 12)
    assert len(drawn) == 12
    assert [one.digest for _, one in drawn] == [one.digest for _, one in draw(scene, 3, 12)]
    assert not {one.digest for _, one in drawn} & {one.digest for _, one in draw(scene, 4, 12)}
    distances = [how.distance for how, _ in drawn]
    assert distances == sorted(distances)
    assert all(plausible(one, scene) for _, one in drawn)
    assert len({one.name for _, one in drawn}) == 12


def test_what_cannot_be_is_not_plausible():
    """An overlap at the start, of two others later, and a leap of speed."""
    scene = crowd()
    assert plausible(scene, scene)
    assert not plausible(perturbed(scene, change(gap=(-9.0, 0.0, 0.0))), scene)
    behind = scenes.with_one(scene, (28.0, 0.0), (9.0, 0.0))
    caught = perturbed(behind, Perturbation((4.0, 0, 0, 0), (0.0,) * 4, (0.0,) * 4))
    assert not plausible(caught, behind)
    leap = scenes.with_one(scenes.road(5.0), (20.0, 0.0), (9.0, 0.0))
    leap.v[0, 20:] += 3.0
    assert not plausible(leap, scenes.with_one(scenes.road(5.0), (20.0, 0.0), (9.0, 0.0)))


def test_a_perturbation_of_another_scene_is_refused():
    """It is for as many as there are."""
    with pytest.raises(InputError, match="of 3 others for a scene with 0"):
        perturbed(scenes.road(), change())


def test_for_fewer_others_it_is_cut_down():
    """The rows that are kept."""
    assert change(speed=(1.0, 2.0, 3.0)).only([2, 0]).speed == (3.0, 1.0)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-3, 3), min_size=9, max_size=9), st.floats(-3, 3), st.floats(-3, 3))
def test_whatever_is_changed_the_scene_stays_a_scene(values, own, late):
    """Who is there when, the path, the goal; numbers all finite where somebody is; latency within its limit."""
    scene = crowd()
    one = perturbed(scene, Perturbation(tuple(values[:3]), tuple(values[3:6]), tuple(values[6:]), own, late))
    assert np.array_equal(np.isnan(one.x), np.isnan(scene.x))
    assert np.array_equal(np.isnan(one.v), np.isnan(scene.v))
    assert np.array_equal(one.path, scene.path)
    assert (one.goal, one.frames, one.case) == (scene.goal, scene.frames, scene.case)
    assert (one.v[~np.isnan(one.v)] >= 0).all()
    assert 0 <= one.latency <= 10
    assert all(actor.length > 0 and actor.width > 0 for actor in one.others)


@settings(max_examples=30, deadline=None)
@given(st.floats(-3, 3), st.floats(-3, 3))
def test_nobody_leaves_the_way_that_was_driven(speed, gap):
    """Sideways everybody is where he was recorded."""
    one = perturbed(crowd(), change(speed=(speed, speed, speed), gap=(gap, gap, gap)))
    assert np.allclose(one.y, crowd().y, atol=1e-3, equal_nan=True)
    assert np.allclose(one.heading, crowd().heading, atol=1e-3, equal_nan=True)


def test_speed_and_places_stay_consistent():
    """What a car's places say of its speed is what its speed says."""
    one = perturbed(crowd(), change(speed=(1.5, -1.5, 1.0), gap=(0.5, -0.5, 1.0)))
    moved = np.diff(one.x, axis=1) / 0.1
    assert np.nanmax(np.abs(moved - one.v[:, 1:])) < 0.05


def test_stronger_draws_are_farther_away():
    """Twice the deviations, twice the distance, in the mean."""
    scene = crowd()
    weak, strong = ([how.distance for how, _ in draw(scene, 5, 30, strength)] for strength in (0.3, 1.2))
    assert np.mean(strong) > 2 * np.mean(weak)


def test_an_empty_road_can_only_be_changed_in_the_seat():
    """Own speed and delay; nothing fails for want of others."""
    drawn = draw(scenes.road(3.0), 1, 5)
    assert len(drawn) == 5
    assert {one.others for _, one in drawn} == {()}
    assert len({one.seat.v for _, one in drawn}) > 1


def test_a_delay_is_whole_frames_of_a_bounded_number():
    """Two frames a deviation, on top of what the scene has, at most ten; how fast one begins is never below nothing."""
    scene = crowd()
    assert [perturbed(scene, change(late=late)).latency for late in (0.2, 0.5, 1.0, -1.0, 99.0)] == [0, 1, 2, 2, 10]
    assert perturbed(replace(scene, latency=3), change(late=1.0)).latency == 5
    assert perturbed(scene, change(own=1.0)).seat.v == pytest.approx(10.5)
    assert perturbed(scene, change(own=-99.0)).seat.v == 0.0


def test_distance_is_of_what_is_changed_alone():
    """One change of two deviations is as far as two of two; zeros do not dilute it."""
    assert change(own=2.0).distance == pytest.approx(2.0)
    assert change(own=2.0, speed=(-2.0, 0.0, 0.0)).distance == pytest.approx(2.0)
    assert change(own=3.0, gap=(0.0, 4.0, 0.0)).distance == pytest.approx(np.sqrt(12.5))


def test_two_who_touched_in_the_log_may_go_on_touching():
    """What was recorded is no reason to refuse a change; that two others come to touch each other is."""
    touching = scenes.with_one(scenes.with_one(scenes.road(), (30.0, 3.5), (9.0, 0.0)), (32.0, 3.5), (9.0, 0.0))
    assert plausible(touching, touching)
    apart = scenes.with_one(scenes.with_one(scenes.road(), (30.0, 3.5), (9.0, 0.0)), (40.0, 3.5), (9.0, 0.0))
    assert plausible(apart, apart)
    nearer = perturbed(apart, Perturbation((0.0, 0.0), (3.0, 0.0), (0.0, 0.0)))
    assert not plausible(nearer, apart)


def test_who_was_recorded_to_brake_hard_may_brake_as_hard():
    """Harder than 9 m/s2 is not drawn, unless the log has it."""
    scene = scenes.braking(scenes.road(v=20.0), 30.0, 10.0)
    assert plausible(scene, scene)
    soft = scenes.braking(scenes.road(v=20.0), 30.0, 5.0)
    assert not plausible(scene, soft)
