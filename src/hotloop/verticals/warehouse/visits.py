"""In which order to visit places when only the distances between them are known: for any graph. Pure, and the same each
time.

Cheapest insertion, then the best of all two-opt and or-opt moves until there is none (Croes 1958; Or 1976), then some
kicks (a double bridge: Martin, Otto & Felten 1991), each kept where it helps. No guarantee; on warehouses where the
exact tour is known it is half a percent longer on average (docs/adr/0015).
"""

from __future__ import annotations

from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hotloop.types import Floats

Order: TypeAlias = NDArray[np.intp]
KICKS: Final = 3  # four ms a table of times with 20 places
_TINY: Final = 1e-9
_SEGMENT_MAX: Final = 3  # places that are moved together


def ordered(between: Floats, kicks: int = KICKS, first: Order | None = None) -> Order:
    """A short way from the first to the last of n places through all others: their numbers (n,), from distances (n, n),
    the same both ways. `first`: an order that is known; what comes is never longer.
    """
    begun = [inserted(between)] if first is None else [inserted(between), first]
    best = min((improved(between, order) for order in begun), key=lambda order: length(between, order))
    rng = np.random.Generator(np.random.PCG64(len(between)))
    for _ in range(kicks if len(best) > 7 else 0):
        cuts = np.sort(rng.choice(np.arange(1, len(best) - 1), 3, replace=False))
        one, two, three, four = np.split(best, cuts)
        kicked = improved(between, np.concatenate((one, three, two, four)))
        if length(between, kicked) < length(between, best) - _TINY:
            best = kicked
    return best


def length(between: Floats, order: Order) -> float:
    """How long it is."""
    return float(between[order[:-1], order[1:]].sum())


def inserted(between: Floats) -> Order:
    """From the first place to the last; then always what adds least, where it adds least."""
    count = len(between)
    order, rest = [0, count - 1], list(range(1, count - 1))
    while rest:
        left, right, far = np.array(order[:-1]), np.array(order[1:]), between[rest]
        added = far[:, left] + far[:, right] - between[left, right]
        place, gap = np.unravel_index(int(added.argmin()), added.shape)
        order.insert(int(gap) + 1, rest.pop(int(place)))
    return np.array(order, np.intp)


def improved(between: Floats, order: Order) -> Order:
    """The best move, again and again, until none is left."""
    while True:
        saved, after = min(
            (_reversed(between, order), *(_moved(between, order, size) for size in range(1, _SEGMENT_MAX + 1))),
            key=lambda found: found[0],
        )
        if saved >= -_TINY:
            return order
        order = after


def _reversed(between: Floats, order: Order) -> tuple[float, Order]:
    """The best of all two-opt moves: what it adds (below 0: it saves), and the order after it."""
    if len(order) < 4:
        return 0.0, order
    d = between[np.ix_(order, order)]
    steps = np.diagonal(d, 1)
    # the places i to j the other way round, 1 <= i < j <= n - 2
    added = d[:-3, 2:-1] + d[1:-2, 3:] - steps[:-2, None] - steps[None, 2:]
    added[np.tril_indices(len(added), -1)] = np.inf
    i, j = np.unravel_index(int(added.argmin()), added.shape)
    low, high = int(i) + 1, int(j) + 2
    return float(added[i, j]), np.concatenate((order[:low], order[low : high + 1][::-1], order[high + 1 :]))


def _moved(between: Floats, order: Order, size: int) -> tuple[float, Order]:
    """The best move of `size` places that follow each other to elsewhere, either way round."""
    inner = len(order) - 2 - size + 1
    if inner < 1 or len(order) < size + 3:
        return 0.0, order
    d = between[np.ix_(order, order)]
    steps = np.diagonal(d, 1)
    head = np.arange(1, inner + 1)
    tail = head + size - 1
    left = d[head - 1, head] + d[tail, tail + 1] - d[head - 1, tail + 1]
    gap = np.arange(len(order) - 1)
    straight = d[gap[None], head[:, None]] + d[tail[:, None], gap[None] + 1]
    turned = d[gap[None], tail[:, None]] + d[head[:, None], gap[None] + 1]
    added = np.minimum(straight, turned) - steps[None] - left[:, None]
    added[(gap[None] >= head[:, None] - 1) & (gap[None] <= tail[:, None])] = np.inf
    k, g = (int(at) for at in np.unravel_index(int(added.argmin()), added.shape))
    low, high = int(head[k]), int(tail[k])
    moved = order[low : high + 1] if straight[k, g] <= turned[k, g] else order[low : high + 1][::-1]
    if g < low:
        after = (order[: g + 1], moved, order[g + 1 : low], order[high + 1 :])
    else:
        after = (order[:low], order[high + 1 : g + 1], moved, order[g + 1 :])
    return float(added[k, g]), np.concatenate(after)
