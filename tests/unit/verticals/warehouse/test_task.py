"""The vertical for routes: what is asked, what is answered, what measured times teach; and it does learn."""

from __future__ import annotations

import json
from collections import Counter

import numpy as np
import pytest

import hotloop
from hotloop.config import LearnConfig, LoopConfig
from hotloop.errors import InputError, ModelError
from hotloop.learn import Reflex
from hotloop.ports import Exploring
from hotloop.predict import Predictor
from hotloop.types import Change, Claim, Example, Feedback, Observation, Outcome, Payload, Proposals
from hotloop.verticals.warehouse.exact import options, solve
from hotloop.verticals.warehouse.task import FACTORS, classes_of, vertical

from .conftest import reached

TABLE = {"layout": {"aisles": 6}, "draws": 6}


@pytest.fixture
def task():
    return vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE}))


def payload(*picks, at=0.0, busy=None):
    return Payload(json.dumps({"picks": picks, "at": at, "busy": busy or {}}).encode())


def trip(task, head, picks, factor, name="l:1", at=0.0):
    """A tour by a head, and the times that came back: each stretch by its factor."""
    proposals = task.propose(payload(*picks, at=at))
    seen = Observation(id=name, site="s", line="l", at=at, digest="d" * 64)
    predictor = Predictor(task)
    predictor.swap(type(predictor.current)(1, head, task))
    said = predictor.answer(name, seen, proposals, at)
    planned = task.layout.planned_s
    claims = tuple(
        Claim(output=k, value=float(planned[int(o.region[0])] * o.region[1] * factor(int(o.region[0]))))
        for k, o in enumerate(said.outputs)
    )
    return Example(said, (Feedback(prediction=name, reviewer="robot", claims=claims),))


def taught(task, factor, count=40, config=None):
    """A reflex that has learned some trips, and the head that follows."""
    reflex = Reflex(task.teach, task.start(), config or LearnConfig())
    rng = np.random.default_rng(0)
    for number in range(count):
        picks = [(int(rng.integers(6)), float(rng.uniform(0, 30))) for _ in range(8)]
        reflex.learn([Change(number, None, trip(task, reflex.head(), picks, factor, f"l:{number}", float(number)))])
    return reflex


def test_classes_keep_the_mean_factor():
    """Between two of them, by their distance; beyond the last, the last."""
    factors = np.array([0.1, 0.6, 0.8, 1.0, 1.4, 3.0, 12.0, 50.0])
    shares = classes_of(factors)
    np.testing.assert_allclose(shares.sum(1), 1.0)
    np.testing.assert_allclose(shares @ list(FACTORS.values()), factors.clip(0.6, 12.0))
    assert shares[4].tolist() == pytest.approx([0, 0.6, 0.4, 0, 0])


def test_it_begins_with_what_is_planned(task):
    """Every stretch as planned; draws differ, so that tours are tried; the chance of the one that is taken is said."""
    head = task.start()
    np.testing.assert_allclose(task.expected(head, 0.0, {}), task.layout.planned_s)
    outputs = task.answer(task.propose(payload([1, 10.0], [3, 20.0])), head)
    assert {output.label for output in outputs} == {"as planned"}
    assert isinstance(task, Exploring)
    assert 1 / 6 <= task.propensity(outputs) <= 1.0
    assert task.propensity(()) == 1.0


def test_the_chance_that_is_said_is_the_chance(task):
    """Over many requests at other times, each tour is taken as often as its propensity says."""
    head = taught(task, lambda stretch: 1.0, 2).head()
    said, taken = Counter(), Counter()
    for number in range(400):
        proposals = task.propose(payload([1, 14.0], [3, 16.0], [4, 2.0], at=number * 0.1))
        outputs = task.answer(proposals, head)
        tours, _ = task.tours(proposals, head)
        for tour in tours:
            said[tuple(tour)] += 1 / len(tours)
        taken[tuple((int(o.region[0]), o.region[1]) for o in outputs)] += 1
        assert tours.count([(int(o.region[0]), o.region[1]) for o in outputs]) / len(tours) == pytest.approx(
            task.propensity(outputs), abs=1e-4
        )
    assert len(taken) > 1
    for tour, expected in said.items():
        assert taken[tour] == pytest.approx(expected, abs=5 * np.sqrt(max(expected, 1.0)))


