"""Unit tests of driving's mining on real drives (NGSIM US-101): only where HOTLOOP_DATA names the folder."""

from __future__ import annotations

import csv
import gzip
from collections import Counter

import numpy as np
import pytest

from hotloop.verticals.driving import measures
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.mine import encode, frame_scores, lesson, mine, mined
from hotloop.verticals.driving.pairs import pairs_of
from hotloop.verticals.driving.table import believed
from hotloop.verticals.driving.tracks import KINDS, Actor, Tracks

LIMITS = MineConfig()
LOGS_MAX = 12


def read(path):
    """A log of the folder, in plain Python: independent of the ingest."""
    with gzip.open(path, "rt", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    names = sorted({row["id"] for row in rows}, key=int)
    number = {name: k for k, name in enumerate(names)}
    first = {row["id"]: row for row in reversed(rows)}
    actors = tuple(
        Actor(name, first[name]["type"] if first[name]["type"] in KINDS else "unknown",
              float(first[name]["length"]), float(first[name]["width"]))
        for name in names
    )  # fmt: skip
    names = ("x", "y", "heading", "v", "a")
    table = sorted(
        (number[row["id"]], round(float(row["step"]) / 0.1), *(float(row[name] or "nan") for name in names))
        for row in rows
    )
    values = np.array(table)
    who, frame = values[:, 0].astype(np.int64), values[:, 1].astype(np.int64)
    return Tracks(actors, who, frame, *(values[:, k].copy() for k in range(2, 7)), 0.1, path.name).check()


@pytest.fixture(scope="module")
def logs(data_dir):
    """Some of the logs."""
    found = sorted((data_dir / "driving/ngsim-us101").glob("*.csv.gz"))[:LOGS_MAX]
    if not found:
        pytest.skip("driving/ngsim-us101 is not in HOTLOOP_DATA")
    return [read(path) for path in found]


@pytest.fixture(scope="module")
def taught(logs):
    """Knowledge of half of them."""
    knows = Knows.start()
    for tracks in logs[: LOGS_MAX // 2]:
        knows.learn(lesson(tracks, mine(tracks, None, LIMITS), knows, LIMITS))
    return knows


def test_real_drives_have_cases_and_few_collisions(logs):
    """Motorway traffic at peak hour: short headways and cut-ins, nobody on foot, hardly a collision."""
    cases = Counter(one.case for tracks in logs for one in mine(tracks, None, LIMITS))
    assert cases["short headway"] > 0
    assert cases["cut-in"] > 0
    assert cases["pedestrian crossing"] == 0
    assert cases["collision"] <= 2


def test_real_findings_are_the_same_each_time(logs, taught):
    """Byte for byte, with what was learned."""
    for tracks in logs[:4]:
        assert encode(mine(tracks, taught, LIMITS)) == encode(mine(tracks, taught, LIMITS))


def test_findings_do_not_depend_on_the_size_of_blocks(logs, taught):
    """However little memory is used at once, the same bytes come out."""
    for tracks in logs[:3]:
        whole = encode(mine(tracks, taught, LIMITS))
        assert encode(mine(tracks, taught, MineConfig(pairs_chunk=997))) == whole


def test_real_times_to_collision_are_those_of_a_roll_out(logs):
    """Of the contacts found, rolled out in small steps the rectangles touch when it is said, and not before."""
    checked = 0
    for tracks in logs[:6]:
        table = believed(tracks, LIMITS)
        found = pairs_of(table, LIMITS).contact
        a, b = table.box.take(found.i), table.box.take(found.j)
        exact = measures.contact_s(a, b)
        straight = np.abs(exact - found.ttc) < 1e-9
        for t, touching in ((-0.02, False), (0.02, True)):
            when = exact + t
            sure = straight & (when > 0)
            moved = [
                measures.Boxes(
                    box.x + box.v * when * np.cos(box.heading), box.y + box.v * when * np.sin(box.heading),
                    box.heading, box.v, box.length, box.width, box.bend,
                )
                for box in (a, b)
            ]  # fmt: skip
            deep = measures.depth(*moved) >= 0
            # a graze may be over within 0.02 s
            assert (deep[sure] == touching).mean() > 0.97
            checked += int(sure.sum())
    assert checked > 100


def test_a_learned_predictor_is_better_on_real_drives_it_never_saw(logs, taught):
    """On the other half of the logs its error is below that of constant velocity."""
    from hotloop.verticals.driving import motion

    plain, learned = [], []
    for tracks in logs[LOGS_MAX // 2 :]:
        table = believed(tracks, LIMITS)
        x, y = motion.features(table, pairs_of(table, LIMITS)), motion.residuals(table)
        known = np.isfinite(y).all(axis=1)
        plain.append(motion.errors(None, x[known], y[known]))
        learned.append(motion.errors(taught.motion, x[known], y[known]))
    assert np.concatenate(learned).mean() < 0.97 * np.concatenate(plain).mean()


def test_few_real_moments_are_a_surprise(logs, taught):
    """One moment in a thousand is called one, give or take: far fewer than one in fifty of frames and actors."""
    rows = sum(len(tracks) for tracks in logs[LOGS_MAX // 2 :])
    surprised = 0
    for tracks in logs[LOGS_MAX // 2 :]:
        for one in mine(tracks, taught, LIMITS):
            if one.case == "surprise":
                surprised += one.last - one.first + 1
    assert surprised < rows / 50


def test_scores_say_where_to_look(logs):
    """Each log's highest score is at the peak of its most severe case."""
    for tracks in logs:
        found = mined(tracks, None, LIMITS).findings
        if found:
            worst = max(found, key=lambda one: one.severity)
            scores = frame_scores(found, tracks)
            assert scores.max() == worst.severity
            assert scores[worst.peak - int(tracks.frame.min())] == worst.severity
