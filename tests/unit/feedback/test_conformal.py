"""What passes without a human: the stated error holds, and the audit closes the gate when it does not."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.feedback import Passes


def stream(rng, count, slope=0.3):
    """Pieces whose chance of being wrong rises with the uncertainty: pairs (u, wrong)."""
    u = rng.random(count)
    return list(zip(u, rng.random(count) < slope * u**2, strict=True))


def test_the_risk_of_passing_is_kept():
    """Over 300 seeded calibrations the mean share of pieces that pass and are wrong is at most the bound."""
    risks = []
    for seed in range(300):
        rng = np.random.default_rng(seed)
        passes = Passes(0.02)
        for u, wrong in stream(rng, 200):
            passes._pieces.append((u, wrong, 1.0))
        limit = passes.threshold()
        u, wrong = stream(rng, 1)[0]
        risks.append(float(limit is not None and u <= limit and wrong))
    assert np.mean(risks) <= 0.02 + 2 * np.std(risks) / np.sqrt(len(risks))


def test_it_lets_pass_what_it_can():
    """With enough pieces more than a third pass at two percent; nothing would be safe and useless."""
    passes = Passes(0.02)
    for u, wrong in stream(np.random.default_rng(0), 900):
        passes.add(u, wrong=wrong)
    assert passes.passed_share() > 0.35
    assert "may pass without a human" in passes.words()


def test_few_pieces_or_bad_ones_let_nothing_pass():
    """Below the least number, and where even the surest are wrong."""
    passes = Passes(0.01)
    for u, _ in stream(np.random.default_rng(0), 40):
        passes.add(u, wrong=False)
    assert passes.threshold() is None
    assert passes.passed_share() == 0.0
    assert "nothing may pass yet" in passes.words()
    for u, _ in stream(np.random.default_rng(0), 100):
        passes.add(u, wrong=True)
    assert passes.threshold() is None
    assert Passes(0.01).passed_share() == 0.0


def test_equal_uncertainties_stand_or_fall_together():
    """A threshold between two pieces of one uncertainty would be none."""
    passes = Passes(0.05)
    for number in range(200):
        passes.add(0.5, wrong=number % 10 == 0)
    assert passes.threshold() is None


def test_the_audit_closes_it_when_the_product_changes():
    """Pieces that passed and were drawn show the error; then nothing passes until it is calibrated anew."""
    rng = np.random.default_rng(1)
    passes = Passes(0.05, window=4000)
    for u, wrong in stream(rng, 3000):
        passes._pieces.append((u, wrong, 1.0))
    assert passes.threshold() is not None
    assert passes.passed_share() > 0.3
    for _ in range(200):
        passes.add(float(rng.random() * 0.2), wrong=bool(rng.random() < 0.5), propensity=0.5)
        if passes.closed:
            break
    assert passes.closed
    assert passes.threshold() is None
    assert "the audit shows" in passes.words()
    passes.reopen()
    assert not passes.closed
    assert passes.threshold() is None


def test_the_audit_leaves_a_good_gate_open():
    """Sixty streams that keep their bound: at most a few are ever closed."""
    closed = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        passes = Passes(0.05, window=300)
        for u, wrong in stream(rng, 300):
            passes.add(u, wrong=wrong)
        for u, wrong in stream(rng, 200):
            passes.add(u, wrong=wrong, propensity=0.5)
        closed += passes.closed
    assert closed <= 4


@pytest.mark.parametrize("propensity", [1.0, 0.1])
def test_rare_pieces_stand_for_those_they_were_drawn_from(propensity):
    """A wrong piece that was drawn with a tenth counts for ten."""
    passes = Passes(0.05)
    for number in range(200):
        passes.add(0.1 + number / 1000, wrong=False)
    passes.add(0.0, wrong=True, propensity=propensity)
    assert (passes.threshold() is not None) == (propensity == 1.0)
