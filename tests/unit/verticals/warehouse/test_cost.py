"""What a trip would have cost: against what it does cost, for heads that are good, bad, and nobody's."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.config import GateConfig, LoopConfig
from hotloop.gate import judge
from hotloop.ports import Costing
from hotloop.rollout import Watch
from hotloop.types import Claim, Example, Feedback, Head, Proposals
from hotloop.verticals.warehouse import cost as module
from hotloop.verticals.warehouse.cost import RANGE, TABLES, WEIGHT_MAX
from hotloop.verticals.warehouse.policy import Routing
from hotloop.verticals.warehouse.task import FACTORS, vertical

from .test_task import TABLE, payload, taught, trip

CLASSES = len(FACTORS)
SLOW = (1, 7, 13)


def factor(stretch):
    return 5.0 if stretch in SLOW else 1.0


@pytest.fixture(scope="module")
def task():
    return vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE}))


@pytest.fixture(scope="module")
def knowing(task):
    """A head that has learned what is slow."""
    return taught(task, factor, 60).head()


def trips(task, head, count, seed=0, noise=0.0, start=0):
    rng = np.random.default_rng(seed)
    found = []
    for number in range(start, start + count):
        picks = [(int(rng.integers(6)), float(rng.uniform(0, 30))) for _ in range(4)]
        measured = lambda s: factor(s) * float(np.exp(noise * rng.normal()))
        found.append(trip(task, head, picks, measured, f"t:{number}", float(number)))
    return found


def spoiled(head, how):
    weights = head.weights.copy()
    samples = weights[:, CLASSES:]
    if how == "inverted":
        samples *= -1.0
        samples[-4] += 4e-3
    elif how == "constant":
        samples[:] = 0.0
        samples[-4] = 1e-3
    elif how == "free":
        samples[:3] -= 1e-1
        samples[3:6] += 5e-3
    return Head(head.labels, weights, head.thresholds)


def true_s(task, head, example):
    """What the head's tours would truly take, on average."""
    times = task.layout.planned_s * np.array([factor(s) for s in range(task.layout.stretches)])
    tours, _ = task.chosen(example.prediction.proposals, head)
    return float(np.mean([sum(times[s] * share for s, share in tour) for tour in tours]))


def test_it_is_a_port(task, knowing):
    """Costs are numbers in [0, 1], one a head and example; the same arguments give the same."""
    assert isinstance(task, Costing)
    pieces = trips(task, knowing, 20)
    heads = [knowing, task.start(), spoiled(knowing, "inverted")]
    found = task.costs(pieces, heads, knowing)
    assert found.shape == (3, 20)
    assert ((found >= 0) & (found <= 1)).all()
    np.testing.assert_array_equal(found, task.costs(pieces, heads, knowing))
    fresh = vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE}))
    np.testing.assert_array_equal(found, fresh.costs(pieces, heads, knowing), "whatever was asked before")
    one_by_one = [task.costs([piece], heads, knowing)[:, 0] for piece in pieces]
    np.testing.assert_allclose(found, np.array(one_by_one).T, atol=1e-12)
    assert task.costs([], heads, knowing).shape == (3, 0)


def test_differences_of_cost_are_differences_of_time(task, knowing):
    """Priced by what is known, against what the tours truly take: of the best of the tours, `RANGE` of it is 1."""
    pieces = trips(task, knowing, 60)
    for other in (task.start(), spoiled(knowing, "constant"), spoiled(knowing, "inverted")):
        costs = task.costs(pieces, [knowing, other], knowing)
        told = float((costs[1] - costs[0]).mean())
        truly = float(np.mean([
            (true_s(task, other, piece) - true_s(task, knowing, piece)) / true_s(task, knowing, piece) / RANGE
            for piece in pieces
        ]))  # fmt: skip
        assert told > 0.02
        assert told == pytest.approx(truly, rel=0.35, abs=0.03)


def test_what_a_head_expects_of_itself_does_not_count(task, knowing):
    """A head that takes slow aisles for free is dear, since another prices it; priced by itself it looks well."""
    praised = spoiled(knowing, "constant")
    praised.weights[:, :CLASSES] = 0.0
    praised.weights[-4, 0] = 1.0  # everything fast
    pieces = trips(task, knowing, 40)
    by_champion = task.costs(pieces, [knowing, praised], knowing)
    by_itself = task.costs(pieces, [knowing, praised], praised)
    assert (by_champion[1] - by_champion[0]).mean() > 0.05
    assert (by_itself[1] - by_itself[0]).mean() < 0.02


