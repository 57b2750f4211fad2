"""The quality ceiling: says so when more verdicts of the same kind no longer help.

A head can only use what the features hold. When the newer half of the last examples is not better than the
older half, and a gain worth having is ruled out, what helps is a refresh of the backbone, not more verdicts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hotloop.evidence import difference_interval

ALPHA: Final = 0.05
EXAMPLES_MIN: Final = 200  # fewer cannot rule out a gain
GAIN_MAX: Final = 0.1  # a gain above this must be ruled out before a ceiling is spoken of
GRID_POINTS: Final = 199  # scores are weighed to 0.005
PERFECT: Final = 0.99  # from this mean score on there is nothing to improve


def ceiling(scores: Sequence[float], alpha: float = ALPHA) -> str:
    """The notice in words, or "" where there is none: too few examples, still rising, unsure, or perfect.

    `scores` in [0, 1], one a verified example, oldest first (see `Tally.score`).
    """
    if len(scores) < EXAMPLES_MIN:
        return ""
    half = len(scores) // 2
    before, after = scores[:half], scores[half:]
    now = sum(after) / len(after)
    lower, upper = difference_interval(before, after, alpha, GRID_POINTS)
    if lower > 0 or upper > GAIN_MAX or now >= PERFECT:
        return ""
    if upper < 0:
        return (
            f"Quality fell over the last {len(scores)} verified examples, to {now:.2f} "
            f"(by {-upper:.2f} to {-lower:.2f}). Something has changed: look at the newest verdicts."
        )
    return (
        f"The last {len(scores)} verified examples brought no provable improvement: quality is {now:.2f}, "
        f"its change between {lower:+.2f} and {upper:+.2f}. The features hold no more: refresh the backbone."
    )
