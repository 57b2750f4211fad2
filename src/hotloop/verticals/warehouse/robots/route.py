"""A tour as VDA 5050 has it: nodes where legs end, edges along the stretches, released bit by bit. Pure.

Nodes are named by their place (`a3-12.50`: 12.5 m into the third aisle), edges by their stretch, so that an order can
be read. A node's sequence id is twice its number since the order began; the edge behind it has one more.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from hotloop.errors import InputError
from hotloop.verticals.warehouse.layout import Layout, Leg, Place
from hotloop.verticals.warehouse.robots.messages import Action, Edge, Node, NodePosition

_SAME_M = 1e-3
LEGS_MAX = 900  # of a tour: what an order may say of it has a limit
_NODE = re.compile(r"a([1-9]\d{0,3})-(\d{1,6}\.\d\d)")


@dataclass(frozen=True)
class Route:
    """A tour of `legs`; node k is where leg k begins. `work`: what is to be done at a node, by its number. `outputs`:
    the output of its prediction that each leg is a part of; none: each leg is one.
    """

    layout: Layout
    legs: tuple[Leg, ...]
    places: tuple[Place, ...]
    work: Mapping[int, tuple[Action, ...]] = field(default_factory=dict)
    outputs: tuple[int, ...] = ()
    map: str = "hotloop"

    @property
    def end(self) -> int:
        """The number of its last node."""
        return len(self.legs)

    def node_id(self, number: int) -> str:
        """What a node is called."""
        return named_place(self.places[number])

    def taught(self, seconds: Mapping[int, float]) -> dict[int, float]:
        """The seconds of outputs, of which each part was measured, from those of legs."""
        if not self.outputs:
            return dict(sorted(seconds.items()))
        whole: dict[int, float] = {}
        unknown = {output for leg, output in enumerate(self.outputs) if leg not in seconds}
        for leg, output in enumerate(self.outputs):
            if output not in unknown:
                whole[output] = round(whole.get(output, 0.0) + seconds[leg], 6)
        return whole

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


def named_place(place: Place) -> str:
    """What the node at a place is called: `a4-12.50`."""
    return f"a{place[0] + 1}-{place[1]:.2f}"


def place_of(layout: Layout, node: str) -> Place | None:
    """The place of a node that is called so; None if there is none in this warehouse."""
    found = _NODE.fullmatch(node)
    if found is None:
        return None
    aisle, metres = int(found[1]) - 1, float(found[2])
    return (aisle, metres) if aisle < layout.config.aisles and metres <= layout.length_m else None


def route(
    layout: Layout, legs: Sequence[Leg], work: Mapping[int, Sequence[Action]] | None = None, start: Place | None = None
) -> Route:
    """A tour from `start`, or else the depot. InputError if its legs do not join, or it is too long."""
    tour = routes(layout, legs, start or (layout.config.depot, 0.0))[0]
    done = {number: tuple(actions) for number, actions in (work or {}).items() if actions}
    if any(not 0 <= number <= len(legs) for number in done):
        raise InputError(f"there is work at node {max(done)}: this tour has nodes 0 to {len(legs)}")
    return replace(tour, work=done)


def routes(layout: Layout, legs: Sequence[Leg], start: Place) -> list[Route]:
    """The tours from `start` that legs may mean: two where it is in the middle of a stretch, and they join whichever
    way the robot turns first. InputError if there is none.
    """
    if not 1 <= len(legs) <= LEGS_MAX:
        raise InputError(f"a tour for a robot has 1 to {LEGS_MAX} legs, this one {len(legs)}")
    found, wrong = list[Route](), None
    for first in (1, -1):
        try:
            places = _joined(layout, legs, start, first)
        except InputError as error:
            wrong = wrong or error
            continue
        if not found or found[0].places != places:
            found.append(Route(layout, tuple((int(stretch), float(share)) for stretch, share in legs), places))
    if wrong is not None and not found:
        raise wrong
    return found


def home(layout: Layout, start: Place) -> Route:
    """From a place to the depot: out at the front, and along the front cross-aisle. InputError if it is there."""
    aisle, metres = layout.check(start)
    legs = [*layout.along(aisle, metres, 0.0), *layout.across(0, aisle, layout.config.depot)]
    return next(tour for tour in routes(layout, legs, start) if tour.places[-1] == (layout.config.depot, 0.0))


def _joined(layout: Layout, legs: Sequence[Leg], start: Place, first: int) -> tuple[Place, ...]:
    """The places between legs, if the first one goes that way where it can."""
    here, way, last = start, -first, -1
    places = [here]
    for number, (stretch, share) in enumerate(legs):
        if not (0 <= stretch < layout.stretches and 0 < share <= 1 + 1e-6):
            raise InputError(f"leg {number}: {share:g} of stretch {stretch}: there are {layout.stretches} stretches")
        turned = -way if stretch == last or number == 0 else 1
        there = _gone(layout, here, stretch, share, turned)
        if there is None:
            where = f"{here[1]:g} m of aisle {here[0] + 1}"
            raise InputError(f"leg {number}: {share:g} of {layout.name(stretch)} cannot be gone from {where}")
        way = 1 if there > here else -1
        here, last = there, stretch
        places.append(here)
    return tuple(places)


def stopping(tour: Route, picks: Sequence[Place]) -> tuple[Route, list[int]]:
    """The same tour with a node wherever something is picked, and the node of each pick: the first that comes there.
    InputError if one does not lie on it.
    """
    legs, outputs, places = list[Leg](), list[int](), [tour.places[0]]
    for number, (stretch, share) in enumerate(tour.legs):
        start, end = tour.places[number], tour.places[number + 1]
        for metres in _cuts(start, end, picks):
            legs.append((stretch, share * abs(metres - places[-1][1]) / abs(end[1] - start[1])))
            places.append((start[0], metres))
            outputs.append(number)
        left = share if places[-1] == start else share * abs(end[1] - places[-1][1]) / abs(end[1] - start[1])
        legs.append((stretch, left))
        places.append(end)
        outputs.append(number)
    nodes = [next((k for k, place in enumerate(places) if _same(place, pick)), -1) for pick in picks]
    if -1 in nodes:
        raise InputError(f"the tour does not come by {named_place(picks[nodes.index(-1)])}, where something is picked")
    if len(legs) > LEGS_MAX:
        raise InputError(f"a tour for a robot has 1 to {LEGS_MAX} legs, this one {len(legs)}: give it fewer picks")
    return Route(tour.layout, tuple(legs), tuple(places), {}, tuple(outputs), tour.map), nodes


def _cuts(start: Place, end: Place, picks: Sequence[Place]) -> list[float]:
    """Where, between the ends of a leg, something is picked (m), in the order in which it is come by."""
    if start[0] != end[0]:
        return []
    low, high = sorted((start[1], end[1]))
    inside = sorted(metres for aisle, metres in picks if aisle == start[0] and low + _SAME_M < metres < high - _SAME_M)
    apart = [metres for k, metres in enumerate(inside) if k == 0 or metres - inside[k - 1] > _SAME_M]
    return apart if start[1] <= end[1] else apart[::-1]


def _same(one: Place, other: Place) -> bool:
    return one[0] == other[0] and abs(one[1] - other[1]) <= 2 * _SAME_M


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
