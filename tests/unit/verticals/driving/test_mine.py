"""Unit tests of driving.mine: the whole of it, its words, its order, its bytes, and what it knows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hotloop.testing.drives import Drive, driven, steady, tracks_of, traffic
from hotloop.verticals.driving.finding import CASES
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.mine import encode, frame_scores, lesson, mine, mined
from hotloop.verticals.driving.scene import NAMES, SCENE, vector
from hotloop.verticals.driving.tracks import Moment

LIMITS = MineConfig()


def braking(frames=120, at=60):
    """One brakes with 7 m/s2 behind another that brakes, too, 21 m ahead."""
    v = np.full(frames, 20.0)
    v[at : at + 15] = 20 - 0.7 * np.arange(1, 16)
    v[at + 15 :] = 9.5
    slow = np.full(frames, 20.0)
    slow[at - 8 : at + 7] = 20 - 0.75 * np.arange(1, 16)
    slow[at + 7 :] = 8.75
    return tracks_of(Drive(driven(v), 0.0), Drive(driven(slow, 26.0), 0.0))


@pytest.fixture(scope="module")
def taught():
    """Knowledge of a few logs of calm traffic."""
    knows = Knows.start()
    for seed in range(4):
        tracks = traffic(seed, 20, 150)
        knows.learn(lesson(tracks, mine(tracks, None, LIMITS), knows, LIMITS))
    return knows


def test_calm_traffic_has_no_cases():
    """Twenty cars in five lanes for 15 s: nothing."""
    assert mine(traffic(9, 20, 150), None, LIMITS) == []


def test_a_finding_says_who_did_what_when_behind_whom():
    """The words name the subject, the measure, the second, and who was ahead."""
    one = next(c for c in mine(braking(), None, LIMITS) if c.case == "hard braking" and c.actors == (0,))
    assert one.words.startswith(f"car 0 braked with {one.value:.1f} m/s2 at {one.peak * 0.1:.1f} s")
    assert "s behind car 1 (time to collision" in one.words


def test_the_same_log_gives_the_same_bytes(taught):
    """Twice the same input, twice the same bytes, with what was learned and without."""
    for knows in (None, taught, Knows.from_bytes(taught.to_bytes())):
        assert encode(mine(braking(), knows, LIMITS)) == encode(mine(braking(), knows, LIMITS))
    assert encode(mine(braking(), taught, LIMITS)) == encode(
        mine(braking(), Knows.from_bytes(taught.to_bytes()), LIMITS)
    )


def test_findings_come_by_first_frame_case_and_actors():
    """The order is that of time, not of severity."""
    close = MineConfig(headway_s_max=1.2, ttc_s_max=6.0)
    keys = [(c.first, CASES.index(c.case), c.actors) for c in mine(braking(), None, close)]
    assert len(keys) >= 2
    assert keys == sorted(keys)


def test_frames_and_places_may_begin_anywhere():
    """The log shifted by 500 frames and turned by a third of a circle has the same cases."""
    tracks = braking()
    c, s = np.cos(2.1), np.sin(2.1)
    x, y = tracks.x * c - tracks.y * s + 1000, tracks.x * s + tracks.y * c - 300
    other = replace(tracks, frame=tracks.frame + 500, x=x, y=y, heading=tracks.heading + 2.1)
    here, there = mine(tracks, None, LIMITS), mine(other, None, LIMITS)
    assert [(a.case, a.actors, a.first + 500, a.peak + 500) for a in here] == [
        (b.case, b.actors, b.first, b.peak) for b in there
    ]
    assert [a.severity for a in here] == pytest.approx([b.severity for b in there], abs=1e-5)


def test_a_step_of_a_quarter_second_is_taken_as_it_is():
    """The same drive at 4 Hz has its hard braking, too."""
    t = 0.25 * np.arange(40)
    v = np.clip(20 - 7 * (t - 3), 8.0, 20.0)
    tracks = replace(tracks_of(Drive(driven(v, step_s=0.25), 0.0), step_s=0.25), v=v)
    one = [c for c in mine(tracks, None, LIMITS) if c.case == "hard braking"]
    assert len(one) == 1
    assert one[0].value == pytest.approx(7.0, abs=0.1)
    assert f"at {one[0].peak * 0.25:.1f} s" in one[0].words


def test_what_the_log_says_is_a_case_of_the_one_who_drove():
    """A take-over that is logged twice is one finding, of the ego."""
    told = (Moment(12, "take-over"), Moment(12, "take-over"), Moment(30, "disengagement"))
    tracks = tracks_of(Drive(steady(10, 50), 0.0), Drive(steady(10, 50), 9.0, ego=True), moments=told)
    found = mine(tracks, None, LIMITS)
    assert [(c.case, c.actors, c.peak) for c in found] == [("take-over", (1,), 12), ("take-over", (1,), 30)]
    assert "disengagement" in found[1].words


def test_an_empty_log_has_nothing():
    """No rows, no findings, no lesson, no scores."""
    empty = traffic(0, 2, 10).between(100, 110)
    assert mine(empty, Knows.start(), LIMITS) == []
    assert len(frame_scores([], empty)) == 0
    assert lesson(empty, [], Knows.start(), LIMITS).windows == 0


def test_the_least_severe_are_dropped_beyond_the_limit():
    """With room for one finding the worst one stays, and the others are counted."""
    whole = mined(braking(), None, LIMITS)
    less = mined(braking(), None, MineConfig(findings_max=1))
    assert less.dropped == len(whole.findings) - 1
    assert less.findings[0].severity == max(c.severity for c in whole.findings)


def test_scores_are_highest_at_peaks():
    """A frame's score is the severity at a peak, less around it, and 0 elsewhere."""
    tracks = braking()
    found = mine(tracks, None, LIMITS)
    scores = frame_scores(found, tracks)
    assert len(scores) == tracks.frames
    worst = max(found, key=lambda c: c.severity)
    assert scores.max() == scores[worst.peak] == worst.severity
    quiet = np.ones(len(scores), bool)
    for one in found:
        quiet[one.first : one.last + 1] = False
    assert quiet.any()
    assert (scores[quiet] == 0).all()
    assert (scores == scores.max()).sum() == 1


