"""A feedback that could not teach is refused before it is acknowledged."""

from __future__ import annotations

import math

import msgspec
import pytest

from hotloop.errors import InputError
from hotloop.feedback import check_feedback
from hotloop.types import Claim, Feedback

LABELS = ("open", "short")
GOOD = Feedback(
    prediction="p",
    reviewer="ann",
    at=1.7e9,
    claims=(
        Claim(output=0, label="open", region=(1.0, 2.0, 3.0, 4.0)),
        Claim(output=1),
        Claim(label="short", region=(0.0, 0.0, 5.0, 5.0)),
        Claim(value=-3.5),
        Claim(label="open", region=(1.0, 2.0, 0.5)),
    ),
)


def with_claim(**parts):
    return msgspec.structs.replace(GOOD, claims=(Claim(label="open"), Claim(**parts)))


def test_a_good_feedback_is_given_back_as_it_is():
    """Each kind of claim passes, and nothing is changed."""
    assert check_feedback(GOOD, LABELS) is GOOD


def test_a_piece_without_claims_is_good():
    """The most common verdict: nothing is wrong."""
    assert check_feedback(msgspec.structs.replace(GOOD, claims=()), LABELS).claims == ()


@pytest.mark.parametrize("reviewer", ["", "a b", "../x", "x" * 65, "ann\n"])
def test_a_reviewer_needs_a_name(reviewer):
    """Names go into logs, tables and metrics: they are checked at the door."""
    with pytest.raises(InputError, match="reviewer"):
        check_feedback(msgspec.structs.replace(GOOD, reviewer=reviewer), LABELS)


@pytest.mark.parametrize("at", [math.nan, math.inf, -math.inf])
def test_a_time_is_a_number(at):
    """JSON cannot hold others, so no report could."""
    with pytest.raises(InputError, match="`at`"):
        check_feedback(msgspec.structs.replace(GOOD, at=at), LABELS)


def test_claims_are_counted():
    """A thousand are taken, one more is not."""
    many = msgspec.structs.replace(GOOD, claims=(Claim(label="open"),) * 1000)
    assert check_feedback(many, LABELS)
    with pytest.raises(InputError, match="at most 1000 claims, this one makes 1001"):
        check_feedback(msgspec.structs.replace(GOOD, claims=(*many.claims, Claim())), LABELS)


@pytest.mark.parametrize("label", ["", "Open", "scratch", "open "])
def test_an_unknown_label_is_answered_with_the_known_ones(label):
    """A typo is said at once, with its place and the choice."""
    with pytest.raises(InputError, match=r"claim 1: .*it knows open, short"):
        check_feedback(with_claim(label=label), LABELS)


def test_a_long_label_is_cut_in_the_message():
    """Whoever sends a megabyte does not get it back."""
    with pytest.raises(InputError) as caught:
        check_feedback(with_claim(label="x" * 1_000_000), LABELS)
    assert len(str(caught.value)) < 300


def test_an_output_is_an_index():
    """Below 0 there is none; Python's "from the end" is not meant."""
    assert check_feedback(with_claim(output=0), LABELS)
    with pytest.raises(InputError, match="claim 1: `output`"):
        check_feedback(with_claim(output=-1), LABELS)


@pytest.mark.parametrize(
    "region",
    [
        (),
        (3.0, 2.0, 1.0, 4.0),
        (1.0, 2.0, 1.0, 4.0),
        (1.0, 4.0, 3.0, 4.0),
        (1.0, 5.0, 3.0, 4.0),
        (1.0, 2.0, math.nan, 4.0),
        (1.0, 2.0, math.inf, 4.0),
        (1.0, 2.0, 3.0, 1e7),
        (-1e7,),
    ],
)
def test_a_region_has_an_area(region):
    """Boxes inside out, flat, empty, endless or not of numbers are refused."""
    with pytest.raises(InputError, match="claim 1: region"):
        check_feedback(with_claim(label="open", region=region), LABELS)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_measurement_is_a_number(value):
    """NaN would spread through the sums."""
    with pytest.raises(InputError, match="claim 1: `value`"):
        check_feedback(with_claim(value=value), LABELS)