def test_what_was_measured_outweighs_what_is_expected(task, knowing):
    """A stretch that has just become slow counts as slow where it was gone, whatever the head that answers believes."""
    blind = task.start()
    pieces = trips(task, blind, 60)
    found = task.costs(pieces, [blind, knowing], blind)
    assert found[1].mean() < found[0].mean() - 0.02


def test_a_rare_tour_weighs_more_and_not_without_bounds(task, knowing):
    """By the chance that was logged, up to `WEIGHT_MAX`."""
    piece = trips(task, knowing, 1)[0]

    def priced(chance):
        other = msgspec.structs.replace(piece.prediction, propensity=chance, id=f"c:{chance}")
        ledger = task._costs
        kept = ledger._trip(Example(other, piece.feedback))
        nobody = np.zeros((1, len(kept.tours)))  # nothing of it would be gone by what answers now
        expected = task.thought(kept.robots[None], np.array([kept.day]), knowing)[0]
        moved = ledger._prices([kept], knowing, nobody)[0] - expected
        gone = kept.gone > 0
        assert np.abs(moved[~gone]).max() == 0.0
        return moved[gone] / (task.layout.planned_s * kept.measured - expected)[gone]

    np.testing.assert_allclose(priced(1.0), 1.0)
    np.testing.assert_allclose(priced(0.8), 1.25)
    np.testing.assert_allclose(priced(0.01), WEIGHT_MAX)


def test_a_head_without_numbers_costs_all(task, knowing):
    """NaN and infinity alike, on every trip that can tell."""
    pieces = trips(task, knowing, 5)
    for value in (np.nan, np.inf):
        weights = knowing.weights.copy()
        weights[0, 0] = value
        broken = Head(knowing.labels, weights, knowing.thresholds)
        costs = task.costs(pieces, [knowing, broken], knowing)
        assert (costs[1] == 1.0).all()
        assert (costs[0] < 0.5).all()


def test_a_trip_that_was_not_measured_whole_cannot_tell(task, knowing):
    """Nor one of nothing, of another layout, or of a place that is not here."""
    fine = trips(task, knowing, 1)[0]
    said, word = fine.prediction, fine.feedback[0]
    short = msgspec.structs.replace(word, claims=word.claims[1:])
    odd = msgspec.structs.replace(word, claims=(Claim(output=0, value=-1.0), *word.claims[1:]))
    beyond = msgspec.structs.replace(said.outputs[0], region=(9999.0, 1.0, 1.0, 1.0))
    cases = [
        Example(said, (short,)),
        Example(said, (odd,)),
        Example(said, ()),
        Example(msgspec.structs.replace(said, outputs=()), (Feedback(prediction="t:0", reviewer="r", claims=()),)),
        Example(msgspec.structs.replace(said, id="far", outputs=(beyond, *said.outputs[1:])), (word,)),
        Example(msgspec.structs.replace(said, id="other", proposals=Proposals(1, 3, bytes(6))), (word,)),
        fine,
    ]
    found = task.costs(cases, [knowing], knowing)[0]
    assert np.isnan(found[:-1]).all()
    assert np.isfinite(found[-1])


def test_a_later_word_replaces_what_was_kept(task, knowing):
    """The same trip, measured anew."""
    fine = trips(task, knowing, 1, seed=9)[0]
    task.costs([fine], [knowing], knowing)
    word = fine.feedback[0]
    slower = tuple(Claim(output=claim.output, value=3 * claim.value) for claim in word.claims)
    again = Example(fine.prediction, (msgspec.structs.replace(word, claims=slower),))
    first, second = (task._costs._trip(one).measured for one in (fine, again))
    np.testing.assert_allclose(second, 3 * first)


def test_memory_is_bounded(task, knowing, monkeypatch):
    """The oldest trip is read again when it is asked for."""
    monkeypatch.setattr(module, "_KEPT", 3)
    fresh = vertical(LoopConfig(vertical="warehouse", tables={"warehouse": TABLE}))
    pieces = trips(task, knowing, 6)
    first = fresh.costs(pieces, [knowing], knowing)
    assert list(fresh._costs._kept) == ["t:3", "t:4", "t:5"]
    np.testing.assert_array_equal(fresh.costs(pieces, [knowing], knowing), first)


