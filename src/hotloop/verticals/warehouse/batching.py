"""Which orders one robot picks together: as they came, or those that lie together.

Seed and additions (de Koster et al. 1999): the order that has waited longest begins a batch; then, while there is room,
the one that adds the least time a line to the tour. All candidates are tried in one pass of the exact programme.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from hotloop.types import Floats
from hotloop.verticals.warehouse.layout import Layout, Place
from hotloop.verticals.warehouse.routing import durations

_CANDIDATES_MAX = 40  # of the orders that wait, those that came first: bounds the time of a decision


@dataclass(frozen=True)
class Order:
    """What somebody ordered: its lines' places, and when it came (s)."""

    name: str
    picks: tuple[Place, ...]
    at: float = 0.0


def first_come(waiting: Sequence[Order], capacity: int) -> list[Order]:
    """Orders as they came, until the next does not fit. At least one."""
    batch: list[Order] = []
    room = capacity
    for order in waiting:
        if batch and len(order.picks) > room:
            break
        batch.append(order)
        room -= len(order.picks)
    return batch


def lying_together(layout: Layout, waiting: Sequence[Order], capacity: int, times: Floats) -> list[Order]:
    """The order that has waited longest, and those that add least to its tour a line."""
    batch, rest = [waiting[0]], list(waiting[1:_CANDIDATES_MAX])
    room = capacity - len(waiting[0].picks)
    while True:
        rest = [order for order in rest if len(order.picks) <= room]
        if not rest:
            return batch
        picks = [place for order in batch for place in order.picks]
        tried = [[*picks, *order.picks] for order in rest]
        took = durations(layout, tried, times)
        best = int((took / [len(one) for one in tried]).argmin())
        batch.append(rest.pop(best))
        room -= len(batch[-1].picks)
