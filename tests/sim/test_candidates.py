"""TRUST 13: of 500 sabotaged candidates none is promoted; and honest ones pass."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import GateConfig
from hotloop.gate import judge
from hotloop.testing.candidates import SABOTAGES, Bench

CONFIG = GateConfig()


def check_sabotaged(count, seed=0):
    """So many of each kind; none may be promoted, by the reflex's gate or by the slower tiers'."""
    bench = Bench(seed)
    for name in SABOTAGES:
        for _ in range(count):
            champion, candidate, parts = bench.sabotaged(name)
            for slow in (False, True):
                found = judge(champion, candidate, CONFIG, parts, slow=slow)
                assert found.decision == "refuse", f"{name}: {found.reason}"


def test_no_sabotaged_candidate_is_promoted():
    """Fifty of each kind: not a number, constant, a lost class, aimed at a class or a line, noise."""
    assert len(SABOTAGES) * 50 >= 500
    check_sabotaged(50)


def test_the_mean_alone_would_let_one_through():
    """One of them gains on the whole and loses a class: the suite has something that only the parts can see."""
    champion, candidate, parts = Bench(0).sabotaged("aimed, better elsewhere")
    assert candidate.mean() < champion.mean()
    assert judge(champion, candidate, CONFIG).decision == "promote"
    assert judge(champion, candidate, CONFIG, parts).decision == "refuse"


def test_honest_candidates_pass():
    """At least 85 of 100, with three verdicts in a hundred wrong."""
    bench = Bench(1)
    decisions = []
    for _ in range(150):
        champion, candidate, parts = bench.honest()
        decisions.append(judge(champion, candidate, CONFIG, parts).decision)
    assert np.mean([decision == "promote" for decision in decisions]) >= 0.85


@pytest.mark.full
def test_honest_candidates_pass_whole():
    """Four hundred of them."""
    bench = Bench(2)
    found = [judge(*(made := bench.honest())[:2], CONFIG, made[2]).decision == "promote" for _ in range(400)]
    assert np.mean(found) >= 0.85
