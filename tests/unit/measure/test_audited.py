"""Recall by the audit: without bias, with a band that covers, and beside the figure that flatters."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.measure import audited as module
from hotloop.measure.audited import Audited


def plant(seed, count=4000, share=0.1):
    """Pieces with one defect in five; 80 % of them flagged. Returns the audit, and the true recall."""
    rng = np.random.default_rng(seed)
    audit, hits, total = Audited(), 0, 0
    for number in range(count):
        defect = rng.random() < 0.2
        flagged = bool(defect and rng.random() < 0.8)
        audit.predicted(flagged=flagged)
        hits += flagged
        total += defect
        name = f"p{number}"
        if not flagged and rng.random() < share:
            audit.asked(name, share)
            audit.judged(name, 0, int(defect), flagged=False)
        elif flagged:
            audit.judged(name, 1, 0, flagged=True)
    return audit.summary(), hits / total


def test_the_band_covers_and_the_naive_figure_does_not():
    """Over 100 plants: the band holds the truth in at least 95; on reviewed pieces alone recall is always 1."""
    found = [plant(seed, 1200) for seed in range(100)]
    assert sum(summary.lower <= truth <= summary.upper for summary, truth in found) >= 95
    assert all(summary.reviewed == 1.0 for summary, _ in found)
    assert abs(np.mean([summary.recall - truth for summary, truth in found])) < 0.02


def test_more_audit_is_a_narrower_band():
    """Ten times the pieces."""
    small, large = plant(0, 800)[0], plant(0, 8000)[0]
    assert large.upper - large.lower < 0.6 * (small.upper - small.lower)
    assert (large.asked, large.audited) == (large.audited, large.asked)
    assert large.misses > 0


def test_what_is_not_known_is_not_said():
    """No audited piece: no recall. An unflagged piece that came by another way does not count. Nothing at all:
    nothing.
    """
    audit = Audited()
    empty = audit.summary()
    assert (empty.recall, empty.reviewed, empty.lower, empty.upper) == (None, None, 0.0, 1.0)
    audit.predicted(flagged=False)
    audit.judged("p", 0, 1, flagged=False)
    assert audit.summary().audited == 0
    assert audit.propensity("p") is None
    audit.asked("p", 0.5)
    assert audit.propensity("p") == 0.5
    audit.judged("p", 0, 0, flagged=False)
    assert audit.summary().recall == 1.0


def test_flagged_pieces_that_nobody_reviewed_are_stood_for():
    """Half of the flagged were reviewed: the misses among the unflagged are brought to the same scale."""
    audit = Audited()
    for number in range(100):
        audit.predicted(flagged=number < 50)
        if number < 25:
            audit.judged(f"p{number}", 1, 0, flagged=True)
    for number in range(50, 100):
        audit.asked(f"p{number}", 1.0)
        audit.judged(f"p{number}", 0, int(number < 60), flagged=False)
    assert audit.summary().recall == pytest.approx(25 / (25 + 10 / 50 * 50 * 0.5))


def test_draws_that_are_never_verified_are_forgotten_in_time(monkeypatch):
    """So many are awaited, no more."""
    monkeypatch.setattr(module, "REMEMBERED_MAX", 3)
    audit = Audited()
    for number in range(5):
        audit.asked(f"p{number}", 0.1)
    assert audit.propensity("p0") is None
    assert audit.propensity("p4") == 0.1
    assert audit.summary().asked == 5
