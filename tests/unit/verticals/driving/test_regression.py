"""The regression set, and the judgement of a planner."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scenes

from hotloop.config import GateConfig
from hotloop.errors import CorruptError, InputError
from hotloop.verticals.driving import regression as module
from hotloop.verticals.driving.engines import Collision, Limits, Replay, Run
from hotloop.verticals.driving.planner import Each, PlannerConfig, RulePlanner
from hotloop.verticals.driving.regression import Played, Regression, interventions, judge_planner, loss, slices, unpack

GATE = GateConfig()
BY = ("rule", PlannerConfig(), 1)


def run(scene, bad=False, hardest=1.0, progress=1.0, jerk=0.5):
    hits = (Collision(3, 0),) if bad else ()
    return Run(scene.name, "replay", np.zeros((2, 5)), hits, hardest, 5.0, progress, jerk)


def many(count=40, case="cut-in"):
    return tuple(replace(scenes.road(1.0), name=f"{case}:{k}:0", case=case) for k in range(count))


def played(bad_before, bad_after, everything=None):
    everything = everything or (*many(), *many(40, "common"))
    before = tuple(run(one, bad_before(one)) for one in everything)
    return Played(everything, before, tuple(run(one, bad_after(one)) for one in everything))


def test_losses_say_what_is_worse():
    """An intervention is 1, whatever else; then progress, then comfort."""
    scene = scenes.road(1.0)
    assert loss(run(scene, bad=True)) == 1.0
    assert loss(run(scene, hardest=6.5)) == 1.0
    assert loss(run(scene, hardest=6.5), Limits(brake=7.0)) < 0.5
    assert loss(run(scene, progress=0.5)) > loss(run(scene, progress=0.9)) > loss(run(scene))
    assert loss(run(scene, jerk=3.0)) > loss(run(scene))
    assert loss(run(scene, progress=-3.0, jerk=1e9)) == pytest.approx(0.3)
    assert loss(run(scene, progress=1.5, jerk=0.0)) == 0.0


def test_a_better_planner_is_promoted_and_a_worse_one_refused():
    """Half of the cut-ins mended; and the other way round."""
    cut_in = lambda one: one.case == "cut-in" and int(one.name.split(":")[1]) % 2 == 0
    never = lambda one: False
    assert judge_planner(played(cut_in, never), GATE).decision == "promote"
    found = judge_planner(played(never, cut_in), GATE)
    assert found.decision == "refuse"
    assert found.difference > 0


def test_a_slice_that_is_traded_in_refuses_it():
    """All cut-ins mended, a third of the common scenes lost: better on the whole, and refused by name."""
    cut_in = lambda one: one.case == "cut-in"
    common = lambda one: one.case == "common" and int(one.name.split(":")[1]) % 3 == 0
    found = judge_planner(played(cut_in, common), GATE)
    assert found.difference < 0
    assert found.decision == "refuse"
    assert "'common'" in found.reason


def test_no_proof_is_no_promotion():
    """Worse in the mean without evidence is held; so are too few scenes."""
    one_bad = lambda one: one.name == "cut-in:0:0"
    assert judge_planner(played(lambda one: False, one_bad), GATE).decision == "hold"
    few = many(5)
    assert judge_planner(played(lambda one: True, lambda one: False, few), GATE).decision == "hold"


def test_a_scene_of_the_set_that_is_lost_refuses_it_by_name():
    """Though the candidate is better elsewhere."""
    everything = (*many(), *many(40, "common"))
    kept = Regression().joined(everything, [run(one) for one in everything], BY)
    cut_in = lambda one: one.case == "cut-in"
    lost = lambda one: one.name == "common:7:0"
    found = judge_planner(played(cut_in, lost), GATE, kept)
    assert found.decision == "refuse"
    assert "common:7:0" in found.reason
    without = judge_planner(played(cut_in, lost), GATE)
    assert without.decision == "hold"  # a common scene is lost; the set is what refuses it by name
    assert "common:7:0" not in without.reason


def test_a_scene_that_the_champion_fails_too_refuses_nobody():
    """It was passed by somebody once; the candidate is not worse than who drives now."""
    everything = (*many(), *many(40, "common"))
    kept = Regression().joined(everything, [run(one) for one in everything], BY)
    bad = lambda one: one.name == "common:7:0"
    assert judge_planner(played(bad, bad), GATE, kept).decision == "promote"


def test_what_is_passed_joins_once_with_who_passed_it():
    """Failed ones do not; the first one to pass is kept."""
    everything = tuple(replace(one, latency=k) for k, one in enumerate(many(4)))
    runs = [run(one, bad=k == 2) for k, one in enumerate(everything)]
    kept = Regression().joined(everything, runs, BY)
    assert [one.name for one in kept.entries] == ["cut-in:0:0", "cut-in:1:0", "cut-in:3:0"]
    again = kept.joined(everything, [run(one) for one in everything], ("rule", PlannerConfig(gap_m=3.0), 2))
    assert [one.version for one in again.entries] == [1, 1, 1, 2]
    assert again.entries[3].parameters.gap_m == 3.0
    assert again.digests == {one.digest for one in everything}


def test_the_set_is_read_back_as_it_was():
    """One form; what is none is refused."""
    kept = Regression().joined(many(3), [run(one) for one in many(3)], BY)
    assert unpack(kept.pack()) == kept
    assert unpack(kept.pack()).pack() == kept.pack()
    for wrong in (b"", b"[1]", b"{}", kept.pack().replace(b'"digest":"', b'"digest":"x')):
        with pytest.raises(CorruptError):
            unpack(wrong)


def test_the_set_has_a_bound(monkeypatch):
    """More are refused whole."""
    monkeypatch.setattr(module, "ENTRIES_MAX", 2)
    with pytest.raises(InputError, match="would hold 3 of 2"):
        Regression().joined(many(3), [run(one) for one in many(3)], BY)


def test_runs_of_other_scenes_are_not_compared():
    """Pairs are of one scene."""
    one = many(3)
    with pytest.raises(InputError, match="same scenes"):
        judge_planner(Played(one, tuple(run(s) for s in one), tuple(run(s) for s in one[::-1])), GATE)


def test_slices_are_the_cases():
    """Each scene is in one of them."""
    parts = slices((*many(3), *many(2, "common")))
    assert parts.names == ("case:common", "case:cut-in")
    assert parts.masks.sum(axis=1).tolist() == [2, 3]
    assert parts.masks.sum(axis=0).tolist() == [1] * 5


def test_real_runs_are_counted_by_case():
    """A blind one and the rule planner before a wall."""
    walls = [replace(scenes.wall(scenes.road(6.0), 45.0), case="crossing"), scenes.road(3.0)]
    blind = Replay().run(walls, Each(lambda view: (0.0, 0.0)))
    assert interventions(walls, blind) == {"crossing": (1, 1), "common": (0, 1)}
    assert interventions(walls, Replay().run(walls, RulePlanner())) == {"crossing": (0, 1), "common": (0, 1)}


def test_an_answer_that_is_no_number_is_refused():
    """A run whose comfort is not finite does not slip through."""
    everything = many(40)
    before = tuple(run(one) for one in everything)
    after = tuple(run(one, jerk=float("nan") if k == 3 else 0.5) for k, one in enumerate(everything))
    assert judge_planner(Played(everything, before, after), GATE).decision == "refuse"


def test_the_order_of_scenes_does_not_change_the_judgement():
    """Evidence at a fixed number of scenes is the same in any order."""
    cut_in = lambda one: one.case == "cut-in" and int(one.name.split(":")[1]) % 5 == 0
    everything = (*many(), *many(40, "common"))
    there = judge_planner(played(lambda one: False, cut_in, everything), GATE)
    back = judge_planner(played(lambda one: False, cut_in, everything[::-1]), GATE)
    assert there.decision == back.decision
    assert there.e_value == pytest.approx(back.e_value)


def test_real_planners_are_judged_on_real_runs():
    """One that does not look ahead against one that does, before pedestrians, both ways round."""
    walkers = []
    for k in range(24):
        scene = replace(scenes.road(4.0, 13.0), name=f"w:{k}:0", case="pedestrian crossing")
        walkers.append(scenes.with_one(scene, (22.0 + k / 4, -3.6), (0.0, 1.6), "pedestrian", (0.5, 0.6)))
    walkers += [replace(scenes.road(2.0), name=f"r{k}:a:0", case="common") for k in range(module.COMMON_LEAST)]
    short, far = (
        Replay().run(walkers, RulePlanner(PlannerConfig(horizon_s=horizon))) for horizon in (0.0, 3.0)
    )
    better = judge_planner(Played(tuple(walkers), short, far), GATE)
    worse = judge_planner(Played(tuple(walkers), far, short), GATE)
    assert (better.decision, worse.decision) == ("promote", "refuse")
    stopped = Limits(progress=0.1)  # who waits for a walker is not far after 4 s
    kept = Regression().joined(walkers, far, BY, stopped)
    assert len(kept.entries) > len(Regression().joined(walkers, short, BY, stopped).entries)


def test_the_margin_of_a_scene_decides_what_joins():
    """Braking just within the limit joins, a little more does not, nor does half of the way and less."""
    all_ = many(4)
    runs = (run(all_[0], hardest=6.0), run(all_[1], hardest=6.01), run(all_[2], progress=0.5),
            run(all_[3], progress=0.49))  # fmt: skip
    assert [one.name for one in Regression().joined(all_, runs, BY).entries] == [all_[0].name, all_[2].name]
    strict = Regression().joined(all_, runs, BY, Limits(brake=5.0, progress=0.9))
    assert strict.entries == ()


def test_a_lost_scene_refuses_a_planner_that_is_better_on_the_whole():
    """Thirty mended do not weigh up one of the set that was passed and is not any more; outside of the set they do."""
    everything = (*many(60), *many(40, "common"))
    bad_before = lambda one: one.case == "cut-in" and int(one.name.split(":")[1]) >= 30
    lost = lambda one: one.name == "cut-in:5:0"
    told = played(bad_before, lost, everything)
    assert judge_planner(told, GATE).decision == "promote"
    kept = Regression().joined(everything[:10], [run(one) for one in everything[:10]], BY)
    found = judge_planner(told, GATE, kept)
    assert found.decision == "refuse"
    assert "cut-in:5:0" in found.reason
    other = Regression().joined(everything[6:10], [run(one) for one in everything[6:10]], BY)
    assert judge_planner(told, GATE, other).decision == "promote"


def test_the_set_joined_in_parts_is_the_set_joined_at_once():
    """Scenes that came before keep their place and who passed them first, whatever comes later."""
    all_ = many(6)
    runs = [run(one) for one in all_]
    at_once = Regression().joined(all_, runs, BY)
    parts = Regression().joined(all_[:3], runs[:3], BY).joined(all_, runs, BY)
    assert parts.pack() == at_once.pack()
    later = Regression().joined(all_[:3], runs[:3], BY).joined(all_, runs, ("mine", PlannerConfig(gap_m=3.0), 2))
    assert [one.version for one in later.entries] == [1, 1, 1, 2, 2, 2]
    assert later.digests == at_once.digests
    assert unpack(later.pack()) == later


def common_case(bad, total=40):
    """Half of the cut-ins are mended; of the common scenes these numbers fail afterwards (negative: before)."""
    everything = (*many(), *many(total, "common"))

    def fails(scene, mended, rows):
        case, number, _ = scene.name.split(":")
        return int(number) in rows if case == "common" else not mended and int(number) % 2 == 0

    before = tuple(run(one, fails(one, False, [-k for k in bad if k < 0])) for one in everything)
    after = tuple(run(one, fails(one, True, [k for k in bad if k > 0])) for one in everything)
    return Played(everything, before, after)


def test_common_driving_is_critical_without_being_told():
    """A tenth of 400 common scenes lost is within a plain slice's evidence early on; for common driving it refuses."""
    found = judge_planner(common_case(range(1, 41), 400), GATE)
    assert found.decision == "refuse"
    assert "common" in found.reason


