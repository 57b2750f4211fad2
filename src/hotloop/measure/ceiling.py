"""The quality ceiling: says so when more verdicts of the same kind no longer help.

A head can only use what the features hold. When the newer half of the last examples is not better than the
older half, and a gain worth having is ruled out, what helps is a refresh of the backbone, not more verdicts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal

import msgspec

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


Indicated = Literal["verdicts", "refresh", "backbone", "sensor"]


class Part(msgspec.Struct, frozen=True):
    """What is known of a part of the examples: all of them, a kind, a line, a site.

    `scores` in [0, 1], one a verified example, oldest first. Of its errors: `unproposed`, nothing was proposed where
    something was; `undecided`, a proposal was decided wrongly; `disputed`, the reviewers themselves disagree.
    `refreshed`: a slower tier went out within these examples.
    """

    scores: tuple[float, ...]
    unproposed: int = 0
    undecided: int = 0
    disputed: int = 0
    refreshed: bool = False


class Ceiling(msgspec.Struct, frozen=True):
    """A part on which more verdicts of the same kind do not help: its slope with its band, and what would."""

    part: str
    slope: float  # mean of the newer half less that of the older
    lower: float
    upper: float
    indicated: Indicated
    text: str


def ceilings(parts: Mapping[str, Part], alpha: float = ALPHA) -> tuple[Ceiling, ...]:
    """Every part whose learning curve has stopped rising, the worst first; parts that still rise, or are unsure, are
    not told.

    What is indicated, by the kind of its errors:

        sensor     reviewers disagree on at least half of the errors: what is there cannot be seen on these pictures
        backbone   a refresh within these examples did not help: its features are as good as this network gets
        refresh    proposals are there and are decided wrongly, or are not made: features that a training can improve
        verdicts   there are hardly any errors of a kind that could be told: give it more pieces
    """
    found = []
    for name, part in parts.items():
        text = ceiling(part.scores, alpha)
        if not text:
            continue
        half = len(part.scores) // 2
        before, after = part.scores[:half], part.scores[half:]
        lower, upper = difference_interval(before, after, alpha, GRID_POINTS)
        slope = sum(after) / len(after) - sum(before) / len(before)
        indicated, why = _indicated(part)
        gain = f"({slope:+.3f}, {lower:+.2f} to {upper:+.2f})"
        sentence = f"{name}: no gain from the last {len(part.scores)} verdicts {gain}. {why}"
        found.append(Ceiling(name, slope, lower, upper, indicated, sentence))
    return tuple(sorted(found, key=lambda one: (one.slope, one.part)))


def _indicated(part: Part) -> tuple[Indicated, str]:
    """What would help a part, and why, in words."""
    errors = part.unproposed + part.undecided + part.disputed
    if errors == 0:
        return "verdicts", "Its errors are of no kind that could be told: verify more pieces of it."
    if 2 * part.disputed >= errors:
        return "sensor", (
            f"On {part.disputed} of {errors} errors the reviewers disagree: what decides cannot be seen here. "
            "Another light, angle or sensor is indicated."
        )
    if part.refreshed:
        return "backbone", "A refresh within these verdicts did not help: a bigger backbone is indicated."
    what = f"{part.undecided} errors were proposed and decided wrongly, {part.unproposed} were not proposed"
    return "refresh", f"{what}: a refresh of the backbone is indicated."
