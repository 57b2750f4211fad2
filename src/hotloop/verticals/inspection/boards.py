"""The project's own bare circuit boards: a test, its flawless template and what is wrong, from one seed.

Nothing here was cut out of a data set. The conventions are DeepPCB's (Tang et al., "Online PCB Defect
Detector On A New PCB Defect Dataset", arXiv:1902.06197): binarised scans of about 48 pixels a millimetre,
copper black, six kinds of defect. A detector can be trained on these boards alone, as many as it likes,
before it has seen a real one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hotloop.errors import ConfigError
from hotloop.verticals.inspection.defects import KINDS, Defect, add_defects
from hotloop.verticals.inspection.layout import draw_layout
from hotloop.verticals.inspection.scan import RIM_PX, scan_pair
from hotloop.verticals.inspection.style import Style

__all__ = ["BARE", "COPPER", "KINDS", "Board", "Defect", "Style", "draw_board"]

COPPER, BARE = 0, 255
SIZE_PX = (128, 1280)
FLAWLESS_SHARE = 0.04


@dataclass(frozen=True)
class Board:
    """A tested board beside its template: uint8 (H, W) of `COPPER` and `BARE`, with what differs."""

    test: np.ndarray
    template: np.ndarray
    defects: tuple[Defect, ...]
    lookalikes: tuple[Defect, ...]
    """Differences that are no defects: `misregistration` (the whole board), `reprint`, `dust`."""
    style: Style


def draw_board(seed: int, *, size_px: int = 640, style: Style | None = None) -> Board:
    """The board of a seed: `style` fixes the product (see `Style.of`), else the seed draws that too.

    ConfigError for a size outside `SIZE_PX`.
    """
    if not SIZE_PX[0] <= size_px <= SIZE_PX[1]:
        raise ConfigError(f"a board of {size_px} pixels cannot be drawn; choose {SIZE_PX[0]} to {SIZE_PX[1]}")
    rng = np.random.default_rng(seed)
    product = style or Style.of(int(rng.integers(2**31)))
    layout = draw_layout(rng, product, size_px + 2 * RIM_PX)
    test, template, lookalikes = scan_pair(layout, rng, product)
    flawless = rng.random() < FLAWLESS_SHARE
    # As many a unit of area on every size: 3 to 12 on a board of 640 x 640.
    count = 0 if flawless else max(1, round(rng.integers(3, 13) * (size_px / 640) ** 2))
    defects = add_defects(test, rng, count)
    return Board(_black_on_white(test), _black_on_white(template), tuple(defects), tuple(lookalikes), product)


def _black_on_white(copper: np.ndarray) -> np.ndarray:
    return np.where(copper, np.uint8(COPPER), np.uint8(BARE))
