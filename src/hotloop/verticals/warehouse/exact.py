"""The shortest tour through a warehouse of some blocks, exactly, by dynamic programming over aisles.

From left to right each sub-aisle is gone through once, twice, entered from one end or from both up to the largest gap,
and each aisle joined to the next by none, one or two ways along each cross-aisle; `frontier` says which partial tours
need to be told apart. Times may differ from stretch to stretch. All of it is done for many tables of times, or many
sets of picks, at once: the last axis. A tour ends at the depot and begins there or, with `start`, at any other place:
then the ways that end at the place and at the depot are odd.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.warehouse.frontier import (
    BACK,
    BEGUN,
    CALLED,
    ENDED,
    FRONT,
    GAP,
    INSIDE,
    NOTHING,
    OUT_GAP,
    OUT_HERE,
    OUT_JOINED,
    THROUGH,
    TWICE,
    UP_GAP,
    UP_HERE,
    UP_JOINED,
    Frontier,
    Index,
    Step,
    beyond,
    frontier,
    within,
)  # fmt: skip
from hotloop.verticals.warehouse.layout import Layout, Leg, Place

_Node: TypeAlias = tuple[int, int]  # a cross-aisle's number, an aisle
_Edges: TypeAlias = dict[_Node, list[tuple[_Node, list[Leg]]]]
_Join: TypeAlias = Callable[[_Node, _Node, list[Leg]], None]
_BEGINNING: Final[_Node] = (-1, -1)  # where a tour begins that does not begin at the depot
_TOGETHER: Final = 3  # nodes of an aisle whose cross-aisles are gone along in one step: more have too many options


@dataclass(frozen=True)
class Plan:
    """What is done in each sub-aisle, front to back, and the ways to the next aisle along each cross-aisle."""

    aisles: tuple[tuple[int, ...], ...]
    ways: tuple[tuple[int, ...], ...]
    start: Place | None = None


@dataclass(frozen=True)
class Options:
    """The time of each thing that may be done in each sub-aisle: (aisles, blocks, 6, n), inf where it may not; and to
    the next aisle along each cross-aisle: (aisles - 1, blocks + 1, n).
    """

    inside: Floats
    across: Floats
    depot: int
    start: Place | None = None
    begun: tuple[int, int] | None = None  # the aisle and the block that it is in


@dataclass(frozen=True)
class _Taken:
    """A step, what its options cost (options, n), and the best of each state before it (states, n)."""

    step: Step
    costs: Floats
    before: Floats


def options(
    layout: Layout, picks: Sequence[Sequence[Place]], times: Sequence[Floats], start: Place | None = None
) -> Options:
    """For n sets of picks and n tables of times (stretches,), or one of either for all. Tours begin at `start` (None:
    at the depot).
    """
    config = layout.config
    count = max(len(picks), len(times))
    if start is not None and (start[0], start[1]) == (config.depot, 0.0):
        start = None
    tables = np.stack(list(times), axis=1)  # (stretches, n or 1)
    along = tables[: config.aisles * layout.parts].reshape(config.aisles, config.blocks, config.parts, -1)
    depths = np.concatenate((np.zeros_like(along[:, :, :1]), np.cumsum(along, axis=2)), axis=2)
    inside = np.full((config.aisles, config.blocks, 6, count), np.inf)
    whole = depths[:, :, -1]
    inside[:, :, THROUGH], inside[:, :, TWICE], inside[:, :, NOTHING] = whole, 2 * whole, 0.0
    _visited(layout, picks, depths, inside)
    begun = None if start is None else (start[0], _block(layout, start[1]))
    if start is not None and begun is not None:
        aisle, block = begun
        for index in range(count):
            own = depths[aisle, block, :, index if len(times) > 1 else 0]
            there = [at for at in picks[index if len(picks) > 1 else 0] if at[0] == aisle]
            seen = [_depth(layout, own, block, at[1]) for at in there if _block(layout, at[1]) == block]
            inside[aisle, block, :, index] = _begun(_depth(layout, own, block, start[1]), sorted(seen), own[-1])
    crosses = tables[config.aisles * layout.parts :].reshape(config.blocks + 1, config.aisles - 1, tables.shape[1])
    across = np.broadcast_to(crosses, (*crosses.shape[:2], count)).transpose(1, 0, 2)
    return Options(inside, across, config.depot, start, begun)


def _block(layout: Layout, metres: float) -> int:
    """The block that a place is in; at a cross-aisle, the one behind it."""
    return min(int(metres / layout.config.block_m), layout.config.blocks - 1)


def _depth(layout: Layout, depths: Floats, block: int, metres: float) -> float:
    """The time from the front of a sub-aisle to a place in it, by its parts' (parts + 1,)."""
    ends = np.arange(len(depths)) * layout.part_m
    return float(np.interp(metres - block * layout.config.block_m, ends, depths))


