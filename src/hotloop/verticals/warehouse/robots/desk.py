"""Orders: what somebody wants picked waits, is on a robot's tour, is picked. Each change is a record to be kept. Pure.

An order has a name, and is taken once: who is not sure that it was taken sends it again. What a tour did not pick (the
robot refused it, dropped it, was told to stop) waits again, before all that came later; what it did pick is not picked
again. What a robot says it could not pick is not tried again: a human looks.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta

from hotloop.errors import CorruptError, InputError, KeyConflictError, NotFoundError, OverloadError, StoreError
from hotloop.store.records import Changes
from hotloop.types import UNREADABLE
from hotloop.verticals.warehouse.batching import Order
from hotloop.verticals.warehouse.layout import Layout, Place
from hotloop.verticals.warehouse.robots.control import Tour
from hotloop.verticals.warehouse.robots.messages import Action, Parameter
from hotloop.verticals.warehouse.robots.route import named_place
from hotloop.verticals.warehouse.robots.settings import RobotsConfig

_RECORD: Final = "order/"
_PICKS_MAX: Final = 64  # of one order: as many as a request may have
OrderStatus = Literal["waiting", "on tour", "picked", "failed"]


class Wanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An order as it is given: `{"order": "A-17", "picks": [[3, 12.5]]}`; a pick is an aisle (from 0) and metres."""

    order: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][A-Za-z0-9._:-]{0,127}\Z")]
    picks: Annotated[tuple[Place, ...], Meta(min_length=1, max_length=_PICKS_MAX)]


class Kept(msgspec.Struct, frozen=True):
    """An order as it stands. `picked`, `failed`: which of its picks; `nodes`: of the tour it is on, by pick."""

    number: int
    name: str
    picks: tuple[Place, ...]
    at: float
    picked: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()
    tour: str = ""
    nodes: dict[int, int] = {}

    @property
    def left(self) -> list[int]:
        """Which picks are still to be done."""
        return [k for k in range(len(self.picks)) if k not in self.picked and k not in self.failed]

    @property
    def status(self) -> OrderStatus:
        """How it stands, in a word."""
        if self.tour:
            return "on tour"
        return "waiting" if self.left else "failed" if self.failed else "picked"


class OrderShown(msgspec.Struct, frozen=True):
    """An order as it is shown: `picked` and `failed` are of its picks, from 0; `tour`: the prediction it is on."""

    order: str
    status: OrderStatus
    picks: tuple[Place, ...]
    picked: tuple[int, ...]
    failed: tuple[int, ...]
    tour: str


