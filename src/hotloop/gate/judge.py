"""May a candidate replace the champion? Decided on the same verified examples, paired, valid at every look.

The loss of an example is the share of its disputed proposals that the head decides wrongly: 0 is right,
1 is all wrong. What is tested is not "is the mean better" (that refuses honest candidates when evidence is thin)
but "is there evidence that it is worse by more than the tolerance": a betting e-process on the paired
differences (Waudby-Smith & Ramdas 2024, doi:10.1093/jrsssb/qkad009). By Ville's inequality an update that is
not worse is refused with probability at most alpha.

The same is asked of each part (a class, a line, a site, the golden set) with enough examples, with a tolerance of its
own, none for critical parts. Of k parts any may refuse, so each needs k times the evidence (a union bound over
e-values).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from hotloop.config import GateConfig
from hotloop.evidence import e_value_worse, e_values_worse
from hotloop.gate.slices import NO_PARTS, Parts
from hotloop.types import Floats, SliceFinding

_TOLD_MAX = 16  # parts that a finding carries, the worst first


@dataclass(frozen=True)
class Finding:
    """What the gate found: its decision and the evidence for it."""

    decision: Literal["promote", "hold", "refuse"]
    reason: str
    count: int
    difference: float
    e_value: float
    slices: tuple[SliceFinding, ...] = ()


def judge(
    champion: Floats, candidate: Floats, config: GateConfig, parts: Parts | None = None, *, slow: bool = False,
    what: str = "error",
) -> Finding:  # fmt: skip
    """Compare losses (n,) in [0, 1] of the same n examples, oldest first; NaN where a head gives no number.

    A candidate with a NaN is refused; the champion's count as all wrong. `slow`: of a slower tier, which has to show
    that it is no worse (too little evidence, or a mean that is worse without proof: "hold"), where a verdict is taken
    until it does harm. `what` the losses are, in words. ValueError if they are not paired.
    """
    if champion.shape != candidate.shape:
        raise ValueError(f"losses of the same examples are paired; got {champion.shape} and {candidate.shape}")
    count = len(champion)
    if not np.isfinite(candidate).all():
        return Finding("refuse", "the candidate answers with numbers that are not finite", count, 1.0, np.inf)
    if count < config.least_examples:
        reason = f"{count} verified examples are too few to judge by; {config.least_examples} are needed"
        return Finding("hold" if slow else "promote", reason, count, 0.0, 1.0)
    differences = candidate - np.where(np.isfinite(champion), champion, 1.0)
    mean = float(differences.mean())
    e_value = e_value_worse(differences, config.tolerance)
    slices = _slices(differences, config, parts or NO_PARTS)
    seen = f"on the last {count} verified examples its {what} is {abs(mean):.3f} {_than(mean)} the champion's"
    if e_value >= 1 / config.alpha:
        reason = f"it would make the recent past worse: {seen} (e-value {e_value:.3g})"
        return Finding("refuse", reason, count, mean, e_value, slices)
    worst = slices[0] if slices else None
    if worst is not None and worst.e_value >= len(slices) / config.alpha:
        reason = f"it would make {_called(worst.name)} worse: {_said(worst, what)}"
        return Finding("refuse", reason, count, mean, e_value, slices[:_TOLD_MAX])
    if slow and mean > 0:
        reason = f"it is not shown to be better: {seen} (e-value {e_value:.3g}); more verified pieces may show it"
        return Finding("hold", reason, count, mean, e_value, slices[:_TOLD_MAX])
    reason = f"no evidence of harm: {seen} (e-value {e_value:.3g})"
    return Finding("promote", reason, count, mean, e_value, slices[:_TOLD_MAX])


def _slices(differences: Floats, config: GateConfig, parts: Parts) -> tuple[SliceFinding, ...]:
    """Every part with enough examples, the worst first."""
    if not parts.names:
        return ()
    counts = parts.masks.sum(axis=1)
    chosen = np.flatnonzero(counts >= config.slice_least_examples)
    if not len(chosen):
        return ()
    masks = parts.masks[chosen]
    table = np.broadcast_to(differences, masks.shape)
    if parts.own is not None:
        table = np.where(np.isnan(parts.own[chosen]), table, parts.own[chosen])
    means = (masks * table).sum(axis=1) / counts[chosen]
    strict = np.array([parts.names[k] in config.critical for k in chosen], bool)
    evidence = np.empty(len(chosen))
    for tolerance, which in ((config.slice_tolerance, ~strict), (0.0, strict)):
        if which.any():
            evidence[which] = e_values_worse(table[which], masks[which], tolerance)
    found = [
        SliceFinding(parts.names[k], int(counts[k]), float(mean), float(e))
        for k, mean, e in zip(chosen, means, evidence, strict=True)
    ]
    return tuple(sorted(found, key=lambda one: (-one.e_value, -one.difference, one.name)))


def _said(part: SliceFinding, what: str) -> str:
    """A part's finding in words."""
    sense = f"{abs(part.difference):.3f} {_than(part.difference)} the champion's"
    return f"its {what} there is {sense} on {part.count} pieces (e-value {part.e_value:.3g})"


def _called(name: str) -> str:
    """How a part reads in a sentence."""
    kind, colon, which = name.partition(":")
    return f"the {kind} {which!r}" if colon else f"the {name} pieces"


def _than(mean: float) -> str:
    """How a mean difference reads before "the champion's"."""
    return "above" if mean > 0 else "below" if mean < 0 else "off"
