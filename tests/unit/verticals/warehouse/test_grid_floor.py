"""Agents on a grid: never two in a cell, never through each other, and they get where they should."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import InputError
from hotloop.verticals.warehouse.grid import Delays, Problem, read_grid
from hotloop.verticals.warehouse.grid_floor import GridFloor, Nominal, delayed, moved


def grid_of(*rows):
    return read_grid(f"type octile\nheight {len(rows)}\nwidth {len(rows[0])}\nmap\n" + "\n".join(rows))


OPEN = grid_of(*["." * 8] * 8)


def problem(grid=OPEN, agents=6, tasks=None, delays=None):
    """Agents in the first cells, and tasks of two stops all over the grid."""
    rng = np.random.default_rng(0)
    drawn = tuple((int(rng.integers(grid.count)), int(rng.integers(grid.count))) for _ in range(50))
    return Problem(grid, np.arange(agents), tasks or drawn, delays or Delays())


class Listening(Nominal):
    """Shortest paths, and what it heard."""

    def __init__(self, grid):
        super().__init__(grid)
        self.all = []

    def heard(self, passages):
        self.all.append(passages)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 60))
def test_nobody_shares_a_cell_jumps_or_swaps(seed, agents):
    """However many there are, delays and all."""
    floor = GridFloor(problem(agents=6, delays=Delays(1, 4, "bernoulli", 0.05)), Nominal(OPEN), seed, agents)
    for _ in range(25):
        before = floor.at.copy()
        floor.step()
        assert len(set(floor.at.tolist())) == agents
        for agent in range(agents):
            assert floor.at[agent] == before[agent] or floor.at[agent] in OPEN.beside[before[agent]]
        where = {int(cell): agent for agent, cell in enumerate(before)}
        for agent in range(agents):
            other = where.get(int(floor.at[agent]))
            assert other in (None, agent) or floor.at[other] != before[agent]


def test_one_agent_alone_goes_the_shortest_way():
    """From corner to corner and back: 14 steps each."""
    floor = GridFloor(problem(agents=1, tasks=((63, 0),)), Nominal(OPEN), 0, 1)
    finished = floor.run(56)
    assert finished.index(1) + 1 == 28
    assert finished[-1] == 2


def test_two_that_meet_in_a_corridor_get_past_where_there_is_a_way_round():
    """One gives way, and both finish again and again."""
    grid = grid_of(".......", ".@@@@@.", ".......")
    floor = GridFloor(Problem(grid, np.array([0, 6]), ((6, 0),), Delays()), Nominal(grid), 1, 2)
    assert floor.run(200)[-1] >= 4


def test_who_stands_in_the_way_is_pushed_on():
    """In a row, the first wants to where the second is, the second stays where it can."""
    row = [[1, 0, -1], [1, 0, 2], [2, 1, 3]]
    assert moved([0, 1, 2], row, [0, 1, 2], [0, 0, 0], 4) == [1, 2, 3]
    assert moved([0, 1, 2], [[1, 0], [1, 0, 2], [2, 1]], [0, 1, 2], [0, 0, 0], 3) == [0, 1, 2]


def test_who_is_held_up_stays_and_is_not_pushed():
    """Whatever the others want."""
    assert moved([0, 1], [[1, 0], [2, 1]], [0, 1], [0, 1], 3) == [0, 1]
    assert moved([0, 1], [[1, 0], [2, 1]], [0, 1], [0, 0], 3) == [1, 2]


def test_two_do_not_swap():
    """Each wants to where the other is, and there is nowhere else."""
    assert moved([0, 1], [[1, 0], [0, 1]], [1, 0], [0, 0], 2) == [0, 1]


def test_four_go_round_together():
    """A ring is no deadlock: all move at once."""
    ring = [[1, 0], [2, 1], [3, 2], [0, 3]]
    assert moved([0, 1, 2, 3], ring, [0, 1, 2, 3], [0, 0, 0, 0], 4) == [1, 2, 3, 0]


def test_a_long_row_moves_on_without_end_of_the_stack():
    """A thousand in a row: those behind the limit wait a step."""
    count = 1000
    wishes = [[k + 1, k] for k in range(count)]
    after = moved(list(range(count)), wishes, list(range(count)), [0] * count, count + 1)
    assert len(set(after)) == count
    assert all(cell in (k, k + 1) for k, cell in enumerate(after))
    assert sum(cell != k for k, cell in enumerate(after)) > 0


def test_a_guide_hears_how_long_each_cell_nearer_took():
    """Alone every move takes one step; with a crowd some take more, none less."""
    alone, crowd = Listening(OPEN), Listening(OPEN)
    GridFloor(problem(agents=1), alone, 0, 1).run(40)
    GridFloor(problem(agents=6), crowd, 0, 50).run(40)
    steps = np.concatenate([one.steps for one in alone.all])
    assert set(steps.tolist()) == {1.0}
    crowded = np.concatenate([one.steps for one in crowd.all])
    assert crowded.min() == 1.0
    assert crowded.mean() > 1.1
    for one in alone.all:
        assert (OPEN.beside[one.cells, one.directions] >= 0).all()


def test_the_same_seed_is_the_same_run():
    """And another one another."""
    given_ = problem(delays=Delays(1, 4, "poisson", 0.02, "gaussian"))
    runs = [GridFloor(given_, Nominal(OPEN), seed, 30) for seed in (3, 3, 4)]
    for one in runs:
        one.run(30)
    assert (runs[0].at == runs[1].at).all()
    assert runs[0].finished == runs[1].finished
    assert (runs[0].at != runs[2].at).any()


def test_more_agents_than_a_problem_has_begin_elsewhere():
    """Up to as many as there are cells."""
    floor = GridFloor(problem(agents=6), Nominal(OPEN), 0, 64)
    assert sorted(floor.at.tolist()) == list(range(64))
    for count in (0, 65):
        with pytest.raises(InputError, match="64 agents"):
            GridFloor(problem(), Nominal(OPEN), 0, count)


@pytest.mark.parametrize("event", ["bernoulli", "poisson"])
@pytest.mark.parametrize("lasts", ["uniform", "gaussian"])
def test_delays_come_as_often_and_last_as_long_as_is_said(event, lasts):
    """Over 200,000 agents: the rate within a tenth, lengths within their bounds, their mean in the middle."""
    rng = np.random.default_rng(0)
    found = delayed(Delays(2, 8, event, 0.02, lasts), 200_000, rng)
    hit = found[found > 0]
    assert len(hit) == pytest.approx(4000, rel=0.1)
    assert (hit.min(), hit.max()) == (2, 8)
    assert hit.mean() == pytest.approx(5.0, abs=0.15)


def test_delays_cost_tasks():
    """The same floor with and without."""
    free = GridFloor(problem(), Nominal(OPEN), 0, 6).run(300)[-1]
    late = GridFloor(problem(delays=Delays(5, 10, "bernoulli", 0.05)), Nominal(OPEN), 0, 6).run(300)[-1]
    assert late < 0.95 * free
