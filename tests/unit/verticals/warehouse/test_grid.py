"""Maps, agents and tasks of the League of Robot Runners: read as they are, or refused with a reason."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse.csgraph import dijkstra

from hotloop.errors import InputError
from hotloop.verticals.warehouse.grid import (
    DIRECTIONS,
    SIDE_MAX,
    STOPS_MAX,
    Delays,
    Grid,
    Zones,
    load,
    read_agents,
    read_grid,
    read_tasks,
    zones,
)

MAP = "type octile\nheight 3\nwidth 4\nmap\n..@.\n.E.S\nT...\n"


@pytest.fixture
def grid():
    return read_grid(MAP)


@pytest.fixture
def problem(tmp_path):
    """A problem's files, as they may be changed."""
    (tmp_path / "maps").mkdir()
    (tmp_path / "maps/a.map").write_text(MAP)
    (tmp_path / "a.agents").write_text("# version\n2\n0\n11\n")
    (tmp_path / "a.tasks").write_text("# version\n3\n1\n4,5,6\n10,3\n")
    named = {
        "mapFile": "maps/a.map", "agentFile": "a.agents", "taskFile": "a.tasks", "teamSize": 2, "version": "x",
        "delayConfig": {"minDelay": 1, "maxDelay": 4, "pDelay": 0.01, "seed": 0},
    }  # fmt: skip
    (tmp_path / "a.json").write_text(json.dumps(named))
    return tmp_path / "a.json", named


def test_free_cells_are_numbered_row_by_row(grid):
    """Emitters and service points can be driven over, trees and shelves cannot."""
    assert grid.free.tolist() == [[1, 1, 0, 1], [1, 1, 1, 1], [0, 1, 1, 1]]
    assert grid.cells.tolist() == [0, 1, 3, 4, 5, 6, 7, 9, 10, 11]
    assert grid.numbers[[0, 2, 11]].tolist() == [0, -1, 9]
    assert grid.beside[0].tolist() == [1, 3, -1, -1]  # east, south; the edge of the map
    assert grid.beside[1].tolist() == [-1, 4, 0, -1]  # beside a shelf


def test_distances_to_a_cell_follow_what_moves_take(grid):
    """By direction: east is slow here, so that the way there is longer than the way back."""
    took = np.ones((grid.count, 4))
    took[:, 0] = 5.0
    to_last = dijkstra(grid.ways(took), indices=9)
    to_first = dijkstra(grid.ways(took), indices=0)
    assert to_last[0] == 3 * 5 + 2
    assert to_first[9] == 3 + 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "begins with"),
        (MAP.replace("type", "kind"), "begins with"),
        (MAP.replace("height 3", "height x"), "height is a whole number"),
        (MAP.replace("height 3", "height 4"), "4 rows"),
        (MAP.replace("height 3", f"height {SIDE_MAX + 1}"), "up to"),
        (MAP.replace("width 4", "width 5"), "row 1"),
        (MAP.replace("E", "x"), "row 2"),
        ("type octile\nheight 1\nwidth 2\nmap\n@@\n", "no cell"),
        ("type octile\nheight 0\nwidth 2\nmap\n", "0 rows"),
    ],
)
def test_what_is_no_map_is_refused(text, said):
    """With what is wrong."""
    with pytest.raises(InputError, match=said):
        read_grid(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("2\n0\n", "2 agents"),
        ("1\n0\n1\n", "1 agents"),
        ("0\n", "at least one"),
        ("1\n2\n", "not free"),
        ("1\n12\n", "whole number"),
        ("1\n-1\n", "whole number"),
        ("1\n١\n", "whole number"),
        ("2\n4\n4\n", "same cell"),
        ("999999999999999\n", "whole number"),
    ],
)
def test_agents_that_cannot_stand_there_are_refused(grid, text, said):
    """Each in a free cell of its own."""
    with pytest.raises(InputError, match=said):
        read_agents(text, grid)


def test_tasks_keep_the_order_of_their_stops(grid):
    """Comments and empty lines are left out."""
    assert read_tasks("# v\n\n2\n11,0,5\n3\n", grid) == ((9, 0, 4), (2,))


