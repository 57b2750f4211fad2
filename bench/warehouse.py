"""Picking time a line: routing, batching and learning, each on its own, on the same orders, robots and floor.

    python -m bench.warehouse [--orders 4000] [--robots 8] [--seeds 3] [--out out/bench]

A block of 10 aisles of 30 m, 3 stretches each; orders of 1 to 4 lines, at most 20 lines a robot. The floor is slower than planned
in some aisles, robots hinder each other, and a few stretches change midway. Peers, in the same run: the classic routes with
first-come batches; the exact tour on planned times; the same with orders that lie together; that with times learned once a
night; hotloop (learned after each trip, Thompson sampling); an oracle that knows the true mean times of the moment.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np

from hotloop.config import LearnConfig, LoopConfig
from hotloop.learn import Reflex
from hotloop.types import Change as Lesson
from hotloop.types import Claim, Example, Feedback, Head, Observation, Payload, Prediction
from hotloop.verticals.warehouse.batching import Order, first_come, lying_together
from hotloop.verticals.warehouse.classic import CLASSIC
from hotloop.verticals.warehouse.exact import options, solve, walked
from hotloop.verticals.warehouse.floor import Change, Decided, Decision, Floor, Trip, Truth, random_orders
from hotloop.verticals.warehouse.layout import Layout
from hotloop.verticals.warehouse.task import Request, Warehouse, vertical

CAPACITY = 20
HALF_LIFE_S = 1800.0
NIGHT_S = 4 * 3600.0  # a shift: what "nightly" learning waits for


def truth_of(layout: Layout, seed: int) -> Truth:
    """A fifth of the stretches in aisles are 2 to 6 times as slow as planned: somebody stands there, or the floor is bad."""
    rng = np.random.default_rng((seed, 3))
    slow = np.full(layout.stretches, 1.0)
    inside = layout.config.aisles * layout.parts
    places = rng.choice(inside, inside // 5, replace=False)
    slow[places] = rng.uniform(2.0, 6.0, len(places))
    return Truth(slow)


@dataclass
class Learner:
    """hotloop's own: the vertical, the reflex, the head that answers. `every_s`: 0 learns after each trip."""

    floor: Floor
    every_s: float = 0.0
    explores: bool = True
    waiting: list[Lesson] = field(default_factory=list)
    asked: dict[str, Prediction] = field(default_factory=dict)
    last_s: float = 0.0
    count: int = 0

    def __post_init__(self) -> None:
        config = LoopConfig(
            vertical="warehouse", tables={"warehouse": {"layout": msgspec.to_builtins(self.floor.layout.config)}},
            learn=LearnConfig(half_life_s=HALF_LIFE_S if not self.every_s else 0.0),
        )  # fmt: skip
        self.task: Warehouse = vertical(config)
        self.head: Head = self.task.start()
        self.reflex = Reflex(self.task.teach, self.head, config.learn)

    def choose(self, asked: Decision) -> Decided:
        """A batch on expected times, a tour on a draw of them."""
        now, busy, waiting = asked.now, asked.busy, asked.waiting
        batch = lying_together(self.task.layout, waiting, CAPACITY, self.task.expected(self.head, now, busy))
        request = Request([place for order in batch for place in order.picks], float(now), dict(busy))
        proposals = self.task.propose(Payload(msgspec.json.encode(request)))
        outputs = self.task.answer(proposals, self.head)
        self.count += 1
        key = f"floor:{self.count}"
        seen = Observation(id=key, site="s", line="floor", at=float(now), digest="0" * 64)
        self.asked[key] = Prediction(id=key, observation=seen, version=1, outputs=outputs, confidence=1.0, proposals=proposals)
        return batch, [(int(o.region[0]), o.region[1]) for o in outputs if o.region], key

    def ended(self, trip: Trip) -> None:
        """The measured times come back."""
        prediction = self.asked.pop(trip.key)
        claims = tuple(Claim(output=k, value=passage.seconds) for k, passage in enumerate(trip.passages))
        word = Feedback(prediction=prediction.id, reviewer="robot", claims=claims)
        self.waiting.append(Lesson(0, None, Example(prediction, (word,))))
        if trip.ended - self.last_s >= self.every_s:
            self.reflex.learn(self.waiting)
            self.head, self.last_s, self.waiting = self.reflex.head(), trip.ended, []


