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
from hotloop.verticals.driving.engines import Collision, Limits, Replay, Run
from hotloop.verticals.driving.planner import Each, PlannerConfig, RulePlanner
from hotloop.verticals.driving.tuning import BOUNDS, Cost, Effort, Trial, Weights, trial, tuned

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


def test_nothing_to_mend_is_no_reduction():
    """Free roads: none before, none after; and what is worse is negative."""
    roads = [replace(scenes.road(2.0), name=f"r{k}:a:0") for k in range(3)]
    assert trial(roads, Replay(), (CHAMPION, PlannerConfig()), GateConfig()).reduction() == 0.0
    worse = trial(walkers(3), Replay(), (PlannerConfig(horizon_s=3.0, collision_s=4.0), CHAMPION), GateConfig())
    assert worse.reduction() < 0


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


class Answers:
    """An engine that answers by rule: which scenes fail, how hard was braked, by the planner's headway."""

    name = "answers"

    def __init__(self, hardest):
        self._hardest, self.asked = hardest, 0

    def run(self, scenarios, planner, seed=0):
        del seed
        self.asked += len(scenarios)
        return tuple(
            Run(one.name, "answers", np.zeros((2, 5)), (), self._hardest(one, planner.config), 9.0, 1.0, 0.0)
            for one in scenarios
        )


def labelled(count, case):
    return [replace(scenes.road(1.0, 10.0, case), name=f"rec{k}:{case}:0") for k in range(count)]


NEAR = PlannerConfig(headway_s=0.6)


def test_one_common_scene_that_newly_fails_costs_more_than_all_mined_ones_gain():
    """A planner that mends every mined scene and loses one of fifty common ones is worse than the champion."""

    def hardest(scene, config):
        if scene.case == "common":
            return 7.0 if config == NEAR and scene.name.startswith("rec0:") else 1.0
        return 1.0 if config == NEAR else 7.0

    everything = [*labelled(20, "cut-in"), *labelled(50, "common")]
    cost = Cost(everything, Answers(hardest), PlannerConfig())
    assert cost.before == pytest.approx(1.0)
    assert cost(NEAR) > cost.before
    assert Cost(everything[:20], Answers(hardest), PlannerConfig())(NEAR) == 0.0


def test_a_common_scene_that_the_champion_fails_too_costs_nothing():
    """Nor does one that is mended earn anything: what is common is not what is tuned for."""
    fails = lambda scene, config: 7.0 if scene.case == "common" else 1.0
    assert Cost([*labelled(5, "cut-in"), *labelled(5, "common")], Answers(fails), PlannerConfig())(NEAR) == 0.0
    mends = lambda scene, config: 1.0 if config == NEAR or scene.case != "common" else 7.0
    assert Cost([*labelled(5, "cut-in"), *labelled(5, "common")], Answers(mends), PlannerConfig())(NEAR) == 0.0


def test_strain_counts_braking_that_comes_near_an_intervention():
    """Only with its weight, and on common scenes only beyond the champion's."""
    hard = lambda scene, config: 5.0 if config == NEAR else 3.0
    everything = [*labelled(5, "cut-in"), *labelled(5, "common")]
    assert Cost(everything, Answers(hard), PlannerConfig())(NEAR) == 0.0
    strained = Cost(everything, Answers(hard), PlannerConfig(), Weights(strain=0.3))
    assert strained.before == 0.0
    assert strained(NEAR) == pytest.approx(0.3 * 0.5 + 3.0 * 0.3 * 0.5)
    same = Cost(everything, Answers(lambda scene, config: 5.0), PlannerConfig(), Weights(strain=0.3))
    assert same(NEAR) == pytest.approx(0.3 * 0.5)


