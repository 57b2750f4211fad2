"""Layouts: every family draws boards of its own look, in any orientation, from any style."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image

from hotloop.verticals.inspection import layout
from hotloop.verticals.inspection.canvas import Canvas
from hotloop.verticals.inspection.layout import draw_layout
from hotloop.verticals.inspection.routing import STEPS, Grid
from hotloop.verticals.inspection.style import FAMILIES, Style

SIZE_PX = 256


def drawn(family: str, seed: int) -> np.ndarray:
    """A board of a family as grey levels."""
    style = dataclasses.replace(Style.of(seed), family=family)
    return np.asarray(draw_layout(np.random.default_rng(seed), style, SIZE_PX))


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_draws_boards(family: str) -> None:
    """Each family gives grey pictures of the wanted size that are neither all copper nor all bare."""
    pictures = [drawn(family, seed) for seed in range(12)]
    for picture in pictures:
        assert picture.shape == (SIZE_PX, SIZE_PX)
        assert picture.dtype == np.uint8
    mixed = [p for p in pictures if 0.01 < (p > 127).mean() < 0.995]
    assert len(mixed) >= 9


def test_every_family_has_a_painter() -> None:
    """The table of painters and the list of families agree."""
    assert set(layout._PAINTERS) == set(FAMILIES)


def test_planes_hold_more_copper_than_sparse_boards() -> None:
    """Families look different: a pour is mostly copper, a sparse board mostly bare."""
    share = {f: np.mean([(drawn(f, s) > 127).mean() for s in range(8)]) for f in ("pour", "sparse", "routed")}
    assert share["pour"] > 0.5 > share["routed"] > 0.05
    assert share["sparse"] < share["pour"]


def test_styles_cover_their_ranges() -> None:
    """Over many sites every family comes up and every number stays in its range."""
    styles = [Style.of(seed) for seed in range(300)]
    assert {style.family for style in styles} == set(FAMILIES)
    assert {style.diagonal for style in styles} == {True, False}
    assert all(12 <= style.pitch_px <= 170 for style in styles)
    assert all(0.0 <= style.agreement <= 1.0 for style in styles)
    assert all(5 <= style.pitch_px * (1 - style.fill) for style in styles), "gaps below 5 pixels close in a scan"


@pytest.mark.parametrize("distance", [-30.0, 0.0, 12.5])
def test_parallel_lines_keep_their_distance(distance: float) -> None:
    """A line beside a bent one is everywhere as far from it as was asked."""
    spine = [(0.0, 0.0), (200.0, 0.0), (350.0, 150.0), (600.0, 150.0)]
    beside = layout._beside(spine, distance)
    for (p, q), (a, b) in zip(pairwise(spine), pairwise(beside), strict=True):
        along = np.subtract(q, p) / np.linalg.norm(np.subtract(q, p))
        across = np.array((-along[1], along[0]))
        assert np.dot(np.subtract(a, p), across) == pytest.approx(distance)
        assert np.dot(np.subtract(b, p), across) == pytest.approx(distance)


def test_spines_bend_by_45_or_90_degrees_alone() -> None:
    """The lines of buses have the angles that their style allows."""
    for seed in range(20):
        style = dataclasses.replace(Style.of(seed), diagonal=seed % 2 == 0)
        points = np.array(layout._spine(np.random.default_rng(seed), style, SIZE_PX, 40.0))
        along = np.diff(points, axis=0)
        turns = np.diff(np.degrees(np.arctan2(along[:, 1], along[:, 0])))
        turns = np.abs((turns + 180) % 360 - 180)
        allowed = (0, 45, 90) if style.diagonal else (0, 90, 180)
        assert all(min(abs(turn - a) for a in allowed) < 1e-6 for turn in turns)


def test_a_canvas_draws_at_the_wanted_scale() -> None:
    """A trace of 10 pixels is 10 pixels wide after the reduction, within one."""
    canvas = Canvas(100)
    canvas.trace([(-10.0, 50.0), (110.0, 50.0)], 10.0)
    column = np.asarray(canvas.reduced())[:, 50]
    assert abs(int(column.sum()) - 10 * 255) <= 255
    assert abs(float(np.average(np.arange(100), weights=column)) - 50) < 1.0


def test_a_canvas_knows_its_taken_cells() -> None:
    """Cells that hold copper are taken for traces; cells that hold ground are taken for channels."""
    canvas = Canvas(100)
    canvas.pad("square", 25.0, 25.0, (4.0, 4.0))
    taken = canvas.cells(10, 255)
    assert taken.shape == (10, 10)
    assert np.argwhere(taken).tolist() == [[2, 2]]
    assert canvas.cells(10, 0).all()


@pytest.mark.parametrize("shape", ["round", "square", "oblong"])
def test_pads_fill_their_box(shape: str) -> None:
    """A pad of any shape reaches its half width and height and not beyond."""
    canvas = Canvas(60)
    canvas.pad(shape, 30.0, 30.0, (20.0, 10.0))
    ys, xs = np.nonzero(np.asarray(canvas.reduced()) > 127)
    assert (xs.min(), xs.max(), ys.min(), ys.max()) == pytest.approx((10, 50, 20, 40), abs=1)


def test_marks_leave_copper() -> None:
    """Letters are drawn, in the height that was asked, roughly."""
    canvas = Canvas(100)
    canvas.mark("H", 20.0, 20.0, 40)
    ys, _ = np.nonzero(np.asarray(canvas.reduced()) > 127)
    assert 20 <= np.ptp(ys) <= 45


def grid(rows: int = 12, columns: int = 15, *, diagonal: bool = True, seed: int = 0) -> Grid:
    """An empty routing grid."""
    style = dataclasses.replace(Style.of(1), diagonal=diagonal, bend=0.3)
    return Grid(np.zeros((rows, columns), bool), np.random.default_rng(seed), style)


@pytest.mark.parametrize("diagonal", [True, False])
def test_walks_stay_on_the_grid_and_take_their_cells(diagonal: bool) -> None:
    """Each corner of a path is on the grid, each step has an allowed heading, and its cells are the net's."""
    for seed in range(20):
        board = grid(diagonal=diagonal, seed=seed)
        path = board.walk(5, 5, 7, 30, joins=False)
        for (x1, y1), (x2, y2) in pairwise(path):
            dx, dy = np.sign(x2 - x1), np.sign(y2 - y1)
            assert (dx, dy) in STEPS
            assert diagonal or dx == 0 or dy == 0
        assert all(board.owner[y][x] == 7 for x, y in path[1:])


