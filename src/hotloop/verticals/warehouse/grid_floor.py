"""Agents on a grid, one a cell, step by step: each goes down the distance to its next stop. Seeded.

Who moves where is priority inheritance with backtracking (PIBT: Okumura, Machida, Defago & Tamura 2022): in the order
of how long they have been on their way, each takes the free neighbour that is nearest to its stop, and whoever stands
there has to move on first. So nobody swaps, nobody shares a cell, and where every cell has a way round nobody
stands for ever; in a blind alley two may. Distances are all that a policy says (`Guide`): those of nominal steps, or of
learned times. Agents are held up as the League of Robot Runners has it; they do not turn, and a move takes one step.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

import numpy as np
from scipy.sparse.csgraph import dijkstra

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.warehouse.grid import Cells, Delays, Grid, Problem

_CHAIN_MAX: Final = 300  # agents that push each other in one step
_AT_ONCE: Final = 64  # stops whose distances are found in one call: bounds what it holds in memory


@dataclass(frozen=True)
class Passages:
    """Moves that brought agents nearer to their stops than they had been: from which free cell, in which direction, and
    how many steps after the last such one. Each (n,).
    """

    cells: Cells
    directions: Cells
    steps: Floats


class Guide(Protocol):
    """What moves are thought to take, and who hears what they took."""

    def moves(self) -> Floats:
        """Of a move from each free cell in each direction, in steps (cells, 4)."""
        ...

    def heard(self, passages: Passages) -> None:
        """After each step."""
        ...


@dataclass
class Nominal:
    """Each move takes a step: shortest paths."""

    grid: Grid

    def moves(self) -> Floats:
        """All the same."""
        return np.ones((self.grid.count, 4))

    def heard(self, passages: Passages) -> None:
        """Nothing is learned."""


@dataclass
class GridFloor:
    """Agents with tasks, taken in order by whoever is free. `finished`: how many tasks were, after each step."""

    problem: Problem
    guide: Guide
    seed: int
    agents: int
    finished: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        count, grid = self.agents, self.problem.grid
        self._rng = np.random.default_rng((self.seed, 9))
        self._tasks = itertools.cycle(self._rng.permutation(len(self.problem.tasks)).tolist())
        self.at = _begun(self.problem, count, self._rng)
        self._stops: list[list[int]] = [[] for _ in range(count)]
        self._far = np.zeros((count, grid.count + 1), np.float32)  # to the stop; the last column is no cell
        self._far[:, -1] = np.inf
        self._least = np.zeros(count, np.float32)  # as near as each has been
        self._since = np.zeros(count, np.intp)  # steps since it was
        self._held = np.zeros(count, np.intp)  # steps for which each stands still
        self._waited = self._rng.random(count)  # on its way to a stop: who has longest goes first
        self._beside = np.concatenate((grid.beside, np.arange(grid.count)[:, None]), axis=1)
        self._done = 0
        self._assign(np.arange(count))

    def run(self, steps: int) -> list[int]:
        """So many steps; tasks that were finished after each (steps,)."""
        for _ in range(steps):
            self.step()
        return self.finished

    def step(self) -> None:
        """One step of all agents."""
        self._hold_up()
        choices = self._beside[self.at]  # (agents, 5)
        each = np.arange(self.agents)
        far = self._far[each[:, None], choices]
        taken = np.isin(choices, self.at)
        order = np.lexsort((self._rng.random(far.shape), taken, far), axis=1)
        wishes = np.where(choices < 0, -1, choices)[each[:, None], order].tolist()
        going = np.argsort(-self._waited, kind="stable").tolist()
        after = np.array(moved(self.at.tolist(), wishes, going, self._held.tolist(), self.problem.grid.count), np.intp)
        self._measure(after)
        self.at = after
        self._waited += 1.0
        arrived = np.flatnonzero(self._far[each, after] <= 0)
        if len(arrived):
            self._assign(arrived)
        self.finished.append(self._done)

    def _measure(self, after: Cells) -> None:
        """Tell the guide what moves took."""
        each = np.arange(self.agents)
        far = self._far[each, after]
        self._since += 1
        nearer = np.flatnonzero((far < self._least) & (after != self.at))
        directions = (self._beside[self.at[nearer]] == after[nearer, None]).argmax(1)
        self.guide.heard(Passages(self.at[nearer], directions, self._since[nearer].astype(float)))
        self._least[nearer] = far[nearer]
        self._since[nearer] = 0

    def _hold_up(self) -> None:
        """Who stands still from now on, and for how long."""
        self._held = np.maximum(self._held - 1, 0)
        self._held = np.maximum(self._held, delayed(self.problem.delays, self.agents, self._rng) * (self._held == 0))

    def _assign(self, arrived: Cells) -> None:
        """The next stop of each, of its task or of the next one."""
        for agent in arrived.tolist():
            stops = self._stops[agent]
            if stops:
                stops.pop(0)
                self._done += not stops
            while not stops:
                stops.extend(self.problem.tasks[next(self._tasks)])
        goals = np.array([self._stops[agent][0] for agent in arrived.tolist()])
        graph = self.problem.grid.ways(self.guide.moves())
        which, back = np.unique(goals, return_inverse=True)
        for first in range(0, len(which), _AT_ONCE):
            mine = (back >= first) & (back < first + _AT_ONCE)
            self._far[arrived[mine], :-1] = dijkstra(graph, indices=which[first : first + _AT_ONCE])[back[mine] - first]
        self._least[arrived] = self._far[arrived, self.at[arrived]]
        self._since[arrived] = 0
        self._waited[arrived] = self._rng.random(len(arrived))


def _begun(problem: Problem, count: int, rng: np.random.Generator) -> Cells:
    """Where so many agents begin: some of the problem's, or all of them and others in cells left over. InputError."""
    if not 1 <= count <= problem.grid.count:
        raise InputError(f"1 to {problem.grid.count} agents have a place on this map, not {count}")
    left = np.setdiff1d(np.arange(problem.grid.count), problem.agents)
    return np.concatenate((rng.permutation(problem.agents), rng.permutation(left)))[:count]


