"""A tour as VDA 5050 has it: nodes where legs end, edges along the stretches, released bit by bit. Pure.

Nodes are named by their place (`a3-12.50`: 12.5 m into the third aisle), edges by their stretch, so that an order can
be read. A node's sequence id is twice its number since the order began; the edge behind it has one more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from hotloop.errors import InputError
from hotloop.verticals.warehouse.layout import Layout, Leg, Place
from hotloop.verticals.warehouse.robots.messages import Action, Edge, Node, NodePosition

_SAME_M = 1e-3
LEGS_MAX = 900  # of a tour: what an order may say of it has a limit


@dataclass(frozen=True)
class Route:
    """A tour of `legs`; node k is where leg k begins. `work`: what is to be done at a node, by its number."""

    layout: Layout
    legs: tuple[Leg, ...]
    places: tuple[Place, ...]
    work: Mapping[int, tuple[Action, ...]] = field(default_factory=dict)
    map: str = "hotloop"

    @property
    def end(self) -> int:
        """The number of its last node."""
        return len(self.legs)

    def node_id(self, number: int) -> str:
        """What a node is called."""
        aisle, metres = self.places[number]
        return f"a{aisle + 1}-{metres:.2f}"

    def node(self, number: int, first: int, base: int) -> Node:
        """A node of an order that began at node `first` and is released up to `base`."""
        aisle, metres = self.places[number]
        where = NodePosition(round(aisle * self.layout.config.apart_m, 3), round(metres, 3), self.map)
        actions = self.work.get(number, ())
        return Node(self.node_id(number), 2 * (number - first), number <= base, where, actions)

    def edge(self, number: int, first: int, base: int) -> Edge:
        """The edge of leg `number`."""
        stretch, share = self.legs[number]
        config = self.layout.config
        whole_m = self.layout.part_m if stretch < config.aisles * self.layout.parts else config.apart_m
        released, start, end = number < base, self.node_id(number), self.node_id(number + 1)
        name = self.layout.name(stretch)
        return Edge(name, 2 * (number - first) + 1, released, start, end, round(whole_m * share, 3))

    def cut(self, first: int, since: int, base: int, horizon: int) -> tuple[tuple[Node, ...], tuple[Edge, ...]]:
        """From node `since` on: released up to `base`, announced up to `horizon`; the order began at `first`."""
        nodes = tuple(self.node(number, first, base) for number in range(since, horizon + 1))
        return nodes, tuple(self.edge(number, first, base) for number in range(since, horizon))

    def base_end(self, least: int) -> int:
        """The node from `least` on at which a base may end: one without work, for it is said again when the order goes
        on, and a robot might do it twice.
        """
        return next((number for number in range(least, self.end) if not self.work.get(number)), self.end)


def route(layout: Layout, legs: Sequence[Leg], work: Mapping[int, Sequence[Action]] | None = None) -> Route:
    """A tour from the depot. InputError if its legs do not join, or it is too long."""
    if not 1 <= len(legs) <= LEGS_MAX:
        raise InputError(f"a tour for a robot has 1 to {LEGS_MAX} legs, this one {len(legs)}")
    here, way = (layout.config.depot, 0.0), -1
    places, last = [here], -1
    for number, (stretch, share) in enumerate(legs):
        if not (0 <= stretch < layout.stretches and 0 < share <= 1 + 1e-6):
            raise InputError(f"leg {number}: {share:g} of stretch {stretch}: there are {layout.stretches} stretches")
        turned = -way if stretch == last else 1
        there = _gone(layout, here, stretch, share, turned)
        if there is None:
            where = f"{here[1]:g} m of aisle {here[0] + 1}"
            raise InputError(f"leg {number}: {share:g} of {layout.name(stretch)} cannot be gone from {where}")
        way = 1 if there > here else -1
        here, last = there, stretch
        places.append(here)
    done = {number: tuple(actions) for number, actions in (work or {}).items() if actions}
    if any(not 0 <= number <= len(legs) for number in done):
        raise InputError(f"there is work at node {max(done)}: this tour has nodes 0 to {len(legs)}")
    return Route(layout, tuple((int(stretch), float(share)) for stretch, share in legs), tuple(places), done)


def _gone(layout: Layout, here: Place, stretch: int, share: float, turned: int) -> Place | None:
    """Where a leg ends that begins here; None if it cannot. `turned`: which way, where both could be."""
    inside, (aisle, metres) = layout.config.aisles * layout.parts, here
    if stretch >= inside:
        number, left = divmod(stretch - inside, layout.config.aisles - 1)
        at_m = number * layout.config.block_m
        if abs(metres - at_m) > _SAME_M or aisle not in (left, left + 1):
            return None
        return (2 * left + 1 - aisle, at_m)
    if aisle != stretch // layout.parts:
        return None
    low = stretch % layout.parts * layout.part_m
    high = low + layout.part_m
    for way in (turned, -turned):
        end = metres + way * share * layout.part_m
        if low - _SAME_M <= min(metres, end) and max(metres, end) <= high + _SAME_M:
            return aisle, next((edge for edge in (low, high) if abs(edge - end) <= _SAME_M), end)
    return None
