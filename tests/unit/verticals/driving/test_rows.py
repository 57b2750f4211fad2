"""Findings as rows: nothing is lost on the way through the log; strange numbers are refused."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.errors import ModelError
from hotloop.types import Proposals
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.rows import ROWS_MAX, expanded, finding_of, prior, proposals_of, region_of


def finding(case="cut-in", severity=0.6, **more):
    """One of a kind."""
    given = {"value": 0.41, "unit": "s", "actors": (3, 7), "first": 10, "peak": 14, "last": 20, "words": "w", **more}
    return Finding(case, severity, **given)


@pytest.mark.parametrize("case", CASES)
def test_a_region_holds_the_finding(case):
    """Case, frames, measures and actors come back; the words are made anew, with the log's names."""
    one = finding(case, novelty=0.25, surprise=0.5, rarity=0.125)
    back = finding_of(region_of(one, 0.1), [f"v{k}" for k in range(5)])
    for name in ("case", "severity", "value", "actors", "first", "peak", "last", "novelty", "surprise", "rarity"):
        assert getattr(back, name) == getattr(one, name)
    assert case in back.words
    assert "v3, actor 7" in back.words


def test_a_crowd_is_cut_to_the_first():
    """A region has a bounded length."""
    assert len(region_of(finding(actors=tuple(range(50))), 0.1)) == 16
    assert finding_of(region_of(finding(actors=()), 0.1)).actors == ()


@pytest.mark.parametrize(
    "region",
    [
        (), (1.0, 2.0, 3.0, 4.0), (99.0, 1, 1, 1, 0.1, 0, 0, 0, 0, 0), (0.5, 1, 1, 1, 0.1, 0, 0, 0, 0, 0),
        (float("nan"), 1, 1, 1, 0.1, 0, 0, 0, 0, 0), (0.0, -1, 1, 1, 0.1, 0, 0, 0, 0, 0),
        (0.0, 1, 1, 1, 0.1, 0, 0, 0, 0, 0, float("inf")), (0.0, 1, 1, 1, 0.1, 0, 0, 0, 0, 0, 2.5),
    ],
)  # fmt: skip
def test_a_region_of_something_else_is_refused(region):
    """A box of pixels, fractions of frames, numbers that are none."""
    with pytest.raises(ModelError, match="is no finding"):
        finding_of(region)


def test_equal_findings_are_equal_bytes():
    """What the log keeps does not depend on when or where it was made."""
    some = [finding(), finding("jerk", 0.2)]
    assert proposals_of(some, 0.1) == proposals_of(list(some), 0.1)
    assert proposals_of(some, 0.1).rows == 2
    assert proposals_of([], 0.1).rows == 0


def test_each_case_is_learned_apart():
    """Rows of two cases share no column: what is said of one says nothing of the other."""
    x, cases = expanded(proposals_of([finding("cut-in"), finding("jerk"), finding("cut-in", 0.1)], 0.1))
    assert [CASES[one] for one in cases] == ["cut-in", "jerk", "cut-in"]
    assert x[0] @ x[1] == 0.0
    assert x[0] @ x[2] > 0.0
    assert (x != 0).sum() >= 3 * 2


@pytest.mark.parametrize("case", CASES)
def test_one_begins_with_severity(case):
    """In the column of its own case; nothing in any other."""
    x, cases = expanded(proposals_of([finding(case, 0.37)], 0.1))
    scores = (x @ prior())[0]
    assert scores[cases[0]] == pytest.approx(0.37, abs=1e-6)
    assert np.delete(scores, cases[0]).tolist() == [0.0] * (len(CASES) - 1)


def test_rows_of_another_version_are_refused():
    """Too many rows, too few columns, regions that are not one a row."""
    fine = proposals_of([finding()], 0.1)
    with pytest.raises(ModelError, match="of another version"):
        expanded(Proposals(1, 3, bytes(12), kind="f4"))
    with pytest.raises(ModelError, match="2 regions"):
        expanded(Proposals(1, fine.columns, fine.data, fine.regions * 2, kind="f4"))
    with pytest.raises(ModelError, match="at most 256"):
        expanded(Proposals(ROWS_MAX + 1, fine.columns, fine.data * (ROWS_MAX + 1), kind="f4"))


def test_no_findings_are_no_rows():
    """A calm segment teaches nothing, and is no error."""
    x, cases = expanded(proposals_of([], 0.1))
    assert x.shape == (0, prior().shape[0])
    assert cases == []


def test_the_scene_comes_back_with_its_row():
    """What tells scenes apart is kept: features by name, and the same row again."""
    one = finding(severity=0.5)
    one.features.update({"severity": 0.5, "speed": 0.25, "others": -0.5})
    proposals = proposals_of([one], 0.1)
    back = finding_of(proposals.regions[0], row=proposals.array()[0])
    assert (back.features["speed"], back.features["others"], back.features["turning"]) == (0.25, -0.5, 0.0)
    assert proposals_of([back], 0.1) == proposals
    assert finding_of(proposals.regions[0]).features == {}
