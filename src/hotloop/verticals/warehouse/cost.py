"""What a trip would have cost under a head: doubly robust, leg by leg, quick enough for every release. Pure.

A request could have been served by many tours. A few of them are kept for each trip: the one that was gone, and the
shortest ones on a dozen tables of times that follow from the trip alone (as planned; what was gone slow; aisles drawn
slow). A head chooses among them, sample by sample, and all its choices are priced by the same table:

    time of a stretch = expected + min(`WEIGHT_MAX`, 1 / chance) x (measured - expected)    where it was gone
                        expected                                                            elsewhere

`expected` is what the head that answers now expects, whoever is judged; `chance` with what chance the stretch was gone:
the share of that head's choices, and no less than what was logged for the tour. So the price is right where either the
expectations or the chances are (Dudik et al. 2011), and no head can praise itself.

The cost of a head is what its choices take longer, on average, than the best of these tours does at the same prices:
0 is the best, 1 half as long again (`RANGE`) or worse. At most 1, so that paired differences stay in [-1, 1] and a bet
on them is fair: how much worse than that a tour is does not count, that it is does. 1 % of a trip is 0.02 of cost.
"""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from hotloop.errors import ModelError
from hotloop.types import Example, Feedback, Floats, Head
from hotloop.verticals.warehouse.layout import Leg
from hotloop.verticals.warehouse.policy import place_of

if TYPE_CHECKING:
    from hotloop.verticals.warehouse.task import Warehouse

WEIGHT_MAX: Final = 2.0  # of a stretch that was gone by a small chance: bias for spread
RANGE: Final = 0.5  # of the best tour's time, that a tour may take longer before its cost is 1
TABLES: Final = 12  # of times, whose shortest tours a head chooses from
_SLOW: Final = 3.0  # factor of what is slow on a table
_SHARE: Final = 0.3  # of the aisles and cross-aisles that are drawn slow
_LEAST: Final = 0.1  # of its planned time: no stretch is priced below
_KEPT: Final = 2000


@dataclass(frozen=True)
class _Trip:
    """What of a trip does not depend on any head. `tours`: how much of each stretch each tour goes (tours, stretches).

    `gone`: how often it was gone, `measured`: how many times its planned time that took (stretches,), 0 elsewhere.
    """

    words: tuple[Feedback, ...]
    tours: Floats
    gone: Floats
    measured: Floats
    robots: Floats
    day: float
    chance: float


class Costs:
    """Prices trips for one vertical, and keeps what of them does not depend on the head. One thread at a time."""

    def __init__(self, task: Warehouse) -> None:
        self._task = task
        self._planned = task.layout.planned_s
        self._kept: OrderedDict[str, _Trip] = OrderedDict()

    def of(self, examples: Sequence[Example], heads: Sequence[Head], expects: Head) -> Floats:
        """See `ports.Costing`. An example can tell if every leg of its tour was measured."""
        found = np.full((len(heads), len(examples)), np.nan)
        trips = [(k, trip) for k, one in enumerate(examples) if (trip := self._trip(one)) is not None]
        if not trips:
            return found
        told, chosen = [k for k, _ in trips], [trip for _, trip in trips]
        tours = np.stack([trip.tours for trip in chosen])
        robots, days = np.stack([trip.robots for trip in chosen]), np.array([trip.day for trip in chosen])
        prices = self._prices(chosen, expects, self._chosen(tours, robots, days, expects))
        took = (tours @ prices[:, :, None])[:, :, 0]
        best = took.min(axis=1)
        for row, head in enumerate(heads):
            shares = self._chosen(tours, robots, days, head) if np.isfinite(head.weights).all() else None
            found[row, told] = 1.0 if shares is None else (((shares * took).sum(1) / best - 1.0) / RANGE).clip(0.0, 1.0)
        return found

    def _chosen(self, tours: Floats, robots: Floats, days: Floats, head: Head) -> Floats:
        """Which share of a head's samples goes each tour of each trip (trips, tours)."""
        count = tours.shape[1]
        if self._task.routing.router != "exact":
            return np.broadcast_to(np.eye(count)[-1], tours.shape[:2])
        times = self._task.sampled(robots, days, head)
        best = (tours @ times).argmin(1)
        shares: Floats = (best[:, :, None] == np.arange(count)).mean(1)
        return shares

    def _prices(self, trips: Sequence[_Trip], expects: Head, shares: Floats) -> Floats:
        """The time of each stretch for each trip (trips, stretches), s."""
        robots, days = np.stack([trip.robots for trip in trips]), np.array([trip.day for trip in trips])
        expected = self._task.thought(robots, days, expects)
        gone = np.stack([trip.gone for trip in trips])
        passes = (shares[:, :, None] * (np.stack([trip.tours for trip in trips]) > 0)).sum(1)
        chance = np.maximum(passes, np.array([trip.chance for trip in trips])[:, None])
        weight = np.where(gone > 0, np.minimum(WEIGHT_MAX, 1.0 / chance), 0.0)
        measured = self._planned * np.stack([trip.measured for trip in trips])
        prices: Floats = np.maximum(expected + weight * (measured - expected), _LEAST * self._planned)
        return prices

    def _trip(self, example: Example) -> _Trip | None:
        """What is kept of an example; None if it cannot tell."""
        name = example.prediction.id
        kept = self._kept.get(name)
        if kept is None or kept.words != example.feedback:
            kept = self._read(example)
            if kept is None:
                return None
            self._kept[name] = kept
            if len(self._kept) > _KEPT:
                self._kept.popitem(last=False)
        return kept

    def _read(self, example: Example) -> _Trip | None:
        prediction, count = example.prediction, len(self._planned)
        claims = (claim for word in example.feedback for claim in word.claims)
        values = {claim.output: claim.value for claim in claims if claim.value is not None and claim.value >= 0}
        regions = [output.region for output in prediction.outputs]
        if not regions or set(values) != set(range(len(regions))):
            return None
        legs = [(int(one[0]), float(one[1])) for one in regions if one is not None and 0 <= one[0] < count]
        if len(legs) < len(regions):
            return None
        try:
            robots, day = self._task.state_of(prediction.proposals)
            tours = self._tours(example, legs)
        except ModelError:  # of another warehouse
            return None
        gone, took = tours[TABLES], np.zeros(count)
        np.add.at(took, [stretch for stretch, _ in legs], [values[k] for k in range(len(legs))])
        measured = took / np.where(gone > 0, gone * self._planned, 1.0)
        return _Trip(example.feedback, tours, gone, measured, robots, day, prediction.propensity)

    def _tours(self, example: Example, legs: Sequence[Leg]) -> Floats:
        """The tours that a head chooses from: those of the tables, the one that was gone, the policy's own."""
        layout, proposals = self._task.layout, example.prediction.proposals
        place = place_of(layout)
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(hashlib.sha256(proposals.data).digest()[:8])))
        factors = np.ones((layout.stretches, TABLES))
        slow = rng.random((int(place.max()) + 1, TABLES)) < _SHARE
        factors[:, 2:] = np.where(slow[place], _SLOW, 1.0)[:, 2:]
        factors[[stretch for stretch, _ in legs], 1] = _SLOW
        found = [*self._task.tabled(proposals, factors), legs]
        if self._task.routing.router != "exact":
            found.append(self._task.chosen(proposals, self._task.start())[0][0])
        table = np.zeros((len(found), layout.stretches))
        for row, tour in enumerate(found):
            for stretch, share in tour:
                table[row, stretch] += share
        return table
