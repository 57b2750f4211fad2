"""Two scans of one flawless board: they differ, yet never in a way that would be a defect."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from PIL import Image, ImageDraw
from scipy import ndimage

from hotloop.verticals.inspection import scan
from hotloop.verticals.inspection.scan import DUST_AREA_PX_MAX, RIM_PX, scan_pair
from hotloop.verticals.inspection.style import Style

SIZE_PX = 256
EIGHT = np.ones((3, 3))
STYLE = dataclasses.replace(Style.of(1), blur_px=1.0, roughness=30.0, agreement=0.5, shift_px=0.2, growth=20.0)


def stripes() -> Image.Image:
    """Traces of 20 pixels at a pitch of 40."""
    image = Image.new("L", (SIZE_PX + 2 * RIM_PX, SIZE_PX + 2 * RIM_PX))
    pen = ImageDraw.Draw(image)
    for x in range(24, SIZE_PX, 40):
        pen.rectangle((x, 0, x + 19, image.height), fill=255)
    return image


def without_specks(copper: np.ndarray) -> np.ndarray:
    """A picture without pieces of either colour that dust could be."""
    cleaned = copper.copy()
    for colour in (True, False):
        label, count = ndimage.label(cleaned == colour, np.ones((3, 3)))
        sizes = np.bincount(label.ravel(), minlength=count + 1)
        cleaned[(sizes[label] <= DUST_AREA_PX_MAX) & (label > 0)] = not colour
    return cleaned


@pytest.mark.parametrize("seed", range(10))
def test_scans_keep_every_trace_whole_and_apart(seed: int) -> None:
    """Whatever the scanner does, there are as many traces and gaps as on the layout."""
    rough = dataclasses.replace(STYLE, roughness=65.0, agreement=0.0, shift_px=0.5, growth=40.0)
    test, template, _ = scan_pair(stripes(), np.random.default_rng(seed), rough)
    for copper in (test, template):
        cleaned = without_specks(copper)
        assert ndimage.label(cleaned, EIGHT)[1] == 6
        assert ndimage.label(~cleaned, EIGHT)[1] == 7


def test_a_perfect_scanner_differs_in_dust_and_reprints_alone() -> None:
    """Without noise, shift and growth the scans differ only in lookalikes, or by the template's dust."""
    perfect = dataclasses.replace(STYLE, roughness=0.0, shift_px=0.0, growth=0.0)
    for seed in range(10):
        test, template, lookalikes = scan_pair(stripes(), np.random.default_rng(seed), perfect)
        differs = test ^ template
        for lookalike in lookalikes:
            x1, y1, x2, y2 = lookalike.box
            differs[y1:y2, x1:x2] = False
        assert differs.sum() <= 2 * DUST_AREA_PX_MAX


def test_misregistration_is_told() -> None:
    """Where the scans are more than a pixel off each other, one lookalike covers the whole board."""
    loose = dataclasses.replace(STYLE, shift_px=3.0)
    kinds = [look for seed in range(6) for look in scan_pair(stripes(), np.random.default_rng(seed), loose)[2]]
    whole = [look for look in kinds if look.kind == "misregistration"]
    assert len(whole) >= 4
    assert {look.box for look in whole} == {(0, 0, SIZE_PX, SIZE_PX)}


@pytest.mark.parametrize("shift", [(2.0, 0.0), (0.0, -1.5), (0.25, 0.75), (-4.0, 4.0)])
def test_a_shift_moves_the_picture(shift: tuple[float, float]) -> None:
    """A shift of (rows, columns) moves a smooth picture by just that, up to its rims."""
    side = np.arange(-RIM_PX, SIZE_PX + RIM_PX)
    grey = np.add.outer(side, 0.5 * side) * 0.6

    class Fixed:
        """Draws that shift, and no turn."""

        def standard_t(self, *_: object) -> np.ndarray:
            return np.array(shift) / STYLE.shift_px

        def random(self) -> float:
            return 0.9

        normal = standard_t

    moved, _ = scan._misregister(Image.fromarray(grey.astype(np.float32)), Fixed(), STYLE)  # type: ignore[arg-type]
    rows, columns = shift
    expected = grey[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX] + (rows + 0.5 * columns) * 0.6
    assert moved.shape == (SIZE_PX, SIZE_PX)
    assert np.abs(moved - expected).max() < 1e-2


def test_a_turn_moves_the_rims_and_not_the_middle() -> None:
    """A turned and stretched scan agrees with the layout in the middle and sees the board up to its rims."""
    solid = Image.new("L", (SIZE_PX + 2 * RIM_PX, SIZE_PX + 2 * RIM_PX), 255)
    turned = dataclasses.replace(STYLE, shift_px=1.0)
    for seed in range(30):
        grey, _ = scan._misregister(solid, np.random.default_rng(seed), turned)
        assert grey.min() == 255.0


def test_dust_is_smaller_than_any_defect() -> None:
    """A speck flips at most its allowance of pixels, in its box."""
    rng = np.random.default_rng(2)
    for _ in range(200):
        copper = np.zeros((40, 40), bool)
        x1, y1, x2, y2 = scan._dust(copper, rng).box
        assert copper.sum() == copper[y1:y2, x1:x2].sum() <= DUST_AREA_PX_MAX


def test_roughness_has_the_wanted_strength() -> None:
    """The noise field has about the wanted standard deviation, and no two draws are the same."""
    rng = np.random.default_rng(3)
    fields = [scan._roughness(rng, 200, 25.0) for _ in range(8)]
    assert 15.0 < np.mean([field.std() for field in fields]) < 35.0
    assert not np.array_equal(fields[0], fields[1])
