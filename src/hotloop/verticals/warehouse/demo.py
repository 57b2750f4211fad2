"""`hotloop demo warehouse`: robots on a simulated floor, a loop that learns its times, and the classic ways beside it.

The same orders and robots for all. hotloop is the whole of it: log, gate, releases; each trip is learned before the
next robot leaves. In the middle two aisles become five times as slow.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress
from rich.table import Table

from hotloop.config import LoopConfig, resolve
from hotloop.demos import fresh_run, write_report
from hotloop.engine import Engine
from hotloop.errors import ConfigError
from hotloop.loading import load_vertical
from hotloop.measure import render
from hotloop.store.embedded import open_embedded
from hotloop.types import Claim, Feedback, Payload, Prediction
from hotloop.verticals.warehouse.batching import Order, lying_together
from hotloop.verticals.warehouse.floor import Decided, Decision, Floor, Trip, random_orders
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.map import picking_times, warehouse_map
from hotloop.verticals.warehouse.peers import Fixed, Policy, disturbed, run, seconds_a_line, uneven
from hotloop.verticals.warehouse.task import Request, Warehouse

CAPACITY, ROBOTS, PER_S, SEED = 20, 8, 0.35, 1
_ORDERS_A_S = 25.0  # of this machine's time: the demo lasts about so long
_SETTINGS = 'name = "demo"\nvertical = "warehouse"\n[learn]\nhalf_life_s = {half_life_s}\n'

out = Console()


@dataclass
class Looped:
    """hotloop on a floor: decides by the released head, learns each trip before the next decision."""

    engine: Engine
    layout: Layout
    asked: dict[str, Prediction] = field(default_factory=dict)

    def choose(self, asked: Decision) -> Decided:
        """A batch on expected times; the loop says the tour."""
        task = self.engine.vertical
        assert isinstance(task, Warehouse), "the vertical of this demo"
        times = task.expected(self.engine.lineage.champion, asked.now, asked.busy)
        batch = lying_together(self.layout, asked.waiting, CAPACITY, times)
        picks = [place for order in batch for place in order.picks]
        request = Request(picks, float(asked.now), dict(asked.busy))
        said = self.engine.observe(Payload(msgspec.json.encode(request), "application/json"), "floor")
        self.asked[said.id] = said
        return batch, [(int(o.region[0]), o.region[1]) for o in said.outputs if o.region is not None], said.id

    def ended(self, trip: Trip) -> None:
        """The robot's measured times are feedback."""
        said = self.asked.pop(trip.key)
        claims = tuple(Claim(output=k, value=passage.seconds) for k, passage in enumerate(trip.passages))
        self.engine.feedback(Feedback(prediction=said.id, reviewer="robots", claims=claims))
        self.engine.catch_up()


def demo(*, data: Path | None, seconds: float, lines: int, folder: Path) -> None:  # noqa: ARG001 - as every demo is called
    """Run it for about `seconds`; then print the table and where its pictures are."""
    if data is not None:
        raise ConfigError("this demo draws its own orders: leave --data out")
    half_life_s = max(1.0, seconds)  # on the wall: about half an hour on the floor, whose clock goes 70 times as fast
    place = fresh_run(folder, _SETTINGS.format(half_life_s=half_life_s))
    layout = Layout(LayoutConfig())
    orders = random_orders(layout, max(200, int(_ORDERS_A_S * seconds)), PER_S, SEED)
    found: dict[str, list[Trip]] = {}
    for name, fixed in (
        ("s-shape, first come", ("s-shape", False, False)),
        ("exact on planned times, first come", ("exact", False, False)),
        ("exact on planned times, batched", ("exact", True, False)),
        ("oracle: true times of the moment", ("exact", True, True)),
    ):
        router, together, oracle = fixed
        floor = Floor(layout, uneven(layout, SEED), disturbed(layout, orders, SEED), SEED)
        found[name] = run(floor, Fixed(floor, router, CAPACITY, together, oracle), orders, ROBOTS)
    tables = {"warehouse": {"layout": msgspec.to_builtins(layout.config)}}
    own = LoopConfig(name="warehouse-demo", vertical="warehouse", tables=tables)
    learn = msgspec.structs.replace(own.learn, half_life_s=half_life_s)
    config = resolve(msgspec.structs.replace(own, learn=learn), place)
    with closing(Engine(config, load_vertical(config), open_embedded(config))) as engine:
        floor = Floor(layout, uneven(layout, SEED), disturbed(layout, orders, SEED), SEED)
        found["hotloop"] = _shown(floor, Looped(engine, layout), orders)
        report, head = engine.report(), engine.lineage.champion
        task = engine.vertical
        assert isinstance(task, Warehouse), "the vertical of this demo"
        thought = task.expected(head, floor.now, {}) / layout.planned_s
    write_report(report, folder)
    warehouse_map(layout, thought, floor.slow, folder / "map.png")
    marks = [orders[len(orders) // 2].at, orders[3 * len(orders) // 4].at]
    picking_times(found, marks, folder / "picking_times.png")
    out.print(render(report), highlight=False, markup=False, soft_wrap=True)
    out.print(_table(found, marks))
    for name in ("map.png", "picking_times.png", "waterfall.png", "report.json"):
        out.print(f"  {folder / name}", highlight=False, markup=False, soft_wrap=True)


def _shown(floor: Floor, policy: Policy, orders: list[Order]) -> list[Trip]:
    """The trips of a policy, with a bar."""
    trips: list[Trip] = []
    with Progress(console=out) as progress:
        task = progress.add_task("robots pick, hotloop learns", total=sum(len(order.picks) for order in orders))
        for trip in floor.run(orders, ROBOTS, policy.choose):
            policy.ended(trip)
            trips.append(trip)
            progress.advance(task, trip.lines)
    return trips


def _table(found: dict[str, list[Trip]], marks: list[float]) -> Table:
    """Seconds of a robot a line: all of it, before two aisles became slow, and after."""
    table = Table("", "all", "", "before the change", "after it", title="seconds of a robot a line")
    first = seconds_a_line(next(iter(found.values())))
    for name, trips in found.items():
        whole = seconds_a_line(trips)
        before = seconds_a_line([trip for trip in trips if trip.ended < marks[0]])
        after = seconds_a_line([trip for trip in trips if trip.began >= marks[0]])
        style = "bold green" if name == "hotloop" else ""
        table.add_row(name, f"{whole:.1f}", f"{whole / first - 1:+.1%}", f"{before:.1f}", f"{after:.1f}", style=style)
    return table
