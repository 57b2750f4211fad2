"""What a finding says, in one sentence."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from hotloop.verticals.driving.finding import Case
from hotloop.verticals.driving.tracks import Tracks


@dataclass(frozen=True)
class Said:
    """What words are made of. value in `unit`; seconds since the beginning of the log; others: NaN-free or absent."""

    subject: str
    partner: str
    value: float
    seconds: float
    speed: float
    context: str = ""


_WORDS: Final[dict[Case, Callable[[Said], str]]] = {
    "collision": lambda s: (
        f"{s.subject} and {s.partner} touch at {s.seconds:.1f} s, at {s.value:.1f} m/s to each other"
    ),
    "near miss": lambda s: f"{s.subject} came within {s.value:.2f} m of {s.partner} at {s.seconds:.1f} s",
    "short time to collision": lambda s: (
        f"{s.subject} was {s.value:.1f} s from touching {s.partner} at {s.seconds:.1f} s"
    ),
    "short headway": lambda s: f"{s.subject} drove {s.value:.1f} s behind {s.partner} at {s.seconds:.1f} s",
    "hard braking": lambda s: f"{s.subject} braked with {s.value:.1f} m/s2 at {s.seconds:.1f} s",
    "jerk": lambda s: f"{s.subject} jerked with {s.value:.0f} m/s3 at {s.seconds:.1f} s",
    "cut-in": lambda s: f"{s.subject} cut in {s.value:.1f} s before {s.partner} at {s.seconds:.1f} s",
    "crossing": lambda s: f"{s.subject} crossed the path of {s.partner} {s.value:.1f} s after it at {s.seconds:.1f} s",
    "pedestrian crossing": lambda s: (
        f"{s.subject} and {s.partner} on foot crossed {s.value:.1f} s apart at {s.seconds:.1f} s"
    ),
    "take-over": lambda s: f"the log says {s.context} at {s.seconds:.1f} s",
    "surprise": lambda s: (
        f"{s.subject} moved other than foreseen from {s.seconds:.1f} s on: further off than in {100 * s.value:.2f} % "
        "of calm moments"
    ),
    "novel": lambda s: f"the scene around {s.subject} at {s.seconds:.1f} s is unlike those seen",
}


def name(tracks: Tracks, actor: int) -> str:
    """What an actor is called: its kind and its name in the log."""
    one = tracks.actors[actor]
    return f"{one.kind} {one.name}"


def words(case: Case, said: Said) -> str:
    """The sentence of a case, with what else was so at its peak."""
    text = _WORDS[case](said)
    if case != "take-over":
        text += f", driving {said.speed:.1f} m/s"
        text += f", {said.context}" if said.context else ""
    return text
