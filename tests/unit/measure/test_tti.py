"""Time-to-Improvement: proven, or honestly not yet."""

import numpy as np
import pytest

from hotloop.evidence import difference_sequence
from hotloop.measure import tti as module
from hotloop.measure.tti import ALPHA, GRID_POINTS, Improvements

T = 1_000_000.0


def release(story, version, tier="reflex"):
    """A release's body."""
    return story.release(version, 0, tier=tier).event.body


def loop(story, then, now, tier="refresh", version=2):
    """Improvements after scores `then`, a release at T, and scores `now`, ten seconds apart."""
    improvements = Improvements()
    for i, score in enumerate(then):
        improvements.judged(version - 1, score, T - 1000 + i)
    improvements.released(release(story, version, tier))
    improvements.live(version, T)
    for i, score in enumerate(now, 1):
        improvements.judged(version, score, T + 10 * i)
    return improvements


def flips(share, count, seed=0):
    """Scores of 0 and 1 with this share of ones."""
    return (np.random.default_rng(seed).random(count) < share).astype(float).tolist()


def test_a_clear_rise_is_proven_with_its_time(story):
    """Seconds and examples are those of the first look at which the interval excludes 0."""
    then, now = flips(0.3, 200), flips(0.95, 100, seed=1)
    (found,) = loop(story, then, now).summary()
    lower, _ = difference_sequence(then, now, ALPHA)
    assert found.finding == "better"
    assert abs(found.examples - (int(np.argmax(lower > 0)) + 1)) <= 2  # the grid here is coarser
    assert found.seconds == pytest.approx(10 * found.examples)
    assert 0 < found.lower < 0.65 < found.upper
    assert (found.version, found.tier, found.then_examples) == (2, "refresh", 200)
    assert found.then == pytest.approx(np.mean(then))


def test_no_change_is_not_yet_with_its_interval(story):
    """Without a difference nothing is claimed, however small the interval gets."""
    (found,) = loop(story, flips(0.7, 200), flips(0.7, 300, seed=2)).summary()
    assert found.finding == "not yet"
    assert found.seconds is None
    assert found.examples is None
    assert found.lower <= 0 <= found.upper
    assert found.now_examples == 300
    assert "no difference proven after 300" in found.words()


def test_false_proofs_are_rarer_than_alpha(story):
    """Of 60 releases that changed nothing, at most 5 % (and slack) are called better or worse."""
    wrong = 0
    for seed in range(60):
        (found,) = loop(story, flips(0.6, 100, seed), flips(0.6, 160, seed + 1000)).summary()
        wrong += found.finding != "not yet"
    assert wrong <= 6


def test_a_release_that_made_it_worse_is_said_to_be(story):
    """The same test in the other direction."""
    (found,) = loop(story, flips(0.95, 200), flips(0.3, 100, seed=1)).summary()
    assert found.finding == "worse"
    assert found.upper < 0
    assert found.words().startswith("release 2 (refresh): worse after ")


def test_answers_of_older_models_do_not_count_for_the_release(story):
    """A verdict that comes late, on what an older version said, says nothing of the new one."""
    improvements = loop(story, flips(0.3, 100), [])
    for i in range(100):
        improvements.judged(1, 1.0, T + i)
    (found,) = improvements.summary()
    assert found.now_examples == 0
    assert found.now == found.then
    improvements.judged(5, 1.0, T + 200)
    assert improvements.summary()[0].now_examples == 1


def test_too_little_before_makes_no_milestone(story):
    """With fewer than 20 examples there is no "then" to compare with."""
    assert loop(story, flips(0.3, module.THEN_EXAMPLES_MIN - 1), flips(1.0, 50)).summary() == ()


def test_a_reflex_release_is_followed_only_when_nothing_else_is(story):
    """One milestone at a time for releases that come with each verdict; slower tiers always get one."""
    improvements = loop(story, flips(0.5, 50), [], tier="reflex")
    for version, tier in ((3, "reflex"), (4, "refresh"), (5, "reflex")):
        improvements.released(release(story, version, tier))
        improvements.live(version, T + version)
    assert [(i.version, i.tier) for i in improvements.summary()] == [(2, "reflex"), (4, "refresh")]


def test_after_a_finding_the_next_reflex_release_is_followed(story):
    """The measurement goes on for as long as the loop turns."""
    improvements = loop(story, flips(0.1, 100), flips(1.0, 200), tier="reflex")
    improvements.live(3, T + 5000)
    first, second = improvements.summary()
    assert (first.finding, second.version, second.then) == ("better", 3, 1.0)


def test_a_version_becomes_a_milestone_once(story):
    """The second line to go live with a version, or one that lags behind, opens nothing."""
    improvements = loop(story, flips(0.5, 50), [])
    improvements.live(2, T + 1)
    improvements.live(1, T + 2)
    assert [i.version for i in improvements.summary()] == [2]


def test_open_milestones_are_bounded(story, monkeypatch):
    """The oldest open one is closed as it stands."""
    monkeypatch.setattr(module, "OPEN_MAX", 2)
    improvements = loop(story, flips(0.5, 50), flips(0.5, 10, seed=1))
    for version in (3, 4, 5):
        improvements.released(release(story, version, "refresh"))
        improvements.live(version, T + 1000)
    assert len(improvements._open) == 2
    found = improvements.summary()
    assert [i.version for i in found] == [2, 3, 4, 5]
    assert (found[0].finding, found[0].now_examples) == ("not yet", 10)


def test_a_milestone_without_proof_is_closed(story, monkeypatch):
    """It does not wait for ever: after the limit it stays "not yet" and makes room."""
    monkeypatch.setattr(module, "NOW_EXAMPLES_MAX", 32)
    improvements = loop(story, flips(0.5, 50), flips(0.5, 64, seed=3))
    assert improvements._open == []
    assert improvements.summary()[0].finding == "not yet"


def test_tiers_of_releases_that_never_go_live_are_forgotten(story, monkeypatch):
    """Their memory is bounded; a forgotten one counts as reflex."""
    monkeypatch.setattr(module, "TIERS_MAX", 2)
    improvements = loop(story, flips(0.5, 50), [], version=1, tier="refresh")
    for version in (2, 3, 4):
        improvements.released(release(story, version, "refresh"))
    assert len(improvements._tiers) == 2


def test_asking_often_changes_nothing(story):
    """A report after each verdict and one at the end find the same."""
    then, now = flips(0.4, 100), flips(0.9, 60, seed=5)
    asked, quiet = (loop(story, then, []) for _ in range(2))
    for i, score in enumerate(now, 1):
        for improvements in (asked, quiet):
            improvements.judged(2, score, T + 10 * i)
        asked.summary()
    one, other = asked.summary()[0], quiet.summary()[0]
    assert one.finding == other.finding == "better"
    assert one.examples <= other.examples <= one.examples + module.BLOCK_EXAMPLES
    assert GRID_POINTS % 2 == 1  # 0.5 is a candidate mean


def test_what_comes_after_a_finding_does_not_change_it(story):
    """A proof stands: the examples after it belong to later releases."""
    improvements = loop(story, flips(0.2, 100), flips(1.0, 100))
    (found,) = improvements.summary()
    for i in range(50):
        improvements.judged(2, 0.0, T + 10_000 + i)
    assert improvements.summary() == (found,)