def _visited(layout: Layout, picks: Sequence[Sequence[Place]], depths: Floats, inside: Floats) -> None:
    """What may be done where picks are: (aisles, blocks, parts + 1, n or 1) into (aisles, blocks, 6, n)."""
    config, shared = layout.config, len(picks) == 1
    places = np.array([(k, *place) for k, one in enumerate(picks) for place in one]).reshape(-1, 3)
    if not len(places):
        return
    places = places[np.lexsort(places.T[::-1])]
    index, aisle = places[:, 0].astype(int), places[:, 1].astype(int)
    block = np.minimum((places[:, 2] / config.block_m).astype(int), config.blocks - 1)
    parts = (places[:, 2] - block * config.block_m) / layout.part_m
    part = np.clip(parts.astype(int), 0, config.parts - 1)
    column: slice | Index = slice(None) if depths.shape[-1] == 1 or shared else index
    rows = depths[aisle, block]  # (places, parts + 1, n or 1)
    each = np.arange(len(places))
    low, high = rows[each, part], rows[each, part + 1]
    at = low + (parts - part)[:, None] * (high - low)  # (places, n or 1)
    whole = rows[:, -1]
    if not isinstance(column, slice):  # n sets with n tables: each its own
        at, whole = at[each, column][:, None], whole[each, column][:, None]
    key = (index * config.aisles + aisle) * config.blocks + block
    begins = np.flatnonzero(np.concatenate(([True], key[1:] != key[:-1])))
    ends = np.concatenate((begins[1:], [len(key)])) - 1
    gaps = np.concatenate((np.diff(at, axis=0), np.full((1, at.shape[1]), -np.inf)))
    gaps[ends] = -np.inf
    gap = np.maximum.reduceat(gaps, begins)
    whole = whole[begins]
    found = np.stack((2 * (whole - at[begins]), 2 * at[ends], 2 * (whole - gap)), axis=1)
    if shared:
        inside[aisle[begins], block[begins], BACK:TWICE] = found
        inside[aisle[begins], block[begins], NOTHING] = np.inf
    else:
        inside[aisle[begins], block[begins], BACK:TWICE, index[begins]] = found[:, :, 0]
        inside[aisle[begins], block[begins], NOTHING, index[begins]] = np.inf


def _begun(here: float, seen: list[float], whole: float) -> Floats:
    """What may be done in the sub-aisle where a tour begins `here` (time from its front): (6,), as `BEGUN`."""
    found = np.full(6, np.inf)
    below, above = [here, *(at for at in seen if at > here)], [*(at for at in seen if at < here), here]
    rest = whole - here
    found[OUT_JOINED], found[UP_JOINED] = here + 2 * rest, rest + 2 * here
    found[OUT_HERE], found[UP_HERE] = here + 2 * (below[-1] - here), rest + 2 * (here - above[0])
    if len(below) > 1:
        found[OUT_GAP] = here + 2 * (rest - np.diff(below).max())
    if len(above) > 1:
        found[UP_GAP] = rest + 2 * (here - np.diff(above).max())
    return found