@pytest.mark.parametrize("count", [1, 2, 3])
def test_one_common_scene_that_is_lost_holds_a_planner_that_mends_twenty(count):
    """Too few to be evidence, and the first look at a released planner's harm all the same: said with counts."""
    found = judge_planner(common_case(range(1, count + 1), 60), GATE)
    assert found.decision in ("hold", "refuse")
    if found.decision == "hold":
        assert f"{count} interventions on 60 common scenes where the champion has 0" in found.reason


def test_common_driving_that_gets_better_or_stays_promotes():
    """None lost; or one mended; or one lost where another one is mended."""
    assert judge_planner(common_case([]), GATE).decision == "promote"
    assert judge_planner(common_case([-1]), GATE).decision == "promote"
    assert judge_planner(common_case([-1, 2]), GATE).decision == "promote"


LEAST = module.COMMON_LEAST


@pytest.mark.parametrize(("count", "said"), [(LEAST - 1, "hold"), (LEAST, "promote"), (0, "hold")])
def test_nobody_is_promoted_on_too_few_common_scenes(count, said):
    """Of common driving nothing was seen: that is no proof that it is no worse."""
    found = judge_planner(common_case([], count), GATE)
    assert found.decision == said
    assert ("too few" in found.reason) == (said == "hold")


def test_a_refusal_stays_one_where_common_scenes_are_few():
    """Too few common scenes do not turn a refusal into a hold."""
    cut_in = lambda one: one.case == "cut-in"
    found = judge_planner(played(lambda one: False, cut_in, (*many(), *many(3, "common"))), GATE)
    assert found.decision == "refuse"


def test_other_critical_slices_stay_critical():
    """What the settings name is kept beside common driving, and the settings are not changed."""
    config = GateConfig(critical=("case:cut-in",))
    lost = lambda one: one.case == "cut-in" and int(one.name.split(":")[1]) % 8 == 0
    everything = (*many(80), *many(300, "common"))
    strict, plain = (judge_planner(played(lambda one: False, lost, everything), one) for one in (config, GATE))
    worst = [next(p for p in one.slices if p.name == "case:cut-in").e_value for one in (strict, plain)]
    assert worst[0] > worst[1]
    assert config.critical == ("case:cut-in",)