def delayed(delays: Delays, agents: int, rng: np.random.Generator) -> Cells:
    """For how many steps each agent is held up from now on (agents,), mostly 0."""
    if delays.event_model == "bernoulli":
        hit = np.flatnonzero(rng.random(agents) < delays.p_delay)
    else:
        hit = np.unique(rng.integers(0, agents, rng.poisson(agents * delays.p_delay)))
    low, high = delays.min_delay, delays.max_delay
    if delays.duration_model == "uniform":
        lasts = rng.integers(low, high + 1, len(hit))
    else:
        mean, spread = low + delays.gauss_mean_ratio * (high - low), delays.gauss_std_ratio * (high - low)
        lasts = np.rint(rng.normal(mean, spread, len(hit)).clip(low, high)).astype(np.intp)
    found = np.zeros(agents, np.intp)
    found[hit] = lasts
    return found


def moved(
    at: Sequence[int], wishes: Sequence[Sequence[int]], going: Sequence[int], held: Sequence[int], cells: int
) -> list[int]:
    """Where each agent is after a step: no two in a cell, and no two in each other's. `wishes`: cells that each would
    go to, the best first (-1: none); `going`: agents, those who choose first; `held`: those above 0 stay.
    """
    after, here, taken = [-1] * len(at), [-1] * cells, [-1] * cells
    for agent, cell in enumerate(at):
        here[cell] = agent
        if held[agent] > 0:
            after[agent], taken[cell] = cell, agent

    def choose(agent: int, pushed_by: int, depth: int) -> bool:
        """Whether it has found a cell other than the one that it is pushed out of."""
        for cell in wishes[agent]:
            if cell < 0 or taken[cell] >= 0 or (pushed_by >= 0 and cell == at[pushed_by]):
                continue
            other = here[cell]
            if other >= 0 and other != agent and after[other] == at[agent]:
                continue
            after[agent], taken[cell] = cell, agent
            moves_on = other < 0 or other == agent or after[other] >= 0
            if moves_on or (depth < _CHAIN_MAX and choose(other, agent, depth + 1)):
                return True
            after[other], taken[cell] = cell, other
        after[agent], taken[at[agent]] = at[agent], agent
        return False

    for agent in going:
        if after[agent] < 0:
            choose(agent, -1, 0)
    return after
