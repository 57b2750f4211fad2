"""Drawn boards: the same from the same seed, alike from one site, and true to their labels."""

from __future__ import annotations

import dataclasses
import time

import numpy as np
import pytest
from scipy import ndimage

from hotloop.errors import ConfigError
from hotloop.verticals.inspection.boards import BARE, COPPER, KINDS, Board, Defect, Style, draw_board

SEEDS = range(40)
SIZE_PX = 320


@pytest.fixture(scope="module")
def boards() -> list[Board]:
    """Some boards of all styles."""
    return [draw_board(seed, size_px=SIZE_PX) for seed in SEEDS]


def view(image: np.ndarray, defect: Defect, around_px: int = 0) -> np.ndarray:
    """The part of an image in a defect's box, and some pixels around it."""
    x1, y1, x2, y2 = defect.box
    return image[max(0, y1 - around_px) : y2 + around_px, max(0, x1 - around_px) : x2 + around_px]


def test_a_seed_is_a_board() -> None:
    """The same seed draws the same board to the last pixel and box, another seed another one."""
    first, again, other = (draw_board(seed, size_px=256) for seed in (11, 11, 12))
    assert np.array_equal(first.test, again.test)
    assert np.array_equal(first.template, again.template)
    assert first.defects == again.defects
    assert first.lookalikes == again.lookalikes
    assert not np.array_equal(first.template, other.template)


def test_boards_are_black_and_white_of_the_wanted_size(boards: list[Board]) -> None:
    """Both pictures are uint8 of the wanted size and hold copper and bare ground alone, some of each."""
    for board in boards:
        for image in (board.test, board.template):
            assert image.shape == (SIZE_PX, SIZE_PX)
            assert image.dtype == np.uint8
            assert set(np.unique(image)) <= {COPPER, BARE}
    shares = [float((board.template == COPPER).mean()) for board in boards]
    assert min(shares) < 0.3
    assert max(shares) > 0.6


def test_kinds_stand_in_the_order_of_their_types() -> None:
    """The label index of a kind is DeepPCB's type less one."""
    assert KINDS == ("open", "short", "mousebite", "spur", "copper", "pin-hole")


def test_all_kinds_are_drawn_about_equally_often(boards: list[Board]) -> None:
    """No kind has less than half its share."""
    kinds = [defect.kind for board in boards for defect in board.defects]
    for kind in KINDS:
        assert kinds.count(kind) > 0.5 * len(kinds) / len(KINDS)


def test_boxes_lie_on_the_board_apart_from_each_other(boards: list[Board]) -> None:
    """Boxes are inside the picture, of a size that a person draws, and no two of a board overlap."""
    for board in boards:
        marked = np.zeros((SIZE_PX, SIZE_PX), int)
        for defect in board.defects:
            x1, y1, x2, y2 = defect.box
            assert 0 <= x1 < x2 <= SIZE_PX
            assert 0 <= y1 < y2 <= SIZE_PX
            assert 9 <= min(x2 - x1, y2 - y1)
            marked[y1:y2, x1:x2] += 1
        assert marked.max(initial=0) <= 1


def test_every_defect_shows_in_the_difference(boards: list[Board]) -> None:
    """In each box test and template differ by at least 20 pixels, of the right colour."""
    for board in boards:
        for defect in board.defects:
            test, template = view(board.test, defect), view(board.template, defect)
            grown = defect.kind in ("short", "spur", "copper")
            changed = (test == COPPER) & (template == BARE) if grown else (test == BARE) & (template == COPPER)
            assert changed.sum() >= 20, defect


def test_copper_and_pin_holes_stand_alone(boards: list[Board]) -> None:
    """In the box of a copper or pin-hole there is a piece of copper or ground that touches nothing."""
    for board in boards:
        for defect in board.defects:
            if defect.kind in ("copper", "pin-hole"):
                inside = view(board.test, defect) == (COPPER if defect.kind == "copper" else BARE)
                pieces, count = ndimage.label(inside, np.ones((3, 3)))
                rim = set(np.concatenate((pieces[0], pieces[-1], pieces[:, 0], pieces[:, -1])).tolist())
                alone = [int((pieces == i).sum()) for i in range(1, count + 1) if i not in rim]
                assert max(alone, default=0) >= 8, defect


def test_a_flawless_board_is_drawn_now_and_then() -> None:
    """A few of sixty boards are flawless, most are not."""
    counts = [len(draw_board(seed, size_px=128).defects) for seed in range(60)]
    assert 1 <= counts.count(0) <= 20


def test_differences_outside_the_boxes_are_plentiful() -> None:
    """Typically more pixels differ outside the boxes than inside: telling them apart is the task."""
    outside = []
    for seed in range(12):
        board = draw_board(seed)
        differs = board.test != board.template
        for defect in board.defects:
            view(differs, defect)[...] = False
        outside.append(int(differs.sum()))
    assert 1_000 < np.median(outside) < 20_000


def test_a_site_makes_one_product() -> None:
    """Style.of is a function of the site; boards of one style differ in layout and share the style."""
    assert Style.of(4) == Style.of(4)
    assert Style.of(4) != Style.of(5)
    one, two = (draw_board(seed, size_px=256, style=Style.of(4)) for seed in (1, 2))
    assert one.style == two.style == Style.of(4)
    assert not np.array_equal(one.template, two.template)


def test_the_style_shows_in_the_scans() -> None:
    """A scanner that is rough and off registration makes more false differences than a calm one."""
    base = Style.of(4)
    calm = dataclasses.replace(base, roughness=5.0, shift_px=0.0, growth=0.0, agreement=0.9)
    rough = dataclasses.replace(base, roughness=60.0, shift_px=0.5, growth=30.0, agreement=0.0)

    def false_differences(style: Style) -> int:
        pairs = [draw_board(seed, size_px=256, style=style) for seed in range(6)]
        return sum(int((board.test != board.template).sum()) for board in pairs)

    assert false_differences(rough) > 2 * false_differences(calm)


@pytest.mark.parametrize("size_px", [0, 127, 1281, -5])
def test_sizes_that_cannot_be_drawn_are_refused(size_px: int) -> None:
    """A size out of range is refused with the range."""
    with pytest.raises(ConfigError, match="128 to 1280"):
        draw_board(1, size_px=size_px)


def test_other_sizes_hold_as_many_defects_for_their_area() -> None:
    """A small board is drawn with fewer defects than a large one."""
    small = sum(len(draw_board(seed, size_px=192).defects) for seed in range(8))
    large = sum(len(draw_board(seed, size_px=640).defects) for seed in range(8))
    assert small < large / 2


def test_drawing_is_quick() -> None:
    """A board of 640 x 640 takes well under a quarter second of processor time (typically 40 ms)."""
    draw_board(0)
    began = time.process_time()
    for seed in range(5):
        draw_board(seed)
    assert (time.process_time() - began) / 5 < 0.25
