"""Picking time a line: routing, batching and learning, each on its own, on the same orders, robots and floor.

    python -m bench.warehouse [--orders 4000] [--robots 8] [--seeds 3] [--policies NAME ...] [--out out/bench]

A block of 10 aisles of 30 m, 3 stretches each; orders of 1 to 4 lines, at most 20 lines a robot. The floor is slower than planned
in some aisles, robots hinder each other, and a few stretches change midway. Peers, in the same run: the classic routes with
first-come batches; the exact tour on planned times; the same with orders that lie together; that with times learned once a
night; hotloop (learned after each trip, Thompson sampling), and with a
value of congestion (least-squares TD, fitted every 50 trips); an oracle that knows the true mean times of the moment.
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
from hotloop.verticals.warehouse.batching import Order, lying_together
from hotloop.verticals.warehouse.congestion import congestion, moments_of
from hotloop.verticals.warehouse.floor import Decided, Decision, Floor, Trip, random_orders
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.peers import Fixed, disturbed, run, seconds_a_line, uneven
from hotloop.verticals.warehouse.policy import Routing
from hotloop.verticals.warehouse.task import Request, Warehouse, vertical

CAPACITY = 20
HALF_LIFE_S = 1800.0
FIT_TRIPS, KNOWN_MAX = 50, 2000
NIGHT_ORDERS = 1500  # of another day, learned in the night before


@dataclass
class Learner:
    """hotloop's own: the vertical, the reflex, the head that answers. `every_s`: 0 learns after each trip, infinity never."""

    floor: Floor
    every_s: float = 0.0
    explores: bool = True
    considerate: bool = False  # of what its robots do to each other: a value of congestion, fitted every `FIT_TRIPS`
    waiting: list[Lesson] = field(default_factory=list)
    asked: dict[str, Prediction] = field(default_factory=dict)
    known: list[Example] = field(default_factory=list)
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
        example = Example(prediction, (word,))
        self.waiting.append(Lesson(0, None, example))
        if self.considerate:
            self.known = [*self.known[-KNOWN_MAX:], example]
            if self.count % FIT_TRIPS == 0:
                fitted = congestion(moments_of(self.task, self.head, self.known))
                self.task = self.task.revived(Routing(congestion=fitted).bundle())
        if trip.ended - self.last_s >= self.every_s:
            self.reflex.learn(self.waiting)
            self.head, self.last_s, self.waiting = self.reflex.head(), trip.ended, []


def rested(floor: Floor) -> Learner:
    """One that learned another day on the same floor, in the night, and nothing since."""
    learner = Learner(floor, every_s=np.inf)
    run(Floor(floor.layout, floor.truth, [], 999), learner, random_orders(floor.layout, NIGHT_ORDERS, 0.35, 999), 8)
    learner.reflex.learn(learner.waiting)
    learner.head, learner.waiting = learner.reflex.head(), []
    return learner


POLICIES: dict[str, Callable[[Floor], Fixed | Learner]] = {
    "s-shape, first come": lambda floor: Fixed(floor, "s-shape", CAPACITY),
    "return, first come": lambda floor: Fixed(floor, "return", CAPACITY),
    "largest gap, first come": lambda floor: Fixed(floor, "largest gap", CAPACITY),
    "combined, first come": lambda floor: Fixed(floor, "combined", CAPACITY),
    "exact on planned times, first come": lambda floor: Fixed(floor, "exact", CAPACITY),
    "exact on planned times, batched": lambda floor: Fixed(floor, "exact", CAPACITY, together=True),
    "the same, times learned the night before": rested,
    "hotloop": Learner,
    "hotloop, with a value of congestion": lambda floor: Learner(floor, considerate=True),
    "oracle": lambda floor: Fixed(floor, "exact", CAPACITY, together=True, oracle=True),
}


def trips_of(name: str, layout: Layout, orders: list[Order], robots: int, seed: int) -> list[Trip]:
    """All trips of a policy on a floor."""
    floor = Floor(layout, uneven(layout, seed), disturbed(layout, orders, seed), seed)
    return run(floor, POLICIES[name](floor), orders, robots)


def recovered(orders: list[Order], trips: Sequence[Trip], oracle: Sequence[Trip]) -> tuple[int, float]:
    """After the change: trips and seconds until the mean of ten is within a tenth of the oracle's (of all after it)."""
    at = orders[len(orders) // 2].at
    after = [trip for trip in trips if trip.began >= at]
    aim = 1.1 * seconds_a_line([trip for trip in oracle if trip.began >= at and trip.ended < orders[3 * len(orders) // 4].at])
    for k in range(len(after) - 10):
        if seconds_a_line(after[k : k + 10]) <= aim:
            return k, after[k].began - at
    return len(after), float("inf")


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--orders", type=int, default=4000)
    parser.add_argument("--robots", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--per-s", type=float, default=0.35, help="orders a second")
    parser.add_argument("--policies", nargs="+", choices=list(POLICIES), default=list(POLICIES))
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    layout, chosen = Layout(LayoutConfig()), {*given.policies, "s-shape, first come", "oracle"}  # those two are what others are compared with
    table: dict[str, list[tuple[float, float, float, float]]] = {}
    for seed in range(given.seeds):
        orders = random_orders(layout, given.orders, given.per_s, seed)
        found = {name: trips_of(name, layout, orders, given.robots, seed) for name in POLICIES if name in chosen}
        middle = orders[len(orders) // 2].at
        for name, trips in found.items():
            steady = seconds_a_line([trip for trip in trips if trip.began > 0.1 * middle and trip.ended < middle])
            took = recovered(orders, trips, found["oracle"])
            table.setdefault(name, []).append((seconds_a_line(trips), steady, *took))
            print(f"seed {seed}  {name:36s} {seconds_a_line(trips):6.2f} s a line, {steady:6.2f} before the change; "
                  f"{took[0]} trips, {took[1]:.0f} s until recovered", flush=True)  # fmt: skip
    first = np.mean([row[0] for row in table["s-shape, first come"]])
    best = np.mean([row[1] for row in table["oracle"]])
    for name, rows in table.items():
        _, _, trips_, seconds = np.median(rows, axis=0)
        print(f"{name:36s} {np.mean([row[0] for row in rows]):6.2f} s a line {np.mean([row[0] for row in rows]) / first - 1:+7.1%}; before the "
              f"change {np.mean([row[1] for row in rows]) / best - 1:+6.1%} to the oracle; recovered after {trips_:.0f} trips, {seconds:.0f} s")  # fmt: skip
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "warehouse.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
