"""Batches as orders came, and of what lies together."""

from __future__ import annotations

import numpy as np

from hotloop.verticals.warehouse.batching import Order, first_come, lying_together
from hotloop.verticals.warehouse.exact import options, solve
from hotloop.verticals.warehouse.floor import random_orders


def order(name, *picks):
    return Order(name, tuple(picks))


def test_first_come_takes_what_fits_in_order():
    """It stops at the first that does not fit; a first one that is too large goes alone."""
    waiting = [order("a", (0, 1.0), (0, 2.0)), order("b", (1, 1.0)), order("c", *[(2, 1.0)] * 3), order("d", (0, 1.0))]
    assert [one.name for one in first_come(waiting, 5)] == ["a", "b"]
    assert [one.name for one in first_come(waiting, 6)] == ["a", "b", "c"]
    assert [one.name for one in first_come(waiting[2:], 2)] == ["c"]


def test_what_lies_together_is_picked_together(layout):
    """The oldest begins; its neighbours come along, whenever they came."""
    waiting = [order("old", (1, 28.0)), order("far", (5, 28.0)), order("near", (1, 27.0)), order("beside", (2, 28.0))]
    found = lying_together(layout, waiting, 3, layout.planned_s)
    assert [one.name for one in found] == ["old", "near", "beside"]
    assert len(lying_together(layout, waiting, 4, layout.planned_s)) == 4
    assert [one.name for one in lying_together(layout, waiting[:1], 9, layout.planned_s)] == ["old"]


def test_it_is_shorter_a_line_than_as_they_came(layout):
    """On the average of a hundred pools, by a third or more."""
    took = {"first come": 0.0, "together": 0.0}
    for seed in range(30):
        waiting = random_orders(layout, 25, 1.0, seed)
        for name, batch in (
            ("first come", first_come(waiting, 12)), ("together", lying_together(layout, waiting, 12, layout.planned_s))
        ):  # fmt: skip
            picks = [place for one in batch for place in one.picks]
            assert 0 < len(picks) <= 12
            took[name] += solve(options(layout, [picks], [layout.planned_s]))[0][0] / len(picks)
    assert took["together"] < 0.7 * took["first come"]


def test_a_slow_aisle_is_left_for_later(layout):
    """By what it takes now, not by what was planned."""
    waiting = [order("old", (1, 10.0)), order("two", (2, 10.0)), order("zero", (0, 10.0))]
    times = layout.planned_s
    times[layout.part(0, 0) : layout.part(1, 0)] *= 9
    assert [one.name for one in lying_together(layout, waiting, 2, times)] == ["old", "two"]
    times = layout.planned_s
    times[layout.part(2, 0) : layout.part(3, 0)] *= 9
    assert [one.name for one in lying_together(layout, waiting, 2, times)] == ["old", "zero"]
    assert np.isfinite(times).all()
