"""Which partial tours need to be told apart, aisle by aisle, and what each next step makes of them. Pure, and cached.

A warehouse is gone through from left to right. Of all that has been done so far only this matters for what may follow:
at each end of a sub-aisle in the aisle where one is (a node; there is one more than there are blocks), whether an even
or an odd number of ways ends there or none, and which nodes hang together. Ratliff & Rosenthal 1983 (two nodes: seven
states); Roodbergen & de Koster 2001 (three: 25); Cambazard & Catusse 2018 (any number: 113, 569, 3,033). A step has
hundreds to thousands of transitions; they do not depend on times, so they are listed once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

Index: TypeAlias = NDArray[np.intp]
Node: TypeAlias = tuple[int, int]  # ways that end there (0: none, 1: odd, 2: even), the part it hangs together with
State: TypeAlias = tuple[Node, ...]
Effect: TypeAlias = tuple[int, int, bool]  # ways that it ends at the node in front, at the node behind; joins them

DONE: Final[State] = ()  # all that was begun hangs together and is closed: nothing may follow
_FREE: Final[Node] = (0, 0)

# what may be done in a sub-aisle
THROUGH, BACK, FRONT, GAP, TWICE, NOTHING = range(6)
INSIDE: Final[tuple[Effect, ...]] = (
    (1, 1, True), (0, 2, False), (2, 0, False), (2, 2, False), (2, 2, True), (0, 0, False),
)  # fmt: skip
# the same where a tour begins inside: out by the front, and what lies behind by going through, from here, or from here
# and from the back; then out by the back likewise
OUT_JOINED, OUT_HERE, OUT_GAP, UP_JOINED, UP_HERE, UP_GAP = range(6)
BEGUN: Final[tuple[Effect, ...]] = (
    (1, 2, True), (1, 0, False), (1, 2, False), (2, 1, True), (0, 1, False), (2, 1, False),
)  # fmt: skip
CALLED: Final[tuple[Effect, ...]] = ((2, 0, False),)  # the depot of a tour that begins there
ENDED: Final[tuple[Effect, ...]] = ((1, 0, False),)  # the depot of a tour that began elsewhere


@dataclass(frozen=True)
class Step:
    """Transitions (t,), those to the same state beside each other: `source`, `option`; `begins`: where a target's first
    one is, `targets`: which states they lead to. `into` (states, most): the transitions to a state, for the way back.
    """

    source: Index
    option: Index
    begins: Index
    targets: Index
    into: Index


@dataclass(frozen=True, eq=False)
class Frontier:
    """Partial tours of a warehouse with `nodes` nodes an aisle; `opened`: the tour may begin elsewhere than it ends."""

    nodes: int
    opened: bool
    states: tuple[State, ...]
    empty: int
    last: Index  # the states in which a tour may end

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.states)


def _more(ways: int, more: int) -> int:
    return 2 - (ways + more) % 2 if ways + more else 0


def _named(nodes: Sequence[Node]) -> State:
    """Parts numbered as they come."""
    seen: dict[int, int] = {}
    return tuple((ways, seen.setdefault(part, len(seen) + 1)) if ways else _FREE for ways, part in nodes)


def inside(state: State, number: int, effect: Effect) -> State | None:
    """What a state becomes by an effect on nodes `number` and `number` + 1; None if it may not be."""
    front, back, joins = effect
    if state == DONE:
        return DONE if not (front or back) else None
    nodes = list(state)
    for at, more in ((number, front), (number + 1, back)):
        if more:
            ways, part = nodes[at]
            nodes[at] = (_more(ways, more), part or len(nodes) + at + 1)
    if joins:
        kept, gone = nodes[number][1], nodes[number + 1][1]
        nodes = [(ways, kept if part == gone else part) for ways, part in nodes]
    return _named(nodes)


def across(state: State, number: int, ways: int) -> State | None:
    """What a state becomes by 0, 1 or 2 ways from node `number` to the next aisle; None if they may not be."""
    if state == DONE:
        return DONE if not ways else None
    nodes = list(state)
    before, part = nodes[number]
    if (before + ways) % 2 or (ways and not before):
        return None
    nodes[number] = (ways, part) if ways else _FREE
    if ways or not before or any(other == part for _, other in nodes):
        return _named(nodes)
    return None if any(degree for degree, _ in nodes) else DONE


@lru_cache(maxsize=32)
def frontier(nodes: int, opened: bool) -> Frontier:  # noqa: FBT001 - a key of the cache
    """The states of a warehouse with so many nodes an aisle."""
    effects = [*INSIDE, *BEGUN, *ENDED] if opened else INSIDE
    first: State = (_FREE,) * nodes
    found, rest = {first: 0}, [first]
    while rest:
        state = rest.pop()
        after = [inside(state, number, effect) for number in range(nodes - 1) for effect in effects]
        after += [inside(state, 0, CALLED[0])]
        after += [across(state, number, ways) for number in range(nodes) for ways in range(3)]
        for one in after:
            if one is not None and one not in found and _odd(one) <= 2:
                found[one] = len(found)
                rest.append(one)
    ends = [k for state, k in found.items() if _may_end(state)]
    return Frontier(nodes, opened, tuple(found), 0, np.array(ends, np.intp))


def _odd(state: State) -> int:
    """Parts with an odd number of odd nodes: where a tour begins, and the depot of such a tour."""
    parts = [part for ways, part in state if ways == 1]
    return sum(parts.count(part) % 2 for part in set(parts))


def _may_end(state: State) -> bool:
    """Nothing is odd, and all hangs together."""
    return state == DONE or {node for node in state if node != _FREE} == {(2, 1)}


@lru_cache(maxsize=4096)
def within(given: Frontier, number: int, effects: tuple[Effect, ...], allowed: int) -> Step:
    """The step through a sub-aisle; `allowed`: the effects (as bits) that may be."""
    options = [k for k in range(len(effects)) if allowed >> k & 1]
    found = ((s, k, inside(state, number, effects[k])) for s, state in enumerate(given.states) for k in options)
    return _listed(given, found)


@lru_cache(maxsize=256)
def beyond(given: Frontier, numbers: tuple[int, ...]) -> tuple[Step, Index]:
    """The step along these cross-aisles to the next aisle, and the ways of each option: (options, cross-aisles)."""
    options = list(itertools.product(range(3), repeat=len(numbers)))

    def found() -> Iterator[tuple[int, int, State | None]]:
        for s, start in enumerate(given.states):
            for k, ways in enumerate(options):
                state: State | None = start
                for number, many in zip(numbers, ways, strict=True):
                    state = None if state is None else across(state, number, many)
                yield s, k, state

    return _listed(given, found()), np.array(options, np.intp)


def _listed(given: Frontier, found: Iterable[tuple[int, int, State | None]]) -> Step:
    """Transitions (from, option, to) as arrays."""
    index = {state: k for k, state in enumerate(given.states)}
    by_target: dict[int, list[tuple[int, int]]] = {}
    for source, option, state in found:
        if state is not None and state in index:
            by_target.setdefault(index[state], []).append((source, option))
    targets = sorted(by_target)
    pairs = np.array([pair for target in targets for pair in by_target[target]], np.intp).reshape(-1, 2)
    counts = [len(by_target[target]) for target in targets]
    begins = np.concatenate(([0], np.cumsum(counts)[:-1])).astype(np.intp)
    into = np.zeros((given.count, max(counts)), np.intp)
    for target, begin, count in zip(targets, begins, counts, strict=True):
        into[target] = begin + np.minimum(np.arange(into.shape[1]), count - 1)
    return Step(
        np.ascontiguousarray(pairs[:, 0]), np.ascontiguousarray(pairs[:, 1]), begins, np.array(targets, np.intp), into
    )
