"""Classic routes through blocks, on places where it is known what each does, and wherever they are."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.verticals.warehouse.classic import time_of
from hotloop.verticals.warehouse.cross_aisles import BY_BLOCKS
from hotloop.verticals.warehouse.exact import options, solve
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig

from .conftest import drawn, drawn_layout, reached

S = 1 / 1.5  # seconds a metre
FAR = [(1, 40.0), (3, 50.0)]  # in the second block
NEAR = [(2, 10.0), (4, 25.0)]  # in the first one


@pytest.mark.parametrize(
    ("name", "picks", "metres"),
    [
        ("s-shape by blocks", FAR, 2 * 30 + 2 * 30 + 2 * 12),  # up aisle 1, all of it, down aisle 3
        ("s-shape by blocks", [*FAR, *NEAR], 4 + 60 + 8 + 30 + 4 + 30 + 8 + 2 * 25 + 16),  # the nearest first
        ("s-shape by blocks", [(2, 45.0)], 2 * 8 + 2 * 45),  # one sub-aisle alone: in and back
        ("largest gap by blocks", FAR, 2 * 60 + 2 * 12),
        ("largest gap by blocks", [(1, 40.0), (2, 35.0), (2, 58.0), (3, 50.0)], 2 * 60 + 2 * 12 + 2 * 2 + 2 * 5),
        ("largest gap by blocks", [(2, 45.0)], 2 * 8 + 2 * 45),
        ("combined by blocks", [(1, 35.0), (3, 34.0)], 2 * 30 + 2 * 5 + 2 * 4 + 2 * 12),  # turns in both
        ("combined by blocks", [(1, 55.0), (3, 56.0)], 2 * 60 + 2 * 12),  # goes through both
    ],
)
def test_each_goes_as_it_is_said_to(name, picks, metres):
    """In metres of two blocks of 30 m and six aisles, the depot at the first."""
    layout = Layout(LayoutConfig(aisles=6, blocks=2))
    times = layout.planned_s
    assert time_of(BY_BLOCKS[name](layout, picks, times), times) == pytest.approx(metres * S)


@pytest.mark.parametrize("name", BY_BLOCKS)
@pytest.mark.parametrize("seed", range(25))
def test_each_goes_past_every_pick_and_back_to_the_depot(name, seed):
    """From stretch to stretch, in one to four blocks; and it is no shorter than the exact tour."""
    rng = np.random.default_rng((seed, 11))
    layout = drawn_layout(rng, 4)
    times = layout.planned_s * rng.uniform(0.4, 4.0, layout.stretches)
    picks = drawn(rng, layout, 9, 0.2)
    legs = BY_BLOCKS[name](layout, picks, times)
    seen = reached(layout, legs)
    for aisle, metres in picks:
        assert any(a == aisle and low - 0.01 <= metres <= high + 0.01 for a, low, high in seen), (aisle, metres)
    assert time_of(legs, times) >= solve(options(layout, [picks], [times]))[0][0] - 1e-9


def test_combined_is_never_longer_than_s_shape_in_one_block(rng):
    """It has what S-shape may do among its choices, but for the way to the first aisle."""
    layout = Layout(LayoutConfig(aisles=8))
    for _ in range(20):
        picks, times = drawn(rng, layout, 12), layout.planned_s * rng.uniform(0.5, 3.0, layout.stretches)
        both = {name: time_of(BY_BLOCKS[name](layout, picks, times), times) for name in BY_BLOCKS}
        assert both["combined by blocks"] <= both["s-shape by blocks"] + 1e-9
