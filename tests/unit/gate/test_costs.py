"""Costs in place of rights and wrongs: kept fair whatever a vertical says, by line and site, at each site its head."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import GateConfig
from hotloop.gate import costed, costs_of, judge
from hotloop.types import Example, Head, Observation, Prediction, Proposals


def head(value, own=None):
    own = {site: np.array([[weight]]) for site, weight in (own or {}).items()}
    return Head(("a",), np.array([[float(value)]]), (0.5,), own)


def example(number, line="l", site="s"):
    seen = Observation(id=f"p:{number}", site=site, line=line, at=float(number), digest="d")
    return Example(
        Prediction(
            id=f"p:{number}", observation=seen, version=1, outputs=(), confidence=1.0, proposals=Proposals(0, 0, b"")
        ),
        (),
    )


class Plain:
    """The cost is the head's only number; odd examples cannot tell. It remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def costs(self, examples, heads, expects):
        self.asked.append((len(examples), float(expects.weights[0, 0])))
        found = np.repeat([[one.weights[0, 0]] for one in heads], len(examples), axis=1)
        found[:, [int(one.prediction.id[2:]) % 2 == 1 for one in examples]] = np.nan
        return found


def test_what_cannot_tell_is_no_number():
    """One row a head, one column an example."""
    found = costs_of(Plain(), [example(0), example(1), example(2)], [head(0.25), head(0.75)], head(0.0))
    np.testing.assert_array_equal(found, [[0.25, np.nan, 0.25], [0.75, np.nan, 0.75]])
    assert costs_of(Plain(), [], [head(0.25)], head(0.0)).shape == (1, 0)


def test_costs_beyond_the_bounds_are_brought_back():
    """Else a bet on their differences could lose more than all."""
    found = costs_of(Plain(), [example(0)], [head(-3.0), head(7.0)], head(0.0))
    np.testing.assert_array_equal(found, [[0.0], [1.0]])


def test_each_site_is_answered_by_its_own_head():
    """The order of the examples is kept; what prices them is the site's own too."""
    vertical = Plain()
    pieces = [example(0, site="a"), example(2, site="b"), example(4, site="a")]
    found = costs_of(vertical, pieces, [head(0.2, {"b": 0.9})], head(0.1, {"b": 0.3}))
    np.testing.assert_array_equal(found, [[0.2, 0.9, 0.2]])
    assert vertical.asked == [(2, 0.1), (1, 0.3)]


def test_the_champion_prices_what_was_not_tried():
    """Not the candidate: it could praise itself."""
    vertical = Plain()
    champion, candidate, _ = costed(vertical, [example(0)], head(0.4), head(0.6))
    assert vertical.asked == [(1, 0.4)]
    assert (champion.tolist(), candidate.tolist()) == ([0.4], [0.6])


def test_parts_are_lines_and_sites_of_those_that_can_tell():
    """No labels: what one of them costs alone nobody can tell."""
    pieces = [example(k, line=f"l{k % 4}", site="ab"[k // 8]) for k in range(16)]
    champion, candidate, parts = costed(Plain(), pieces, head(0.0), head(0.0))
    assert len(champion) == len(candidate) == 8
    assert parts.names == ("line:l0", "line:l2", "site:a", "site:b")
    assert parts.masks.sum(1).tolist() == [4, 4, 4, 4]


@pytest.mark.parametrize(("worse", "decision"), [(0.0, "promote"), (0.3, "refuse")])
def test_the_gate_bets_on_costs_and_says_so(worse, decision):
    """The same bets; in the words of what was judged, overall and by line."""
    pieces = [example(2 * k, line=f"l{k % 2}") for k in range(60)]
    champion, candidate, parts = costed(Plain(), pieces, head(0.2), head(0.2 + worse))
    found = judge(champion, candidate, GateConfig(), parts, what="cost")
    assert found.decision == decision
    assert "its cost is" in found.reason
    assert "error" not in found.reason


def test_a_line_that_gets_dearer_alone_is_named():
    """In words of cost."""
    config = GateConfig(tolerance=0.5)
    pieces = [example(2 * k, line=f"l{k % 2}") for k in range(80)]
    champion, _, parts = costed(Plain(), pieces, head(0.2), head(0.2))
    candidate = champion + 0.6 * np.array([k % 2 for k in range(80)])
    found = judge(champion, candidate, config, parts, what="cost")
    assert found.decision == "refuse"
    assert "the line 'l1' worse: its cost there is 0.600 above the champion's" in found.reason
