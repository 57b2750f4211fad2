"""A tour for any layout: the exact one up to four blocks, beyond that a short one by the distances between places.

The states of the exact programme grow five times with each block: with 20 picks, ten aisles and eight tables of times
it takes milliseconds up to four blocks (three where tours begin elsewhere than at the depot), and too long for a
decision beyond. There the order of visits is searched for (`visits`), and the best classic route is taken where it is
shorter.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.sparse import csr_array
from scipy.sparse.csgraph import dijkstra

from hotloop.types import Floats
from hotloop.verticals.warehouse.classic import CLASSIC, time_of
from hotloop.verticals.warehouse.cross_aisles import BY_BLOCKS
from hotloop.verticals.warehouse.exact import options, prepared, solve, walked
from hotloop.verticals.warehouse.frontier import Index
from hotloop.verticals.warehouse.layout import Layout, Leg, Place
from hotloop.verticals.warehouse.visits import KICKS, inserted, length, ordered

EXACT_BLOCKS: Final = 4
EXACT_BLOCKS_BEGUN: Final = 3  # of tours that begin elsewhere than at the depot
_SAME_DIGITS: Final = 9


def prepare(layout: Layout) -> None:
    """List the steps of the exact programme now, so that the first decision need not."""
    if layout.config.blocks <= EXACT_BLOCKS:
        prepared(layout.config.blocks)


def tours(
    layout: Layout, picks: Sequence[Place], tables: Sequence[Floats], start: Place | None = None
) -> list[list[Leg]]:
    """A tour for each table of times (stretches,): from `start` (None: the depot), past all picks, to the depot."""
    most = EXACT_BLOCKS if start is None else EXACT_BLOCKS_BEGUN
    if layout.config.blocks <= most:
        _, plans = solve(options(layout, [picks], tables, start))
        return [walked(layout, picks, plan, times) for plan, times in zip(plans, tables, strict=True)]
    return _searched(layout, picks, tables, start)


def durations(layout: Layout, sets: Sequence[Sequence[Place]], times: Floats) -> Floats:
    """How long a tour of each set of picks takes (n,), s; beyond four blocks, before any of it is improved."""
    if layout.config.blocks <= EXACT_BLOCKS:
        return solve(options(layout, sets, [times]), plans=False)[0]
    depot = (layout.config.depot, 0.0)
    places = list(dict.fromkeys([depot, *itertools.chain.from_iterable(sets)]))
    graph = _Graph(layout, places, times)
    numbers = {place: k for k, place in enumerate(places)}
    found = []
    for picks in sets:
        chosen = [0, *(numbers[place] for place in dict.fromkeys(picks)), 0]
        between = graph.between[np.ix_(chosen, chosen)]
        found.append(length(between, inserted(between)))
    return np.array(found)


def _searched(
    layout: Layout, picks: Sequence[Place], tables: Sequence[Floats], start: Place | None
) -> list[list[Leg]]:
    """By the distances between places, or the best classic route. What is found for one table is tried for the next."""
    depot = (layout.config.depot, 0.0)
    places = [depot if start is None else start, *dict.fromkeys(picks), depot]
    order: Index | None = None
    found = []
    for times in tables:
        graph = _Graph(layout, places, times)
        order = ordered(graph.between, KICKS if order is None else 0, order)
        tried = [graph.legs(order)]
        if start is None:
            tried += [route(layout, picks, times) for route in (*CLASSIC.values(), *BY_BLOCKS.values()) if picks]
        found.append(min(tried, key=lambda legs: time_of(legs, times)))
    return found


class _Graph:
    """Places and the crossings of a layout, with shortest paths between the places."""

    def __init__(self, layout: Layout, places: Sequence[Place], times: Floats) -> None:
        self._layout = layout
        self._nodes: list[Place] = []
        index: dict[Place, int] = {}
        block_m = layout.config.block_m
        crossings = [(number, number * block_m) for number in range(layout.config.blocks + 1)]
        by_aisle: dict[int, set[float]] = {}
        for aisle, metres in places:
            by_aisle.setdefault(aisle, set()).add(round(metres, _SAME_DIGITS))
        depths = layout.depths(times)
        rows: list[tuple[int, int, float]] = []

        def node(aisle: int, metres: float) -> int:
            place = (aisle, round(metres, _SAME_DIGITS))
            if place not in index:
                index[place] = len(self._nodes)
                self._nodes.append(place)
            return index[place]

        for aisle in range(layout.config.aisles):
            at = {round(metres, _SAME_DIGITS): number for number, metres in crossings}
            stops = sorted(by_aisle.get(aisle, set()) | set(at))
            took = np.diff([layout.depth(depths, aisle, one) for one in stops]).tolist()
            ends = zip(stops[:-1], stops[1:], took, strict=True)
            rows += [(node(aisle, one), node(aisle, other), seconds) for one, other, seconds in ends]
            if aisle:
                rows += [(node(aisle - 1, m), node(aisle, m), times[layout.cross(k, aisle - 1)]) for k, m in crossings]
        heads, tails, weights = (np.array(column) for column in zip(*rows, strict=True))
        count = len(self._nodes)
        matrix = csr_array((weights, (heads, tails)), shape=(count, count))
        self._places: Index = np.array([node(aisle, metres) for aisle, metres in places], np.intp)
        reached, self._before = dijkstra(matrix, directed=False, indices=self._places, return_predecessors=True)
        self.between: Floats = reached[:, self._places]

    def legs(self, order: Index) -> list[Leg]:
        """The legs past places in this order."""
        found: list[Leg] = []
        for one, other in itertools.pairwise(order.tolist()):
            way = [int(self._places[other])]
            while way[-1] != self._places[one]:
                way.append(int(self._before[one, way[-1]]))
            for start, end in itertools.pairwise(reversed(way)):
                found += self._leg(self._nodes[start], self._nodes[end])
        return found

    def _leg(self, start: Place, end: Place) -> list[Leg]:
        """From a node to a neighbour."""
        if start[0] == end[0]:
            return self._layout.along(start[0], start[1], end[1])
        return self._layout.across(round(start[1] / self._layout.config.block_m), start[0], end[0])
