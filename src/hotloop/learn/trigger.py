"""When is a slower tier due, and why? Pure: the engine counts, this decides."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from hotloop.config import RefreshConfig

Slow = Literal["refresh", "consolidate"]


@dataclass(frozen=True)
class Counts:
    """What is known when it is asked. `seconds` since the last job began, `whole_seconds` since the last
    consolidation.
    """

    examples: int  # verified since the last refresh
    seconds: float
    whole_seconds: float
    stalled: str  # why more verdicts of the same kind do not help, or ""
    drifted: bool
    ordered: str  # "refresh", "consolidate" or ""
    tainted: bool  # something was unlearned that the backbone may have been trained on
    running: bool
    frozen: bool


def due(counts: Counts, config: RefreshConfig) -> tuple[str, Slow] | None:
    """The reason in words, and the tier; None if nothing is due.

    One job at a time. An order comes first, and is carried out in a frozen loop too (what it makes is then held at the
    gate). By itself, where `automatic` is on: not in a frozen loop, not within `pause_s` of the last job, and
    in this order: something was unlearned that a refresh was trained on (then from the start model, since fine-tuning
    forgets nothing), the error has risen, the reflex is stalled, enough new pieces, the hours of a consolidation.
    """
    if counts.running:
        return None
    if counts.ordered in ("refresh", "consolidate"):
        tier: Slow = "refresh" if counts.ordered == "refresh" else "consolidate"
        return f"{tier} was ordered", tier
    if not config.automatic or counts.frozen or counts.seconds < config.pause_s:
        return None
    if counts.tainted:
        return "what was unlearned may still be in the backbone: everything else is learned anew", "consolidate"
    if counts.drifted and counts.examples:
        return "the verified error has risen: the product or the camera has changed", "refresh"
    if counts.stalled and counts.examples >= min(config.examples_min, config.stalled_examples):
        return f"the reflex is stalled: {counts.stalled}", "refresh"
    if counts.examples >= config.examples_min:
        return f"{counts.examples} new verified pieces", "refresh"
    if config.consolidate_hours > 0 and counts.whole_seconds >= config.consolidate_hours * 3600:
        return f"{counts.whole_seconds / 3600:.1f} hours since everything was last learned anew", "consolidate"
    return None
