"""The shortest tour through a warehouse of one block, exactly, by dynamic programming over aisles.

Ratliff & Rosenthal (1983): from left to right each aisle is gone through once, twice, entered from one end or from
both ends up to the largest gap, and joined to the next by none, one or two ways at the front and at the back. Only
seven kinds of partial tours need to be told apart: whether the ends' degrees are odd (U), even (E) or none (0), and in
how many parts the tour so far hangs together. Times may differ from stretch to stretch. All of it is done for many
tables of times, or many sets of picks, at once: the last axis.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hotloop.types import Floats
from hotloop.verticals.warehouse.layout import Layout, Leg, Place

# kinds of partial tours: back end, front end, parts
_UU1, _E01, _0E1, _EE1, _EE2, _000, _001 = range(7)
# what may be done in an aisle
THROUGH, BACK, FRONT, GAP, TWICE, NOTHING = range(6)
_IN_AISLE: Final = {  # kind -> what it becomes by each of these
    _UU1: (_EE1, _UU1, _UU1, _UU1, _UU1, _UU1),
    _E01: (_UU1, _E01, _EE2, _EE2, _EE1, _E01),
    _0E1: (_UU1, _EE2, _0E1, _EE2, _EE1, _0E1),
    _EE1: (_UU1, _EE1, _EE1, _EE1, _EE1, _EE1),
    _EE2: (_UU1, _EE2, _EE2, _EE2, _EE1, _EE2),
    _000: (_UU1, _E01, _0E1, _EE2, _EE1, _000),
    _001: (None, None, None, None, None, _001),
}
_ACROSS: Final = {  # kind -> (ways at the back, ways at the front) -> what it becomes
    _UU1: {(1, 1): _UU1},
    _E01: {(2, 0): _E01, (2, 2): _EE2, (0, 0): _001},
    _0E1: {(0, 2): _0E1, (2, 2): _EE2, (0, 0): _001},
    _EE1: {(2, 0): _E01, (0, 2): _0E1, (2, 2): _EE1, (0, 0): _001},
    _EE2: {(2, 2): _EE2},
    _000: {(0, 0): _000},
    _001: {(0, 0): _001},
}
_WAYS: Final = ((1, 1), (2, 0), (0, 2), (2, 2), (0, 0))
_INSIDE: Final = [(kind, how, to) for kind, row in _IN_AISLE.items() for how, to in enumerate(row) if to is not None]
_BETWEEN: Final = [(kind, _WAYS.index(ways), to) for kind, row in _ACROSS.items() for ways, to in row.items()]
_LAST: Final = (_E01, _0E1, _EE1, _001)


_Step: TypeAlias = tuple[NDArray[np.int8], NDArray[np.int8]]  # of a move: from which kind, by what
_Node: TypeAlias = tuple[int, int]  # a cross-aisle's number, an aisle
_Edges: TypeAlias = dict[_Node, list[tuple[_Node, list[Leg]]]]


@dataclass(frozen=True)
class Plan:
    """What is done in each aisle, and the ways (back, front) to the next: (aisles,) and (aisles - 1,)."""

    aisles: tuple[int, ...]
    ways: tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Options:
    """The time of each thing that may be done in each aisle: (aisles, 6, n), inf where it may not; and across to the
    next at the back and at the front: (aisles - 1, n).
    """

    aisles: Floats
    back: Floats
    front: Floats


def options(layout: Layout, picks: Sequence[Sequence[Place]], times: Sequence[Floats]) -> Options:
    """For n sets of picks and n tables of times (stretches,), or one of either for all."""
    count = max(len(picks), len(times))
    aisles = layout.config.aisles
    table = np.full((aisles, 6, count), np.inf)
    back, front = np.zeros((aisles - 1, count)), np.zeros((aisles - 1, count))
    for index in range(count):
        own = times[index if len(times) > 1 else 0]
        depths = layout.depths(own)
        by_aisle: dict[int, list[float]] = {layout.config.depot: [0.0]}
        for aisle, metres in picks[index if len(picks) > 1 else 0]:
            by_aisle.setdefault(aisle, []).append(layout.depth(depths, aisle, metres))
        whole = depths[:, -1]
        table[:, THROUGH, index], table[:, TWICE, index] = whole, 2 * whole
        table[:, NOTHING, index] = 0.0
        for aisle, seen in by_aisle.items():
            at = np.sort(np.array(seen))
            gap = float(np.diff(at).max()) if len(at) > 1 else -np.inf
            table[aisle, BACK:TWICE, index] = 2 * (whole[aisle] - at[0]), 2 * at[-1], 2 * (whole[aisle] - gap)
            table[aisle, NOTHING, index] = np.inf
        crosses = own[aisles * layout.parts :].reshape(layout.config.blocks + 1, aisles - 1)
        front[:, index], back[:, index] = crosses[0], crosses[-1]
    return Options(table, back, front)


def solve(given: Options, *, plans: bool = True) -> tuple[Floats, list[Plan]]:
    """The shortest times (n,), and how (an empty list without `plans`)."""
    aisles, _, count = given.aisles.shape
    best = np.full((7, count), np.inf)
    best[_000] = 0.0
    steps: list[_Step] = []
    for aisle in range(aisles):
        moved = [(kind, to, how, given.aisles[aisle, how]) for kind, how, to in _INSIDE]
        best = _relaxed(best, moved, steps, count)
        if aisle < aisles - 1:
            costs = [back * given.back[aisle] + front * given.front[aisle] for back, front in _WAYS]
            joined = [(kind, to, by, costs[by]) for kind, by, to in _BETWEEN]
            best = _relaxed(best, joined, steps, count)
    ends = best[list(_LAST)]
    last = ends.argmin(0)
    found = ends[last, np.arange(count)]
    return found, [_traced(steps, _LAST[last[k]], k) for k in range(count)] if plans else []


def _relaxed(best: Floats, moves: list[tuple[int, int, int, Floats]], steps: list[_Step], count: int) -> Floats:
    """The best of each kind after a move, and how it came to it."""
    after = np.full((7, count), np.inf)
    whence, how = np.zeros((7, count), np.int8), np.zeros((7, count), np.int8)
    for kind, to, by, cost in moves:
        reached = best[kind] + cost
        better = reached < after[to]
        if better.any():
            after[to] = np.where(better, reached, after[to])
            whence[to][better], how[to][better] = kind, by
    steps.append((whence, how))
    return after


def _traced(steps: list[_Step], kind: int, index: int) -> Plan:
    taken = []
    for whence, how in reversed(steps):
        taken.append(int(how[kind, index]))
        kind = int(whence[kind, index])
    taken.reverse()
    return Plan(tuple(taken[::2]), tuple(_WAYS[by] for by in taken[1::2]))


def walked(layout: Layout, picks: Sequence[Place], plan: Plan, times: Floats) -> list[Leg]:
    """A plan as legs from the depot and back: an Euler tour (Hierholzer) of what it joins."""
    depths = layout.depths(times)
    edges: _Edges = {}

    def joined(one: _Node, other: _Node, legs: list[Leg]) -> None:
        edges.setdefault(one, []).append((other, legs))
        if one != other:
            edges.setdefault(other, []).append((one, legs[::-1]))

    far = layout.config.blocks
    for aisle, done in enumerate(plan.aisles):
        how = done
        at = sorted({metres for where, metres in [*picks, (layout.config.depot, 0.0)] if where == aisle})
        whole = layout.along(aisle, 0.0, layout.length_m)
        front_m, back_m = _turns(layout, depths, aisle, how, at)
        if back_m == 0.0:  # to the depot's own end, from the back
            how, back_m = TWICE, layout.length_m
        for _ in range({THROUGH: 1, TWICE: 2}.get(how, 0)):
            joined((0, aisle), (far, aisle), whole)
        if front_m > 0:
            joined((0, aisle), (0, aisle), [*layout.along(aisle, 0.0, front_m), *layout.along(aisle, front_m, 0.0)])
        if back_m < layout.length_m:
            ends = layout.length_m
            joined((far, aisle), (far, aisle), [*layout.along(aisle, ends, back_m), *layout.along(aisle, back_m, ends)])
    for aisle, (back, front) in enumerate(plan.ways):
        for number, ways in ((far, back), (0, front)):
            for _ in range(ways):
                joined((number, aisle), (number, aisle + 1), layout.across(number, aisle, aisle + 1))
    return _euler(edges, (0, layout.config.depot))


def _turns(layout: Layout, depths: Floats, aisle: int, how: int, at: list[float]) -> tuple[float, float]:
    """How far an aisle is entered from the front, and down to where from the back."""
    if not at or how not in (BACK, FRONT, GAP):
        return 0.0, layout.length_m
    if how == FRONT:
        return at[-1], layout.length_m
    if how == BACK:
        return 0.0, at[0]
    seen = [layout.depth(depths, aisle, metres) for metres in at]
    widest = int(np.diff(seen).argmax())
    return at[widest], at[widest + 1]


def _euler(edges: _Edges, start: _Node) -> list[Leg]:
    """All legs in one tour from `start` and back."""
    used: dict[_Node, dict[_Node, int]] = {}
    stack: list[tuple[_Node, list[Leg]]] = [(start, [])]
    tour: list[list[Leg]] = []
    while stack:
        node, came = stack[-1]
        rest = edges.get(node, [])
        while rest:
            to, legs = rest.pop()
            gone = used.setdefault(node, {})
            if node != to and gone.get(to, 0):  # this way was gone from the other end
                gone[to] -= 1
                continue
            if node != to:
                used.setdefault(to, {})[node] = used.setdefault(to, {}).get(node, 0) + 1
            stack.append((to, legs))
            break
        else:
            stack.pop()
            tour.append(came)
    return [leg for legs in reversed(tour) for leg in legs]
