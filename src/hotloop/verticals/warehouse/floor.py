"""A warehouse that nobody has: what its stretches truly take, and robots on them. Seeded, event by event.

A stretch takes its planned time, times its own slowness (which changes: `Change`), more for each robot that is in it,
and now and then a robot stands still: the delays of the League of Robot Runners (events by a Poisson process, each of a
truncated Gaussian length). A pick takes a fixed time.
"""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.warehouse.batching import Order
from hotloop.verticals.warehouse.layout import Layout, Leg, Place

_TIGHT = 1e-9


@dataclass(frozen=True)
class Truth:
    """What the floor is like. `slow`: factor of each stretch at the beginning."""

    slow: Floats
    crowd: float = 0.5  # share of its time that a stretch takes longer for each other robot in it
    noise: float = 0.1  # spread of the logarithm of a passage's time
    stops_per_s: float = 0.003  # of a robot
    stop_s: tuple[float, float] = (2.0, 8.0)
    pick_s: float = 4.0  # of a line


@dataclass(frozen=True)
class Change:
    """From `at` on a stretch takes so many times as long as planned."""

    at: float
    stretch: int
    factor: float


@dataclass(frozen=True)
class Passage:
    """A leg that was gone: its stretch, its share, how long it took, and when it began."""

    stretch: int
    share: float
    seconds: float
    at: float


@dataclass(frozen=True)
class Trip:
    """A batch that was picked."""

    robot: int
    lines: int
    began: float
    ended: float
    passages: tuple[Passage, ...]
    key: str


@dataclass
class _Robot:
    legs: list[Leg]
    picks: int
    began: float
    key: str
    done: list[Passage] = field(default_factory=list)


@dataclass(frozen=True)
class Decision:
    """A robot is free: the time, the robots by stretch, and the orders that wait, oldest first (at least one)."""

    now: float
    busy: Counter[int]
    waiting: tuple[Order, ...]


Decided = tuple[list[Order], list[Leg], str]
"""A batch, its legs, and a key of the decision."""
Choose = Callable[[Decision], Decided]


class Floor:
    """Robots that take batches and go. One thread."""

    def __init__(self, layout: Layout, truth: Truth, changes: Sequence[Change], seed: int) -> None:
        self.layout, self.truth = layout, truth
        self.slow = truth.slow.copy()
        self.now = 0.0
        self.busy: Counter[int] = Counter()
        self._changes = sorted(changes, key=lambda one: one.at)
        self._rng = np.random.default_rng((seed, 1))
        self._planned = layout.planned_s

    def expected(self, busy: Counter[int] | None = None) -> Floats:
        """What each stretch takes now on average: the oracle's times."""
        crowd = np.zeros(self.layout.stretches)
        for stretch, robots in (busy or {}).items():
            crowd[stretch] = robots
        times = self._planned * self.slow * (1.0 + self.truth.crowd * crowd) * np.exp(self.truth.noise**2 / 2)
        low, high = self.truth.stop_s
        delayed: Floats = times * (1.0 + self.truth.stops_per_s * (low + high) / 2)
        return delayed

    def run(self, orders: Sequence[Order], robots: int, choose: Choose) -> Iterator[Trip]:
        """Trips as they end, until all orders are picked; `choose` decides."""
        play = self.play(orders, robots)
        try:
            event = next(play)
            while True:
                if isinstance(event, Trip):
                    yield event
                    event = next(play)
                else:
                    event = play.send(choose(event))
        except StopIteration:
            return

    def play(self, orders: Sequence[Order], robots: int) -> Generator[Decision | Trip, Decided, None]:
        """What happens: trips that end, and decisions, which are answered by `send`."""
        waiting: list[Order] = []
        coming = list(reversed(orders))
        events = [(0.0, robot) for robot in range(robots)]
        under_way: dict[int, _Robot] = {}
        while events:
            self.now, robot = heapq.heappop(events)
            self._changed()
            if (one := under_way.get(robot)) is not None:
                if one.legs:
                    heapq.heappush(events, (self._step(one), robot))
                    continue
                self._leave(one)
                del under_way[robot]
                yield Trip(robot, one.picks, one.began, self.now, tuple(one.done), one.key)
            while coming and coming[-1].at <= self.now:
                waiting.append(coming.pop())
            if not waiting:
                if coming:
                    heapq.heappush(events, (max(coming[-1].at, self.now + _TIGHT), robot))
                continue
            batch, legs, key = yield Decision(self.now, Counter(self.busy), tuple(waiting))
            taken = {order.name for order in batch}
            waiting = [order for order in waiting if order.name not in taken]
            picks = sum(len(order.picks) for order in batch)
            under_way[robot] = _Robot(list(reversed(legs)), picks, self.now, key)
            heapq.heappush(events, (self.now + picks * self.truth.pick_s, robot))

    def _step(self, one: _Robot) -> float:
        """Go the next leg; when it ends."""
        self._leave(one)
        stretch, share = one.legs.pop()
        crowd = 1.0 + self.truth.crowd * self.busy[stretch]
        seconds = self._planned[stretch] * share * self.slow[stretch] * crowd
        seconds *= float(np.exp(self._rng.normal() * self.truth.noise))
        low, high = self.truth.stop_s
        for _ in range(int(self._rng.poisson(self.truth.stops_per_s * seconds))):
            seconds += float(np.clip(self._rng.normal((low + high) / 2, 0.22 * (high - low)), low, high))
        self.busy[stretch] += 1
        one.done.append(Passage(stretch, share, float(seconds), self.now))
        return self.now + float(seconds)

    def _leave(self, one: _Robot) -> None:
        """The robot is out of the stretch that it was in."""
        if one.done:
            stretch = one.done[-1].stretch
            self.busy[stretch] -= 1
            if self.busy[stretch] <= 0:
                del self.busy[stretch]

    def _changed(self) -> None:
        while self._changes and self._changes[0].at <= self.now:
            change = self._changes.pop(0)
            self.slow[change.stretch] = change.factor


def random_orders(layout: Layout, count: int, per_s: float, seed: int, lines: tuple[int, int] = (1, 4)) -> list[Order]:
    """Orders by a Poisson process, of so many lines (between), whose places are drawn with a few favourites."""
    rng = np.random.default_rng((seed, 2))
    at = np.cumsum(rng.exponential(1.0 / per_s, count))
    liked = rng.dirichlet(np.full(layout.config.aisles, 2.0))

    def place() -> Place:
        return int(rng.choice(layout.config.aisles, p=liked)), round(float(rng.uniform(0, layout.length_m)), 1)

    return [
        Order(f"order-{k}", tuple(place() for _ in range(int(rng.integers(lines[0], lines[1] + 1)))), float(at[k]))
        for k in range(count)
    ]
