"""Whether a camera's frame is a piece: it is due, and something has changed since the last one."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Frame = NDArray[np.uint8]

_STEP = 4  # every fourth pixel each way: a sixteenth of the work, and enough for a share
_NOISE = 24  # grey levels of 255 within which a pixel is the same: sensors rustle


def is_piece(frame: Frame, last: Frame | None, since_s: float, least_s: float, change_min: float) -> bool:
    """`last` is the frame that was a piece last, `since_s` ago; None: there was none yet."""
    if last is None:
        return True
    return since_s >= least_s and (change_min <= 0.0 or changed(frame, last) >= change_min)


def changed(frame: Frame, last: Frame) -> float:
    """The share of pixels, 0 to 1, that differ between two frames; 1 if they are not of one size."""
    if frame.shape != last.shape:
        return 1.0
    a, b = frame[::_STEP, ::_STEP], last[::_STEP, ::_STEP]
    differ = np.maximum(a, b) - np.minimum(a, b) > _NOISE
    return float((differ.any(axis=2) if differ.ndim == 3 else differ).mean())
