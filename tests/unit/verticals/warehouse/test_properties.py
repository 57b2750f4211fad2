"""Whatever the warehouse, the picks and the times: properties of tours, batches, requests and lessons."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hotloop.config import LearnConfig, LoopConfig
from hotloop.errors import HotloopError
from hotloop.learn import Reflex
from hotloop.types import Change, Claim, Example, Feedback, Observation, Payload, Prediction
from hotloop.verticals.warehouse.batching import Order, first_come, lying_together
from hotloop.verticals.warehouse.classic import CLASSIC, time_of
from hotloop.verticals.warehouse.evaluate import legs_of
from hotloop.verticals.warehouse.exact import options, solve, walked
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.task import FACTORS, classes_of, vertical

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])

layouts = st.builds(
    lambda aisles, parts, depot, block_m, apart_m: Layout(
        LayoutConfig(aisles=aisles, parts=parts, depot=depot % aisles, block_m=block_m, apart_m=apart_m)
    ),
    st.integers(1, 9),
    st.integers(1, 5),
    st.integers(0, 8),
    st.floats(1.0, 100.0),
    st.floats(0.5, 20.0),
)


@st.composite
def problems(draw):
    """A warehouse, some picks in it, and what its stretches take."""
    layout = draw(layouts)
    place = st.tuples(st.integers(0, layout.config.aisles - 1), st.floats(0.0, 1.0))
    picks = [(aisle, share * layout.length_m) for aisle, share in draw(st.lists(place, min_size=1, max_size=12))]
    seed = draw(st.integers(0, 2**16))
    times = layout.planned_s * np.random.default_rng(seed).uniform(0.3, 12.0, layout.stretches)
    return layout, picks, times


def best(layout, picks, times):
    (took,), (plan,) = solve(options(layout, [picks], [times]))
    return float(took), plan


@MANY
@given(problems())
def test_the_walk_takes_what_was_promised_and_no_classic_route_less(problem):
    """Whatever it is."""
    layout, picks, times = problem
    took, plan = best(layout, picks, times)
    assert time_of(walked(layout, picks, plan, times), times) == pytest.approx(took, rel=1e-9, abs=1e-9)
    for router in CLASSIC.values():
        assert time_of(router(layout, picks, times), times) >= took - 1e-6


@MANY
@given(problems(), st.floats(0.1, 10.0))
def test_twice_as_slow_everywhere_takes_twice_as_long(problem, factor):
    """And more picks, or slower stretches, never take less."""
    layout, picks, times = problem
    took, _ = best(layout, picks, times)
    assert best(layout, picks, times * factor)[0] == pytest.approx(took * factor, rel=1e-9, abs=1e-9)
    assert best(layout, picks[1:], times)[0] <= took + 1e-9
    slower = times.copy()
    slower[:: max(len(times) // 3, 1)] *= 2
    assert best(layout, picks, slower)[0] >= took - 1e-9


@MANY
@given(problems(), st.randoms(use_true_random=False))
def test_the_order_in_which_picks_are_named_does_not_matter(problem, random):
    """Nor that one is named twice."""
    layout, picks, times = problem
    mixed = [*picks, picks[0]]
    random.shuffle(mixed)
    assert best(layout, mixed, times)[0] == pytest.approx(best(layout, picks, times)[0], rel=1e-12, abs=1e-12)


@MANY
@given(problems())
def test_a_mirrored_warehouse_takes_as_long(problem):
    """The last aisle is the first."""
    layout, picks, times = problem
    count, parts = layout.config.aisles, layout.parts
    other = Layout(
        LayoutConfig(
            aisles=count, parts=parts, depot=count - 1 - layout.config.depot, block_m=layout.config.block_m,
            apart_m=layout.config.apart_m,
        )
    )  # fmt: skip
    inside = times[: count * parts].reshape(count, parts)[::-1].ravel()
    across = times[count * parts :].reshape(2, count - 1)[:, ::-1].ravel()
    mirrored = [(count - 1 - aisle, metres) for aisle, metres in picks]
    assert best(other, mirrored, np.concatenate((inside, across)))[0] == pytest.approx(
        best(layout, picks, times)[0], rel=1e-9, abs=1e-9
    )


@MANY
@given(problems(), st.integers(1, 30))
def test_batches_hold_what_a_robot_can_carry_and_the_oldest(problem, capacity):
    """Each order once, whole; an order that is larger than a robot goes alone."""
    layout, picks, times = problem
    waiting = [Order(f"o{k}", tuple(picks[: 1 + k % 3])) for k in range(12)]
    for batch in (first_come(waiting, capacity), lying_together(layout, waiting, capacity, times)):
        assert batch[0] is waiting[0]
        assert len({order.name for order in batch}) == len(batch)
        assert len(batch) == 1 or sum(len(order.picks) for order in batch) <= capacity


@MANY
@given(st.lists(st.floats(0.0, 1e6), min_size=1, max_size=40))
def test_shares_of_classes_are_shares(factors):
    """Two neighbours at most, summing to one, whose mean is the factor within the range."""
    shares = classes_of(np.array(factors))
    assert (shares >= 0).all()
    np.testing.assert_allclose(shares.sum(1), 1.0)
    assert ((shares > 0).sum(1) <= 2).all()
    np.testing.assert_allclose(shares @ list(FACTORS.values()), np.clip(factors, 0.6, 12.0), rtol=1e-9)


@pytest.fixture(scope="module")
def task():
    return vertical(LoopConfig(vertical="warehouse", tables={"warehouse": {"layout": {"aisles": 4}, "draws": 3}}))


KEYS = st.sampled_from(["picks", "at", "busy", "x"])
JSON = st.recursive(st.none() | st.floats() | st.text(), lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner))


@MANY
@given(data=JSON)
def test_no_request_does_more_than_be_refused(task, data):
    """By a named error, or it is answered."""
    try:
        proposals = task.propose(Payload(json.dumps(data).encode()))
    except HotloopError:
        return
    assert task.answer(proposals, task.start())


def said(task, head, picks, at=0.0, name="l:1"):
    """A prediction."""
    proposals = task.propose(Payload(json.dumps({"picks": picks, "at": at}).encode()))
    seen = Observation(id=name, site="s", line="l", at=at, digest="d" * 64)
    outputs = task.answer(proposals, head)
    return Prediction(
        id=name, observation=seen, version=1, outputs=outputs, confidence=0.5, proposals=proposals,
        propensity=task.propensity(outputs),
    )  # fmt: skip


@MANY
@given(
    st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 30.0)), min_size=1, max_size=10),
    st.lists(st.floats(0.0, 1e4), min_size=1, max_size=60),
)
def test_any_measured_times_can_be_learned_and_taken_out(task, picks, values):
    """Short, long or none: the head stays finite, and goes back to what it was."""
    prediction = said(task, task.start(), [list(pick) for pick in picks])
    claims = tuple(Claim(output=k, value=value) for k, value in enumerate(values[: len(prediction.outputs)]))
    example = Example(prediction, (Feedback(prediction="l:1", reviewer="robot", claims=claims),))
    reflex = Reflex(task.teach, task.start(), LearnConfig())
    before = reflex.head().weights.copy()
    reflex.learn([Change(1, None, example)])
    after = reflex.head()
    assert np.isfinite(after.weights).all()
    outputs = task.answer(prediction.proposals, after)
    assert all(np.isfinite(output.region).all() for output in outputs)
    task.outcomes(prediction.outputs, example)
    reflex.unlearn([example])
    np.testing.assert_allclose(reflex.head().weights, before, atol=1e-8)


@MANY
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0.0, 30.0)), min_size=1, max_size=10), st.floats(0.0, 1e9))
def test_the_tour_that_is_said_is_one_of_the_draws_tours(task, picks, at):
    """With its chance; the same request has the same answer."""
    prediction = said(task, task.start(), [list(pick) for pick in picks], at)
    tours, _ = task.tours(prediction.proposals, task.start())
    mine = legs_of(prediction.outputs)
    assert mine in tours or not mine
    if mine:
        assert tours.count(mine) / len(tours) == pytest.approx(prediction.propensity, abs=1e-4)
    assert said(task, task.start(), [list(pick) for pick in picks], at).outputs == prediction.outputs