def test_a_slow_part_is_learned_and_gone_round(task):
    """After forty trips its class is said, its time is known, and tours avoid it where they can."""
    slow = task.layout.part(2, 1)
    head = taught(task, lambda stretch: 6.0 if stretch == slow else 1.0).head()
    times = task.expected(head, 0.0, {})
    planned = task.layout.planned_s
    assert times[slow] / planned[slow] == pytest.approx(6.0, rel=0.15)
    others = np.delete(times / planned, slow)
    assert np.abs(others - 1.0).max() < 0.35
    picks = ([2, 5.0], [3, 28.0])
    outputs = task.answer(task.propose(payload(*picks)), head)
    assert slow not in {int(o.region[0]) for o in outputs}
    through = task.answer(task.propose(payload([2, 15.0])), head)
    assert "slow" in {o.label for o in through}


def test_what_was_measured_turns_out(task):
    """Rightly called slow, a false alarm, missed; "right" where nothing was slow."""
    slow = task.layout.part(2, 1)
    head = taught(task, lambda stretch: 4.0 if stretch == slow else 1.0).head()
    for factor, expected in (
        (lambda s: 4.0 if s == slow else 1.0, {Outcome("hit", "slow")}),
        (lambda s: 1.0, {Outcome("false alarm", "slow")}),
        (lambda s: 4.0 if s in (slow, slow - 1) else 1.0, {Outcome("hit", "slow"), Outcome("missed", "slow")}),
    ):
        example = trip(task, head, [(2, 15.0)], factor)
        assert set(task.outcomes(example.prediction.outputs, example)) == expected
    fine = trip(task, head, [(0, 5.0)], lambda s: 1.0)
    assert task.outcomes(fine.prediction.outputs, fine) == (Outcome("right", ""),)
    silent = Example(fine.prediction, (Feedback(prediction="l:1", reviewer="robot", claims=()),))
    assert task.outcomes(fine.prediction.outputs, silent) == ()


def test_the_same_trip_teaches_the_same(task):
    """Noise and all: what is unlearned is what was learned."""
    example = trip(task, task.start(), [(1, 10.0), (4, 2.0)], lambda s: 1.5)
    one, again = task.teach(example), task.teach(example)
    np.testing.assert_array_equal(one.y, again.y)
    reflex = Reflex(task.teach, task.start(), LearnConfig())
    before = reflex.head().weights.copy()
    reflex.learn([Change(1, None, example)])
    assert not np.allclose(reflex.head().weights, before)
    reflex.unlearn([example])
    np.testing.assert_allclose(reflex.head().weights, before, atol=1e-9)


@pytest.mark.parametrize(
    "claim",
    [
        Claim(output=999, value=1.0), Claim(output=-1, value=1.0), Claim(value=1.0), Claim(output=0),
        Claim(output=0, value=-1.0), Claim(label="slow"),
    ],
)  # fmt: skip
def test_a_claim_that_measures_nothing_teaches_nothing(task, claim):
    """Whatever else it says."""
    example = trip(task, task.start(), [(1, 10.0)], lambda s: 1.0)
    word = Feedback(prediction="l:1", reviewer="robot", claims=(claim,))
    assert len(task.teach(Example(example.prediction, (word,))).w) == 0
    assert task.outcomes(example.prediction.outputs, Example(example.prediction, (word,))) == ()


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"junk", "a request is JSON"),
        (b'{"picks": []}', "1 to 64 picks"),
        (json.dumps({"picks": [[0, 1.0]] * 65}).encode(), "1 to 64 picks"),
        (b'{"picks": [[9, 1.0]]}', "no place 1 m into aisle 10"),
        (b'{"picks": [[0, 31.0]]}', "no place 31 m"),
        (b'{"picks": [[0, 1.0]], "busy": {"99": 1}}', "1 robots in stretch 99"),
        (b'{"picks": [[0, 1.0]], "busy": {"0": -1}}', "-1 robots"),
    ],
)
def test_a_request_that_cannot_be_is_refused(task, data, words):
    """By name, with what would be right."""
    with pytest.raises(InputError, match=words):
        task.propose(Payload(data))


def test_proposals_of_another_warehouse_are_refused(task):
    """Another size; a place that is not there."""
    with pytest.raises(ModelError, match="a request here is"):
        task.answer(Proposals(1, 3, bytes(6)), task.start())
    fine = task.propose(payload([0, 1.0]))
    row = fine.array()
    row[0, 2] = 77.0
    with pytest.raises(ModelError, match="no place"):
        task.answer(Proposals(1, row.shape[1], row.astype("<f4").tobytes(), kind="f4"), task.start())


