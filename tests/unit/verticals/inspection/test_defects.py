"""Defects on a plain test pattern, where what each of them must do can be measured exactly."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from hotloop.verticals.inspection import defects
from hotloop.verticals.inspection.defects import KINDS, MARGIN_PX, Defect, add_defects

SIZE_PX = 300
EIGHT = np.ones((3, 3), bool)


def stripes(width_px: int = 16, gap_px: int = 20) -> np.ndarray:
    """Vertical copper traces across a whole board: bool (SIZE_PX, SIZE_PX)."""
    return np.broadcast_to(np.arange(SIZE_PX) % (width_px + gap_px) < width_px, (SIZE_PX, SIZE_PX)).copy()


def pieces(area: np.ndarray) -> int:
    """How many connected pieces there are."""
    return int(ndimage.label(area, EIGHT)[1])


def placed(kind: str, seed: int, copper: np.ndarray) -> Defect | None:
    """One defect of a kind, drawn into `copper`."""
    return defects._place(copper, np.random.default_rng(seed), kind, [])


@pytest.mark.parametrize("seed", range(12))
def test_an_open_cuts_one_trace_in_two(seed: int) -> None:
    """After an open there is at least one piece of copper more, and copper was only removed."""
    before, after = stripes(), stripes()
    assert placed("open", seed, after) is not None
    assert pieces(after) > pieces(before)
    assert not (after & ~before).any()
    label, _ = ndimage.label(after, EIGHT)
    ends = [(set(label[0, x : x + 16].tolist()), set(label[-1, x : x + 16].tolist())) for x in range(0, 288, 36)]
    assert sum(not (top - {0}) & bottom for top, bottom in ends) == 1


@pytest.mark.parametrize("seed", range(12))
def test_a_short_joins_two_traces(seed: int) -> None:
    """After a short there is exactly one piece of copper less, and copper was only added."""
    before, after = stripes(), stripes()
    assert placed("short", seed, after) is not None
    assert pieces(after) == pieces(before) - 1
    assert not (before & ~after).any()


@pytest.mark.parametrize("seed", range(12))
def test_a_mousebite_leaves_its_trace_whole(seed: int) -> None:
    """A mousebite removes copper at an edge: no piece more or less, and the bite is open to the ground."""
    before, after = stripes(), stripes()
    assert placed("mousebite", seed, after) is not None
    assert not (after & ~before).any()
    assert pieces(after) == pieces(before)
    bite = before & ~after
    assert (ndimage.binary_dilation(bite, EIGHT) & ~before).any()


@pytest.mark.parametrize("seed", range(12))
def test_a_spur_reaches_no_other_trace(seed: int) -> None:
    """A spur adds copper to one trace: as many pieces as before, all of it attached."""
    before, after = stripes(), stripes()
    assert placed("spur", seed, after) is not None
    assert not (before & ~after).any()
    assert pieces(after) == pieces(before)


@pytest.mark.parametrize("seed", range(12))
def test_copper_stands_apart(seed: int) -> None:
    """Spurious copper is a piece of its own between the traces."""
    before, after = stripes(gap_px=40), stripes(gap_px=40)
    assert placed("copper", seed, after) is not None
    assert pieces(after) > pieces(before)
    assert not (ndimage.binary_dilation(after & ~before, EIGHT) & before).any()


@pytest.mark.parametrize("seed", range(12))
def test_a_pin_hole_is_surrounded_by_copper(seed: int) -> None:
    """A pin-hole is a piece of ground of its own inside a trace."""
    before, after = stripes(width_px=40), stripes(width_px=40)
    assert placed("pin-hole", seed, after) is not None
    assert pieces(~after) > pieces(~before)
    assert not (ndimage.binary_dilation(before & ~after, EIGHT) & ~before).any()


@pytest.mark.parametrize("kind", KINDS)
def test_the_box_is_the_change_and_a_margin(kind: str) -> None:
    """Each side of a box lies a person's margin outside the changed pixels, unless the board ends first."""
    for seed in range(8):
        before, after = stripes(30, 30), stripes(30, 30)
        defect = placed(kind, seed, after)
        assert defect is not None
        ys, xs = np.nonzero(before ^ after)
        x1, y1, x2, y2 = defect.box
        margins = (xs.min() - x1, ys.min() - y1, x2 - 1 - xs.max(), y2 - 1 - ys.max())
        at_rim = (x1 == 0, y1 == 0, x2 == SIZE_PX, y2 == SIZE_PX)
        for margin, rim in zip(margins, at_rim, strict=True):
            assert rim or MARGIN_PX[0] <= margin <= MARGIN_PX[1]


def test_nothing_is_drawn_where_nothing_fits() -> None:
    """A bare board takes spurious copper alone, one of solid copper pin-holes alone."""
    rng = np.random.default_rng(1)
    bare, solid = np.zeros((SIZE_PX, SIZE_PX), bool), np.ones((SIZE_PX, SIZE_PX), bool)
    assert {d.kind for d in add_defects(bare, rng, 12)} == {"copper"}
    assert {d.kind for d in add_defects(solid, rng, 12)} == {"pin-hole"}


def test_none_wanted_none_drawn() -> None:
    """A count of nought changes nothing."""
    copper = stripes()
    assert add_defects(copper, np.random.default_rng(1), 0) == []
    assert np.array_equal(copper, stripes())


def test_a_full_board_takes_fewer_than_asked() -> None:
    """Defects do not overlap: a small board takes what fits and the rest is left out."""
    copper = stripes()[:128, :128].copy()
    found = add_defects(copper, np.random.default_rng(2), 80)
    assert 0 < len(found) < 40
    marked = np.zeros(copper.shape, int)
    for defect in found:
        x1, y1, x2, y2 = defect.box
        marked[y1:y2, x1:x2] += 1
    assert marked.max() == 1


def test_changes_lie_in_the_boxes() -> None:
    """No pixel outside the boxes is touched."""
    copper = stripes()
    found = add_defects(copper, np.random.default_rng(3), 12)
    changed = copper ^ stripes()
    assert changed.any()
    for defect in found:
        x1, y1, x2, y2 = defect.box
        changed[y1:y2, x1:x2] = False
    assert not changed.any()


def test_a_stroke_is_where_it_was_asked_for() -> None:
    """A clean stroke covers the line between its ends and nothing farther away than its bow and radius."""
    rng = np.random.default_rng(4)
    stroke = defects._stroke((60, 60), rng, [(10.0, 30.0), (50.0, 30.0)], 3.0, rough=False)
    xs = np.flatnonzero(stroke.any(0))
    assert xs.min() <= 10
    assert xs.max() >= 50
    assert pieces(stroke) == 1


def test_grown_is_a_dilation() -> None:
    """Growing by hand equals the library's dilation by a square."""
    area = np.random.default_rng(5).random((40, 30)) < 0.03
    for by_px in (1, 2, 4):
        expected = ndimage.binary_dilation(area, EIGHT, iterations=by_px)
        assert np.array_equal(defects._grown(area, by_px), expected)
