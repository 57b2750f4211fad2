"""Small warehouses for tests."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from hotloop.verticals.warehouse.layout import Layout, LayoutConfig


@pytest.fixture
def layout():
    """Six aisles of 30 m in three stretches each."""
    return Layout(LayoutConfig(aisles=6))


def drawn(rng, layout, most=6, crossings=0.0):
    """Some places, so many of them at cross-aisles."""
    count = int(rng.integers(1, most + 1))
    aisles = rng.integers(0, layout.config.aisles, count)
    places = [(int(aisle), round(float(rng.uniform(0, layout.length_m)), 2)) for aisle in aisles]
    blocks, block_m = layout.config.blocks, layout.config.block_m
    at = rng.integers(0, blocks + 1, count) * block_m
    return [(a, float(at[k])) if rng.uniform() < crossings else (a, m) for k, (a, m) in enumerate(places)]


def drawn_layout(rng, blocks):
    """Up to four aisles in up to so many blocks, the depot at any of them."""
    aisles = int(rng.integers(1, 5))
    return Layout(
        LayoutConfig(
            aisles=aisles, blocks=int(rng.integers(1, blocks + 1)), parts=int(rng.integers(1, 4)),
            depot=int(rng.integers(aisles)),
        )
    )  # fmt: skip


def shortest(layout, picks, times, start=None):
    """By brute force: all distances between places and crossings (Floyd & Warshall), all orders of visits."""
    config = layout.config
    depths = layout.depths(times)
    depot = (config.depot, 0.0)
    places = [start or depot, *picks, depot]
    ends = [(aisle, number * config.block_m) for aisle in range(config.aisles) for number in range(config.blocks + 1)]
    nodes = [*places, *ends]
    far = np.full((len(nodes), len(nodes)), np.inf)
    for one, (aisle, metres) in enumerate(nodes):
        for two, (other, there) in enumerate(nodes):
            if aisle == other:
                far[one, two] = abs(layout.depth(depths, aisle, metres) - layout.depth(depths, aisle, there))
            elif abs(aisle - other) == 1 and min(one, two) >= len(places) and metres == there:
                far[one, two] = times[layout.cross(round(metres / config.block_m), min(aisle, other))]
    for k in range(len(nodes)):
        far = np.minimum(far, far[:, k : k + 1] + far[k : k + 1])
    inner, last = range(1, len(places) - 1), len(places) - 1
    return min(sum(far[a, b] for a, b in itertools.pairwise((0, *o, last))) for o in itertools.permutations(inner))


def reached(layout, legs, start=None):
    """Walk legs from the start (None: the depot) to the depot (a leg does not say its direction: all places where one
    may be are followed); what was passed, by aisle and metres.
    """
    inside, passed = layout.config.aisles * layout.parts, set()
    here = {start or (layout.config.depot, 0.0)}
    passed |= {(aisle, metres, metres) for aisle, metres in here}
    for stretch, share in legs:
        after = set()
        for aisle, metres in here:
            if stretch >= inside:
                number, first = divmod(stretch - inside, layout.config.aisles - 1)
                if aisle in (first, first + 1) and abs(metres - number * layout.config.block_m) < 1e-6:
                    after.add((2 * first + 1 - aisle, metres))
                    passed |= {(first, metres, metres), (first + 1, metres, metres)}
                continue
            if stretch // layout.parts != aisle:
                continue
            low = stretch % layout.parts * layout.part_m
            for end in (metres + share * layout.part_m, metres - share * layout.part_m):
                if all(low - 1e-6 <= at <= low + layout.part_m + 1e-6 for at in (metres, end)):
                    after.add((aisle, round(end, 6)))
                    passed.add((aisle, min(metres, end), max(metres, end)))
        assert after, f"nobody can go {layout.name(stretch)} from {here}"
        here = after
    assert any(aisle == layout.config.depot and abs(metres) < 1e-5 for aisle, metres in here)
    return passed


@pytest.fixture
def rng():
    return np.random.default_rng(0)
