"""May a candidate replace the champion? Decided on the same verified examples, paired, valid at every look.

The loss of an example is the share of its disputed proposals that the head decides wrongly: 0 is right,
1 is all wrong. What is tested is not "is the mean better" (that refuses honest candidates when evidence is thin)
but "is there evidence that it is worse by more than the tolerance": a betting e-process on the paired
differences (Waudby-Smith & Ramdas 2024, doi:10.1093/jrsssb/qkad009). By Ville's inequality an update that is
not worse is refused with probability at most alpha.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hotloop.config import GateConfig
from hotloop.evidence import e_value_worse
from hotloop.types import Floats


@dataclass(frozen=True)
class Finding:
    """What the gate found: its decision and the evidence for it."""

    decision: Literal["promote", "hold", "refuse"]
    reason: str
    count: int
    difference: float
    e_value: float
    slices: tuple = ()


def judge(champion: Floats, candidate: Floats, config: GateConfig, parts=None, *, slow=False) -> Finding:
    """Compare losses (n,) in [0, 1] of the same n examples, oldest first; NaN where a head gives no number.

    A candidate with a NaN is refused; the champion's count as all wrong. ValueError if the losses are not paired.
    """
    if champion.shape != candidate.shape:
        raise ValueError(f"losses of the same examples are paired; got {champion.shape} and {candidate.shape}")
    count = len(champion)
    if not np.isfinite(candidate).all():
        return Finding("refuse", "the candidate answers with numbers that are not finite", count, 1.0, np.inf)
    if count < config.least_examples:
        reason = f"{count} verified examples are too few to judge by; {config.least_examples} are needed"
        return Finding("promote", reason, count, 0.0, 1.0)
    differences = candidate - np.where(np.isfinite(champion), champion, 1.0)
    mean = float(differences.mean())
    e_value = e_value_worse(differences, config.tolerance)
    seen = f"on the last {count} verified examples its error is {abs(mean):.3f} {_than(mean)} the champion's"
    if e_value >= 1 / config.alpha:
        reason = f"it would make the recent past worse: {seen} (e-value {e_value:.3g})"
        return Finding("refuse", reason, count, mean, e_value)
    return Finding("promote", f"no evidence of harm: {seen} (e-value {e_value:.3g})", count, mean, e_value)


def _than(mean: float) -> str:
    """How a mean difference reads before "the champion's"."""
    return "above" if mean > 0 else "below" if mean < 0 else "off"
