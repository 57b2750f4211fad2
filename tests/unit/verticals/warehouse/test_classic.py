"""The classic routes, on places where it is known what each does."""

from __future__ import annotations

import pytest

from hotloop.verticals.warehouse.classic import CLASSIC, time_of
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig

from .conftest import reached

TWO = [(1, 10.0), (3, 20.0)]
S = 1 / 1.5  # seconds a metre


@pytest.mark.parametrize(
    ("name", "picks", "metres"),
    [
        ("s-shape", TWO, 2 * 30 + 2 * 12),  # up one, down the other
        ("return", TWO, 2 * 10 + 2 * 20 + 2 * 12),
        ("largest gap", TWO, 2 * 30 + 2 * 12),  # first and last are gone through
        ("combined", TWO, 2 * 10 + 2 * 20 + 2 * 12),  # 84 m both ways: it stays at the front
        ("combined", [(1, 25.0), (3, 28.0)], 2 * 30 + 2 * 12),
        ("s-shape", [(1, 10.0), (2, 5.0), (3, 20.0)], 2 * 30 + 2 * 20 + 2 * 12),  # the last one back
        ("largest gap", [(1, 10.0), (2, 5.0), (2, 28.0), (3, 20.0)], 2 * 30 + 2 * 5 + 2 * 2 + 2 * 12),
        ("largest gap", [(2, 12.0)], 2 * 12 + 2 * 8),
        ("return", [(0, 30.0)], 60),
    ],
)
def test_each_goes_as_it_is_said_to(layout, name, picks, metres):
    """In metres of six aisles, the depot at the first."""
    times = layout.planned_s
    assert time_of(CLASSIC[name](layout, picks, times), times) == pytest.approx(metres * S)


def test_a_pick_at_the_very_front_is_not_left_out():
    """Nor one at the back, where the way home does not lead past it."""
    layout = Layout(LayoutConfig(aisles=6, depot=5))
    picks = [(0, 9.0), (1, 0.0), (2, 30.0), (4, 9.0)]
    for name, router in CLASSIC.items():
        seen = reached(layout, router(layout, picks, layout.planned_s))
        for aisle, metres in picks:
            assert any(a == aisle and low - 0.01 <= metres <= high + 0.01 for a, low, high in seen), (name, aisle)