class Desk:
    """All orders, for one thread at a time. What changes them returns what is to be kept."""

    def __init__(self, config: RobotsConfig, layout: Layout) -> None:
        self._config, self._layout = config, layout
        self._waiting: OrderedDict[str, Kept] = OrderedDict()
        self._touring: dict[str, Kept] = {}
        self._over: OrderedDict[str, Kept] = OrderedDict()
        self._number = 0
        self.picked = self.failed = 0  # orders, since this process began

    def take(self, wanted: Sequence[Wanted], now: float) -> tuple[int, Changes]:
        """Orders to be picked, all or none: how many were new. InputError if a place is none of this warehouse,
        KeyConflictError if a name was used for something else, OverloadError if too many wait.
        """
        fresh: dict[str, Kept] = {}
        for one in wanted:
            picks = tuple(self._place(place) for place in one.picks)
            if set(picks) == {(self._layout.config.depot, 0.0)}:
                raise InputError(f"order {one.order}: all of it is at the depot, where tours begin and end")
            known = self._find(one.order) or fresh.get(one.order)
            if known is None:
                fresh[one.order] = Kept(self._number + len(fresh) + 1, one.order, picks, now)
            elif known.picks != picks:
                raise KeyConflictError(f"there is an order {one.order} with other picks: an order's name is used once")
        if fresh and len(self._waiting) + len(fresh) > self._config.orders_max:
            raise OverloadError(
                f"{len(self._waiting)} orders wait, and at most {self._config.orders_max} may "
                "([warehouse.robots] orders_max): send it again when some are picked", retry_after_s=10.0,
            )  # fmt: skip
        self._number += len(fresh)
        self._waiting |= fresh
        return len(fresh), _changes(fresh.values())

    def _place(self, place: Place) -> Place:
        """A pick's place to the centimetre, as nodes have it. InputError."""
        aisle, metres = self._layout.check(place)
        return aisle, min(round(metres, 2), self._layout.length_m)

    def waiting(self) -> list[Order]:
        """Orders that wait, as they came, with what is left of each to pick."""
        return [Order(one.name, tuple(one.picks[k] for k in one.left), one.at) for one in self._waiting.values()]

    def sent(self, tour: str, orders: Sequence[Order], nodes: Sequence[int]) -> Changes:
        """Orders go on a tour, on which the picks of all of them, one after the other, are at these nodes."""
        left, changed = iter(nodes), []
        for order in orders:
            kept = self._waiting.pop(order.name)
            own = {pick: next(left) for pick in kept.left}
            changed.append(msgspec.structs.replace(kept, tour=tour, nodes=own))
            self._touring[order.name] = changed[-1]
        return _changes(changed)

    def ended(self, tour: Tour) -> Changes:
        """A tour is over: what it picked is picked, what it could not is failed, the rest waits again."""
        changes: dict[str, bytes | None] = {}
        for kept in [one for one in self._touring.values() if one.tour == tour.prediction]:
            del self._touring[kept.name]
            picked = {pick for pick, node in kept.nodes.items() if _is_picked(tour, node)}
            failed = {pick for pick, node in kept.nodes.items() if pick_id(tour.prediction, node) in tour.failed}
            changes |= self._settled(kept, picked - failed, failed)
        self._in_order()
        return changes

    def begin(self, records: Mapping[str, bytes], tours: Collection[str]) -> Changes:
        """Know again what was kept. Orders on a tour that nobody knows (its robot is of the fleet no more) wait again.
        CorruptError; StoreError if an order is of another warehouse.
        """
        kept = sorted((_read(name, records[name]) for name in records if name.startswith(_RECORD)), key=_number)
        self._number = max((one.number for one in kept), default=0)
        changes: dict[str, bytes | None] = {}
        self._check_places(one for one in kept if one.left)
        for one in kept:
            if one.tour and one.tour not in tours:
                changes |= self._settled(one, set(), set())
            else:
                where = self._touring if one.tour else self._waiting if one.left else self._over
                where[one.name] = one
        self._in_order()
        return changes

    def show(self, name: str) -> OrderShown:
        """One order. NotFoundError."""
        one = self._find(name)
        if one is None:
            raise NotFoundError(f"there is no order {name[:80]!r} here, or it was over long ago")
        picked, failed = tuple(sorted(one.picked)), tuple(sorted(one.failed))
        return OrderShown(one.name, one.status, one.picks, picked, failed, one.tour)

    def counts(self) -> dict[str, int]:
        """How many orders wait, are on a tour, were picked or failed since this process began."""
        numbers = {"waiting": len(self._waiting), "on tour": len(self._touring)}
        return {**numbers, "picked": self.picked, "failed": self.failed}

    def _check_places(self, orders: Iterable[Kept]) -> None:
        for one in orders:
            try:
                for place in one.picks:
                    self._layout.check(place)
            except InputError as error:
                words = f"[warehouse.layout] was changed while order {one.name} waited: {error}. Put it back until"
                raise StoreError(f"{words} it is picked, or give another folder (--state)") from error

    def _find(self, name: str) -> Kept | None:
        return self._waiting.get(name) or self._touring.get(name) or self._over.get(name)

    def _settled(self, kept: Kept, picked: set[int], failed: set[int]) -> Changes:
        """An order that is on no tour any more."""
        now = msgspec.structs.replace(
            kept, picked=kept.picked | picked, failed=kept.failed | failed, tour="", nodes={}
        )
        if now.left:
            self._waiting[now.name] = now
            return _changes([now])
        self._over[now.name] = now
        self.picked, self.failed = self.picked + (not now.failed), self.failed + bool(now.failed)
        gone = [self._over.popitem(last=False)[0] for _ in range(len(self._over) - self._config.orders_max)]
        return {**_changes([now]), **{f"{_RECORD}{name}": None for name in gone}}

    def _in_order(self) -> None:
        """What waits again has waited longest."""
        self._waiting = OrderedDict((one.name, one) for one in sorted(self._waiting.values(), key=_number))


def picking(prediction: str, kind: str, orders: Sequence[Order], nodes: Sequence[int]) -> dict[int, tuple[Action, ...]]:
    """What is to be done at each node: one action, which names the place, and the orders that it is for."""
    found: dict[int, tuple[Place, list[str]]] = {}
    places = [(place, order.name) for order in orders for place in order.picks]
    for node, (place, name) in zip(nodes, places, strict=True):
        found.setdefault(node, (place, []))[1].append(name)
    if not kind:
        return {}
    return {
        node: (Action(pick_id(prediction, node), kind, "HARD", (
            Parameter("stationName", named_place(place)), Parameter("orders", ",".join(dict.fromkeys(names))),
            Parameter("picks", float(len(names))),
        )),) for node, (place, names) in found.items()
    }  # fmt: skip


def pick_id(prediction: str, node: int) -> str:
    """The action by which something is picked at a node of a tour."""
    return f"{prediction}/pick-{node}"


def _is_picked(tour: Tour, node: int) -> bool:
    """Whether a tour, which is over, did what was to be done at a node: the robot said so, or went on from there."""
    name = pick_id(tour.prediction, node)
    to_do = any(one.actionId == name for one in tour.route.work.get(node, ()))
    return tour.status == "finished" or name in tour.done or node < tour.reached + (not to_do)


def _number(one: Kept) -> int:
    return one.number


def _changes(orders: Iterable[Kept]) -> dict[str, bytes | None]:
    return {f"{_RECORD}{one.name}": msgspec.msgpack.encode(one) for one in orders}


def _read(name: str, data: bytes) -> Kept:
    try:
        return msgspec.msgpack.decode(data, type=Kept)
    except UNREADABLE as error:
        words = f"the record {name} of the robots is damaged ({error}): give another folder (--state)"
        raise CorruptError(words) from error
