"""A warehouse as a grid of cells: maps, agents and tasks as the League of Robot Runners has them.

A map is text: `type octile`, `height 64`, `width 64`, `map`, then a row of characters a line: `.`, `E` and `S` are
free, `@` and `T` are not. Agents are a number and that many cells, a line each; a cell is row x width + column. Tasks
are a number and that many lines of cells that are to be visited in order, with commas between. Lines that begin with
`#` are left out. A problem is JSON that names the three files and says how agents are delayed. All of it has limits.
https://github.com/MAPF-Competition/Start-Kit, Input_Output_Format.md
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Final, Literal, TypeAlias

import msgspec
import numpy as np
from msgspec import Meta
from numpy.typing import NDArray
from scipy.sparse import csr_array

from hotloop.errors import InputError
from hotloop.types import UNREADABLE, Floats

Cells: TypeAlias = NDArray[np.intp]
SIDE_MAX: Final = 2_000  # cells
AGENTS_MAX: Final = 20_000
TASKS_MAX: Final = 1_000_000
STOPS_MAX: Final = 64  # of a task
BYTES_MAX: Final = 64 * 2**20  # of a file
_FREE, _TAKEN = b".ES", b"@T"
DIRECTIONS: Final = ((0, 1), (1, 0), (0, -1), (-1, 0))  # east, south, west, north


@dataclass(frozen=True, eq=False)
class Grid:
    """Which cells are free: (height, width). Free cells are numbered row by row."""

    free: NDArray[np.bool_]

    @property
    def count(self) -> int:
        """Free cells."""
        return int(self.free.sum())

    @cached_property
    def cells(self) -> Cells:
        """Row x width + column of each free cell (count,)."""
        return np.flatnonzero(self.free)

    @cached_property
    def numbers(self) -> Cells:
        """The number of each cell, by row x width + column; -1 where it is not free."""
        found = np.full(self.free.size, -1, np.intp)
        found[self.cells] = np.arange(self.count)
        return found

    @cached_property
    def beside(self) -> Cells:
        """The free cell to the east, south, west and north of each free cell (count, 4); -1 where there is none."""
        padded = np.full((self.free.shape[0] + 2, self.free.shape[1] + 2), -1, np.intp)
        padded[1:-1, 1:-1] = self.numbers.reshape(self.free.shape)
        rows, columns = np.nonzero(self.free)
        return np.stack([padded[rows + 1 + down, columns + 1 + right] for down, right in DIRECTIONS], axis=1)

    def ways(self, took: Floats) -> csr_array:
        """The graph from each cell to those from which it is reached, by what a move in each direction takes: (count,
        4); shortest paths in it from a cell are those to the cell.
        """
        starts, directions = np.nonzero(self.beside >= 0)
        ends = self.beside[starts, directions]
        return csr_array((took[starts, directions], (ends, starts)), shape=(self.count, self.count))


@dataclass(frozen=True, eq=False)
class Zones:
    """Squares of cells: what a time is learned of, with the direction of a move."""

    grid: Grid
    side: int

    @cached_property
    def of(self) -> Cells:
        """The zone of each free cell (count,); zones without a free cell have no number."""
        rows, columns = np.nonzero(self.grid.free)
        across = -(-self.grid.free.shape[1] // self.side)
        found: Cells = np.unique(rows // self.side * across + columns // self.side, return_inverse=True)[1]
        return found

    @property
    def count(self) -> int:
        """How many there are."""
        return int(self.of.max()) + 1


def zones(grid: Grid, most: int) -> Zones:
    """The smallest squares of which there are at most so many."""
    side = 1
    while (found := Zones(grid, side)).count > most:
        side += 1
    return found


class Delays(msgspec.Struct, frozen=True, rename="camel"):
    """When an agent is held up, and for how many steps."""

    min_delay: Annotated[int, Meta(ge=0, le=10_000)] = 0
    max_delay: Annotated[int, Meta(ge=0, le=10_000)] = 0
    event_model: Literal["bernoulli", "poisson"] = "bernoulli"
    p_delay: Annotated[float, Meta(ge=0, le=1)] = 0.0
    duration_model: Literal["uniform", "gaussian"] = "uniform"
    gauss_mean_ratio: Annotated[float, Meta(ge=0, le=1)] = 0.5
    gauss_std_ratio: Annotated[float, Meta(ge=0, le=10)] = 0.22


class _Named(msgspec.Struct, frozen=True, rename="camel"):
    map_file: str
    agent_file: str
    task_file: str
    team_size: Annotated[int, Meta(ge=1, le=AGENTS_MAX)]
    delay_config: Delays = Delays()


@dataclass(frozen=True, eq=False)
class Problem:
    """A grid, where agents begin (numbers of free cells), tasks (free cells in order), and delays."""

    grid: Grid
    agents: Cells
    tasks: tuple[tuple[int, ...], ...]
    delays: Delays


def read_grid(text: str) -> Grid:
    """A map. InputError."""
    lines = text.splitlines()
    heads = [line.split() for line in lines[:4]]
    names = [head[0] if head else "" for head in heads]
    if names != ["type", "height", "width", "map"]:
        raise InputError("a map begins with the lines `type octile`, `height N`, `width N`, `map`")
    height, width = (_whole(" ".join(head[1:]), f"the map's {head[0]}", SIDE_MAX) for head in heads[1:3])
    rows = lines[4:]
    while rows and not rows[-1].strip():
        rows.pop()
    if len(rows) != height or height < 1 or width < 1:
        raise InputError(f"the map says that it has {height} rows of {width} cells; there are {len(rows)} rows")
    known = set((_FREE + _TAKEN).decode())
    for number, row in enumerate(rows, 1):
        if len(row) != width or not set(row) <= known:
            raise InputError(f"row {number} of the map is not {width} cells of {' '.join(sorted(known))}")
    letters = np.frombuffer("".join(rows).encode(), np.uint8).reshape(height, width)
    free = np.isin(letters, np.frombuffer(_FREE, np.uint8))
    if not free.any():
        raise InputError("no cell of the map is free")
    return Grid(free)


def read_agents(text: str, grid: Grid) -> Cells:
    """Where agents begin: each in a free cell of its own. InputError."""
    rows = _counted(text, "agents", AGENTS_MAX)
    agents = np.array([_cell(row, grid, f"agent {number}") for number, row in enumerate(rows)], np.intp)
    if len(np.unique(agents)) < len(agents):
        raise InputError("two agents begin in the same cell")
    return agents


def read_tasks(text: str, grid: Grid) -> tuple[tuple[int, ...], ...]:
    """What is to be visited, in order. InputError."""
    found = []
    for number, row in enumerate(_counted(text, "tasks", TASKS_MAX)):
        stops = row.split(",")
        if len(stops) > STOPS_MAX:
            raise InputError(f"task {number} has {len(stops)} stops: at most {STOPS_MAX}")
        found.append(tuple(_cell(stop, grid, f"a stop of task {number}") for stop in stops))
    return tuple(found)


def load(path: Path) -> Problem:
    """A problem's JSON and the files that it names, in its folder or below. InputError."""
    try:
        named = msgspec.json.decode(_text(path), type=_Named)
    except UNREADABLE as error:
        raise InputError(f"{path.name} is no problem of the League of Robot Runners: {error}") from error
    if named.delay_config.min_delay > named.delay_config.max_delay:
        raise InputError(f"{path.name}: minDelay is more than maxDelay")
    folder = path.parent.resolve()
    texts = []
    for name in (named.map_file, named.agent_file, named.task_file):
        inner = (folder / name.replace("\0", "")).resolve()
        if "\0" in name or not inner.is_relative_to(folder):
            raise InputError(f"{path.name} names {name!r}, which is not in its folder")
        texts.append(_text(inner))
    grid = read_grid(texts[0])
    agents = read_agents(texts[1], grid)
    if named.team_size > len(agents):
        raise InputError(f"{path.name} wants {named.team_size} agents, {named.agent_file} has {len(agents)}")
    return Problem(grid, agents[: named.team_size], read_tasks(texts[2], grid), named.delay_config)