def test_all_numbers_are_bounded(taught):
    """Severity, novelty, surprise, rarity from 0 to 1; features by name, each from -1 to 1."""
    for one in mine(braking(), taught, LIMITS):
        assert all(0 <= n <= 1 for n in (one.severity, one.novelty, one.surprise, one.rarity))
        assert set(SCENE) <= set(one.features)
        assert len(vector(one)) == len(NAMES)
        assert np.abs(vector(one)).max() <= 1


def test_nothing_is_new_or_a_surprise_to_one_who_knows_nothing():
    """Without knowledge there are no such cases, and the numbers are 0."""
    for knows in (None, Knows.start()):
        found = mine(braking(), knows, LIMITS)
        assert not {"surprise", "novel"} & {c.case for c in found}
        assert all(c.surprise == c.novelty == 0 for c in found)


def test_who_leaves_its_path_for_no_reason_is_a_surprise(taught):
    """After calm traffic a swerve by 4 m is further off than calm moments are; calm traffic is not."""
    x = steady(15, 80)
    swerve = 4 / (1 + np.exp(-(np.arange(80) - 45) / 2.0))
    found = mine(tracks_of(Drive(x, swerve)), taught, LIMITS)
    assert "surprise" in {c.case for c in found}
    calm = mine(traffic(77, 20, 150), taught, LIMITS)
    assert len([c for c in calm if c.case == "surprise"]) <= 3


def test_a_scene_never_seen_is_novel(taught):
    """A street with pedestrians all around is new to one who knows motorways."""
    walkers = [Drive(np.full(40, 20.0 + 2 * k), steady(1.2, 40, -8.0), "pedestrian", 0.5, 0.5) for k in range(6)]
    found = mine(tracks_of(Drive(steady(4, 40), -6.0), *walkers), taught, MineConfig(novelty_min=0.3))
    assert "novel" in {c.case for c in found}
    assert not [c for c in mine(traffic(5, 20, 150), taught, LIMITS) if c.case == "novel"]


def test_cases_are_rarer_if_fewer_windows_hold_them(taught):
    """Nobody braked in what was learned: a braking is as rare as can be."""
    one = next(c for c in mine(braking(), taught, LIMITS) if c.case == "hard braking")
    assert one.rarity == pytest.approx(1.0)
    knows = Knows.from_bytes(taught.to_bytes())
    knows.learn(lesson(braking(), mine(braking(), None, LIMITS), knows, LIMITS))
    again = next(c for c in mine(braking(), knows, LIMITS) if c.case == "hard braking")
    assert again.rarity < one.rarity
