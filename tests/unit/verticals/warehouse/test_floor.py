"""The simulated floor: seeded, crowded, delayed, changing."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from hotloop.verticals.warehouse.batching import Order, first_come
from hotloop.verticals.warehouse.classic import s_shape
from hotloop.verticals.warehouse.floor import Change, Decision, Floor, Trip, Truth, random_orders


def quiet(layout, **more):
    """Nothing but what is planned."""
    return Truth(np.ones(layout.stretches), **{"crowd": 0.0, "noise": 0.0, "stops_per_s": 0.0, "pick_s": 0.0} | more)


def walking(layout, capacity=6):
    """First come, s-shape."""

    def choose(asked):
        batch = first_come(asked.waiting, capacity)
        picks = [place for order in batch for place in order.picks]
        return batch, s_shape(layout, picks, layout.planned_s), "key"

    return choose


def trips(layout, truth, orders, robots=1, changes=(), seed=0):
    return list(Floor(layout, truth, changes, seed).run(orders, robots, walking(layout)))


def test_a_quiet_floor_takes_what_is_planned(layout):
    """One robot, one order: the s-shape's time, and the picks'."""
    [trip] = trips(layout, quiet(layout, pick_s=4.0), [Order("a", ((1, 10.0), (3, 20.0)))])
    assert trip.ended - trip.began == pytest.approx(84 / 1.5 + 2 * 4.0)
    assert sum(passage.seconds for passage in trip.passages) == pytest.approx(84 / 1.5)
    assert (trip.lines, trip.key, trip.robot) == (2, "key", 0)
    assert trip.passages[0].at == pytest.approx(8.0), "it stands at the depot first"


def test_every_order_is_picked_once_by_the_same_seed(layout):
    """However many robots; again it is the same to the last bit, with another seed it is not."""
    orders = random_orders(layout, 60, 0.5, 3)
    truth = Truth(np.ones(layout.stretches))
    found = trips(layout, truth, orders, 4)
    assert sum(trip.lines for trip in found) == sum(len(order.picks) for order in orders)
    assert found == trips(layout, truth, orders, 4)
    assert found != trips(layout, truth, orders, 4, seed=1)
    assert {trip.robot for trip in found} == {0, 1, 2, 3}


def test_robots_hinder_each_other(layout):
    """Two in one aisle take longer than each alone; who has left hinders nobody."""
    orders = [Order(f"o{k}", ((2, 15.0),) * 6) for k in range(2)]
    alone = [trip.ended - trip.began for trip in trips(layout, quiet(layout, crowd=1.0), orders, 1)]
    both = [trip.ended - trip.began for trip in trips(layout, quiet(layout, crowd=1.0), orders, 2)]
    assert alone[0] == pytest.approx(alone[1])
    assert max(both) > 1.3 * alone[0]
    floor = Floor(layout, quiet(layout, crowd=1.0), (), 0)
    list(floor.run(orders, 2, walking(layout)))
    assert not floor.busy


def test_a_change_comes_at_its_time(layout):
    """The same order before and after."""
    orders = [Order("a", ((1, 5.0),), 0.0), Order("b", ((1, 5.0),), 100.0)]
    change = Change(50.0, layout.part(1, 0), 5.0)
    before, after = trips(layout, quiet(layout), orders, 1, (change,))
    slower = {p.stretch: p.seconds for p in after.passages}[layout.part(1, 0)]
    assert slower == pytest.approx(5 * {p.stretch: p.seconds for p in before.passages}[layout.part(1, 0)])


def test_delays_are_of_the_length_and_as_often_as_said(layout):
    """Between 2 and 8 seconds; three in a thousand seconds."""
    orders = [Order(f"o{k}", ((5, 30.0),)) for k in range(400)]
    usual = {p.stretch: p.seconds for trip in trips(layout, quiet(layout), orders[:1]) for p in trip.passages}
    found = trips(layout, quiet(layout, stops_per_s=0.01), orders)
    extra = [p.seconds - usual[p.stretch] for trip in found for p in trip.passages]
    late = [one for one in extra if one > 1e-6]
    driven = sum(usual[p.stretch] for trip in found for p in trip.passages)
    assert 0.7 < len(late) / (0.01 * driven) < 1.3
    assert 2.0 - 1e-6 <= min(late)
    assert np.median(late) == pytest.approx(5.0, abs=0.5)


def test_the_oracle_knows_the_mean(layout):
    """Of a stretch's time with noise and delays, and with robots in it."""
    truth = Truth(np.full(layout.stretches, 2.0), crowd=0.5, noise=0.3, stops_per_s=0.01, pick_s=0.0)
    floor = Floor(layout, truth, (), 0)
    orders = [Order(f"o{k}", ((5, 30.0),)) for k in range(500)]
    seen = [p.seconds for trip in floor.run(orders, 1, walking(layout)) for p in trip.passages if p.stretch == 15]
    assert floor.expected()[15] == pytest.approx(np.mean(seen), rel=0.05)
    assert floor.expected(Counter({15: 2}))[15] == pytest.approx(2 * floor.expected()[15])


def test_decisions_are_asked_for_and_answered(layout):
    """By `play`: whoever holds it decides."""
    play = Floor(layout, quiet(layout), (), 0).play([Order("a", ((0, 3.0),))], 2)
    asked = next(play)
    assert isinstance(asked, Decision)
    assert (asked.now, asked.busy, [order.name for order in asked.waiting]) == (0.0, Counter(), ["a"])
    trip = play.send(walking(layout)(asked))
    assert isinstance(trip, Trip)
    with pytest.raises(StopIteration):
        next(play)


def test_orders_come_as_a_stream(layout):
    """Of one to four lines, so many a second, in this warehouse, by the seed."""
    orders = random_orders(layout, 2000, 0.5, 7)
    assert orders == random_orders(layout, 2000, 0.5, 7)
    assert orders[-1].at == pytest.approx(4000, rel=0.1)
    assert {len(order.picks) for order in orders} == {1, 2, 3, 4}
    assert all(layout.check(place) == place for order in orders for place in order.picks)
