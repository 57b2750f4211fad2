"""The laws of the port Simulator, for each engine, and what is measured."""

from __future__ import annotations

import importlib.util
from dataclasses import replace

import numpy as np
import pytest
import scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import ConfigError, InputError
from hotloop.verticals.driving.engines import ENGINES, Collision, Limits, Replay, Run, engine
from hotloop.verticals.driving.planner import Each, Plan, RulePlanner

NEEDS = {"replay": "numpy", "highway-env": "highway_env", "sumo": "libsumo"}
IGNORED = pytest.mark.filterwarnings("ignore::DeprecationWarning")


@pytest.fixture(params=ENGINES)
def played(request):
    """Each engine that is installed."""
    if importlib.util.find_spec(NEEDS[request.param]) is None:
        pytest.skip(f"{NEEDS[request.param]} is not installed")
    return engine(request.param)


def steady(acceleration=0.0, offset=0.0):
    """A planner that is blind."""
    return Each(lambda view: (acceleration, offset))


def test_who_does_nothing_drives_on_at_its_speed(played):
    """10 m/s for 3 s are 30 m, straight along the path."""
    run = played.run([scenes.road(3.0)], steady())[0]
    assert run.engine == played.name
    assert run.trajectory.shape == (31, 5)
    assert run.trajectory[-1, 0] == pytest.approx(30.0, abs=0.05)
    assert np.abs(run.trajectory[:, 1]).max() < 0.01
    assert run.progress == pytest.approx(1.0, abs=0.02)
    assert run.collisions == ()
    assert run.hardest == pytest.approx(0.0, abs=0.01)
    assert run.ttc_s == np.inf


def test_it_does_what_the_planner_says(played):
    """Braking at 2 m/s2 from 10 m/s: 16 m in 2 s, 6 m/s, and it never rolls back."""
    run = played.run([scenes.road(8.0)], steady(-2.0))[0]
    assert run.trajectory[20, 0] == pytest.approx(16.0, abs=0.25)
    assert run.trajectory[20, 3] == pytest.approx(6.0, abs=0.05)
    assert run.trajectory[-1, 3] == pytest.approx(0.0, abs=1e-6)
    assert (np.diff(run.trajectory[:, 0]) >= -1e-6).all()
    assert run.hardest == pytest.approx(2.0, abs=0.05)


def test_a_blind_one_hits_the_wall_and_it_is_said_when_and_whom(played):
    """45.5 m to its rear, at 10 m/s; the run ends there."""
    scene = scenes.wall(scenes.with_one(scenes.road(), (20.0, 5.0), (10.0, 0.0)), 50.0)
    run = played.run([scene], steady())[0]
    assert [one.other for one in run.collisions] == [1]
    assert run.collisions[0].frame == pytest.approx(46, abs=1)
    assert np.isnan(run.trajectory[run.collisions[0].frame + 1 :]).all()
    assert run.ttc_s < 0.2
    assert run.intervention()
    assert not run.passed()


def test_the_rule_planner_stops_before_the_wall(played):
    """Softly, and near it."""
    run = played.run([scenes.wall(scenes.road(9.0), 60.0)], RulePlanner())[0]
    assert run.collisions == ()
    assert run.hardest < 6.0
    assert 48.0 < run.trajectory[-1, 0] < 55.5


def test_twice_is_the_same(played):
    """Byte for byte, by the seed."""
    scene = scenes.braking(scenes.road(), 15.0, 5.0)
    one, two = (played.run([scene], RulePlanner(), 7)[0] for _ in range(2))
    assert one.trajectory.tobytes() == two.trajectory.tobytes()
    assert one.hardest == two.hardest


def test_together_is_as_alone(played):
    """Scenes of other lengths and crowds beside it change nothing."""
    many = [scenes.road(2.0), scenes.braking(scenes.road(5.0), 15.0, 5.0), scenes.wall(scenes.road(4.0, 7.0), 30.0)]
    together = played.run(many, RulePlanner())
    for scene, run in zip(many, together, strict=True):
        alone = played.run([scene], RulePlanner())[0]
        assert np.allclose(alone.trajectory, run.trajectory, atol=1e-9, equal_nan=True)
        assert run.scenario == scene.name


def test_the_planner_does_not_see_the_future(played):
    """What happens after 2 s does not change the first 2 s."""
    one = scenes.braking(scenes.road(5.0), 20.0, 6.0, at_s=2.5)
    two = scenes.braking(scenes.road(5.0), 20.0, 0.0)
    a, b = (played.run([scene], RulePlanner())[0].trajectory[:25] for scene in (one, two))
    assert np.allclose(a, b, atol=1e-9)
    assert not np.allclose(*(played.run([scene], RulePlanner())[0].trajectory[-1] for scene in (one, two)), atol=0.5)