def test_walks_of_two_nets_do_not_cross() -> None:
    """The second path takes no cell of the first and does not slip through it diagonally."""
    for seed in range(20):
        board = grid(seed=seed)
        board.walk(0, 6, 2, 40, joins=False)
        first = {(x, y) for y in range(12) for x in range(15) if board.owner[y][x] == 2}
        board.walk(7, 0, 3, 40, joins=False)
        second = {(x, y) for y in range(12) for x in range(15) if board.owner[y][x] == 3}
        assert not first & second
        for x, y in second:
            for dx, dy in ((1, 1), (1, -1)):
                crossing = (x + dx, y + dy) in second and {(x + dx, y), (x, y + dy)} <= first
                assert not crossing


def test_a_walk_that_joins_ends_in_what_blocks_it() -> None:
    """In a closed corridor a joining path ends on the wall, another one before it."""
    wall = np.ones((9, 9), bool)
    wall[4, 2:7] = False
    style = dataclasses.replace(Style.of(1), diagonal=False, bend=0.3)
    for joins in (True, False):
        board = Grid(wall, np.random.default_rng(3), style)
        x, y = board.walk(4, 4, 2, 200, joins=joins)[-1]
        assert bool(wall[y, x]) == joins


def test_pads_are_claimed_whole_or_not_at_all() -> None:
    """A pad takes a square of cells; where one of them is taken, it takes none."""
    board = grid()
    assert board.claim(5, 5, 1, 2)
    assert not board.claim(7, 5, 1, 3)
    assert sum(row.count(2) for row in board.owner) == 9
    assert sum(row.count(3) for row in board.owner) == 0
    assert board.claim(0, 0, 1, 4), "a pad may hang over the rim"
    assert sum(row.count(4) for row in board.owner) == 4


def test_every_turn_of_the_board_is_drawn() -> None:
    """A style of horizontal traces comes out in both directions."""
    directions = set()
    for seed in range(30):
        picture = drawn("bus", seed).astype(float)
        rows, columns = np.abs(np.diff(picture, axis=0)).sum(), np.abs(np.diff(picture, axis=1)).sum()
        directions.add("h" if rows > 2 * columns else "v" if columns > 2 * rows else "both")
    assert {"h", "v"} <= directions
    assert isinstance(draw_layout(np.random.default_rng(0), Style.of(0), SIZE_PX), Image.Image)
