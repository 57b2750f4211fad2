"""What hotloop is compared with, and the demo: on the same orders, who knows more is quicker."""

from __future__ import annotations

import math

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from hotloop.cli import app
from hotloop.demos import fresh_run
from hotloop.errors import ConfigError
from hotloop.measure import Report
from hotloop.verticals.warehouse.demo import demo
from hotloop.verticals.warehouse.floor import Floor, random_orders
from hotloop.verticals.warehouse.layout import Layout, LayoutConfig
from hotloop.verticals.warehouse.map import picking_times, warehouse_map
from hotloop.verticals.warehouse.peers import Fixed, disturbed, run, seconds_a_line, uneven


@pytest.fixture(scope="module")
def played():
    """Each peer on the same floor and orders: seconds a line."""
    layout = Layout(LayoutConfig())
    orders = random_orders(layout, 400, 0.35, 0)
    found = {}
    for name, (router, together, oracle) in {
        "s-shape": ("s-shape", False, False),
        "return": ("return", False, False),
        "combined": ("combined", False, False),
        "exact": ("exact", False, False),
        "batched": ("exact", True, False),
        "oracle": ("exact", True, True),
    }.items():
        floor = Floor(layout, uneven(layout, 0), disturbed(layout, orders, 0), 0)
        found[name] = run(floor, Fixed(floor, router, 20, together, oracle), orders, 6)
    return found


def test_all_pick_the_same_lines(played):
    """In batches that a robot can carry."""
    assert len({sum(trip.lines for trip in trips) for trips in played.values()}) == 1
    assert all(0 < trip.lines <= 20 for trips in played.values() for trip in trips)


def test_who_knows_more_is_quicker(played):
    """The exact tour before the classic ones, batches of what lies together before those as they came, the truth before
    the plan.
    """
    took = {name: seconds_a_line(trips) for name, trips in played.items()}
    assert took["oracle"] < took["batched"] < 0.85 * took["exact"]
    assert took["exact"] < min(took["s-shape"], took["return"], took["combined"])
    assert math.isnan(seconds_a_line([]))


def test_the_floor_is_uneven_and_changes():
    """A fifth of the aisles' stretches; two aisles in the middle, one of them back later."""
    layout = Layout(LayoutConfig())
    slow = uneven(layout, 3).slow
    assert int((slow > 1).sum()) == 6
    assert slow[30:].max() == 1.0
    orders = random_orders(layout, 100, 1.0, 3)
    changes = disturbed(layout, orders, 3)
    assert [one.factor for one in changes] == [5.0] * 6 + [1.0] * 3
    assert {one.at for one in changes} == {orders[50].at, orders[75].at}


def test_the_demo_beats_the_classic_way_and_says_so(tmp_path):
    """Through the real loop: its report, its pictures, and better than a third over the s-shape."""
    done = CliRunner().invoke(
        app, ["demo", "warehouse", "--seconds", "12", "--out", str(tmp_path)], env={"COLUMNS": "160"}
    )
    assert done.exit_code == 0, done.output
    row = next(line for line in done.output.splitlines() if "\u2502 hotloop" in line)
    assert float(row.split("%")[0].split()[-1]) < -30.0
    report = msgspec.json.decode((tmp_path / "report.json").read_bytes(), type=Report)
    assert report.overall.verdicts == report.overall.predictions > 30
    for name in ("map.png", "picking_times.png", "waterfall.png"):
        assert (tmp_path / name).stat().st_size > 10_000, name


def test_the_demo_draws_its_own_orders(tmp_path):
    """What it cannot use is said."""
    with pytest.raises(ConfigError, match="--data"):
        demo(data=tmp_path, seconds=1.0, lines=1, folder=tmp_path)


def test_the_demo_deletes_nothing_that_no_demo_made(tmp_path):
    """Each demo begins anew where another one ran, and nowhere else."""
    (tmp_path / "run").mkdir()
    (tmp_path / "run/mine.txt").write_text("mine")
    with pytest.raises(ConfigError, match="it was not touched"):
        demo(data=None, seconds=1.0, lines=1, folder=tmp_path)
    assert (tmp_path / "run/mine.txt").read_text() == "mine"
    (tmp_path / "run/loop.toml").write_text('name = "demo"\n')
    settings = 'name = "demo"\nsite = "another"\n'
    run = fresh_run(tmp_path, settings)
    assert [(path.name, path.read_text()) for path in run.iterdir()] == [("loop.toml", settings)]


def test_pictures_are_drawn_of_any_layout(tmp_path, played):
    """Several blocks too."""
    layout = Layout(LayoutConfig(aisles=4, blocks=2))
    warehouse_map(layout, np.linspace(0.5, 9.0, layout.stretches), np.ones(layout.stretches), tmp_path / "map.png")
    picking_times({"hotloop": played["oracle"], "s-shape": played["s-shape"]}, [100.0], tmp_path / "times.png")
    assert (tmp_path / "map.png").stat().st_size > 5_000
    assert (tmp_path / "times.png").stat().st_size > 5_000
