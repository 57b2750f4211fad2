"""What master control must know again after its process was killed, as records; and a control made of them. Pure.

    robot/MANUFACTURER/SERIAL              its connection, our counts, and of what it said: which numbers, and what may
                                           still tell the time of a leg
    tour/MANUFACTURER/SERIAL/PREDICTION    each tour that is under way, waits for late states, or may still be heard of

Where a robot is, and what it has, is not kept: it says so itself, and is asked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Final, TypeVar

import msgspec

from hotloop.errors import CorruptError, StoreError
from hotloop.types import UNREADABLE
from hotloop.verticals.warehouse.layout import Layout, Leg, Place
from hotloop.verticals.warehouse.robots.control import Control, Mobile, Status, Tour, named
from hotloop.verticals.warehouse.robots.messages import Action, Robot
from hotloop.verticals.warehouse.robots.passages import KeptTrack, Track
from hotloop.verticals.warehouse.robots.route import Route

_Kept = TypeVar("_Kept", bound=msgspec.Struct)
_ROBOT: Final = "robot/"
_TOUR: Final = "tour/"
LAYOUT: Final = "layout"  # the record of the warehouse that all others are about


class KeptRobot(msgspec.Struct, frozen=True):
    """A robot, its tours apart."""

    version: str
    connection: str
    numbers: dict[str, int]
    online: tuple[tuple[int, float], ...]
    track: KeptTrack


class KeptTour(msgspec.Struct, frozen=True):
    """A tour. `current`: the robot is on it; `ended_at`: since when its feedback waits, None: it does not."""

    prediction: str
    lesson: bool
    legs: tuple[Leg, ...]
    places: tuple[Place, ...]
    outputs: tuple[int, ...]
    work: dict[int, tuple[Action, ...]]
    status: Status
    order: str
    update: int
    first: int
    base: int
    reached: int
    accepted: bool
    known: bool
    cancels: tuple[str, ...] | None
    done: tuple[str, ...]
    failed: tuple[str, ...]
    why: str
    since: int
    said_at: float
    tries: int
    seconds: dict[int, float]
    orders: tuple[tuple[str, int], ...]  # all that it went out as, and the node at which each began
    current: bool
    ended_at: float | None


def records(control: Control, robot: Robot) -> dict[str, bytes]:
    """All records of a robot."""
    mobile = control.mobiles[robot]
    track = mobile.track.kept()
    kept = KeptRobot(mobile.version, mobile.connection, dict(mobile.numbers), tuple(mobile.online), track)
    found = {f"{_ROBOT}{robot}": msgspec.msgpack.encode(kept)}
    for tour in _tours(control, mobile, track):
        found[f"{_TOUR}{robot}/{tour.prediction}"] = msgspec.msgpack.encode(_kept_tour(control, mobile, tour))
    return found


def _tours(control: Control, mobile: Mobile, track: KeptTrack) -> list[Tour]:
    """The tours of a robot of which something may still come."""
    found = {name: tour for name, (tour, _) in mobile.orders.items() if name in track.courses}
    found |= {tour.order: tour for owner, tour, _ in control.ended.values() if owner is mobile}
    if mobile.tour is not None:
        found[mobile.tour.order] = mobile.tour
    return list({id(tour): tour for tour in found.values()}.values())


def _kept_tour(control: Control, mobile: Mobile, tour: Tour) -> KeptTour:
    route, waits = tour.route, control.ended.get(tour.order)
    orders = tuple((name, first) for name, (other, first) in mobile.orders.items() if other is tour)
    return KeptTour(
        tour.prediction, tour.lesson, route.legs, route.places, route.outputs, dict(route.work), tour.status,
        tour.order, tour.update, tour.first, tour.base, tour.reached, tour.accepted, tour.known,
        None if tour.cancels is None else tuple(sorted(tour.cancels)), tuple(sorted(tour.done)),
        tuple(sorted(tour.failed)), tour.why, tour.since, tour.said_at, tour.tries, tour.seconds, orders,
        tour is mobile.tour, None if waits is None else waits[2],
    )  # fmt: skip


def restore(control: Control, kept: Mapping[str, bytes]) -> None:
    """Put what was kept into a control that is new. CorruptError if a record is damaged; StoreError if it is of another
    warehouse.
    """
    if any(name.startswith(_TOUR) for name in kept):
        _check_layout(control.layout, kept.get(LAYOUT, b""))
    for name, data in kept.items():
        if name.startswith(_ROBOT):
            robot = named(name.removeprefix(_ROBOT))
            if not control.config.names or robot in control.mobiles:
                control.mobiles[robot] = _mobile(robot, _read(name, data, KeptRobot))
    tours = [(name, _read(name, data, KeptTour)) for name, data in kept.items() if name.startswith(_TOUR)]
    for name, tour in sorted(tours, key=lambda one: one[1].current):  # an order that is under way is forgotten last
        maker, serial, _ = name.removeprefix(_TOUR).split("/", 2)
        if mobile := control.mobiles.get(Robot(maker, serial)):
            _put_tour(control, mobile, tour)


def layout_record(layout: Layout) -> bytes:
    """The warehouse that all records are about."""
    return msgspec.json.encode(layout.config)


def _check_layout(layout: Layout, kept: bytes) -> None:
    if kept != layout_record(layout):
        raise StoreError(
            "[warehouse.layout] was changed while robots were on tours, whose places mean something else now: "
            f"put it back ({kept.decode(errors='replace')}) until they have ended, or give another folder (--state)"
        )


def _mobile(robot: Robot, kept: KeptRobot) -> Mobile:
    found = Mobile(
        robot, kept.version, kept.connection, track=Track.of(kept.track), numbers=Counter(kept.numbers)
    )
    found.online.extend(kept.online)
    return found


def _put_tour(control: Control, mobile: Mobile, kept: KeptTour) -> None:
    route = Route(control.layout, kept.legs, kept.places, kept.work, kept.outputs)
    tour = Tour(
        kept.prediction, route, mobile.robot, kept.lesson, kept.status, kept.order, kept.update, kept.first, kept.base,
        kept.reached, kept.accepted, kept.known, None if kept.cancels is None else set(kept.cancels),
        done=set(kept.done), failed=set(kept.failed), why=kept.why, since=kept.since, said_at=kept.said_at,
        tries=kept.tries, seconds=dict(kept.seconds),
    )  # fmt: skip
    tour.nodes = [route.node_id(number) for number in range(tour.first, route.end + 1)]
    for order, first in kept.orders:
        mobile.orders[order] = (tour, first)
        mobile.track.names(order, [route.node_id(number) for number in range(first, route.end + 1)])
    if kept.current:
        mobile.tour = tour
    if kept.ended_at is not None:
        control.ended[tour.order] = (mobile, tour, kept.ended_at)


def _read(name: str, data: bytes, kind: type[_Kept]) -> _Kept:
    try:
        return msgspec.msgpack.decode(data, type=kind)
    except UNREADABLE as error:
        words = f"the record {name} of the robots is damaged ({error}): give another folder (--state)"
        raise CorruptError(words) from error
