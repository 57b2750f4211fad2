"""What moves take, learned by zone and direction; agents go round what is slow."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.sparse.csgraph import dijkstra

from hotloop.verticals.warehouse.grid import Delays, Problem, Zones, read_grid
from hotloop.verticals.warehouse.grid_floor import GridFloor, Nominal, Passages
from hotloop.verticals.warehouse.grid_times import LearnedTimes

GRID = read_grid("type octile\nheight 12\nwidth 12\nmap\n" + ("." * 12 + "\n") * 12)
ZONES = Zones(GRID, 4)  # nine


def told(guide, cells, direction, steps, times=1):
    """Passages from these cells."""
    count = len(cells)
    for _ in range(times):
        guide.heard(Passages(np.array(cells), np.full(count, direction), np.full(count, float(steps))))


def test_before_anything_is_heard_each_move_takes_a_step():
    """Shortest paths, until it knows better; and nothing is learned before it is time."""
    guide = LearnedTimes(ZONES, every=5)
    np.testing.assert_allclose(guide.moves(), 1.0)
    told(guide, [0, 1], 0, 9.0, times=4)
    np.testing.assert_allclose(guide.moves(), 1.0)
    told(guide, [0, 1], 0, 9.0)
    assert guide.moves()[0, 0] > 1.5


def test_what_is_slow_is_slow_in_its_zone_and_direction():
    """Most of all there; somewhat the other way; least far off."""
    guide = LearnedTimes(ZONES, every=1, weight=1.0)
    everywhere = list(range(GRID.count))
    for _ in range(30):
        told(guide, everywhere, 1, 1.0)
        told(guide, [cell for cell in everywhere if ZONES.of[cell] == 4], 0, 8.0)
    moves = guide.moves()
    inside, outside = int(np.flatnonzero(ZONES.of == 4)[0]), int(np.flatnonzero(ZONES.of == 8)[0])
    assert moves[inside, 0] == pytest.approx(8.0, rel=0.1)
    assert moves[inside, 1] < 1.6
    assert moves[outside, 1] == pytest.approx(1.0, abs=0.1)
    assert (moves >= 1.0).all()


def test_what_is_learned_is_forgotten():
    """A jam that is over: after some updates the move takes a step again."""
    guide = LearnedTimes(ZONES, every=1, kept=0.8)
    told(guide, [0, 1, 2], 0, 10.0, times=20)
    slow = guide.moves()[0, 0]
    told(guide, [0, 1, 2], 0, 1.0, times=40)
    assert guide.moves()[0, 0] < 1.1 < slow


def test_passages_together_are_passages_one_by_one():
    """Their number and mean say as much as each of them does."""
    together, single = LearnedTimes(ZONES, every=1, kept=1.0), LearnedTimes(ZONES, every=1, kept=1.0)
    together.heard(Passages(np.array([0, 1, 2]), np.zeros(3, np.intp), np.array([2.0, 5.0, 11.0])))
    for steps in (2.0, 5.0, 11.0):
        told(single, [0], 0, steps)
    np.testing.assert_allclose(together.moves(), single.moves(), rtol=1e-9)


def test_a_path_on_learned_times_goes_round_a_slow_zone():
    """Straight through by nominal steps, round by learned ones."""
    guide = LearnedTimes(ZONES, every=1, weight=1.0)
    middle = [int(cell) for cell in np.flatnonzero(ZONES.of == 4)]
    for direction in range(4):
        told(guide, middle, direction, 20.0, times=10)
    start, goal = 5 * 12, 5 * 12 + 11
    _, before = dijkstra(GRID.ways(guide.moves()), indices=goal, return_predecessors=True)
    cell, seen = start, []
    while cell != goal:
        cell = int(before[cell])
        seen.append(cell)
    assert not set(seen) & set(middle)
    assert len(seen) > 11


def test_in_a_crowd_learned_times_finish_no_fewer_tasks():
    """A wall with two gaps, all tasks beyond it: over four seeds together, within 3 % or better."""
    rows = ["." * 20] * 20
    rows[10] = "@@@@@@@.@@@@@@@@@@.@"
    grid = read_grid("type octile\nheight 20\nwidth 20\nmap\n" + "\n".join(rows))
    north, south = (np.flatnonzero(side) for side in (grid.cells < 200, grid.cells >= 220))
    rng = np.random.default_rng(0)
    tasks = tuple((int(rng.choice(south)), int(rng.choice(north))) for _ in range(300))
    problem = Problem(grid, rng.choice(north, 30, replace=False), tasks, Delays(1, 4, "bernoulli", 0.01))
    plain = sum(GridFloor(problem, Nominal(grid), seed, 30).run(300)[-1] for seed in range(4))
    learned = sum(GridFloor(problem, LearnedTimes(Zones(grid, 2)), seed, 30).run(300)[-1] for seed in range(4))
    assert learned >= 0.97 * plain