def solve(given: Options, *, plans: bool = True) -> tuple[Floats, list[Plan]]:
    """The shortest times (n,), and how (an empty list without `plans`)."""
    _, blocks, _, count = given.inside.shape
    states = frontier(blocks + 1, given.start is not None)
    best = np.full((states.count, count), np.inf)
    best[states.empty] = 0.0
    taken: list[_Taken] = []
    for step, costs in _steps(given, states):
        if plans:
            taken.append(_Taken(step, costs, best))
        reached = best[step.source]
        reached += costs[step.option]
        lowest = np.minimum.reduceat(reached, step.begins, axis=0)
        if len(step.targets) < states.count:
            best = np.full_like(best, np.inf)
            best[step.targets] = lowest
        else:
            best = lowest
    ends = best[states.last]
    last = ends.argmin(0)
    found = ends[last, np.arange(count)]
    return found, _traced(given, taken, states.last[last]) if plans else []


def _steps(given: Options, states: Frontier) -> list[tuple[Step, Floats]]:
    """Every step, left to right, with what its options cost (options, n)."""
    aisles, blocks, _, count = given.inside.shape
    allowed = np.isfinite(given.inside).any(-1) @ (1 << np.arange(6))
    depot = within(states, 0, CALLED if given.begun is None else ENDED, 1), np.zeros((1, count))
    along = [(beyond(states, group), list(group)) for group in _groups(blocks)]
    steps = []
    for aisle in range(aisles):
        if aisle == given.depot:
            steps.append(depot)
        for block in range(blocks):
            effects = BEGUN if given.begun == (aisle, block) else INSIDE
            steps.append((within(states, block, effects, int(allowed[aisle, block])), given.inside[aisle, block]))
        if aisle < aisles - 1:
            steps.extend((step, ways @ given.across[aisle, group]) for (step, ways), group in along)
    return steps


def _traced(given: Options, taken: list[_Taken], state: Index) -> list[Plan]:
    """How each of n came to its last state."""
    aisles, blocks, _, count = given.inside.shape
    each, chosen = np.arange(count), np.zeros((len(taken), count), np.intp)
    for k in range(len(taken) - 1, -1, -1):
        step, costs, before = taken[k].step, taken[k].costs, taken[k].before
        into = step.into[state]
        reached = before[step.source[into], each[:, None]] + costs[step.option[into], each[:, None]]
        by = into[each, reached.argmin(1)]
        chosen[k], state = step.option[by], step.source[by]
    rows = iter(chosen)
    inside, ways = [], []
    for aisle in range(aisles):
        if aisle == given.depot:
            next(rows)
        inside.append(np.stack([next(rows) for _ in range(blocks)], axis=1).tolist())
        if aisle < aisles - 1:
            ways.append(_ways(rows, blocks))
    return [
        Plan(tuple(tuple(one[k]) for one in inside), tuple(tuple(one[k]) for one in ways), given.start)
        for k in range(count)
    ]


