"""The rule planner's parameters tuned, and tried on scenes it never saw."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
import scenes

from hotloop.config import GateConfig
from hotloop.errors import InputError
from hotloop.gate.judge import judge
from hotloop.verticals.driving.engines import Limits, Replay
from hotloop.verticals.driving.planner import Each, PlannerConfig, RulePlanner
from hotloop.verticals.driving.tuning import BOUNDS, Effort, Trial, _cost, split, trial, tuned

CHAMPION = PlannerConfig(horizon_s=0.0, collision_s=1.0)
QUICK = Effort(rounds=2, candidates=8, seed=1)


def walkers(recordings, per=3):
    """Pedestrians who step into the way at 13 m/s, near enough that one has to look ahead; and free roads."""
    out = []
    for number in range(recordings):
        for k in range(per):
            at = 22.0 + 2.0 * k + number % 3
            scene = scenes.road(5.0, 13.0, "pedestrian crossing", f"rec{number}:walker{k}:0")
            out.append(scenes.with_one(scene, (at, -3.6), (0.0, 1.6), "pedestrian", (0.5, 0.6)))
            out.append(scenes.braking(scenes.road(5.0, 10.0, "common", f"rec{number}:road{k}:0"), 25.0 + k, 1.5))
    return out


def test_tuning_mends_what_the_champion_fails_and_the_gate_sees_it():
    """Interventions on recordings that were not tuned on are cut by 40 % and more, common driving is no worse."""
    train, held = walkers(4), [replace(one, name="other" + one.name) for one in walkers(14)]
    best = tuned(train, Replay(), CHAMPION, QUICK)
    assert best.cost < best.cost_before
    found = trial(held, Replay(), (CHAMPION, best.config), GateConfig())
    assert found.reduction() >= 0.4
    assert found.finding.decision == "promote"
    common = next(one for one in found.finding.slices if one.name == "case:common")
    assert common.difference <= 0.005


def test_the_same_seed_finds_the_same():
    """Parameters, cost, number of tries; within the bounds."""
    train = walkers(2, 2)
    one, two = (tuned(train, Replay(), CHAMPION, QUICK) for _ in range(2))
    assert one == two
    values = msgspec.to_builtins(one.config)
    assert all(low <= values[name] <= high for name, (low, high) in BOUNDS.items())


def test_the_champion_is_among_the_tried_so_that_it_is_never_worse_to_tune():
    """With no round at all the best of the start is taken, and the champion is in it."""
    best = tuned(walkers(2, 2), Replay(), PlannerConfig(), Effort(rounds=1, candidates=5))
    assert best.cost <= best.cost_before + 1e-9


def test_what_is_common_is_not_traded_in():
    """Where braking early would cost common driving its way, the cost says so."""
    train = walkers(3)
    best = tuned(train, Replay(), CHAMPION, QUICK)
    common = [one for one in train if one.case == "common"]
    found = trial(common, Replay(), (CHAMPION, best.config), GateConfig(least_examples=5))
    assert found.finding.difference < 0.02


def test_without_mined_scenes_there_is_nothing_to_tune_on():
    """It is said."""
    with pytest.raises(InputError, match="was mined"):
        tuned([scenes.road()], Replay(), CHAMPION, QUICK)


def test_a_recording_is_on_one_side_alone():
    """Whatever else there is, and about half of them on each."""
    train, held = split(walkers(60, 1))
    sides = [{one.name.split(":")[0] for one in side} for side in (train, held)]
    assert not sides[0] & sides[1]
    assert len(sides[0] | sides[1]) == 60
    assert 15 <= len(sides[0]) <= 45
    alone, _ = split(walkers(1, 1))
    assert bool(alone) == ("rec0" in sides[0])


def test_nothing_to_mend_is_no_reduction():
    """Free roads: none before, none after; and what is worse is negative."""
    roads = [replace(scenes.road(2.0), name=f"r{k}:a:0") for k in range(3)]
    assert trial(roads, Replay(), (CHAMPION, PlannerConfig()), GateConfig()).reduction() == 0.0
    worse = trial(walkers(3), Replay(), (PlannerConfig(horizon_s=3.0, collision_s=4.0), CHAMPION), GateConfig())
    assert worse.reduction() < 0


@pytest.mark.parametrize("share", [0.0, 0.25, 1.0])
def test_the_share_that_is_held_out_can_be_chosen(share):
    """None, a quarter, all."""
    train, held = split(walkers(80, 1), share)
    assert len(held) / (len(train) + len(held)) == pytest.approx(share, abs=0.15)


def test_parameters_that_are_not_searched_stay():
    """All nine are searched within narrower bounds than may be set."""
    limits = {field.name: field for field in msgspec.structs.fields(PlannerConfig)}
    assert set(BOUNDS) == set(limits)
    for name, (low, high) in BOUNDS.items():
        for value in (low, high):
            msgspec.convert({name: value}, PlannerConfig)


def test_another_seed_searches_elsewhere():
    """So that one can see how much luck is in a result."""
    one, two = (tuned(walkers(1, 2), Replay(), CHAMPION, Effort(1, 6, seed)) for seed in (1, 2))
    assert one.config != two.config
    assert one.tried == two.tried


def test_what_is_found_lies_within_its_bounds_and_is_said_to_three_digits():
    """Whatever the champion's parameters are: one outside of what is searched begins at the border."""
    odd = PlannerConfig(headway_s=4.0, brake=3.0, margin_m=2.0)
    found = tuned([*walkers(1, 2)], Replay(), odd, Effort(rounds=0, candidates=6, seed=3))
    for name, (least, most) in BOUNDS.items():
        value = getattr(found.config, name)
        assert least <= value <= most
        assert value == round(value, 3)
    assert found.tried >= 6


def test_a_common_scene_that_gets_worse_costs_more_than_it_could_bring():
    """By hand: the mean over mined scenes, three times the mean of what common ones lost, beyond 0.002 of each."""
    mined = np.array([True, True, False, False])
    before = np.array([1.0, 0.5, 0.1, 0.1])
    assert _cost(before, before, mined) == pytest.approx(0.75)
    assert _cost(before, np.array([0.2, 0.4, 0.1, 0.4]), mined) == pytest.approx(0.3 + 3.0 * (0.3 - 0.002) / 2)
    assert _cost(before, np.array([0.2, 0.4, 0.0, 0.101]), mined) == pytest.approx(0.3)  # gains bring nothing
    assert _cost(before[:2], np.array([0.2, 0.4]), mined[:2]) == pytest.approx(0.3)


def test_the_share_of_interventions_that_is_gone():
    """Of two that the champion had one is left: a half; more than before is below nothing."""
    scene = scenes.wall(scenes.road(6.0, v=14.0), 40.0)
    bad, good = (Replay().run([scene], planner)[0] for planner in (Each(lambda view: (0.0, 0.0)), RulePlanner()))
    assert (bad.intervention(), good.intervention()) == (True, False)
    held = judge(np.zeros(2), np.zeros(2), GateConfig())
    assert Trial(held, (bad, bad), (bad, good)).reduction() == 0.5
    assert Trial(held, (bad, good), (good, good)).reduction() == 1.0
    assert Trial(held, (good, bad), (bad, bad)).reduction() == -1.0
    assert Trial(held, (good, good), (bad, bad)).reduction() == -2.0
    assert Trial(held, (good, good), (good, good)).reduction() == 0.0
    assert Trial(held, (bad, good), (bad, bad)).reduction(Limits(brake=99.0)) == -1.0