def test_the_order_of_the_others_does_not_matter(played):
    """Nor who is told first."""
    scene = scenes.with_one(scenes.wall(scenes.road(), 60.0), (15.0, 0.5), (9.0, 0.0))
    a = played.run([scene], RulePlanner())[0]
    swapped = replace(
        scene, others=scene.others[::-1], x=scene.x[::-1], y=scene.y[::-1], heading=scene.heading[::-1],
        v=scene.v[::-1],
    )  # fmt: skip
    b = played.run([swapped], RulePlanner())[0]
    assert np.allclose(a.trajectory, b.trajectory, atol=1e-9, equal_nan=True)


def test_no_car_can_do_more_than_a_car_can(played):
    """Whatever the planner says."""
    hard = played.run([scenes.road(3.0, 20.0)], steady(-50.0))[0]
    fast = played.run([scenes.road(3.0, 2.0)], steady(50.0))[0]
    assert hard.hardest <= 9.0 + 1e-3
    assert fast.trajectory[-1, 3] <= 2.0 + 4.0 * 3.0 + 1e-3
    assert hard.intervention()


def test_it_moves_to_the_side_when_told_to(played):
    """A metre to the left, within a few seconds, and not at once."""
    run = played.run([scenes.road(6.0)], steady(0.0, 1.0))[0]
    assert run.trajectory[-1, 1] == pytest.approx(1.0, abs=0.15)
    assert run.trajectory[2, 1] < 0.5


def test_what_is_said_late_is_done_late(played):
    """With a latency of 5 frames braking begins half a second later."""
    prompt, late = (played.run([replace(scenes.road(3.0), latency=k)], steady(-3.0))[0] for k in (0, 5))
    assert late.trajectory[-1, 0] - prompt.trajectory[-1, 0] > 2.0
    assert late.trajectory[5, 3] == pytest.approx(10.0, abs=0.01)
    assert late.trajectory[6, 3] < 9.8


def test_who_follows_does_not_run_into_it_blindly(played):
    """A car 8 m behind, and one behind that: recorded at 10 m/s, while the planner brakes."""
    scene = scenes.with_one(scenes.with_one(scenes.road(5.0), (-12.5, 0.0), (10.0, 0.0)), (-25.0, 0.0), (10.0, 0.0))
    run = played.run([scene], steady(-3.0))[0]
    assert run.collisions == ()


def test_who_would_appear_where_it_is_stays_away(played):
    """A log that begins to see somebody just there is no reason for a collision."""
    scene = scenes.with_one(scenes.road(4.0), (0.0, 0.0), (10.0, 0.0), frames=(20, 40))
    assert played.run([scene], steady())[0].collisions == ()


@pytest.mark.parametrize("wrong", [np.array([np.nan]), np.array([1.0, 2.0]), np.array([np.inf])])
def test_a_planner_that_says_no_number_is_refused(played, wrong):
    """By name of what it said."""

    class Broken:
        def plan(self, view):
            return Plan(wrong, np.zeros(1))

    with pytest.raises(InputError, match="acceleration"):
        played.run([scenes.road(1.0)], Broken())


def test_without_reactions_everything_is_as_recorded():
    """Then the follower runs into the one that brakes: the law above is not for nothing."""
    scene = scenes.with_one(scenes.road(5.0), (-12.5, 0.0), (10.0, 0.0))
    assert Replay(reactive=False).run([scene], steady(-3.0))[0].collisions
    assert not Replay().run([scene], steady(-3.0))[0].collisions


def test_progress_that_is_too_little_fails_a_run():
    """Standing still is safe, and no driving."""
    run = Replay().run([scenes.road(6.0)], steady(-3.0))[0]
    assert not run.intervention()
    assert run.progress < 0.5
    assert not run.passed()
    assert run.passed(Limits(progress=0.1))


def test_where_the_recorded_one_stood_there_is_nothing_to_lose():
    """Its progress is whole."""
    scene = replace(scenes.road(3.0, 0.0), desired=2.0)
    assert Replay().run([scene], steady())[0].progress == 1.0


def test_no_scene_is_no_run():
    """An empty list gives an empty one."""
    assert Replay().run([], RulePlanner()) == ()


