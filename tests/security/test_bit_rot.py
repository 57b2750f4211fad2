"""TRUST 3: bit rot anywhere in a log is found and named, and the rest stays readable."""

from __future__ import annotations

from pathlib import Path

from hotloop.testing.rot import PAGE_RECORDS_MAX, check_bit_rot

PLACES = 2_000


def test_no_flipped_bit_loses_a_record_silently(tmp_path: Path) -> None:
    """2,000 places: each record is read as written or named; one bit costs at most the records of one page."""
    report = check_bit_rot(tmp_path, PLACES, seed=3)
    assert report.places == PLACES
    assert report.harmful > PLACES / 2  # else the flips missed
    assert report.lost_most <= PAGE_RECORDS_MAX
