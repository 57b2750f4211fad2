"""TRUST 18: a rollback reaches 99 of 100 lines that are online within ten seconds, signed, and checked by each."""

from __future__ import annotations

import pytest

from hotloop.testing.online_fleet import check_rollback_reaches, quantile


def test_a_hundred_lines(tmp_path):
    """Real HTTP, real keys."""
    took = check_rollback_reaches(tmp_path, 100)
    assert quantile(took, 0.99) <= 10.0


@pytest.mark.full
def test_a_thousand_lines(tmp_path):
    """The whole row."""
    took = check_rollback_reaches(tmp_path, 1000)
    assert quantile(took, 0.99) <= 10.0


def test_what_share_had_it_when():
    """The last one counts where the share is all."""
    assert [quantile([1.0, 2.0, 3.0, 4.0], share) for share in (0.0, 0.5, 1.0)] == [1.0, 3.0, 4.0]
