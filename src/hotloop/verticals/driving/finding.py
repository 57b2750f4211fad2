"""What mining finds: a moment, who was in it, how bad it was, and why, in words."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final, Literal, TypeAlias, get_args

Case: TypeAlias = Literal[
    "collision",  # rectangles overlap
    "near miss",  # they come within less than half a metre at speed
    "short time to collision",
    "short headway",
    "hard braking",
    "jerk",
    "cut-in",
    "crossing",  # two paths cross with a short post-encroachment time
    "pedestrian crossing",
    "take-over",  # the log says that a human took over, or that the system disengaged
    "surprise",  # the trajectory predictor was further off than in all but few moments
    "novel",  # the scene is far from what the moments have seen
]
CASES: Final = get_args(Case)


@dataclass(frozen=True)
class Finding:
    """One case. Frames are of its log, `peak` is the worst one; `value` is the measure there, in `unit`.

    severity: 0 (nothing) to 1 (a collision), comparable over cases; actors: index of who, the subject first;
    features: what ranking learns from, by name (severity is in it, too).
    """

    case: Case
    severity: float
    value: float
    unit: str
    actors: tuple[int, ...]
    first: int
    peak: int
    last: int
    words: str
    novelty: float = 0.0  # leverage of the scene, 0 (seen often) to 1
    surprise: float = 0.0  # quantile of the predictor's error among calm moments, 0 to 1
    rarity: float = 0.0  # 1 - share of scenes that hold such a case
    features: dict[str, float] = field(default_factory=dict)
