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


@st.composite
def crowds(draw):
    """Any graph, agents on some nodes, what each wishes (neighbours and its own, maybe not all), who waits."""
    cells = draw(st.integers(1, 9))
    ways = draw(st.lists(st.tuples(st.integers(0, cells - 1), st.integers(0, cells - 1)), max_size=20))
    beside = {cell: {b for a, b in ways if a == cell} | {a for a, b in ways if b == cell} for cell in range(cells)}
    at = draw(st.permutations(range(cells)))[: draw(st.integers(1, cells))]
    wishes = [draw(st.permutations([*beside[cell], cell, -1])) for cell in at]
    wishes = [row[: draw(st.integers(0, len(row)))] for row in wishes]
    going = draw(st.permutations(range(len(at))))
    held = draw(st.lists(st.integers(0, 2), min_size=len(at), max_size=len(at)))
    return cells, list(at), wishes, list(going), held


@settings(max_examples=400, deadline=None)
@given(crowds())
def test_a_step_on_any_graph_is_one_that_can_be_gone(crowd):
    """Each in a cell of its own, one that it wished or its own; nobody through another; who is held up stays."""
    cells, at, wishes, going, held = crowd
    after = moved(at, wishes, going, held, cells)
    assert len(set(after)) == len(at)
    for agent, cell in enumerate(after):
        assert cell == at[agent] or (cell in wishes[agent] and not held[agent])
    pairs = {(before, now) for before, now in zip(at, after, strict=True) if before != now}
    assert not {(now, before) for before, now in pairs} & pairs


@settings(max_examples=200, deadline=None)
@given(crowds())
def test_who_goes_first_gets_its_first_wish_where_nobody_stands(crowd):
    """Priority: nobody can take it away."""
    cells, at, wishes, going, held = crowd
    first = going[0]
    free = [cell for cell in wishes[first] if cell >= 0]
    after = moved(at, wishes, going, held, cells)
    if not held[first] and free and free[0] not in at:
        assert after[first] == free[0]


class Watched(GridFloor):
    """A floor that keeps who was held up in each step, and where each was after it."""

    def _hold_up(self):
        super()._hold_up()
        self.stood.append(self._held.copy())

    def watch(self, steps):
        self.stood, self.places = [], [self.at.copy()]
        for _ in range(steps):
            self.step()
            self.places.append(self.at.copy())
        return self


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.sampled_from(["bernoulli", "poisson"]), st.integers(1, 3), st.integers(0, 3))
def test_who_is_delayed_stands_for_as_long_as_it_is_said(seed, event, least, more):
    """In every step of its delay; a delay counts down, and is not begun anew before it is over."""
    floor = Watched(problem(delays=Delays(least, least + more, event, 0.15)), Nominal(OPEN), seed, 20).watch(30)
    for step, held in enumerate(floor.stood):
        stands = held > 0
        assert (floor.places[step + 1][stands] == floor.places[step][stands]).all()
        if step:
            before = floor.stood[step - 1]
            assert (held[before > 1] == before[before > 1] - 1).all()
            fresh = held[before <= 1]
            assert ((fresh == 0) | ((fresh >= least) & (fresh <= least + more))).all()
    assert any((held > 0).any() for held in floor.stood)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.integers(1, 4), st.integers(2, 4))
def test_each_tasks_stops_are_visited_in_order_and_every_task_counts_once(seed, agents, stops):
    """By where agents were, step by step: as many tasks are through as are said to be finished."""
    rng = np.random.default_rng(seed)
    tasks = tuple(tuple(int(cell) for cell in rng.choice(64, stops, replace=False)) for _ in range(12))
    floor = Watched(problem(agents=6, tasks=tasks), Nominal(OPEN), seed, agents)
    mine = [list(one) for one in floor._stops]
    begun = [tasks.index(tuple(one)) for one in mine]
    through = 0
    for _ in range(80):
        before = [list(one) for one in floor._stops]
        floor.stood = []
        floor.step()
        for agent, (was, now) in enumerate(zip(before, floor._stops, strict=True)):
            if now == was:
                assert floor.at[agent] != was[0], "it is there, and its stop still stands"
                continue
            assert floor.at[agent] == was[0], "a stop is crossed off where it is, nowhere else"
            through += len(was) == 1
            if len(was) == 1:
                begun.append(tasks.index(tuple(now)))
            else:
                assert now == was[1:]
        assert floor.finished[-1] == through
    assert begun[: len(tasks)] == list(dict.fromkeys(begun))[: len(tasks)], "none is given twice before all were"


def test_what_cannot_be_reached_keeps_one_agent_and_no_others():
    """A stop behind a wall: who has it wanders, and is pushed aside; the others finish task after task."""
    grid = grid_of("....@.", "....@.", "....@.")
    far, rng = int(grid.numbers[5]), np.random.default_rng(0)
    west = [int(grid.numbers[row * 6 + column]) for row in range(3) for column in range(4)]
    tasks = [(int(rng.choice(west)),) for _ in range(200)]
    tasks[0] = (far,)
    floor = GridFloor(Problem(grid, np.array(west[:3]), tuple(tasks), Delays()), Nominal(grid), 20, 3)
    while [far] not in floor._stops:
        floor.step()
    stuck, begun = floor._stops.index([far]), floor._done
    floor.run(100)
    assert floor._stops[stuck] == [far]
    assert floor._done - begun >= 40
    assert set(floor.at.tolist()) <= set(west)


@pytest.mark.parametrize("agents", [1, 9, 64])
def test_the_same_seed_is_the_same_run_and_another_one_is_not(agents):
    """Places after 40 steps; the guide hears the same."""
    def run(seed):
        guide = Listening(OPEN)
        floor = GridFloor(problem(delays=Delays(1, 3, "poisson", 0.1, "gaussian")), guide, seed, agents)
        floor.run(40)
        heard = [(one.cells.tolist(), one.directions.tolist(), one.steps.tolist()) for one in guide.all]
        return floor.at.tolist(), floor.finished, heard

    assert run(3) == run(3)
    assert run(3) != run(4)


def test_a_guide_hears_the_move_that_was_made_and_never_less_than_a_step():
    """The cell that a direction leads to is where somebody stands now; a hundred steps with delays."""
    guide = Listening(OPEN)
    floor = GridFloor(problem(delays=Delays(2, 5, "bernoulli", 0.05)), guide, 2, 12)
    waited = 0
    for _ in range(100):
        before = set(floor.at.tolist())
        floor.step()
        heard = guide.all[-1]
        assert set(heard.cells.tolist()) <= before
        assert set(OPEN.beside[heard.cells, heard.directions].tolist()) <= set(floor.at.tolist())
        assert (heard.steps >= 1).all()
        waited += int((heard.steps > 1).sum())
    assert waited, "delays are heard as moves that took longer"


def test_no_delay_is_no_delay_however_often_it_comes():
    """Of 0 steps; and one of a certain chance holds everybody."""
    rng = np.random.default_rng(0)
    assert not delayed(Delays(0, 0, "bernoulli", 1.0), 50, rng).any()
    assert (delayed(Delays(3, 3, "bernoulli", 1.0, "gaussian"), 50, rng) == 3).all()
    assert not delayed(Delays(1, 9, "poisson", 0.0), 50, rng).any()
    floor = GridFloor(problem(delays=Delays(1, 1, "bernoulli", 1.0)), Nominal(OPEN), 0, 6)
    before = floor.at.copy()
    assert floor.run(5) == [0] * 5
    assert (floor.at == before).all()
