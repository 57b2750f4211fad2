"""What the rule planner does, and how planners are found."""

from __future__ import annotations

from dataclasses import replace
from importlib.metadata import EntryPoint

import msgspec
import numpy as np
import pytest
import scenes
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import ConfigError
from hotloop.verticals.driving import planner as planners
from hotloop.verticals.driving.engines import Replay, Seen
from hotloop.verticals.driving.others import Others, batch_of
from hotloop.verticals.driving.planner import Each, PlannerConfig, RulePlanner, load_planner

RULE = RulePlanner()


def seen(scene):
    """What the seat of a scene sees at its start."""
    batch = batch_of([scene])
    watcher = Seen(batch)
    ego = watcher.ego(np.array([scene.start_m]), np.zeros(1), np.array([scene.seat.v]))
    return watcher.view(ego, np.zeros(1), Others(batch))


def asked(scene, planner=RULE):
    return float(planner.plan(seen(scene)).acceleration[0])


def test_on_a_free_road_it_speeds_up_to_what_is_wanted_and_no_further():
    """Below the desired speed it accelerates, at it not, above it slows down."""
    slow = scenes.road(v=10.0)
    assert asked(replace(slow, desired=20.0)) > 1.0
    assert asked(slow) == pytest.approx(0.0, abs=1e-9)
    assert asked(replace(slow, desired=8.0)) < -0.5


def test_it_brakes_the_harder_the_nearer_a_standing_car_is():
    """And not for one that it is far from."""
    hard = [asked(scenes.wall(scenes.road(v=10.0), at)) for at in (12.0, 20.0, 40.0, 79.0)]
    assert hard == sorted(hard)
    assert hard[0] < -6.0
    assert hard[-1] > -1.0


def test_who_is_in_the_next_lane_is_none_of_its_business():
    """Ahead, beside, oncoming, or behind."""
    for x, v in ((15.0, 5.0), (2.0, 10.0), (40.0, -12.0), (-10.0, 14.0)):
        assert asked(scenes.with_one(scenes.road(), (x, 3.5), (v, 0.0))) == pytest.approx(0.0, abs=1e-9)


def test_who_comes_over_into_its_lane_is_followed_before_he_is_in_it():
    """A cut-in of 1.5 m/s to the side is seen within the horizon, none with a horizon of 0."""
    scene = scenes.with_one(scenes.road(v=15.0), (12.0, 3.0), (10.0, -1.5))
    assert asked(scene) < -2.0
    blind = RulePlanner(PlannerConfig(horizon_s=0.0))
    assert asked(scene, blind) == pytest.approx(0.0, abs=1e-9)


def test_a_pedestrian_who_comes_into_its_way_is_waited_for():
    """One who walks away is not."""
    patient = RulePlanner(PlannerConfig(horizon_s=3.0))
    towards = scenes.with_one(scenes.road(v=8.0), (20.0, -3.5), (0.0, 1.4), "pedestrian", (0.5, 0.6))
    away = scenes.with_one(scenes.road(v=8.0), (20.0, -3.5), (0.0, -1.4), "pedestrian", (0.5, 0.6))
    assert asked(towards, patient) < -1.0
    assert asked(away, patient) == pytest.approx(0.0, abs=1e-9)


def test_who_crosses_long_before_or_long_after_is_not_waited_for():
    """A fast bicycle 40 m ahead is past; a walker far to the side comes when it is gone."""
    patient = RulePlanner(PlannerConfig(horizon_s=6.0, yield_s=0.3))
    early = scenes.with_one(scenes.road(v=10.0), (45.0, -3.0), (0.0, 6.0), "bicycle", (1.8, 0.6))
    late = scenes.with_one(scenes.road(v=15.0), (8.0, -6.5), (0.0, 1.2), "pedestrian", (0.5, 0.6))
    assert asked(early, patient) == pytest.approx(0.0, abs=1e-9)
    assert asked(late, patient) == pytest.approx(0.0, abs=1e-9)


@settings(max_examples=60, deadline=None)
@given(st.floats(0, 30), st.floats(1, 79), st.floats(-6, 6), st.floats(-20, 30), st.floats(-5, 5))
def test_it_always_says_a_number_within_its_limits(own, x, y, v, w):
    """Whatever stands or drives anywhere."""
    scene = scenes.with_one(replace(scenes.road(1.0, own), desired=max(own, 2.0)), (x, y), (v, w))
    assert -RULE.config.brake <= asked(scene) <= RULE.config.speed_up


@settings(max_examples=40, deadline=None)
@given(st.floats(1, 25), st.floats(3, 70), st.floats(0, 25))
def test_another_one_ahead_never_makes_it_drive_faster(own, x, v):
    """One more in its lane, and it does not ask for more."""
    alone = scenes.road(1.0, own)
    assert asked(scenes.with_one(alone, (x + 5, 0.0), (v, 0.0))) <= asked(alone) + 1e-9


def test_nobody_out_of_range_is_seen():
    """80 m away there is nobody."""
    view = seen(scenes.wall(scenes.road(), 85.0))
    assert np.isnan(view.ahead).all()
    assert not np.isnan(seen(scenes.wall(scenes.road(), 75.0)).ahead).any()


