"""Gate and watch by cost: how often they err on what is honest, and how soon they see what is worse. No shop floor of anybody.

    python -m bench.warehouse_gate [--seeds 12] [--trips 400] [--out out/bench]

Gate: robots on the floor of `bench.warehouse` (two aisles become slow midway), each update judged as a loop would, against the
last 200 trips; at four moments the champion's samples are spoiled and judged too (its classes, by which the report is made, stay as
they are). Watch: four zones with requests of 8 lines; one zone answers with what is new, three with what was before; a trip at a
time, both priced on each. "no worse": a head that learned as much from other trips; then policies and heads that are worse.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np

from bench.warehouse import Learner
from hotloop.config import GateConfig, LearnConfig, LoopConfig
from hotloop.gate import Finding, costed, costs_of, judge
from hotloop.learn import Reflex
from hotloop.rollout import Watch
from hotloop.types import Change, Claim, Example, Feedback, Head, Observation, Payload, Prediction
from hotloop.verticals.warehouse.cost import RANGE
from hotloop.verticals.warehouse.floor import Floor, random_orders
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.peers import disturbed, uneven
from hotloop.verticals.warehouse.policy import Routing
from hotloop.verticals.warehouse.task import FACTORS, Request, Warehouse, vertical

CLASSES, WINDOW, LOOKS = len(FACTORS), 200, (40, 60, 80, 100)
LINES, ROBOTS, ZONES = 8, 8, 4


def spoiled(head: Head, how: str, layout: Layout) -> Head:
    """The samples of a head, spoiled."""
    weights = head.weights.copy()
    samples = weights[:, CLASSES:]
    if how == "inverted":
        samples *= -1.0
        samples[-4] += 4e-3
    elif how == "constant":
        samples[:] = 0.0
        samples[-4] = 1e-3
    else:  # the aisle that is thought to be slowest is free
        inside = layout.config.aisles * layout.parts
        slow = int((head.weights[:inside, CLASSES:].mean(1)).reshape(-1, layout.parts).sum(1).argmax())
        samples[slow * layout.parts : (slow + 1) * layout.parts] -= 2e-2
    return Head(head.labels, weights, head.thresholds)


def gate(seed: int, orders_: int) -> dict[str, object]:
    """Updates and refusals of a run, and what became of each sabotage."""
    layout, config = Layout(LayoutConfig()), GateConfig()
    orders = random_orders(layout, orders_, 0.35, seed)
    floor = Floor(layout, uneven(layout, seed), disturbed(layout, orders, seed), seed)
    learner, past = Learner(floor), []
    updates = refused = 0
    found: dict[str, list[tuple[bool, float]]] = {}
    for trip in floor.run(orders, ROBOTS, learner.choose):
        prediction, champion = learner.asked[trip.key], learner.head
        claims = tuple(Claim(output=k, value=passage.seconds) for k, passage in enumerate(trip.passages))
        past = [*past[-WINDOW + 1 :], Example(prediction, (Feedback(prediction=prediction.id, reviewer="r", claims=claims),))]
        learner.ended(trip)
        if len(past) < config.least_examples:
            continue
        updates += 1
        refused += judged(learner.task, past, champion, learner.head).decision != "promote"
        if updates in LOOKS:
            for how in ("inverted", "constant", "a slow aisle free"):
                worse = judged(learner.task, past, champion, spoiled(champion, how, layout))
                found.setdefault(how, []).append((worse.decision == "refuse", worse.difference))
    return {"updates": updates, "refused": refused, "sabotage": found}


def judged(task: Warehouse, past: list[Example], champion: Head, candidate: Head) -> Finding:
    """As the lineage does."""
    before, after, parts = costed(task, past, champion, candidate)
    return judge(before, after, GateConfig(), parts, what="cost")


class Shop:
    """A floor that requests come to one by one, with robots here and there."""

    def __init__(self, seed: int) -> None:
        self.layout = Layout(LayoutConfig())
        self.truth, self.rng, self.at = uneven(self.layout, seed), np.random.default_rng(seed), 0.0
        self.count = 0

    def trip(self, task: Warehouse, head: Head) -> Example:
        """A request, a tour, its times."""
        rng, count = self.rng, self.layout.stretches
        self.at, self.count = self.at + 30.0, self.count + 1
        busy = {int(stretch): 1 for stretch in rng.integers(count, size=ROBOTS - 1)}
        picks = [(int(rng.integers(10)), round(float(rng.uniform(0, 30)), 1)) for _ in range(LINES)]
        proposals = task.propose(Payload(msgspec.json.encode(Request(picks, self.at, busy))))
        outputs, times = task.answer(proposals, head), self.times(busy)
        noise = np.exp(rng.normal(size=len(outputs)) * self.truth.noise)
        claims = tuple(
            Claim(output=k, value=float(times[int(o.region[0])] * o.region[1] * noise[k])) for k, o in enumerate(outputs) if o.region
        )
        name = f"trip:{self.count}"
        seen = Observation(id=name, site="s", line="l", at=self.at, digest="0" * 64)
        prediction = Prediction(id=name, observation=seen, version=1, outputs=outputs, confidence=1.0, proposals=proposals,
                                propensity=task.propensity(outputs))  # fmt: skip
        return Example(prediction, (Feedback(prediction=name, reviewer="r", claims=claims),))

    def times(self, busy: dict[int, int]) -> np.ndarray:
        """What stretches truly take."""
        crowd = np.zeros(self.layout.stretches)
        for stretch, robots in busy.items():
            crowd[stretch] = robots
        return self.layout.planned_s * self.truth.slow * (1.0 + self.truth.crowd * crowd)


def watch(seed: int, trips: int, make: Callable[[Warehouse, Head, Head], tuple[Warehouse, Head]]) -> tuple[int | None, float]:
    """After how many verified trips the alarm came (None: never), and how much longer trips truly are, as a share."""
    shop = Shop(seed)
    config = LoopConfig(vertical="warehouse", tables={"warehouse": {}}, learn=LearnConfig())
    task = vertical(config)
    halves = [Reflex(task.teach, task.start(), config.learn) for _ in range(2)]
    for number in range(160):
        half = halves[number % 2]
        half.learn([Change(0, None, shop.trip(task, half.head()))])
    before, other = (half.head() for half in halves)
    new, now = make(task, before, other)
    found, alarm, longer = Watch(0.0, 0.05), None, []
    for number in range(trips):
        here = number % ZONES == 0
        piece = shop.trip(new, now) if here else shop.trip(task, before)
        cost = float(costs_of(new, [piece], [now], now)[0, 0])
        found.add(cost, float(costs_of(task, [piece], [before], now)[0, 0]))
        if number % 8 == 0:
            took = shop.times({})
            one, two = (
                np.mean([sum(took[s] * share for s, share in tour) for tour in of.chosen(piece.prediction.proposals, head)[0]])
                for of, head in ((new, now), (task, before))
            )
            longer.append(one / two - 1.0)
        if found.alarm and alarm is None:
            alarm = number + 1
    return alarm, float(np.mean(longer))


Made = Callable[[Warehouse, Head, Head], tuple[Warehouse, Head]]


def by(routing: Routing) -> Made:
    """Another policy on the same head."""
    return lambda task, before, _: (task.revived(routing.bundle()), before)


CHANGES: dict[str, Made] = {
    "no worse: a head from other trips": lambda task, _, other: (task, other),
    "no worse: explores half as much": by(Routing(explores=0.5)),
    "explores 4 x as much": by(Routing(explores=4.0)),
    "router combined": by(Routing(router="combined")),
    "router s-shape": by(Routing(router="s-shape")),
    "samples inverted": lambda task, before, _: (task, spoiled(before, "inverted", task.layout)),
}


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=12)
    parser.add_argument("--orders", type=int, default=1000)
    parser.add_argument("--trips", type=int, default=400)
    parser.add_argument("--only", choices=("gate", "watch"), default=None)
    parser.add_argument("--changes", nargs="+", choices=list(CHANGES), default=list(CHANGES))
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    found: dict[str, object] = {}
    if given.only != "watch":
        runs = [gate(seed, given.orders) for seed in range(given.seeds)]
        found["gate"] = runs
        print(f"gate: {sum(r['refused'] for r in runs)} of {sum(r['updates'] for r in runs)} honest updates refused in {len(runs)} runs")  # type: ignore[misc]
        for how in runs[0]["sabotage"]:  # type: ignore[attr-defined]
            table = np.array([run["sabotage"][how] for run in runs])  # type: ignore[index]
            shares = ", ".join(f"{share:.0%} at update {look}" for share, look in zip(table[..., 0].mean(0), LOOKS, strict=False))
            longer = RANGE * table[..., 1].mean()
            print(f"  {how:20s} trips {longer:+.1%} by these costs; refused: {shares}")
    if given.only != "gate":
        for name in given.changes:
            runs = [watch(seed, given.trips, CHANGES[name]) for seed in range(given.seeds)]
            found[name] = runs
            alarms = sorted(alarm for alarm, _ in runs if alarm is not None)
            middle = f", median after {int(np.median(alarms))} verified trips, last {alarms[-1]}" if alarms else ""
            print(f"watch, {name:36s} trips {np.mean([longer for _, longer in runs]):+6.1%}: rolled back in {len(alarms)} of {len(runs)} runs of "
                  f"{given.trips} trips{middle}", flush=True)  # fmt: skip
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "warehouse_gate.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
