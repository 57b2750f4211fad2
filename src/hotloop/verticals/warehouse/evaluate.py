"""What a head would have cost on trips that another one chose: off-policy evaluation from logged propensities. Pure.

    ips    the mean of weighted times, w = chance under the candidate / chance under what was logged
    snips  the same, divided by the mean weight (Swaminathan & Joachims 2015): less spread, a little biased
    dr     the candidate's expected time, and the weighted error of that expectation where the tours agree (Dudik et al.
           2011): unbiased if either the chances or the expectation are right

Seconds a trip. Bands are normal ones, from the spread of the terms: with fewer than `LEAST` trips none is given.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hotloop.types import Example, Floats, Head, Output
from hotloop.verticals.warehouse.layout import Leg
from hotloop.verticals.warehouse.task import Warehouse

LEAST: Final = 30
WEIGHT_MAX: Final = 20.0  # a tour that was hardly ever chosen may not decide alone: bias for spread
_Z: Final = 1.96


@dataclass(frozen=True)
class Estimate:
    """A mean and its 95 % band (infinite with too few trips)."""

    mean: float
    low: float
    high: float


UNKNOWN: Final = Estimate(math.nan, -math.inf, math.inf)


@dataclass(frozen=True)
class Evaluation:
    """A candidate on logged trips: how many, their measured mean, three estimates, and the effective sample size."""

    trips: int
    measured: float
    ips: Estimate
    snips: Estimate
    dr: Estimate
    effective: float


def off_policy(task: Warehouse, candidate: Head, examples: Sequence[Example]) -> Evaluation:
    """The candidate on trips whose every leg was measured. Not a number where there is none."""
    terms = [one for example in examples if (one := _trip(task, candidate, example)) is not None]
    weights, times, agreed, direct = np.array(terms).T if terms else np.zeros((4, 0))
    weights = weights.clip(0.0, WEIGHT_MAX)
    total = float(weights.sum())
    overlap = total > 0  # else none of the candidate's tours was ever gone: weights say nothing
    mean_weight = float(weights.mean()) if overlap else math.nan
    snips = float((weights * times).mean() / mean_weight) if overlap else math.nan
    return Evaluation(
        trips=len(terms),
        measured=float(times.mean()) if len(times) else math.nan,
        ips=_estimate(weights * times) if overlap else UNKNOWN,
        snips=_around(snips, weights / mean_weight * (times - snips)) if overlap else UNKNOWN,
        dr=_estimate(direct + weights * (times - agreed)) if overlap else UNKNOWN,
        effective=total**2 / max(float((weights**2).sum()), 1e-12),
    )


def _trip(task: Warehouse, candidate: Head, example: Example) -> tuple[float, float, float, float] | None:
    """Weight, measured time, what the candidate expects of the logged tour, and of its own."""
    prediction = example.prediction
    claims = (claim for word in example.feedback for claim in word.claims)
    values = {claim.output: claim.value for claim in claims if claim.value is not None}
    if not prediction.outputs or set(values) != set(range(len(prediction.outputs))):
        return None
    logged = legs_of(prediction.outputs)
    tours, x = task.chosen(prediction.proposals, candidate)
    chance = tours.count(logged) / len(tours)
    took = task.times(x, candidate)
    own = float(np.mean([_sum(tour, took) for tour in tours]))
    return chance / max(prediction.propensity, 1e-6), float(sum(values.values())), _sum(logged, took), own


def legs_of(outputs: Sequence[Output]) -> list[Leg]:
    """The tour that outputs say."""
    return [(int(o.region[0]), float(o.region[1])) for o in outputs if o.region is not None]


def _sum(legs: Sequence[Leg], times: Floats) -> float:
    return float(sum(times[stretch] * share for stretch, share in legs))


def _estimate(terms: Floats) -> Estimate:
    return _around(float(terms.mean()) if len(terms) else math.nan, terms)


def _around(mean: float, terms: Floats) -> Estimate:
    """A normal band from the spread of the terms."""
    if len(terms) < LEAST:
        return Estimate(mean, -math.inf, math.inf)
    half = _Z * float(terms.std(ddof=1)) / math.sqrt(len(terms))
    return Estimate(mean, mean - half, mean + half)
