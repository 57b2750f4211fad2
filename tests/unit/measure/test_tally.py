"""Counts of outcomes and the shares they give."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.measure import Tally, count
from hotloop.types import Outcome

quick = settings(max_examples=40, deadline=None)

kinds = st.lists(st.sampled_from(["hit", "false alarm", "missed", "right"]), max_size=30)


def test_known_shares(outcomes):
    """Three hits, one false alarm, two missed: 3/4, 3/5, 6/9 and 3/6."""
    tally = count(outcomes("hhhfmmrrr"))
    assert (tally.hits, tally.false_alarms, tally.missed, tally.right) == (3, 1, 2, 3)
    assert tally.precision == pytest.approx(3 / 4)
    assert tally.recall == pytest.approx(3 / 5)
    assert tally.f1 == pytest.approx(2 / 3)
    assert tally.score == pytest.approx(1 / 2)


@pytest.mark.parametrize(("text", "score", "f1"), [("", 1, 0), ("rrr", 1, 0), ("fm", 0, 0), ("h", 1, 1)])
def test_shares_of_nothing(outcomes, text, score, f1):
    """A clean piece of which nothing was said scores 1; shares of nothing are 0, not an error."""
    tally = count(outcomes(text))
    assert (tally.score, tally.f1) == (score, f1)
    assert 0 <= tally.precision <= 1
    assert 0 <= tally.recall <= 1


@quick
@given(kinds, kinds)
def test_adding_and_taking_back(one, other):
    """Tallies add like the outcomes they count, and what is taken back was never there."""
    first, second = ([Outcome(kind, "open") for kind in part] for part in (one, other))
    whole = count(first)
    whole.add(count(second))
    assert whole == count(first + second)
    whole.add(count(second), -1)
    assert whole == count(first)


def test_a_copy_is_its_own(outcomes):
    """Counting on does not change what was handed out."""
    tally = count(outcomes("h"))
    copy = tally.copy()
    tally.count("missed")
    assert copy == Tally(hits=1)
    assert tally == Tally(hits=1, missed=1)
