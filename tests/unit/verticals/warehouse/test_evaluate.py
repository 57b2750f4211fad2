"""Off-policy: what a candidate would have cost, from trips that another chose, against what it then did cost."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hotloop.config import LearnConfig, LoopConfig
from hotloop.learn import Reflex
from hotloop.types import Change, Claim, Example, Feedback, Head
from hotloop.verticals.warehouse.evaluate import LEAST, off_policy
from hotloop.verticals.warehouse.task import vertical

from .test_task import TABLE, trip


@pytest.fixture(scope="module")
def task():
    return vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE | {"draws": 24}}))


SLOW = 4
PICKS = [(1, 8.0), (3, 17.0), (4, 22.0)]


def factor(stretch):
    return 2.0 if stretch == SLOW else 1.0


def logged(task, head, count, start=0):
    return [trip(task, head, PICKS, factor, f"l:{k}", at=7.0 * k) for k in range(start, start + count)]


def mean_time(examples):
    return float(np.mean([sum(claim.value for claim in e.feedback[0].claims) for e in examples]))


@pytest.fixture(scope="module")
def learned(task):
    reflex = Reflex(task.teach, task.start(), LearnConfig())
    reflex.learn([Change(k, None, example) for k, example in enumerate(logged(task, task.start(), 30))])
    return reflex.head()


def test_the_head_that_chose_is_worth_what_it_cost(task):
    """All weights are 1."""
    examples = logged(task, task.start(), 60)
    found = off_policy(task, task.start(), examples)
    assert found.trips == 60
    assert found.effective == pytest.approx(60, rel=0.01)
    for one in (found.ips, found.snips, found.dr):
        assert one.mean == pytest.approx(mean_time(examples), rel=0.01)
        assert one.low <= one.mean <= one.high


def test_a_better_head_is_told_to_be_better_before_it_goes_out(task, learned):
    """Each estimate is near to what it truly costs then; and so is the band of the doubly robust one."""
    examples = logged(task, task.start(), 400)
    found = off_policy(task, learned, examples)
    truth = mean_time(logged(task, learned, 200, start=10_000))
    assert truth < 0.95 * found.measured
    assert found.dr.mean == pytest.approx(truth, rel=0.05)
    assert found.snips.mean == pytest.approx(truth, rel=0.05)
    assert 20 < found.effective < 400
    assert found.dr.high < found.measured, "proven better, from the log alone"


def test_tours_that_nobody_has_gone_are_not_guessed(task, learned):
    """Where no logged tour is the candidate's, the log says nothing of it."""
    examples = logged(task, learned, 40)
    weights = learned.weights.copy()
    for stretch in {int(o.region[0]) for one in examples for o in one.prediction.outputs}:
        if stretch < 18:  # in an aisle: the candidate would not go there at any price
            weights[stretch, 5:] += 0.015
    found = off_policy(task, Head(learned.labels, weights, learned.thresholds), examples)
    assert found.effective < 1
    assert all(math.isnan(one.mean) for one in (found.ips, found.snips, found.dr))


def test_too_few_trips_give_no_band(task):
    """And none at all no number."""
    found = off_policy(task, task.start(), logged(task, task.start(), LEAST - 1))
    assert (found.dr.low, found.dr.high) == (-math.inf, math.inf)
    empty = off_policy(task, task.start(), [])
    assert empty.trips == 0
    assert math.isnan(empty.ips.mean)


def test_a_trip_that_was_not_measured_whole_does_not_count(task):
    """A leg without a time would make it look short."""
    example = logged(task, task.start(), 1)[0]
    word = Feedback(prediction="l:0", reviewer="robot", claims=(Claim(output=0, value=1.0),))
    assert off_policy(task, task.start(), [Example(example.prediction, (word,))]).trips == 0