def test_many_floors_at_once_are_as_one_by_one(task, knowing):
    """The product that is quick gives what the features give."""
    rng = np.random.default_rng(0)
    robots, days = rng.integers(0, 3, (5, task.layout.stretches)).astype(float), rng.random(5)
    found = task._scores(robots, days, knowing.weights)
    for k in range(5):
        np.testing.assert_allclose(found[k], task._features(robots[k], days[k]) @ knowing.weights, atol=1e-9)
    np.testing.assert_allclose(
        task.thought(robots, days, knowing)[0], task.times(task._features(robots[0], days[0]), knowing)
    )


def test_tours_to_choose_from_are_those_of_the_tables(task):
    """The shortest on each; the one that was gone is the last of them."""
    example = trip(task, task.start(), [(1, 10.0), (4, 20.0)], factor)
    legs = [(int(o.region[0]), o.region[1]) for o in example.prediction.outputs]
    tours = task._costs._tours(example, legs)
    assert tours.shape == (TABLES + 1, task.layout.stretches)
    gone = np.zeros(task.layout.stretches)
    np.add.at(gone, [s for s, _ in legs], [share for _, share in legs])
    np.testing.assert_allclose(tours[TABLES], gone)
    assert (tours @ task.layout.planned_s).argmin() == 0, "as planned comes first"
    assert len({tuple(row) for row in tours.round(4)}) > 3


def test_a_policy_that_walks_as_people_do_is_priced_by_its_own_tour(task, knowing):
    """Whatever the head; and it is dearer than the exact one."""
    pieces = trips(task, knowing, 30)
    people = task.revived(Routing(router="s-shape").bundle())
    by_people = people.costs(pieces, [knowing, task.start()], knowing)
    np.testing.assert_array_equal(by_people[0], by_people[1])
    exact = task.costs(pieces, [knowing], knowing)[0]
    assert by_people[0].mean() > exact.mean() + 0.1


def test_honest_heads_are_refused_no_more_often_than_said(task):
    """A head that has learned more, against what answered before, look after look: sixteen runs, seeded."""
    refused = looks = 0
    for seed in range(16):
        reflex_heads = [taught_on(task, seed, count) for count in (10, 12)]
        pieces = trips(task, reflex_heads[0], 40, seed=seed, noise=0.2)
        for end in (20, 30, 40):
            costs = task.costs(pieces[:end], reflex_heads, reflex_heads[0])
            refused += judge(costs[0], costs[1], GateConfig(), what="cost").decision != "promote"
            looks += 1
    assert looks == 48
    assert refused == 0


def taught_on(task, seed, count):
    from hotloop.config import LearnConfig
    from hotloop.learn import Reflex
    from hotloop.types import Change

    reflex = Reflex(task.teach, task.start(), LearnConfig())
    for example in trips(task, task.start(), count, seed=100 + seed, noise=0.2, start=1000 * (seed + 1)):
        reflex.learn([Change(0, None, example)])
    return reflex.head()


def test_the_watch_tells_worse_from_no_worse(task, knowing):
    """Two heads that know alike: no alarm in eight runs. One that knows nothing: an alarm in all of them."""
    alike = taught(task, factor, 55).head()
    ignorant = spoiled(knowing, "inverted")
    for seed in range(8):
        calm, loud = Watch(0.0, 0.05), Watch(0.0, 0.05)
        for piece in trips(task, knowing, 60, seed=seed, noise=0.2, start=5000 * (seed + 1)):
            now, other = task.costs([piece], [knowing, alike], knowing)[:, 0]
            calm.add(now, other)
        for piece in trips(task, ignorant, 60, seed=seed, noise=0.2, start=5000 * (seed + 1) + 100):
            worse, former = task.costs([piece], [ignorant, knowing], ignorant)[:, 0]
            loud.add(worse, former)
        assert not calm.alarm
        assert loud.alarm


def test_a_request_at_another_time_is_another_trip(task, knowing):
    """What a head chooses from follows from the request alone."""
    one = trip(task, knowing, [(1, 10.0), (4, 20.0)], factor, "a:1", 1.0)
    two = Example(msgspec.structs.replace(one.prediction, id="a:2"), one.feedback)
    np.testing.assert_array_equal(task._costs._trip(one).tours, task._costs._trip(two).tours)
    assert task.propose(payload([1, 10.0], at=1.0)).data != task.propose(payload([1, 10.0], at=2.0)).data
