"""May a candidate replace the champion? Honest ones pass, harmful ones do not, at every look."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import GateConfig
from hotloop.gate import judge

CONFIG = GateConfig()
WINDOW = CONFIG.window_examples


def test_few_examples_are_no_evidence():
    """Below the least number the gate has no view and promotes, however it looks."""
    count = CONFIG.least_examples - 1
    found = judge(np.zeros(count), np.ones(count), CONFIG)
    assert (found.decision, found.count, found.e_value) == ("promote", count, 1.0)
    assert "19 verified examples are too few" in found.reason


def test_a_champion_without_a_number_is_all_wrong():
    """It does not stop the gate, and it cannot be better than one that answers."""
    champion = np.where(np.arange(40) % 2 == 0, np.nan, 0.0)
    found = judge(champion, np.zeros(40), CONFIG)
    assert (found.decision, found.difference) == ("promote", -0.5)


def test_the_least_number_is_enough_for_a_disaster():
    """With 20 examples all wrong that were all right, it refuses."""
    found = judge(np.zeros(CONFIG.least_examples), np.ones(CONFIG.least_examples), CONFIG)
    assert found.decision == "refuse"
    assert found.difference == 1.0
    assert found.e_value >= 1 / CONFIG.alpha
    assert "the last 20 verified examples its error is 1.000 above the champion's" in found.reason


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("count", [1, 100])
def test_an_answer_that_is_no_number_is_refused(value, count):
    """One NaN is enough, even where there is too little to judge by."""
    candidate = np.zeros(count)
    candidate[-1] = value
    found = judge(np.ones(count), candidate, CONFIG)
    assert (found.decision, found.e_value) == ("refuse", np.inf)
    assert "not finite" in found.reason


def test_losses_are_paired():
    """Losses of different examples are a mistake of ours, not a judgement."""
    with pytest.raises(ValueError, match="paired"):
        judge(np.zeros(30), np.zeros(31), CONFIG)


@pytest.mark.parametrize(("shift", "word"), [(-0.1, "0.100 below"), (0.0, "0.000 off"), (0.01, "0.010 above")])
def test_the_reason_says_how_they_compare(shift, word):
    """The operator reads the difference in words and the e-value."""
    found = judge(np.full(50, 0.5), np.full(50, 0.5 + shift), CONFIG)
    assert found.decision == "promote"
    assert word in found.reason
    assert found.difference == pytest.approx(shift)


def test_the_order_of_the_examples_does_not_matter():
    """The evidence is of the set: a shuffled window gives the same judgement."""
    rng = np.random.default_rng(0)
    champion, candidate = rng.random(100), rng.random(100)
    order = rng.permutation(100)
    one, other = judge(champion, candidate, CONFIG), judge(champion[order], candidate[order], CONFIG)
    assert one.decision == other.decision
    assert one.e_value == pytest.approx(other.e_value)


def share_refused(champion_error, candidate_error, count=WINDOW, runs=400, seed=0):
    """The share of windows in which a candidate with this error is refused; errors are independent 0/1."""
    rng = np.random.default_rng(seed)
    refused = 0
    for _ in range(runs):
        losses = [(rng.random(count) < error) * 1.0 for error in (champion_error, candidate_error)]
        refused += judge(*losses, CONFIG).decision == "refuse"
    return refused / runs


@pytest.mark.parametrize("error", [0.02, 0.1, 0.3])
def test_an_honest_candidate_is_refused_at_most_alpha(error):
    """As good as the champion, up to the tolerance: at most 5 % are refused."""
    assert share_refused(error, error) <= CONFIG.alpha
    assert share_refused(error, error + CONFIG.tolerance) <= CONFIG.alpha


def test_a_better_candidate_is_hardly_ever_refused():
    """Half the champion's errors: not one of 400 is lost."""
    assert share_refused(0.2, 0.1) == 0.0


@pytest.mark.parametrize(("champion", "candidate"), [(0.05, 0.3), (0.2, 0.5), (0.0, 0.2)])
def test_a_clearly_worse_candidate_is_refused_within_the_window(champion, candidate):
    """20 to 30 points worse: at least 95 % are refused."""
    assert share_refused(champion, candidate) >= 0.95


def test_a_candidate_that_lost_one_class_of_five_is_refused():
    """Right on four classes, wrong on all of the fifth: seen within the window."""
    candidate = np.tile([0.0, 0.0, 0.0, 0.0, 1.0], WINDOW // 5)
    assert judge(np.zeros(WINDOW), candidate, CONFIG).decision == "refuse"