def test_a_function_of_one_scene_is_a_planner():
    """Asked scene by scene, with a view of that scene."""
    speeds = []

    def decide(view):
        speeds.append(view.v.tolist())
        return -1.0, 0.5

    runs = Replay().run([scenes.road(1.0, 5.0), scenes.road(1.0, 9.0)], Each(decide))
    assert speeds[:2] == [[5.0], [9.0]]
    assert [run.hardest for run in runs] == pytest.approx([1.0, 1.0])
    assert all(run.trajectory[-1, 1] > 0.3 for run in runs)


def test_the_rule_planner_is_named_rule_and_others_are_found_by_entry_point(monkeypatch):
    """An unknown one is refused with the names that there are."""
    assert isinstance(load_planner("rule", PlannerConfig()), RulePlanner)
    point = EntryPoint("mine", "hotloop.verticals.driving.planner:RulePlanner", planners.PLANNERS)

    def found(group, name=None):
        return [point] if name in (None, "mine") else []

    monkeypatch.setattr(planners, "entry_points", found)
    assert load_planner("mine", PlannerConfig(gap_m=3.0)).config.gap_m == 3.0
    with pytest.raises(ConfigError, match="mine, rule"):
        load_planner("theirs", PlannerConfig())


def test_its_settings_have_limits():
    """A headway of nothing cannot be set."""
    for wrong in ({"headway_s": 0.0}, {"brake": 20.0}, {"speed": 1.0}):
        with pytest.raises(msgspec.ValidationError):
            msgspec.convert(wrong, PlannerConfig)


@pytest.mark.parametrize(
    ("setting", "careful", "bold"),
    [
        ("headway_s", 2.5, 0.8),
        ("gap_m", 8.0, 1.0),
        ("margin_m", 1.5, 0.0),
        ("horizon_s", 3.0, 0.0),
        ("collision_s", 6.0, 0.0),
    ],
)
def test_each_setting_does_what_it_says(setting, careful, bold):
    """The careful value brakes at least as hard on every scene, and harder on one."""
    many = [
        scenes.with_one(scenes.road(v=12.0), (25.0, 0.0), (9.0, 0.0)),
        scenes.with_one(scenes.road(v=12.0), (18.0, 2.6), (9.0, 0.0)),
        scenes.with_one(scenes.road(v=12.0), (18.0, 3.5), (9.0, -0.8)),
        scenes.wall(scenes.road(v=12.0), 24.0),
    ]
    low, high = (
        [asked(one, RulePlanner(PlannerConfig(**{setting: value}))) for one in many] for value in (careful, bold)
    )
    assert all(a <= b + 1e-9 for a, b in zip(low, high, strict=True))
    assert min(a - b for a, b in zip(low, high, strict=True)) < -0.05


def test_it_never_brakes_harder_than_its_brake():
    """Not even for what it cannot avoid."""
    soft = RulePlanner(PlannerConfig(brake=4.0))
    assert asked(scenes.wall(scenes.road(v=20.0), 9.0), soft) == pytest.approx(-4.0)


def test_one_who_drives_away_is_followed_softly():
    """15 m ahead and 5 m/s faster: no braking in need, whatever the gap should be."""
    assert asked(scenes.with_one(scenes.road(v=10.0), (15.0, 0.0), (15.0, 0.0))) > -1.0


def test_an_oncoming_one_in_its_lane_is_braked_for():
    """As hard as for a wall that is nearer."""
    assert asked(scenes.with_one(scenes.road(v=10.0), (30.0, 0.0), (-10.0, 0.0))) < -4.0


def test_a_view_of_one_scene_is_that_scenes():
    """Every column is cut alike."""
    many = [scenes.wall(scenes.road(v=9.0), 30.0), scenes.wall(scenes.road(v=5.0), 60.0)]
    batch = batch_of(many)
    watcher = Seen(batch)
    ego = watcher.ego(np.array([one.start_m for one in many]), np.zeros(2), np.array([9.0, 5.0]))
    view = watcher.view(ego, np.zeros(2), Others(batch))
    for k, scene in enumerate(many):
        alone = seen(scene)
        one = view.one(k)
        assert one.v.tolist() == alone.v.tolist()
        assert one.ahead == pytest.approx(alone.ahead)
        assert one.desired.tolist() == alone.desired.tolist()
        assert one.step_s == 0.1


def test_what_is_seen_is_told_along_the_path():
    """On a road that turns, one ahead on it is ahead, not aside; one that crosses it comes from the side."""
    scene = scenes.road(v=10.0)
    turn = np.maximum(np.arange(-60.0, 301.0), 0.0) / 50.0
    path = np.cumsum(np.stack((np.cos(turn), np.sin(turn)), axis=1), axis=0)
    path -= path[60]
    place, heading = path[100], turn[100]
    velocity = (8.0 * float(np.cos(heading)), 8.0 * float(np.sin(heading)))
    ahead = seen(scenes.with_one(replace(scene, path=path), tuple(place), velocity))
    assert ahead.ahead[0, 0] == pytest.approx(40.0, abs=0.5)
    assert ahead.aside[0, 0] == pytest.approx(0.0, abs=0.1)
    assert ahead.along[0, 0] == pytest.approx(8.0, abs=0.1)
    crossing = seen(scenes.with_one(replace(scene, path=path), tuple(place), (-velocity[1], velocity[0])))
    assert crossing.across[0, 0] == pytest.approx(8.0, abs=0.1)
    assert crossing.half_ahead[0, 0] == pytest.approx(0.9, abs=0.1)
    assert crossing.half_aside[0, 0] == pytest.approx(2.25, abs=0.1)


