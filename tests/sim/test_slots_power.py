"""TRUST 16: a power cut at any step of an installation leaves a complete release that was checked."""

from __future__ import annotations

import pytest

from hotloop.testing.slot_power import check_slot_cuts


def test_a_device_always_starts_with_a_complete_release():
    """3,000 cuts, most of them in the middle of an installation."""
    report = check_slot_cuts(3_000, seed=1)
    assert report.cuts == 3_000
    assert report.midway > 1_000


@pytest.mark.full
def test_a_device_always_starts_with_a_complete_release_however_often_it_is_cut():
    """100,000 cuts."""
    assert sum(check_slot_cuts(10_000, seed=seed).cuts for seed in range(10)) == 100_000
