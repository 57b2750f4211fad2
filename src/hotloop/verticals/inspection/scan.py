"""From a grey layout to two binarised scans that differ as two scans of one flawless board do.

What differs without being a defect: registration (shift, rotation, scale), edge roughness, over- and
under-etching, patches printed rounder or fuller, and dust. A detector must learn to pass over all of it.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np
from PIL import Image, ImageFilter
from scipy import ndimage

from hotloop.verticals.inspection.defects import Defect
from hotloop.verticals.inspection.style import Style

_BANK_PX = 1536
_NOISE_MAX = 105.0
RIM_PX = 8
"""How far beyond a scan its layout reaches: more than shift and turn together can move it."""
SHIFT_PX_MAX = 4.0
DUST_AREA_PX_MAX = 12
"""Dust stays smaller than this, and every defect larger: below it nobody could tell them apart."""


def scan_pair(
    layout: Image.Image, rng: np.random.Generator, style: Style
) -> tuple[np.ndarray, np.ndarray, list[Defect]]:
    """Two scans of one flawless board: (test copper, template copper, lookalikes), bool (H, W) each.

    The layout is grey and `RIM_PX` larger on each side than the scans, so that a shifted scan still sees the
    board.
    """
    size = layout.size[0] - 2 * RIM_PX
    blurred = layout.filter(ImageFilter.BoxBlur(style.blur_px))
    test, lookalikes = _misregister(blurred, rng, style)
    template = np.asarray(blurred)[RIM_PX:-RIM_PX, RIM_PX:-RIM_PX]
    common = _roughness(rng, size, style.roughness * style.agreement)
    own = style.roughness * (1.0 - style.agreement)
    template_noise = common + _roughness(rng, size, own)
    test_noise = common + _roughness(rng, size, own) + np.float32(rng.normal(0.0, style.growth))
    for _ in range(int(rng.integers(0, 7))):
        lookalikes.append(_reprint(test, test_noise, rng))
    # Within the bound noise moves edges and nothing else: plain copper (255) and plain ground (0) keep their
    # side.
    test_copper = test + test_noise.clip(-_NOISE_MAX, _NOISE_MAX) > 127.5
    template_copper = template + template_noise.clip(-_NOISE_MAX, _NOISE_MAX) > 127.5
    lookalikes += [_dust(test_copper, rng) for _ in range(int(rng.integers(0, 9)))]
    for _ in range(int(rng.integers(0, 3))):
        _dust(template_copper, rng)
    return test_copper, template_copper, lookalikes


def _misregister(image: Image.Image, rng: np.random.Generator, style: Style) -> tuple[np.ndarray, list[Defect]]:
    """The image as a second scan sees it, shifted, perhaps a little turned and stretched: float32 (H, W)."""
    size = image.size[0] - 2 * RIM_PX
    shift = np.clip(rng.standard_t(3, 2) * style.shift_px, -SHIFT_PX_MAX, SHIFT_PX_MAX)
    if rng.random() < 0.2:
        shift = np.round(shift)
    corner = rng.normal(0.0, style.shift_px, 2).clip(-2.0, 2.0) if rng.random() < 0.35 else np.zeros(2)
    if corner.any():
        turn, stretch = corner / (size / 2)
        c = image.size[0] / 2
        matrix = (1 + stretch, -turn, (turn - stretch) * c, turn, 1 + stretch, -(turn + stretch) * c)
        image = image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
    grey = np.asarray(image, np.float32)
    for axis, offset in enumerate(shift):
        whole = math.floor(offset)
        near = np.take(grey, range(RIM_PX + whole, RIM_PX + whole + size), axis)
        far = np.take(grey, range(RIM_PX + whole + 1, RIM_PX + whole + size + 1), axis)
        grey = near + (far - near) * np.float32(offset - whole)
    seen = float(np.abs(shift).max() + np.abs(corner).max()) > 1.0
    return grey, [Defect((0, 0, size, size), "misregistration")] if seen else []


@cache
def _bank() -> tuple[np.ndarray, ...]:
    """Three fields of noise of unit variance, fine to coarse: float32 (_BANK_PX, _BANK_PX)."""
    rng = np.random.default_rng(20)
    fields = []
    for smooth in (0.6, 1.6, 6.0):
        field = ndimage.gaussian_filter(rng.standard_normal((_BANK_PX, _BANK_PX), np.float32), smooth)
        fields.append((field / field.std()).astype(np.float32))
    return tuple(fields)


def _roughness(rng: np.random.Generator, size_px: int, levels: float) -> np.ndarray:
    """Noise of about `levels` grey levels, another cut of the bank each time: float32 (size_px, size_px)."""
    weights = (rng.dirichlet((2.0, 2.0, 1.0)) ** 0.5 * levels).astype(np.float32)
    total = np.zeros((size_px, size_px), np.float32)
    for field, weight in zip(_bank(), weights, strict=True):
        y, x = rng.integers(0, _BANK_PX - size_px, 2, endpoint=True)
        total += field[y : y + size_px, x : x + size_px] * weight
    return total


def _reprint(grey: np.ndarray, noise: np.ndarray, rng: np.random.Generator) -> Defect:
    """Print one patch of the board fuller, thinner or rounder, in place."""
    size = grey.shape[0]
    half = int(rng.integers(10, 48))
    x, y = (int(v) for v in rng.integers(0, size, 2))
    x1, y1, x2, y2 = max(0, x - half), max(0, y - half), min(size, x + half), min(size, y + half)
    patch = grey[y1:y2, x1:x2]
    if rng.random() < 0.5:
        rounder = ndimage.uniform_filter(patch, int(rng.integers(3, 6)), mode="nearest")
        patch[:] = rounder
    else:
        noise[y1:y2, x1:x2] += np.float32(rng.uniform(-75.0, 75.0))
    return Defect((x1, y1, x2, y2), "reprint")


def _dust(copper: np.ndarray, rng: np.random.Generator) -> Defect:
    """Flip a speck of at most `DUST_AREA_PX_MAX` pixels, in place."""
    size = copper.shape[0]
    w, h = (int(v) for v in rng.integers(1, 5, 2))
    if w * h > DUST_AREA_PX_MAX:
        h = DUST_AREA_PX_MAX // w
    x, y = int(rng.integers(0, size - w)), int(rng.integers(0, size - h))
    speck = rng.random((h, w)) < 0.8
    copper[y : y + h, x : x + w] ^= speck
    return Defect((x, y, x + w, y + h), "dust")