@dataclass
class Fixed:
    """A peer that learns nothing: a router on planned times, or the oracle's."""

    floor: Floor
    router: str
    together: bool = False
    oracle: bool = False

    def choose(self, asked: Decision) -> Decided:
        """As it does."""
        layout, busy, waiting = self.floor.layout, asked.busy, asked.waiting
        times = self.floor.expected(busy) if self.oracle else layout.planned_s
        batch = lying_together(layout, waiting, CAPACITY, times) if self.together else first_come(waiting, CAPACITY)
        picks = [place for order in batch for place in order.picks]
        if self.router == "exact":
            _, (plan,) = solve(options(layout, [picks], [times]))
            return batch, walked(layout, picks, plan, times), ""
        return batch, CLASSIC[self.router](layout, picks, times), ""

    def ended(self, _trip: Trip) -> None:
        """Nothing is learned."""


POLICIES: dict[str, Callable[[Floor], Fixed | Learner]] = {
    "s-shape, first come": lambda floor: Fixed(floor, "s-shape"),
    "return, first come": lambda floor: Fixed(floor, "return"),
    "largest gap, first come": lambda floor: Fixed(floor, "largest gap"),
    "combined, first come": lambda floor: Fixed(floor, "combined"),
    "exact on planned times, first come": lambda floor: Fixed(floor, "exact"),
    "exact on planned times, batched": lambda floor: Fixed(floor, "exact", together=True),
    "the same, times learned nightly": lambda floor: Learner(floor, every_s=NIGHT_S),
    "hotloop": Learner,
    "oracle": lambda floor: Fixed(floor, "exact", together=True, oracle=True),
}


def run(name: str, layout: Layout, orders: list[Order], robots: int, seed: int) -> list[Trip]:
    """All trips of a policy on a floor."""
    floor = Floor(layout, truth_of(layout, seed), changes(layout, orders, seed), seed)
    policy = POLICIES[name](floor)
    trips = []
    for trip in floor.run(orders, robots, policy.choose):
        policy.ended(trip)
        trips.append(trip)
    return trips


def changes(layout: Layout, orders: list[Order], seed: int) -> list[Change]:
    """In the middle of it all, two aisles become five times as slow; later one of them is as planned again."""
    rng = np.random.default_rng((seed, 4))
    first, second = rng.choice(layout.config.aisles, 2, replace=False)
    middle, later = orders[len(orders) // 2].at, orders[3 * len(orders) // 4].at
    parts = range(layout.parts)
    return [
        *(Change(middle, layout.part(aisle, part), 5.0) for aisle in (first, second) for part in parts),
        *(Change(later, layout.part(first, part), 1.0) for part in parts),
    ]


def a_line(trips: Sequence[Trip]) -> float:
    """Seconds of a robot a line."""
    return sum(trip.ended - trip.began for trip in trips) / sum(trip.lines for trip in trips)


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=4000)
    parser.add_argument("--robots", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--per-s", type=float, default=0.35, help="orders a second")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    from hotloop.verticals.warehouse.layout import LayoutConfig

    layout = Layout(LayoutConfig())
    table: dict[str, list[float]] = {}
    for seed in range(given.seeds):
        orders = random_orders(layout, given.orders, given.per_s, seed)
        for name in POLICIES:
            trips = run(name, layout, orders, given.robots, seed)
            table.setdefault(name, []).append(a_line(trips))
            steady = [trip for trip in trips if trip.began > 0.1 * trips[-1].ended and trip.ended < orders[len(orders) // 2].at]
            print(f"seed {seed}  {name:36s} {a_line(trips):6.2f} s a line  {table[name][-1] / table['s-shape, first come'][-1] - 1:+7.1%}"
                  f"  before the change {a_line(steady) if steady else float('nan'):6.2f}", flush=True)  # fmt: skip
    means = {name: float(np.mean(found)) for name, found in table.items()}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "warehouse.json").write_text(json.dumps(means, indent=1))


if __name__ == "__main__":
    main()
