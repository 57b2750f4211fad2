"""A failing scene made small."""

from __future__ import annotations

import pytest
import scenes

from hotloop.errors import InputError
from hotloop.verticals.driving.engines import Replay
from hotloop.verticals.driving.minimise import failing, minimised, size_of
from hotloop.verticals.driving.perturb import Perturbation, perturbed
from hotloop.verticals.driving.planner import Each, RulePlanner

BLIND = Each(lambda view: (0.0, 0.0))


def crowd(wall=45.0):
    """Nine in the next lanes, and one who stands in the way."""
    scene = scenes.road(8.0)
    for k in range(9):
        scene = scenes.with_one(scene, (12.0 * k - 40, 3.5 if k % 2 else -3.5), (10.0, 0.0))
    return scenes.wall(scene, wall)


def test_only_who_is_hit_is_left_and_the_end_comes_soon_after():
    """Nine of ten are taken out; 4 s of 8 are enough; it still fails."""
    fails = failing(Replay(), BLIND)
    least = minimised(crowd(), fails)
    assert len(least.scenario.others) == 1
    assert least.scenario.others[0].name == "other9"
    assert least.scenario.frames <= 50
    assert fails(least.scenario)
    assert size_of(least.scenario) < size_of(crowd())
    assert least.runs < 80


def test_a_failure_that_needs_two_keeps_two():
    """Delta debugging on a test that wants both of a pair."""

    def fails(scene):
        return {"other2", "other7"} <= {one.name for one in scene.others}

    least = minimised(crowd(), fails)
    assert [one.name for one in least.scenario.others] == ["other2", "other7"]


def test_the_perturbation_is_as_near_as_it_still_fails():
    """A wall that only 10 m nearer is hit: half of the perturbation, and not less, is needed."""
    scene = scenes.wall(scenes.road(4.0), 50.0)
    change = Perturbation((0.0,), (-10.0,), (0.0,))

    def fails(one):
        return bool(one.others) and one.x[0, 0] <= 40.0

    assert not fails(scene)
    assert fails(perturbed(scene, change))
    least = minimised(scene, fails, change)
    assert least.share == pytest.approx(0.5, abs=1 / 32)
    assert least.scenario.x[0, 0] == pytest.approx(40.0, abs=0.7)


def test_a_perturbation_that_is_not_needed_is_gone():
    """The recorded scene fails by itself."""
    scene = crowd()
    change = Perturbation((0.0,) * 10, (0.5,) * 10, (0.0,) * 10)
    assert minimised(scene, failing(Replay(), BLIND), change).share == 0.0


def test_the_bound_on_runs_is_kept_and_what_is_there_still_fails():
    """With few runs it is larger, not wrong."""
    asked = []
    inner = failing(Replay(), BLIND)

    def fails(scene):
        asked.append(scene)
        return inner(scene)

    for most in (1, 3, 7):
        asked.clear()
        least = minimised(crowd(), fails, runs_max=most)
        assert len(asked) == least.runs <= most
        assert inner(least.scenario)


def test_what_does_not_fail_cannot_be_made_smaller():
    """It is said."""
    with pytest.raises(InputError, match="does not fail"):
        minimised(crowd(60.0), failing(Replay(), RulePlanner()))


@pytest.mark.parametrize("needed", [(), (0,), (9,), (0, 9), (3, 4, 5), (1, 4, 7, 8)])
def test_whatever_is_needed_is_kept_and_nothing_else(needed):
    """Any set of the others, by name; none, where the scene fails by itself."""

    def fails(scene):
        return {f"other{k}" for k in needed} <= {one.name for one in scene.others}

    least = minimised(crowd(), fails)
    assert [one.name for one in least.scenario.others] == [f"other{k}" for k in needed]


def test_the_end_is_cut_to_where_it_fails_and_half_a_second():
    """A failure that needs 2 s of 8 keeps 2.5 s."""
    least = minimised(crowd(), lambda scene: scene.frames >= 21)
    assert least.scenario.frames == 26
    assert least.scenario.peak <= 25


def test_it_says_whose_least_it_is_and_is_another_scene():
    """By name and digest, so that both can be kept."""
    scene = crowd()
    least = minimised(scene, failing(Replay(), BLIND)).scenario
    assert least.name == f"{scene.name}~least"
    assert least.digest != scene.digest


def test_the_same_failure_is_made_small_the_same_way():
    """Deterministic."""
    one, two = (minimised(crowd(), failing(Replay(), BLIND)) for _ in range(2))
    assert one.scenario.digest == two.scenario.digest
    assert (one.share, one.runs) == (two.share, two.runs)


def test_what_is_least_cannot_be_made_less():
    """Minimising it again takes nobody out and cuts at most the half second that is left after the failure."""
    fails = failing(Replay(), BLIND)
    least = minimised(crowd(), fails).scenario
    again = minimised(least, fails).scenario
    assert size_of(again)[0] == size_of(least)[0] == 1
    assert 0 <= least.frames - again.frames <= 5
    assert not fails(least.only([]))


def test_a_bound_of_one_run_gives_the_scene_back():
    """That it fails is all that could be asked."""
    fails = failing(Replay(), BLIND)
    least = minimised(crowd(), fails, runs_max=1)
    assert least.runs == 1
    assert size_of(least.scenario) == size_of(crowd())
    assert fails(least.scenario)
