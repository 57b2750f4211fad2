"""The watch after a release: no false alarm beyond its level, and an alarm when there is cause."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.errors import ModelError
from hotloop.rollout import Watch, spent
from hotloop.rollout.watch import BETS, WatchState


def watched(rng, count, before, now, tolerance=0.0, alpha=0.05):
    """A watch over pieces on which two models err independently; the piece of the first alarm, or None."""
    watch = Watch(tolerance, alpha)
    for number in range(count):
        watch.add(float(rng.random() < now), float(rng.random() < before))
        if watch.alarm:
            return number + 1, watch
    return None, watch


def test_equal_models_are_hardly_ever_rolled_back():
    """Two hundred runs of 2,000 pieces at 5 % error both: alarms at most at the level, with room for chance."""
    rng = np.random.default_rng(0)
    runs = 200
    d = (rng.random((runs, 2000)) < 0.05).astype(float) - (rng.random((runs, 2000)) < 0.05)
    log = np.cumsum(np.log1p(BETS[None, None] * d[..., None]), axis=1)
    ever = (np.exp(log).mean(2) >= 1 / 0.05).any(1).mean()
    assert ever <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / runs)
    assert watched(rng, 500, 0.05, 0.05)[0] is None


@pytest.mark.parametrize(("before", "now", "within"), [(0.02, 0.10, 400), (0.05, 0.10, 2500)])
def test_a_worse_model_is_found(before, now, within):
    """Three of four runs see it within so many verified pieces."""
    found = [watched(np.random.default_rng(seed), 4 * within, before, now)[0] for seed in range(8)]
    assert sum(at is not None and at <= within for at in found) >= 6


def test_it_says_what_it_found():
    """Counts, the difference, and the evidence beside what is needed."""
    at, watch = watched(np.random.default_rng(1), 5000, 0.02, 0.2)
    assert at is not None
    assert f"on {at} verified pieces its error is" in watch.words()
    assert "above that of the state before" in watch.words()
    assert "alarm at 20" in watch.words()
    assert f"on {at} verified pieces its cost is" in watch.words("cost")
    assert not watch.better


def test_a_better_model_is_proven_better():
    """And raises no alarm."""
    watch = Watch(0.0, 0.05)
    rng = np.random.default_rng(2)
    for _ in range(600):
        watch.add(float(rng.random() < 0.02), float(rng.random() < 0.15))
    assert watch.better
    assert not watch.alarm
    assert "below that of the state before" in watch.words()


def test_within_the_tolerance_there_is_no_alarm():
    """Twice the error, and still within five points."""
    assert watched(np.random.default_rng(3), 3000, 0.02, 0.04, tolerance=0.05)[0] is None


def test_an_alarm_stays():
    """Who has seen the proof need not see it again: good pieces afterwards do not take it back."""
    _, watch = watched(np.random.default_rng(4), 5000, 0.0, 0.3)
    for _ in range(500):
        watch.add(0.0, 1.0)
    assert watch.alarm


def test_all_watches_of_a_loop_share_one_level():
    """The levels fall, and sum to no more than alpha."""
    levels = [spent(0.05, number) for number in range(1, 5000)]
    assert levels == sorted(levels, reverse=True)
    assert 0.99 * 0.05 < sum(levels) <= 0.05
    assert spent(0.05, 0) == levels[0]


def test_it_goes_on_after_a_restart():
    """Same evidence from its state; of another version's it is refused."""
    _, one = watched(np.random.default_rng(5), 100, 0.1, 0.2)
    two = Watch(0.0, 0.05)
    two.restore(msgspec.msgpack.decode(msgspec.msgpack.encode(one.state()), type=WatchState))
    for watch in (one, two):
        watch.add(1.0, 0.0)
    assert one.state() == two.state()
    with pytest.raises(ModelError, match="another version"):
        two.restore(WatchState(1, 0.0, (0.0,), (0.0,), 0.0))