@settings(max_examples=25, deadline=None)
@given(st.floats(8, 40), st.floats(0, 8), st.floats(5, 25))
def test_following_a_braking_car_it_collides_only_where_nobody_could_not(gap, hard, v):
    """With 1.5 s and more from middle to middle the rule planner never runs into one who brakes at up to 8 m/s2 (with
    1.2 s it does in 2 % of cases, all above 22 m/s).
    """
    scene = scenes.braking(scenes.road(6.0, round(v, 2)), round(max(gap, 1.5 * v), 2), hard)
    run = Replay().run([scene], RulePlanner())[0]
    assert run.collisions == ()


def test_an_engine_that_is_not_there_is_named(monkeypatch):
    """An unknown name, and one whose extra is missing."""
    with pytest.raises(ConfigError, match="replay, highway-env, sumo"):
        engine("carla")
    import sys

    for name, module, extra in (("highway-env", "highway_env", "driving-sim"), ("sumo", "sumo", "sumo")):
        monkeypatch.setitem(sys.modules, f"hotloop.verticals.driving.{module}", None)
        with pytest.raises(ConfigError, match=rf"hotloop\[{extra}\]"):
            engine(name)


def test_it_drives_along_a_bend(played):
    """Places are on the path, headings along it, the way is as long as its speed says."""
    scene = scenes.road(6.0, 8.0)
    turn = np.maximum(np.arange(-60.0, 301.0), 0.0) / 60.0
    path = np.cumsum(np.stack((np.cos(turn), np.sin(turn)), axis=1), axis=0)
    path -= path[60]
    run = played.run([replace(scene, path=path)], steady())[0]
    off = np.array([np.hypot(*(path - place[:2]).T).min() for place in run.trajectory])
    assert off.max() < 0.75  # half a metre of it is the distance between the path's points
    way = np.hypot(*np.diff(run.trajectory[:, :2], axis=0).T).sum()
    assert way == pytest.approx(48.0, abs=0.5)
    assert run.trajectory[-1, 2] == pytest.approx(0.8, abs=0.08)


def test_a_crosser_is_hit_by_the_side_that_was_there(played):
    """A pedestrian who is in the way at 2 s, and one who is past it by then."""
    hit = scenes.with_one(scenes.road(5.0), (20.0, -2.8), (0.0, 1.4), "pedestrian", (0.5, 0.6))
    past = scenes.with_one(scenes.road(5.0), (40.0, -2.8), (0.0, 1.4), "pedestrian", (0.5, 0.6))
    assert played.run([hit], steady())[0].collisions[0].frame == pytest.approx(18, abs=2)
    assert played.run([past], steady())[0].collisions == ()


def test_least_time_to_collision_is_of_who_is_in_the_way(played):
    """10 m/s towards one who drives 5 m/s: 5 m/s closing; the next lane does not count."""
    scene = scenes.with_one(scenes.road(1.0), (34.5, 0.0), (5.0, 0.0))
    run = played.run([scenes.with_one(scene, (10.0, 3.5), (0.0, 0.0))], steady())[0]
    assert run.ttc_s == pytest.approx((30.0 - 5.0) / 5.0, abs=0.1)


def test_comfort_is_measured(played):
    """Braking on and off is less comfortable than braking all the time."""
    state = {"k": 0}

    def on_and_off(view):
        state["k"] += 1
        return (-2.0 if state["k"] % 10 < 5 else 0.0), 0.0

    rough = played.run([scenes.road(4.0)], Each(on_and_off))[0]
    smooth = played.run([scenes.road(4.0)], steady(-1.0))[0]
    assert smooth.jerk < 0.1
    assert rough.jerk > 5 * max(smooth.jerk, 0.2)


def test_a_run_that_ends_early_leaves_the_others_alone():
    """One scene collides, the ones beside it go on to their end."""
    many = [scenes.wall(scenes.road(6.0), 20.0), scenes.road(6.0), scenes.wall(scenes.road(6.0), 40.0)]
    runs = Replay().run(many, steady())
    assert [bool(run.collisions) for run in runs] == [True, False, True]
    assert [int((~np.isnan(run.trajectory[:, 0])).sum()) for run in runs] == pytest.approx([17, 61, 37], abs=1)
    assert runs[1].progress == pytest.approx(1.0, abs=0.01)


def test_more_scenes_than_are_played_at_once_come_back_in_order():
    """130 of different lengths and speeds."""
    many = [replace(scenes.road(1.0 + k % 7 * 0.3, 5.0 + k % 11), name=f"s:{k}:0") for k in range(130)]
    runs = Replay().run(many, steady())
    assert [run.scenario for run in runs] == [one.name for one in many]
    assert [len(run.trajectory) for run in runs] == [one.frames for one in many]
    assert [run.trajectory[0, 3] for run in runs] == [one.seat.v for one in many]


