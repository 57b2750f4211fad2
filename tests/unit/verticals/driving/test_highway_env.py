"""highway-env behind the port, beside the kinematic engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scenes

pytest.importorskip("highway_env", reason="highway-env is not installed (extra hotloop[driving-sim])")

from hotloop.verticals.driving.engines import Replay
from hotloop.verticals.driving.highway_env import HighwayEnv
from hotloop.verticals.driving.planner import Each, RulePlanner


def bend(radius=40.0):
    """A road that turns left, with somebody who stands on it after a while."""
    scene = scenes.road(8.0, 8.0)
    turn = np.maximum(np.arange(-60.0, 301.0), 0.0) / radius
    step = np.stack((np.cos(turn), np.sin(turn)), axis=1)
    path = np.cumsum(step, axis=0)
    return replace(scene, path=path - path[60], goal=100)


def test_it_steers_along_a_bend():
    """Within 60 cm of the path, heading with it, though its bicycle is no rail."""
    scene = bend()
    run = HighwayEnv().run([scene], Each(lambda view: (0.0, 0.0)))[0]
    off = np.array([np.hypot(*(scene.path - place[:2]).T).min() for place in run.trajectory])
    assert off.max() < 0.6
    assert run.trajectory[-1, 2] == pytest.approx(64 / 40, abs=0.1)


def test_it_agrees_with_the_kinematic_engine_on_who_passes():
    """Six scenes, both engines, one word; hardest braking within 1 m/s2."""
    many = [scenes.braking(scenes.road(6.0, 12.0), gap, hard) for gap in (12.0, 25.0) for hard in (2.0, 5.0, 8.0)]
    for one, other in zip(Replay().run(many, RulePlanner()), HighwayEnv().run(many, RulePlanner()), strict=True):
        assert one.passed() == other.passed()
        assert one.hardest == pytest.approx(other.hardest, abs=1.0)


def test_a_large_truck_is_as_large_as_it_is():
    """A rear that is 4 m nearer is hit 4 m earlier."""
    blind = Each(lambda view: (0.0, 0.0))
    frames = []
    for length in (4.5, 12.5):
        scene = scenes.with_one(scenes.road(), (50.0, 0.0), (0.0, 0.0), "truck", (length, 2.4))
        frames.append(HighwayEnv().run([scene], blind)[0].collisions[0].frame)
    assert frames[0] - frames[1] == pytest.approx(4, abs=1)


def test_who_is_not_there_cannot_be_hit():
    """Before it comes and after it went, its place is free."""
    blind = Each(lambda view: (0.0, 0.0))
    gone = scenes.with_one(scenes.road(), (30.0, 0.0), (0.0, 0.0), frames=(0, 20))
    later = scenes.with_one(scenes.road(), (30.0, 0.0), (0.0, 0.0), frames=(45, 60))
    assert [run.collisions for run in HighwayEnv().run([gone, later], blind)] == [(), ()]


def test_it_swerves_by_its_steering():
    """Two metres to the left past one who stands half in the way, which straight on is hit."""
    scene = scenes.with_one(scenes.road(6.0), (45.0, -1.2), (0.0, 0.0))
    straight, around = (HighwayEnv().run([scene], Each(lambda view, to=to: (0.0, to)))[0] for to in (0.0, 2.0))
    assert straight.collisions
    assert not around.collisions
    assert around.trajectory[-1, 1] == pytest.approx(2.0, abs=0.2)
    assert np.abs(np.diff(around.trajectory[:, 2])).max() < 0.1
