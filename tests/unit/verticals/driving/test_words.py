"""Unit tests of driving.words: a sentence for each case."""

from __future__ import annotations

import pytest

from hotloop.testing.drives import Drive, steady, tracks_of
from hotloop.verticals.driving.finding import CASES
from hotloop.verticals.driving.words import Said, name, words


@pytest.mark.parametrize("case", CASES)
def test_each_case_has_words_that_say_when(case):
    """No case is without its sentence, and each says the second."""
    text = words(case, Said("car 1", "car 2", 0.5, 4.3, 10.0, "a take-over"))
    assert "4.3 s" in text
    assert "a take-over" in text


@pytest.mark.parametrize("case", ["collision", "near miss", "short time to collision", "short headway", "cut-in"])
def test_cases_of_two_name_both(case):
    """Subject and other."""
    text = words(case, Said("car 1", "bus 2", 0.5, 4.3, 10.0))
    assert "car 1" in text
    assert "bus 2" in text
    assert text.endswith("driving 10.0 m/s")


def test_an_actor_is_its_kind_and_its_name():
    """As in the log."""
    assert name(tracks_of(Drive(steady(1, 5), 0.0), Drive(steady(1, 5), 3.0, "bus")), 1) == "bus 1"