def test_a_place_at_the_very_end_survives_its_rounding(task):
    """Float32 may carry it a hair beyond."""
    outputs = task.answer(task.propose(payload([5, 29.999999999])), task.start())
    assert outputs


def test_a_loop_learns_routes_without_knowing_that_they_are(tmp_path):
    """Through the whole of hotloop: log, gate, releases; after a restart it knows what it knew."""
    settings = {"warehouse": TABLE}
    config = LoopConfig(vertical="warehouse", tables=settings)
    assert config.vertical == "warehouse"
    rng = np.random.default_rng(1)
    with hotloop.open(tmp_path / "loop", vertical="warehouse", **TABLE) as loop:
        task = loop.engine.vertical
        slow = task.layout.part(1, 1)
        for _ in range(40):
            picks = [[int(rng.integers(6)), float(rng.uniform(0, 30))] for _ in range(6)]
            said = loop.engine.observe(payload(*picks), "robot-1")
            planned = task.layout.planned_s
            legs = [(int(o.region[0]), o.region[1]) for o in said.outputs]
            values = [float(planned[s]) * share * (5.0 if s == slow else 1.0) for s, share in legs]
            claims = tuple(Claim(output=k, value=value) for k, value in enumerate(values))
            loop.engine.feedback(Feedback(prediction=said.id, reviewer="robot-1", claims=claims))
            assert 0 < said.propensity <= 1.0
            loop.engine.turn()
        while loop.engine.turn() is not None or loop.engine.behind:
            pass
        times = task.expected(loop.engine.lineage.champion, 0.0, {})
        assert times[slow] / planned[slow] > 3.0
        version = loop.engine.model.version
        assert version > 10
    with hotloop.open(tmp_path / "loop", vertical="warehouse", **TABLE) as loop:
        assert loop.engine.model.version == version
        np.testing.assert_allclose(task.expected(loop.engine.lineage.champion, 0.0, {}), times, rtol=1e-6)


def test_a_tour_is_as_short_as_can_be_on_what_it_believes(task):
    """Whatever the head: by its own draw no other tour is shorter."""
    head = taught(task, lambda stretch: 1.0 + stretch % 3, 20).head()
    proposals = task.propose(payload([1, 10.0], [3, 20.0], [5, 29.0]))
    tours, x = task.tours(proposals, head)
    picks = [(1, 10.0), (3, 20.0), (5, 29.0)]
    factors = (x @ head.weights[:, len(FACTORS) :] * 1e3).clip(0.3, 20.0)
    for k, tour in enumerate(tours):
        times = task.layout.planned_s * factors[:, k]
        took = sum(times[stretch] * share for stretch, share in tour)
        assert took == pytest.approx(solve(options(task.layout, [picks], [times]))[0][0], rel=1e-4)


@pytest.mark.parametrize("blocks", [1, 2, 5])
def test_a_tour_may_begin_where_the_robot_is(blocks):
    """With `start` it leads from there to the depot, past all picks; without, it is another request."""
    table = {"layout": {"aisles": 6, "blocks": blocks}, "draws": 2}
    task = vertical(LoopConfig(vertical="warehouse", tables={"warehouse": table}))
    picks, start = [(1, 10.0), (4, 25.0)], (5, 12.5)
    asked = {"picks": picks, "start": start}
    proposals = task.propose(Payload(json.dumps(asked).encode()))
    tours, _ = task.tours(proposals, task.start())
    for legs in tours:
        seen = reached(task.layout, legs, start)
        assert all(any(a == b and low <= m <= high for a, low, high in seen) for b, m in picks)
    assert task.propose(payload(*picks)).data != proposals.data
    assert task.answer(proposals, task.start())


@pytest.mark.parametrize("start", [[6, 1.0], [0, 30.5], [-1, 3.0], [0]])
def test_a_tour_may_not_begin_outside(task, start):
    """What is not in the warehouse is named."""
    with pytest.raises(InputError, match=r"place|request"):
        task.propose(Payload(json.dumps({"picks": [[0, 1.0]], "start": start}).encode()))


def test_a_request_as_deep_as_can_be_is_refused():
    """Not a crash: what is nested beyond the decoder's limit is no request."""
    task = vertical(LoopConfig(vertical="warehouse"))
    deep = b'{"picks": [[3, 5]], "x": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"
    with pytest.raises(InputError, match="a request is JSON"):
        task.propose(Payload(deep))
