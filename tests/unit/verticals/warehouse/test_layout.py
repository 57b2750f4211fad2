"""Stretches, their numbers and names, and the legs between places."""

from __future__ import annotations

import re

import numpy as np
import pytest

from hotloop.config import LoopConfig
from hotloop.errors import ConfigError, InputError
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.task import vertical


def test_stretches_are_counted_and_named(layout):
    """Aisles first, part by part; then the front and the back cross-aisle."""
    assert layout.stretches == 6 * 3 + 2 * 5
    assert [layout.name(k) for k in (0, 2, 3, 17, 18, 22, 23, 27)] == [
        "A1/1", "A1/3", "A2/1", "A6/3", "X0/1", "X0/5", "X1/1", "X1/5"
    ]  # fmt: skip
    assert layout.part(5, 2) == 17
    assert layout.cross(1, 0) == 23
    two = Layout(LayoutConfig(aisles=2, blocks=2, parts=2))
    assert (two.stretches, two.length_m, two.parts) == (2 * 4 + 3, 60.0, 4)


def test_times_as_planned(layout):
    """Ten metres at 1.5 m/s; four across."""
    assert layout.planned_s[0] == pytest.approx(10 / 1.5)
    assert layout.planned_s[-1] == pytest.approx(4 / 1.5)
    assert len(layout.planned_s) == layout.stretches


def test_the_time_to_a_place_follows_its_stretches(layout):
    """Half way into a slow part is half its time."""
    times = np.ones(layout.stretches)
    times[layout.part(2, 1)] = 10.0
    depths = layout.depths(times)
    assert [layout.depth(depths, 2, metres) for metres in (0, 5, 10, 15, 20, 30)] == [0, 0.5, 1, 6, 11, 12]


def test_legs_along_an_aisle_and_back(layout):
    """Parts with the share that is gone, in the order in which they are met."""
    there = layout.along(1, 5.0, 25.0)
    assert there == [(3, 0.5), (4, 1.0), (5, 0.5)]
    assert layout.along(1, 25.0, 5.0) == there[::-1]
    assert layout.along(1, 7.0, 7.0) == []
    assert layout.across(0, 1, 3) == [(19, 1.0), (20, 1.0)]
    assert layout.across(0, 3, 1) == [(20, 1.0), (19, 1.0)]


@pytest.mark.parametrize("place", [(-1, 0.0), (6, 0.0), (0, -0.1), (0, 30.1), (0, float("nan"))])
def test_a_place_that_is_not_there_is_said(layout, place):
    """With what there is."""
    with pytest.raises(InputError, match="6 aisles of 30 m"):
        layout.check(place)
    assert layout.check((5, 30.0)) == (5, 30.0)


@pytest.mark.parametrize(("change", "words"), [
    ({"depot": 10}, "depot = 10: there are the aisles 0 to 9"), ({"apart_m": float("inf")}, "apart_m = inf"),
    ({"block_m": float("inf")}, "block_m = inf"), ({"speed_m_s": float("inf")}, "speed_m_s = inf"),
])  # fmt: skip
def test_a_layout_without_tours_is_refused_at_the_start(change, words):
    """Not at the first request, and not by empty tours."""
    with pytest.raises(ConfigError, match=re.escape(words)):
        vertical(LoopConfig(vertical="warehouse", tables={"warehouse": {"layout": change}}))
