"""SUMO behind the port, beside the kinematic engine."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scenes

pytest.importorskip("libsumo", reason="SUMO is not installed (extra hotloop[sumo])")

from hotloop.errors import InputError
from hotloop.verticals.driving import sumo
from hotloop.verticals.driving.engines import Replay
from hotloop.verticals.driving.planner import Each, RulePlanner


def test_it_agrees_with_the_kinematic_engine_to_centimetres():
    """SUMO's ballistic integration is the same motion; its road follows the path."""
    scene = scenes.braking(scenes.road(6.0, 12.0), 20.0, 5.0)
    turn = np.maximum(np.arange(-60.0, 301.0), 0.0) / 80.0
    path = np.cumsum(np.stack((np.cos(turn), np.sin(turn)), axis=1), axis=0)
    for one in (scene, replace(scenes.road(6.0, 8.0), path=path - path[60])):
        own, other = (engine.run([one], RulePlanner())[0] for engine in (Replay(), sumo.Sumo()))
        assert np.abs(own.trajectory[:, :2] - other.trajectory[:, :2]).max() < 0.1
        assert own.hardest == pytest.approx(other.hardest, abs=0.05)


def test_a_second_simulation_begins_afresh():
    """There is one simulation a process: it is closed, also where a planner failed."""
    engine = sumo.Sumo()
    with pytest.raises(InputError, match="acceleration"):
        engine.run([scenes.road(1.0)], Each(lambda view: (float("nan"), 0.0)))
    assert engine.run([scenes.road(1.0)], RulePlanner())[0].progress == pytest.approx(1.0, abs=0.05)


def test_a_network_that_cannot_be_made_is_said(monkeypatch):
    """With what netconvert said, and of which scene."""
    monkeypatch.setattr(sumo, "_EDGE", "a/b c;d")
    with pytest.raises(InputError, match="road:ego:0: no road for SUMO"):
        sumo.Sumo().run([scenes.road(1.0)], RulePlanner())


def test_scenes_one_after_the_other_are_as_alone():
    """Nothing of one simulation is left in the next; the order of scenes is that of the runs."""
    many = [scenes.wall(scenes.road(5.0), 40.0), scenes.road(2.0, 5.0), scenes.wall(scenes.road(5.0), 60.0)]
    together = sumo.Sumo().run(many, RulePlanner())
    for scene, run in zip(many, together, strict=True):
        assert np.array_equal(run.trajectory, sumo.Sumo().run([scene], RulePlanner())[0].trajectory, equal_nan=True)
    assert [len(run.trajectory) for run in together] == [51, 21, 51]
