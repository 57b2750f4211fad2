"""Scenes of recorded traffic: NGSIM US-101, where HOTLOOP_DATA points to the data."""

from __future__ import annotations

import csv
import gzip
import os
from pathlib import Path

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.verticals.driving.engines import Replay
from hotloop.verticals.driving.minimise import failing, minimised
from hotloop.verticals.driving.perturb import draw, plausible
from hotloop.verticals.driving.planner import Each, RulePlanner
from hotloop.verticals.driving.scenario import from_moment
from hotloop.verticals.driving.scenario_xml import from_xml, to_xml
from hotloop.verticals.driving.tracks import Actor, Tracks


def log_of(path: Path) -> Tracks:
    """A CSV file of the data, as it is laid out there: no more than this test needs."""
    with gzip.open(path, "rt") as file:
        rows = list(csv.DictReader(file))
    names = list(dict.fromkeys(row["id"] for row in rows))
    column = lambda name: np.array([float(row[name] or "nan") for row in rows])
    actor = np.array([names.index(row["id"]) for row in rows])
    frame = np.round(column("step") / 0.1).astype(np.int64)
    order = np.lexsort((frame, actor))
    first = {row["id"]: row for row in rows[::-1]}
    actors = tuple(Actor(k, "car", float(first[k]["length"]), float(first[k]["width"])) for k in names)
    values = [column(name)[order] for name in ("x", "y", "heading", "v", "a")]
    return Tracks(actors, actor[order], frame[order], *values, 0.1, source=path.name).check()


@pytest.fixture(scope="module")
def real():
    """Up to 60 scenes of four recordings."""
    folder = Path(os.environ.get("HOTLOOP_DATA", "")) / "driving" / "ngsim-us101"
    if not os.environ.get("HOTLOOP_DATA") or not folder.is_dir():
        pytest.skip("HOTLOOP_DATA is not set, or holds no driving/ngsim-us101")
    out = []
    for number in (10, 11, 12, 13):
        log = log_of(folder / f"USA_US101-{number}_1_T-1.csv.gz")
        for actor in range(0, len(log.actors), 2):
            frames = log.frame[log.rows_of(actor)]
            try:
                out.append(from_moment(log, actor, int(frames[len(frames) // 2])))
            except InputError:
                continue
    return out[:60]


def test_there_are_scenes_and_each_is_read_back(real):
    """By digest."""
    assert len(real) >= 40
    for scene in real[::6]:
        assert from_xml(to_xml(scene)).digest == scene.digest


def test_the_rule_planner_drives_in_real_traffic(real):
    """Nine of ten passed, though nobody there knows of it; progress near the recorded one's."""
    runs = Replay().run(real, RulePlanner())
    assert sum(run.passed() for run in runs) >= 0.9 * len(runs)
    assert np.median([run.progress for run in runs]) > 0.85


def test_a_blind_planner_does_not(real):
    """The scenes are no empty roads."""
    runs = Replay().run(real, Each(lambda view: (2.0, 0.0)))
    rule = Replay().run(real, RulePlanner())
    assert sum(bool(run.collisions) for run in runs) > 2 * sum(bool(run.collisions) for run in rule) + 3


def test_perturbed_ones_are_plausible(real):
    """In dense traffic, too, something else can be."""
    for scene in real[:5]:
        drawn = draw(scene, 1, 4)
        assert len(drawn) >= 2
        assert all(plausible(one, scene) for _, one in drawn)


def test_a_failure_in_a_crowd_is_made_small(real):
    """Of up to 24 road users one or two are left."""
    blind = Each(lambda view: (2.0, 0.0))
    fails = failing(Replay(), blind)
    scene = next(one for one in real if len(one.others) > 10 and fails(one))
    least = minimised(scene, fails)
    assert len(least.scenario.others) <= 3
    assert fails(least.scenario)
    assert len(to_xml(least.scenario)) < len(to_xml(scene)) / 3