def _text(path: Path) -> str:
    """A file's text, if it is not too large. InputError."""
    try:
        if path.stat().st_size > BYTES_MAX:
            raise InputError(f"{path.name} is larger than {BYTES_MAX >> 20} MiB")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path.name} cannot be read as text: {error}") from error


def _counted(text: str, what: str, most: int) -> list[str]:
    """A number, and that many lines. InputError."""
    rows = [row.strip() for row in text.splitlines() if row.strip() and not row.startswith("#")]
    if not rows:
        raise InputError(f"the file of {what} begins with their number: it is empty")
    count = _whole(rows[0], f"the number of {what}", most)
    if count < 1 or len(rows) - 1 != count:
        raise InputError(f"there should be {count} {what}, and at least one; there are {len(rows) - 1} lines")
    return rows[1:]


def _whole(text: str, what: str, most: int) -> int:
    """A whole number from 0. InputError."""
    if not (text.isascii() and text.isdigit() and len(text) < 12 and int(text) <= most):
        raise InputError(f"{what} is a whole number up to {most}, not {text[:40]!r}")
    return int(text)


def _cell(text: str, grid: Grid, what: str) -> int:
    """The number of a free cell. InputError."""
    cell = _whole(text.strip(), what, grid.free.size - 1)
    if not grid.free.ravel()[cell]:
        raise InputError(f"{what} is in cell {cell}, which is not free")
    return int(grid.numbers[cell])