def _ways(rows: Iterator[Index], blocks: int) -> list[list[int]]:
    """The ways along each cross-aisle that n options say: n x (blocks + 1)."""
    if blocks < _TOGETHER:
        option = next(rows)
        found: list[list[int]] = np.stack([option // 3 ** (blocks - k) % 3 for k in range(blocks + 1)], axis=1).tolist()
        return found
    several: list[list[int]] = np.stack([next(rows) for _ in range(blocks + 1)], axis=1).tolist()
    return several


def walked(layout: Layout, picks: Sequence[Place], plan: Plan, times: Floats) -> list[Leg]:
    """A plan as legs to the depot: an Euler tour (Hierholzer) of what it joins."""
    depths = layout.depths(times)
    edges: _Edges = {}

    def joined(one: _Node, other: _Node, legs: list[Leg]) -> None:
        edges.setdefault(one, []).append((other, legs))
        if one != other:
            edges.setdefault(other, []).append((one, legs[::-1]))

    by_sub_aisle: dict[tuple[int, int], list[float]] = {}
    for aisle, metres in picks:
        by_sub_aisle.setdefault((aisle, _block(layout, metres)), []).append(metres)
    start = plan.start
    begun = None if start is None else (start[0], _block(layout, start[1]))
    for aisle, row in enumerate(plan.aisles):
        for block, done in enumerate(row):
            at = sorted(set(by_sub_aisle.get((aisle, block), ())))
            sub = _SubAisle(layout, depths, aisle, block)
            if start is not None and begun == (aisle, block):
                sub.leave(joined, done, at, start[1])
            elif done != NOTHING:
                sub.go(joined, done, at)
    for aisle, row in enumerate(plan.ways):
        for number, ways in enumerate(row):
            for _ in range(ways):
                joined((number, aisle), (number, aisle + 1), layout.across(number, aisle, aisle + 1))
    return _euler(edges, (0, layout.config.depot) if start is None else _BEGINNING)


@dataclass(frozen=True)
class _SubAisle:
    """An aisle in one block, to be gone along: what is done becomes edges between its ends."""

    layout: Layout
    depths: Floats
    aisle: int
    block: int

    @property
    def ends_m(self) -> tuple[float, float]:
        """Where it begins and ends, metres from the front of the warehouse."""
        return self.block * self.layout.config.block_m, (self.block + 1) * self.layout.config.block_m

    def go(self, joined: _Join, done: int, at: list[float]) -> None:
        """One of `INSIDE`, for picks `at` (metres)."""
        low, high = self.ends_m
        front, back = (self.block, self.aisle), (self.block + 1, self.aisle)
        for _ in range({THROUGH: 1, TWICE: 2}.get(done, 0)):
            joined(front, back, self.layout.along(self.aisle, low, high))
        if done == GAP:
            before, behind = self._widest(at)
            self._turn(joined, front, low, before)
            self._turn(joined, back, high, behind)
        elif done == FRONT:
            self._turn(joined, front, low, at[-1])
        elif done == BACK:
            self._turn(joined, back, high, at[0])

    def leave(self, joined: _Join, done: int, at: list[float], here: float) -> None:
        """One of `BEGUN`, from `here`."""
        front, back = ((self.block, self.aisle), self.ends_m[0]), ((self.block + 1, self.aisle), self.ends_m[1])
        (once, near), (other, far) = (front, back) if done in (OUT_JOINED, OUT_HERE, OUT_GAP) else (back, front)
        rest = sorted({here, *(metres for metres in at if (metres - here) * (far - near) > 0)})
        joined(_BEGINNING, once, self.layout.along(self.aisle, here, near))
        if done in (OUT_JOINED, UP_JOINED):
            for _ in range(2):
                joined(_BEGINNING, other, self.layout.along(self.aisle, here, far))
        elif done in (OUT_HERE, UP_HERE):
            self._turn(joined, _BEGINNING, here, rest[-1] if done == OUT_HERE else rest[0])
        else:
            before, behind = self._widest(rest)
            mine, others = (before, behind) if done == OUT_GAP else (behind, before)
            self._turn(joined, _BEGINNING, here, mine)
            self._turn(joined, other, far, others)

    def _widest(self, at: list[float]) -> tuple[float, float]:
        """The two neighbours between which it takes longest."""
        seen = [self.layout.depth(self.depths, self.aisle, metres) for metres in at]
        widest = int(np.diff(seen).argmax())
        return at[widest], at[widest + 1]

    def _turn(self, joined: _Join, node: _Node, start_m: float, turn_m: float) -> None:
        """Somewhere and back."""
        if start_m != turn_m:
            there = self.layout.along(self.aisle, start_m, turn_m)
            joined(node, node, [*there, *self.layout.along(self.aisle, turn_m, start_m)])


def _euler(edges: _Edges, start: _Node) -> list[Leg]:
    """All legs in one tour from `start`, back to it or to where the other odd node is."""
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


def prepared(blocks: int) -> None:
    """List the steps of closed tours now: they are kept."""
    states = frontier(blocks + 1, False)
    several = (1 << NOTHING) - 1
    empty, one = 1 << THROUGH | 1 << TWICE | 1 << NOTHING, several & ~(1 << GAP)
    within(states, 0, CALLED, 1)
    for block, allowed in itertools.product(range(blocks), (empty, one, several)):
        within(states, block, INSIDE, allowed)
    for group in _groups(blocks):
        beyond(states, group)


def _groups(blocks: int) -> list[tuple[int, ...]]:
    """The cross-aisles that are gone along in one step."""
    numbers = range(blocks + 1)
    return [tuple(numbers)] if blocks < _TOGETHER else [(number,) for number in numbers]