@pytest.mark.parametrize("row", ["", "1,", "1,,4", "2", "1;4", ",".join(["0"] * (STOPS_MAX + 1))])
def test_tasks_that_lead_nowhere_are_refused(grid, row):
    """A stop is a free cell, and there are not too many."""
    with pytest.raises(InputError):
        read_tasks(f"1\n{row}\n", grid)


def test_a_problem_is_read_whole(problem):
    """Map, agents, tasks, delays."""
    found = load(problem[0])
    assert found.agents.tolist() == [0, 9]
    assert found.tasks == ((1,), (3, 4, 5), (8, 2))
    assert found.delays == Delays(1, 4, "bernoulli", 0.01)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"teamSize": 3}, "wants 3 agents"),
        ({"teamSize": 0}, "no problem"),
        ({"mapFile": "../x.map"}, "not in its folder"),
        ({"mapFile": "/etc/hostname"}, "not in its folder"),
        ({"taskFile": "none.tasks"}, "cannot be read"),
        ({"delayConfig": {"minDelay": 5, "maxDelay": 4}}, "minDelay"),
        ({"delayConfig": {"pDelay": 2}}, "no problem"),
        ({"delayConfig": {"eventModel": "other"}}, "no problem"),
    ],
)
def test_a_problem_that_cannot_be_is_refused(problem, change, said):
    """And no file outside of its folder is read."""
    path, named = problem
    path.write_text(json.dumps(named | change))
    with pytest.raises(InputError, match=said):
        load(path)


def test_a_file_that_is_no_text_or_too_large_is_refused(problem, monkeypatch):
    """By its name."""
    path, _ = problem
    (path.parent / "a.agents").write_bytes(b"\xff\xfe2\n")
    with pytest.raises(InputError, match=r"a\.agents"):
        load(path)
    monkeypatch.setattr("hotloop.verticals.warehouse.grid.BYTES_MAX", 10)
    with pytest.raises(InputError, match="larger"):
        load(path)


@settings(max_examples=80, deadline=None)
@given(st.text(alphabet="012,# \n.@abE-", max_size=40))
def test_any_text_is_read_or_refused(text):
    """By InputError alone."""
    grid = read_grid(MAP)
    for read in (lambda: read_grid(text), lambda: read_agents(text, grid), lambda: read_tasks(text, grid)):
        try:
            read()
        except InputError:
            continue


def test_zones_are_squares_and_as_many_as_there_may_be():
    """Each free cell is in one, cells of one are near each other."""
    grid = read_grid("type octile\nheight 20\nwidth 30\nmap\n" + ("." * 30 + "\n") * 20)
    found = zones(grid, 24)
    assert (found.side, found.count) == (5, 24)
    assert found.of[0] == found.of[4] != found.of[5]
    assert zones(grid, 10_000).count == grid.count
    rows, columns = grid.cells // 30, grid.cells % 30
    for zone in range(found.count):
        assert np.ptp(rows[found.of == zone]) < 5
        assert np.ptp(columns[found.of == zone]) < 5


@pytest.mark.parametrize(("name", "agents", "stops"), [("random", 400, 64 * 64), ("warehouse", 2500, 140 * 500)])
def test_the_leagues_own_examples_are_read(name, agents, stops):
    """All agents, all tasks, as many cells as the map says."""
    data = os.environ.get("HOTLOOP_DATA")
    folder = Path(data or "") / f"warehouse/lorr-start-kit/example_problems/{name}.domain"
    if not data or not folder.is_dir():
        pytest.skip("set HOTLOOP_DATA to a folder that holds warehouse/lorr-start-kit/")
    found = load(next(folder.glob("*.json")))
    assert len(found.agents) == agents
    assert found.grid.free.size == stops
    assert len(found.tasks) > 3000
    assert all(0 <= stop < found.grid.count for task in found.tasks for stop in task)


@pytest.mark.parametrize(
    "name", ["a\0.map", "\0", "maps/../../a.map", "maps/link/a.map", "a" * 5000, "maps", "", "maps/a.map/x"]
)
def test_no_name_in_a_problem_leads_out_of_its_folder_or_out_of_a_named_error(problem, name):
    """With a NUL, through a link, too long, a folder, below a file: nothing but InputError, that says the name."""
    path, named = problem
    (path.parent.parent / "a.map").write_text(MAP)
    (path.parent / "maps/link").symlink_to(path.parent.parent)
    path.write_text(json.dumps(named | {"mapFile": name}))
    with pytest.raises(InputError, match=r"not in its folder|cannot be read"):
        load(path)