def test_a_screening_is_of_few_scenes_the_failed_ones_first():
    """Of 300 scenes 40 are taken: half of them common, and the three that the champion fails are in."""
    failed = {"rec7:cut-in:0", "rec90:cut-in:0", "rec140:cut-in:0"}
    engine = Answers(lambda scene, config: 7.0 if scene.name in failed else 1.0)
    cost = Cost([*labelled(150, "cut-in"), *labelled(150, "common")], engine, PlannerConfig())
    few = cost.few(40, np.random.default_rng(0))
    assert few.before == pytest.approx(3 / 20)
    engine.asked = 0
    few(NEAR)
    assert engine.asked == 40


def test_screened_candidates_are_tried_and_counted():
    """The search begins at the best of them; the same seed finds the same."""
    train = walkers(3)
    effort = Effort(rounds=1, candidates=6, seed=3, screened=24)
    one, two = (tuned(train, Replay(), CHAMPION, effort) for _ in range(2))
    assert one == two
    assert one.tried >= 24 + 12
    assert one.cost <= one.cost_before


def test_a_search_ends_when_its_seconds_are_used_up():
    """After one round at most, however many were asked for."""
    best = tuned(walkers(1, 2), Replay(), CHAMPION, Effort(rounds=10_000, candidates=6, seconds=0.0))
    assert best.tried <= 2 * 6
    assert best.cost <= best.cost_before


def test_a_planner_that_is_worse_in_common_driving_is_not_promoted():
    """It brakes for everybody on the pavement: fewer walkers are hit, common roads are braked on hard; no promotion."""

    def hardest(scene, config):
        worse = scene.case == "common" and int(scene.name[3]) == 0
        return 7.0 if (worse if config == NEAR else scene.case != "common") else 1.0

    held = [*labelled(40, "cut-in"), *labelled(60, "common")]
    found = trial(held, Answers(hardest), (PlannerConfig(), NEAR), GateConfig())
    assert found.reduction() > 0.9
    assert found.finding.decision in ("hold", "refuse")


def tried(counts):
    """A trial with so many interventions before and after, by recording, of ten scenes each."""
    sides = []
    for side in (0, 1):
        names = [(f"rec{k}:car{j}:0", j < pair[side]) for k, pair in enumerate(counts) for j in range(10)]
        sides.append(tuple(
            Run(name, "answers", np.zeros((2, 5)), (Collision(1, 0),) if bad else (), 1.0, 9.0, 1.0, 0.0)
            for name, bad in names
        ))
    finding = trial(labelled(3, "cut-in"), Answers(lambda s, c: 1.0), (NEAR, NEAR), GateConfig()).finding
    return Trial(finding, *sides)


def test_the_interval_is_by_recording():
    """It holds the reduction; where all come from one recording of many it is wider than where each has its own."""
    even, lumped = tried([(2, 1)] * 12), tried([(8, 0), (8, 8), (8, 4), *[(0, 0)] * 9])
    assert even.reduction() == lumped.reduction() == 0.5
    assert even.interval() == (0.5, 0.5)
    low, high = lumped.interval()
    assert low <= 0.05
    assert high >= 0.95
    assert lumped.interval() == (low, high)


def test_an_interval_of_nothing_is_not_a_number():
    """No intervention before: there is nothing that could be gone."""
    assert all(np.isnan(tried([(0, 1), (0, 0)]).interval()))


def test_a_narrower_level_is_narrower():
    """Half of the draws lie within less."""
    one = tried([(k % 4, k % 3) for k in range(1, 15)])
    wide, narrow = one.interval(0.95), one.interval(0.5)
    assert wide[0] <= narrow[0] <= narrow[1] <= wide[1]
    assert wide[1] - wide[0] > narrow[1] - narrow[0]


def test_the_measure_is_not_met_by_weaker_brakes():
    """What is searched always brakes harder than what counts as an intervention, by a margin."""
    assert BOUNDS["brake"][0] >= Limits().brake + 2.0
    best = tuned(walkers(2, 2), Replay(), PlannerConfig(brake=5.0), QUICK)
    assert best.config.brake > Limits().brake