def test_a_bend_is_entered_at_a_speed_that_it_can_be_driven_at():
    """25 m radius, 20 m/s wanted: the rule planner slows down before it, softly."""
    scene = replace(scenes.road(9.0, 15.0), desired=15.0)
    turn = np.maximum(np.arange(-60.0, 301.0) - 60.0, 0.0) / 25.0
    path = np.cumsum(np.stack((np.cos(turn), np.sin(turn)), axis=1), axis=0)
    run = Replay().run([replace(scene, path=path - path[60])], RULE)[0]
    in_bend = run.trajectory[:, 0] > 65.0
    assert np.nanmax(run.trajectory[in_bend, 3]) < 11.0
    assert run.hardest < 4.0


def test_a_longer_headway_keeps_a_larger_gap():
    """Behind one who drives at 10 m/s it settles at gap + headway x speed, more than that by the model's free road."""
    gaps = []
    for headway in (0.8, 1.2, 2.0):
        scene = scenes.with_one(scenes.road(40.0, v=10.0), (30.0, 0.0), (10.0, 0.0))
        scene = replace(scene, desired=14.0)
        run = Replay().run([scene], RulePlanner(PlannerConfig(headway_s=headway)))[0]
        gap = scene.x[0, -1] - run.trajectory[-1, 0] - scenes.CAR[0]
        wanted = (2.0 + headway * 10.0) / np.sqrt(1 - (10.0 / 14.0) ** 4)
        assert gap == pytest.approx(wanted, rel=0.1)
        gaps.append(gap)
    assert gaps == sorted(gaps)


def test_the_mirror_image_of_a_scene_is_driven_alike():
    """Left and right do not matter: who comes from either side is braked for as hard."""
    for start, velocity in (((12.0, 3.0), (8.0, -1.5)), ((16.0, 4.5), (0.0, -2.0)), ((25.0, 1.0), (3.0, 0.3))):
        told = [
            asked(scenes.with_one(scenes.road(v=12.0), (start[0], side * start[1]), (velocity[0], side * velocity[1])))
            for side in (1.0, -1.0)
        ]
        assert told[0] == pytest.approx(told[1], abs=1e-9)
        assert told[0] < -0.1


def test_the_worst_of_several_decides():
    """With two in its way it brakes as for the one that asks for more, in whatever order they are told."""
    near, far = ((14.0, 0.0), (6.0, 0.0)), ((30.0, 0.0), (0.0, 0.0))
    alone = [asked(scenes.with_one(scenes.road(v=12.0), *one)) for one in (near, far)]
    both = scenes.with_one(scenes.with_one(scenes.road(v=12.0), *near), *far)
    turned = scenes.with_one(scenes.with_one(scenes.road(v=12.0), *far), *near)
    assert asked(both) == asked(turned) == pytest.approx(min(alone))


def test_it_stops_before_who_stands_with_its_gap_left():
    """From 15 m/s: without an intervention, and no nearer than half of what it keeps, no farther than twice."""
    scene = scenes.wall(scenes.road(15.0, v=15.0), 90.0)
    run = Replay().run([scene], RULE)[0]
    gap = 90.0 - run.trajectory[-1, 0] - scenes.CAR[0]
    assert not run.intervention()
    assert run.trajectory[-1, 3] < 0.3
    assert 1.0 < gap < 4.5


def test_following_is_the_intelligent_driver_model_to_the_letter():
    """Treiber, Hennecke & Helbing 2000 by hand, at 12 m/s behind one of 8 m/s with 35.5 m between."""
    scene = replace(scenes.with_one(scenes.road(v=12.0), (40.0, 0.0), (8.0, 0.0)), desired=15.0)
    wanted = 2.0 + 12.0 * 1.2 + 12.0 * 4.0 / (2 * np.sqrt(1.5 * 2.0))
    assert asked(scene) == pytest.approx(1.5 * (1 - (12.0 / 15.0) ** 4 - (wanted / 35.5) ** 2), abs=1e-6)


def test_where_time_is_short_it_brakes_as_hard_as_needed():
    """8 m/s too fast with 6 m between: what stops the closing within all but half of the gap kept, and a tenth more."""
    scene = replace(scenes.with_one(scenes.road(v=12.0), (10.5, 0.0), (4.0, 0.0)), desired=15.0)
    assert asked(scene) == pytest.approx(-1.1 * 8.0**2 / (2 * (6.0 - 1.0)), abs=1e-6)
    calm = RulePlanner(PlannerConfig(collision_s=0.5))
    assert asked(scene, calm) == pytest.approx(-3.0)  # the model alone, which never slams the brakes