@pytest.mark.parametrize(
    "text", ['{"x":' + "[" * 100_000 + "]" * 100_000 + "}", "[]", "", "{", '{"mapFile": "\\ud800"}', "NaN"]
)
def test_a_problem_that_is_no_json_of_one_is_refused_by_its_name(problem, text):
    """However deep it goes."""
    path, _ = problem
    path.write_text(text)
    with pytest.raises(InputError, match=r"a\.json is no problem"):
        load(path)


def test_a_problem_cut_short_anywhere_is_never_read_as_another_one(problem):
    """Each file at each length: what is read is the same but for the lines that are gone, or it is refused."""
    path, _ = problem
    whole = load(path)
    for name in ("maps/a.map", "a.agents", "a.tasks", "a.json"):
        text = (path.parent / name).read_bytes()
        for size in range(len(text.rstrip())):
            (path.parent / name).write_bytes(text[:size])
            try:
                found = load(path)
            except InputError:
                continue
            # Only the last number of a file may have lost digits: nothing tells that from a shorter number.
            assert found.grid.free.tolist() == whole.grid.free.tolist()
            assert found.agents[:-1].tolist() == whole.agents[:-1].tolist()
            assert found.tasks[:-1] == whole.tasks[:-1]
            assert len(found.agents) == len(whole.agents)
        (path.parent / name).write_bytes(text)
    assert load(path).tasks == whole.tasks


masks = st.integers(1, 7).flatmap(
    lambda width: st.lists(st.lists(st.booleans(), min_size=width, max_size=width), min_size=1, max_size=7)
)


@settings(max_examples=100, deadline=None)
@given(masks.filter(lambda rows: any(map(any, rows))))
def test_a_map_is_read_as_it_is_written_and_who_is_beside_whom_is_mutual(rows):
    """East of one is west of the other; a neighbour is one cell off, and never over the edge of a row."""
    text = "\n".join("".join(".@"[not free] for free in row) for row in rows)
    grid = read_grid(f"type octile\nheight {len(rows)}\nwidth {len(rows[0])}\nmap\n{text}\n\n")
    assert grid.free.tolist() == rows
    assert grid.numbers[grid.cells].tolist() == list(range(grid.count))
    width = len(rows[0])
    for cell in range(grid.count):
        at = divmod(int(grid.cells[cell]), width)
        for direction, (down, right) in enumerate(DIRECTIONS):
            there = (at[0] + down, at[1] + right)
            free = 0 <= there[0] < len(rows) and 0 <= there[1] < width and rows[there[0]][there[1]]
            beside = int(grid.beside[cell, direction])
            assert (beside >= 0) == bool(free)
            if free:
                assert divmod(int(grid.cells[beside]), width) == there
                assert grid.beside[beside, (direction + 2) % 4] == cell


@settings(max_examples=60, deadline=None)
@given(masks.filter(lambda rows: any(map(any, rows))), st.integers(1, 60))
def test_zones_share_out_all_free_cells_and_none_is_empty(rows, most):
    """Numbers without a hole, no more than there may be, and smaller squares would have been too many."""
    grid = Grid(np.array(rows, bool))
    found = zones(grid, most)
    assert set(found.of.tolist()) == set(range(found.count))
    assert len(found.of) == grid.count
    assert found.count <= most
    assert found.side == 1 or Zones(grid, found.side - 1).count > most


@settings(max_examples=40, deadline=None)
@given(masks.filter(lambda rows: sum(map(sum, rows)) > 1), st.integers(0, 1000))
def test_distances_on_directed_moves_are_those_of_bellman_and_ford(rows, seed):
    """Each cell's distance to a goal is the least of its moves and the distance from there; 0 at the goal alone."""
    rng = np.random.default_rng(seed)
    grid = Grid(np.array(rows, bool))
    took, goal = rng.uniform(1.0, 9.0, (grid.count, 4)), int(rng.integers(grid.count))
    far = dijkstra(grid.ways(took), indices=goal)
    assert far[goal] == 0
    padded = np.append(far, np.inf)
    by_moves = (took + padded[grid.beside]).min(1)
    others = np.arange(grid.count) != goal
    np.testing.assert_allclose(far[others], by_moves[others])