def test_it_is_fast_enough_to_tune_on():
    """At least a thousand scenario-steps a second, on a busy machine."""
    import time

    many = [scenes.braking(scenes.road(6.0), 15.0 + k % 9, 3.0) for k in range(64)]
    began = time.process_time()
    Replay().run(many, RulePlanner())
    assert 64 * 61 / (time.process_time() - began) > 1000


@pytest.mark.parametrize(("hardest", "progress", "hit", "passed"), [
    (5.9, 1.0, False, True),
    (6.1, 1.0, False, False),
    (1.0, 0.49, False, False),
    (1.0, 0.51, False, True),
    (0.0, 1.0, True, False),
])  # fmt: skip
def test_when_a_run_has_passed(hardest, progress, hit, passed):
    """No collision, no braking beyond 6 m/s2, half of the way."""
    hits = (Collision(1, 0),) if hit else ()
    run = Run("s", "replay", np.zeros((1, 5)), hits, hardest, 9.0, progress, 0.0)
    assert run.passed() is passed
    assert run.intervention() is (hit or hardest > 6.0)


def test_hardest_is_the_hardest_of_all_steps_and_never_below_nothing():
    """3 m/s2 for a second among softer ones; who only speeds up has braked by 0."""
    script = lambda view: (-3.0 if 6.0 < float(view.v[0]) <= 9.0 else -1.0, 0.0)
    run = Replay().run([scenes.road(6.0)], Each(script))[0]
    assert run.hardest == pytest.approx(3.0)
    assert run.intervention(Limits(brake=2.9))
    assert not run.intervention(Limits(brake=3.1))
    assert Replay().run([scenes.road(3.0)], steady(1.0))[0].hardest == 0.0


def test_braking_to_a_stop_is_no_harder_than_the_speed_that_is_left():
    """A step that asks for more than there is to lose ends at 0 m/s, and counts for what it lost."""
    run = Replay().run([scenes.road(4.0, v=1.0)], steady(-9.0))[0]
    assert run.trajectory[:, 3].min() == 0.0
    assert np.nanmin(run.trajectory[:, 4]) == pytest.approx(-9.0)
    assert run.trajectory[2, 4] == pytest.approx(-(1.0 - 0.9) / 0.1)
    assert (run.trajectory[3:, 4] == 0.0).all()


def test_the_way_of_a_run_is_the_integral_of_its_speed():
    """Along a straight road each place is the one before and the mean speed of the step."""
    run = Replay().run([scenes.wall(scenes.road(8.0, v=12.0), 70.0)], RulePlanner())[0]
    x, v = run.trajectory[:, 0], run.trajectory[:, 3]
    assert np.diff(x) == pytest.approx((v[1:] + v[:-1]) / 2 * 0.1, abs=1e-9)
    assert np.diff(v) / 0.1 == pytest.approx(run.trajectory[1:, 4], abs=1e-9)


def test_scenes_played_again_are_played_as_the_first_time(monkeypatch):
    """What is laid out is kept for the next planner, changes nothing, is not taken for other scenes, and is bounded."""
    monkeypatch.setattr("hotloop.verticals.driving.engines._LAID_MAX", 2)
    kept = Replay()
    made = [[scenes.braking(scenes.road(4.0, 10.0), 12.0 + 4.0 * k, 3.0)] for k in range(4)]
    for one in (*made, *made[::-1], made[0]):
        for planner in (RulePlanner(), steady(1.0)):
            again, fresh = kept.run(one, planner)[0], Replay().run(one, planner)[0]
            np.testing.assert_array_equal(again.trajectory, fresh.trajectory)
            assert again.collisions == fresh.collisions
        assert len(kept._laid) <= 2


def test_scenes_are_laid_out_once_for_many_planners(monkeypatch):
    """Three planners on the same scenes: one batch."""
    laid = []
    real = importlib.import_module("hotloop.verticals.driving.others").batch_of
    counted = lambda given: laid.append(len(given)) or real(given)
    monkeypatch.setattr("hotloop.verticals.driving.engines.batch_of", counted)
    made, kept = [scenes.road(1.0) for _ in range(3)], Replay()
    for acceleration in (0.0, 1.0, -1.0):
        kept.run(made, steady(acceleration))
    assert laid == [3]
    kept.run(made[:2], steady())
    assert laid == [3, 2]
