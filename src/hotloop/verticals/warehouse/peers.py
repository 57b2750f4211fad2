"""What hotloop is compared with: policies that learn nothing, and one that knows all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from hotloop.verticals.warehouse.batching import Order, first_come, lying_together
from hotloop.verticals.warehouse.classic import CLASSIC
from hotloop.verticals.warehouse.cross_aisles import BY_BLOCKS
from hotloop.verticals.warehouse.floor import Change, Decided, Decision, Floor, Trip, Truth
from hotloop.verticals.warehouse.layout import Layout
from hotloop.verticals.warehouse.routing import tours

_CLASSIC: Final = CLASSIC | BY_BLOCKS


class Policy(Protocol):
    """Who decides on a floor, and hears what became of it."""

    def choose(self, asked: Decision) -> Decided:
        """A batch and its tour."""
        ...

    def ended(self, trip: Trip) -> None:
        """A trip has ended, with what was measured."""
        ...


@dataclass
class Fixed:
    """A classic route or the exact one, on planned times or (`oracle`) on the true mean ones of the moment; batches as
    orders came or (`together`) as they lie together.
    """

    floor: Floor
    router: str
    capacity: int
    together: bool = False
    oracle: bool = False

    def choose(self, asked: Decision) -> Decided:
        """As it does."""
        layout = self.floor.layout
        times = self.floor.expected(asked.busy) if self.oracle else layout.planned_s
        waiting = asked.waiting
        batch = first_come(waiting, self.capacity)
        if self.together:
            batch = lying_together(layout, waiting, self.capacity, times)
        picks = [place for order in batch for place in order.picks]
        if self.router != "exact":
            return batch, _CLASSIC[self.router](layout, picks, times), ""
        (legs,) = tours(layout, picks, [times])
        return batch, legs, ""

    def ended(self, trip: Trip) -> None:
        """Nothing is learned."""


def run(floor: Floor, policy: Policy, orders: Sequence[Order], robots: int) -> list[Trip]:
    """All trips of a policy on a floor."""
    trips = []
    for trip in floor.run(orders, robots, policy.choose):
        policy.ended(trip)
        trips.append(trip)
    return trips


def seconds_a_line(trips: Sequence[Trip]) -> float:
    """Seconds of a robot a line; not a number without a trip."""
    lines = sum(trip.lines for trip in trips)
    return sum(trip.ended - trip.began for trip in trips) / lines if lines else float("nan")


def uneven(layout: Layout, seed: int) -> Truth:
    """A floor on which a fifth of the stretches in aisles take 2 to 6 times as long as planned."""
    rng = np.random.default_rng((seed, 3))
    slow = np.full(layout.stretches, 1.0)
    inside = layout.config.aisles * layout.parts
    places = rng.choice(inside, inside // 5, replace=False)
    slow[places] = rng.uniform(2.0, 6.0, len(places))
    return Truth(slow)


def disturbed(layout: Layout, orders: Sequence[Order], seed: int) -> list[Change]:
    """In the middle of it all two aisles become five times as slow; a quarter later one is as planned again."""
    rng = np.random.default_rng((seed, 4))
    first, second = rng.choice(layout.config.aisles, 2, replace=False)
    middle, later = orders[len(orders) // 2].at, orders[3 * len(orders) // 4].at
    parts = range(layout.parts)
    return [
        *(Change(middle, layout.part(aisle, part), 5.0) for aisle in (first, second) for part in parts),
        *(Change(later, layout.part(first, part), 1.0) for part in parts),
    ]
