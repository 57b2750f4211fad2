"""Unit tests of driving.scene: fixed length, bounded, and told from who is around."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.learn.moments import Moments
from hotloop.testing.drives import Drive, steady, tracks_of, traffic
from hotloop.types import Rows
from hotloop.verticals.driving import scene
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.table import believed


def scene_of(*others, at=0):
    """The scene around one that drives along x at 15 m/s, by name."""
    table = believed(tracks_of(Drive(steady(15, 20), 0.0), *others), MineConfig())
    return dict(zip(scene.SCENE, scene.scenes(table, np.array([at]))[0], strict=True))


def test_alone_there_is_nobody():
    """Only the own speed is not 0."""
    found = scene_of()
    assert found.pop("speed") == pytest.approx(0.5)
    assert set(found.values()) == {0.0}


@pytest.mark.parametrize(
    ("side", "x", "y"), [("front", 12.0, 0.0), ("left", 0.0, 6.0), ("back", -12.0, 0.0), ("right", 0.0, -6.0)]
)
def test_each_side_sees_its_own(side, x, y):
    """A car there is near on that side alone, the nearer the more."""
    found = scene_of(Drive(steady(15, 20, x), y))
    near = {name: found[f"near {name}"] for name in ("front", "left", "back", "right")}
    assert near.pop(side) == pytest.approx(1 - np.hypot(x, y) / scene.AROUND_M)
    assert set(near.values()) == {0.0}
    closer = scene_of(Drive(steady(15, 20, 0.8 * x), 0.8 * y))
    assert closer[f"near {side}"] > found[f"near {side}"]


def test_closing_is_how_fast_the_nearest_comes():
    """A slower one ahead comes nearer, a faster one goes away; of two the nearer counts."""
    assert scene_of(Drive(steady(5, 20, 20.0), 0.0))["closing front"] == pytest.approx(0.5)
    assert scene_of(Drive(steady(25, 20, 20.0), 0.0))["closing front"] == pytest.approx(-0.5)
    both = scene_of(Drive(steady(5, 20, 20.0), 0.0), Drive(steady(15, 20, 10.0), 0.0))
    assert both["closing front"] == pytest.approx(0.0, abs=1e-9)


def test_kinds_are_told_apart():
    """Pedestrians, bicycles, trucks, who stands, who comes towards one, who crosses."""
    n = 20
    found = scene_of(
        Drive(10.0, steady(1, n, 5.0), "pedestrian", 0.5, 0.5), Drive(steady(4, n, 8.0), -5.0, "bicycle", 1.8, 0.6),
        Drive(steady(15, n, -20.0), 4.0, "truck", 12.0, 2.5), Drive(np.full(n, 15.0), np.full(n, -8.0)),
        Drive(-steady(10, n, -20.0), 4.0), Drive(14.0, -steady(8, n, -9.0)),
    )  # fmt: skip
    for name in ("on foot near", "on wheels near", "large near", "standing near", "oncoming near"):
        assert found[name] == pytest.approx(0.25), name
    assert found["crossing near"] == pytest.approx(0.5)
    assert found["others"] == pytest.approx(6 / 15)


def test_numbers_are_bounded_and_of_fixed_length():
    """However crowded, each number is from -1 to 1; nobody asked for, nothing given."""
    table = believed(traffic(1, 60, 12, lanes=12), MineConfig())
    found = scene.scenes(table, np.arange(len(table)))
    assert found.shape == (len(table), len(scene.SCENE))
    assert np.abs(found).max() <= 1.0
    assert scene.scenes(table, np.zeros(0, np.int64)).shape == (0, len(scene.SCENE))


def test_the_scene_does_not_turn_with_the_map():
    """Turned by any angle, the scene is the same."""
    c, s = np.cos(1.1), np.sin(1.1)
    x, other = steady(15, 20), steady(12, 20, 9.0)
    plain = believed(tracks_of(Drive(x, 0.0), Drive(other, 3.5)), MineConfig())
    turned = tracks_of(Drive(x * c, x * s), Drive(other * c - 3.5 * s, other * s + 3.5 * c))
    rows = np.arange(len(plain))
    np.testing.assert_allclose(
        scene.scenes(plain, rows), scene.scenes(believed(turned, MineConfig()), rows), atol=1e-9
    )


def test_what_was_seen_often_is_not_novel():
    """Novelty falls with each time that a scene is seen, and stays high for another."""
    table = believed(traffic(3, 20, 30), MineConfig())
    seen = scene.scenes(table, np.arange(len(table)))
    moments = Moments(len(scene.SCENE) + 1, 1, 1.0)
    strange = np.zeros((1, len(scene.SCENE)))
    strange[0, [scene.SCENE.index(name) for name in ("on foot near", "crossing near", "oncoming near")]] = 1.0
    before = scene.novelty(moments, seen[:1])[0]
    moments.learn(Rows(scene.with_one(seen), np.zeros((len(seen), 1)), np.ones(len(seen))))
    assert scene.novelty(moments, seen[:1])[0] < 0.05 < before
    assert scene.novelty(moments, strange)[0] > 0.5


def test_a_vector_has_its_names():
    """One number a name: the case, the numbers, the scene; what a finding lacks is 0."""
    found = Finding("cut-in", 0.4, 1.0, "s", (1, 2), 0, 0, 0, "", features={"severity": 0.4, "speed": 0.2})
    values = dict(zip(scene.NAMES, scene.vector(found), strict=True))
    assert (values["cut-in"], values["severity"], values["speed"]) == (1.0, 0.4, 0.2)
    assert sum(values[case] for case in CASES) == 1.0
    assert values["near front"] == 0.0
