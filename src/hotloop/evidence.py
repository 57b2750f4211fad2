"""Statistics that may be looked at after every verdict: e-values and confidence sequences. Pure numpy.

A test or an interval of the usual kind is right at one number of examples, fixed beforehand. A loop looks
all the time. Everything here is *anytime-valid*: the chance of being wrong at any look is at most alpha.

    e-value of "this got worse"       WorseTest, e_value_worse, e_value_worse_peak, e_values_worse
    band of a mean in [0, 1]          RunningInterval, confidence_sequence
    band of a difference of means     RunningDifference, difference_sequence, difference_interval
    band of a share (hits of total)   share_interval, share_intervals, share_difference

Sources: Waudby-Smith and Ramdas, "Estimating means of bounded random variables by betting", JRSS-B 2024
(bets, hedged capital); Robbins 1970 and Howard et al. 2021 (mixtures). One bets against a hypothesis with
money that is fair under it: whoever gets 20 times richer has 1 in 20 evidence against it (Ville 1939).
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from hotloop.errors import InputError
from hotloop.types import Floats

Share: TypeAlias = tuple[int, int]  # (hits, total)

# Shares of the largest safe bet.
BETS: Final[Floats] = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.65, 0.8, 0.9])
GRID_POINTS: Final = 499  # candidate means, 0.002 apart
BLOCK_VALUES: Final = 1024  # values taken at once: bounds the memory of long sequences to some 20 MB
_LOG_MAX: Final = 700.0  # exp of more is no double


class WorseTest:
    """Evidence, verdict by verdict, that paired differences in [-1, 1] have a mean above `tolerance`.

    The e-value is the mean capital of several gamblers, each of whom always bets the same share of what he
    has (the paper's diversified Kelly bets, truncated at 0.9). Unlike adaptive bets this needs no warm-up, so
    that a few dozen differences suffice; it does not depend on their order; and at a fixed number of
    independent differences it is valid for their average mean even where each has its own.
    Under H0 (no conditional mean above the tolerance) it reaches 1/alpha, ever, with chance at most alpha.
    """

    def __init__(self, tolerance: float) -> None:
        """`tolerance` in [0, 1]: how much worse is still all right. InputError beyond."""
        _check(tolerance, 0.0, 1.0, "tolerance")
        self.tolerance = tolerance
        self.count = 0
        self.e_value = 1.0
        self.peak = 1.0
        self._bets = BETS / (1.0 + tolerance)  # a bet above 1 / (1 + tolerance) could lose more than all
        self._log_capital = np.zeros(len(BETS))

    def update(self, difference: float) -> float:
        """Take one difference (above 0 is worse) and give the e-value after it. InputError beyond [-1, 1]."""
        _check(difference, -1.0, 1.0, "difference")
        self._log_capital += np.log1p(self._bets * (difference - self.tolerance))
        self.count += 1
        self.e_value = float(np.exp(np.minimum(self._log_capital, _LOG_MAX)).mean())
        self.peak = max(self.peak, self.e_value)
        return self.e_value


def e_value_worse(differences: ArrayLike, tolerance: float) -> float:
    """The e-value of WorseTest after all `differences` (n,): above 1/alpha the mean is above `tolerance`.

    1.0 where there are none. InputError on values beyond [-1, 1] or not numbers.
    """
    path = _worse_path(differences, tolerance)
    return float(path[-1])


def e_values_worse(differences: ArrayLike, masks: ArrayLike, tolerance: float) -> Floats:
    """`e_value_worse` of k parts at once: differences (n,) of all, or (k, n) of each; masks (k, n) say which count;
    (k,).
    """
    _check(tolerance, 0.0, 1.0, "tolerance")
    mask = np.asarray(masks, bool)
    d = np.broadcast_to(np.asarray(differences, np.float64), mask.shape)
    _bounded(d[mask], -1.0, 1.0, "differences")
    steps = np.where(mask, d - tolerance, 0.0)[..., None] * (BETS / (1.0 + tolerance))
    log_capital = np.log1p(steps).sum(axis=1)
    values: Floats = np.exp(np.minimum(log_capital, _LOG_MAX)).mean(axis=1)
    return values


def e_value_worse_peak(differences: ArrayLike, tolerance: float) -> float:
    """The largest e-value on the way: the same guarantee, for who would have stopped there."""
    return float(_worse_path(differences, tolerance).max())


def _worse_path(differences: ArrayLike, tolerance: float) -> Floats:
    """E-values before the first and after each of n differences: (n + 1,)."""
    _check(tolerance, 0.0, 1.0, "tolerance")
    d = _bounded(differences, -1.0, 1.0, "differences")
    steps = np.log1p(np.outer(d - tolerance, BETS / (1.0 + tolerance)))
    log_capital = np.vstack([np.zeros(len(BETS)), np.cumsum(steps, axis=0)])
    path: Floats = np.exp(np.minimum(log_capital, _LOG_MAX)).mean(axis=1)
    return path


class RunningInterval:
    """A confidence sequence for the mean of values in [0, 1], fed as they come. Memory: two arrays of 499.

    Hedged betting on a grid of candidate means with predictable plug-in bets (section 4 of the paper).
    Bounds are rounded outwards to the grid (0.002). For values whose mean drifts, use one per window.
    """

    def __init__(self, alpha: float) -> None:
        """`alpha` in (0, 1): the chance that the mean is outside at any time. InputError beyond."""
        self.alpha = alpha
        self._hedge = _Hedge(alpha)

    @property
    def count(self) -> int:
        """How many values there were."""
        return self._hedge.count

    @property
    def mean(self) -> float:
        """Their mean; 0.5 before the first."""
        return self._hedge.sum / self._hedge.count if self._hedge.count else 0.5

    def add(self, value: float) -> None:
        """Take one value. InputError if it is beyond [0, 1] or not a number."""
        _check(value, 0.0, 1.0, "value")
        self._hedge.take(np.array([value]))

    def interval(self) -> tuple[float, float]:
        """The (lower, upper) bound now; (0, 1) before the first value."""
        lower, upper = _bounds(self._hedge.plus[None], self._hedge.minus[None], self.alpha)
        return float(lower[0]), float(upper[0])


def confidence_sequence(values: ArrayLike, alpha: float) -> tuple[Floats, Floats]:
    """Bounds (n,), (n,) on the mean of `values` (n,) in [0, 1], one for each of them; right all at once."""
    x = _bounded(values, 0.0, 1.0, "values")
    hedge = _Hedge(alpha)
    lower, upper = np.zeros(len(x)), np.ones(len(x))
    for start in range(0, len(x), BLOCK_VALUES):
        part = slice(start, start + BLOCK_VALUES)
        lower[part], upper[part] = _bounds(*hedge.take(x[part]), alpha)
    return lower, upper


class RunningDifference:
    """A confidence sequence for mean(after) - mean(before): `before` is known, `after` comes.

    Whoever bets on both means at once multiplies his capitals, so that the two widths add like the sides of a
    right angle. Two separate sequences at alpha / 2 would add them whole.
    """

    def __init__(self, before: ArrayLike, alpha: float, points: int = GRID_POINTS) -> None:
        """`before` (n,): independent of what comes after, in [0, 1]. InputError beyond.

        `points`: candidate means on the grid; bounds are rounded outwards by 2 / (points + 1), and taking a
        value costs some 0.1 us a point.
        """
        self.alpha = alpha
        self._before = _hedged(before, alpha, "before", points).curve()
        self._after = _Hedge(alpha, points)

    def take(self, after: ArrayLike) -> tuple[Floats, Floats]:
        """Take more values (n,) in [0, 1]; gives the bounds after each of them, (n,) and (n,)."""
        x = _bounded(after, 0.0, 1.0, "after")
        bounds = np.zeros((2, len(x)))
        for start in range(0, len(x), BLOCK_VALUES):
            curves = _joint(*self._after.take(x[start : start + BLOCK_VALUES]))
            for i, curve in enumerate(curves, start):
                bounds[:, i] = self._bounds(curve)
        return bounds[0], bounds[1]

    def first_proof(self, after: ArrayLike) -> int | None:
        """Take more values (n,); gives the index of the first after which 0 is out; None if it is in now.

        Looks at the last of the values first, and back only if there is a proof: some n times quicker.
        """
        x = _bounded(after, 0.0, 1.0, "after")
        if not len(x):
            return None
        plus, minus = self._after.take(x)
        if _holds_zero(self.interval()):
            return None
        looks = (self._bounds(_joint(plus[i], minus[i])) for i in range(len(x)))
        return next(i for i, bounds in enumerate(looks) if not _holds_zero(bounds))

    def interval(self) -> tuple[float, float]:
        """The (lower, upper) bound now."""
        return _difference(self._before, self._after.curve(), self.alpha)

    def _bounds(self, curve: Floats) -> tuple[float, float]:
        return _difference(self._before, (self._after.grid, curve), self.alpha)


def difference_sequence(before: ArrayLike, after: ArrayLike, alpha: float) -> tuple[Floats, Floats]:
    """Bounds on mean(after) - mean(before), both independent and in [0, 1]: one for each value of `after`."""
    return RunningDifference(before, alpha).take(after)


def difference_interval(
    before: ArrayLike, after: ArrayLike, alpha: float, points: int = GRID_POINTS
) -> tuple[float, float]:
    """The last bounds of `difference_sequence`, quicker; `points` as in RunningDifference."""
    was, now = _hedged(before, alpha, "before", points), _hedged(after, alpha, "after", points)
    return _difference(was.curve(), now.curve(), alpha)


def share_interval(hits: int, total: int, alpha: float) -> tuple[float, float]:
    """Anytime-valid bounds on a share of which `hits` in `total` were seen; (0, 1) where total is 0.

    Robbins' beta-binomial mixture with the prior Beta(1/2, 1/2): {p: M(p) < 1/alpha}. Only two counters are
    kept, whatever came before. InputError unless 0 <= hits <= total.
    """
    lower, upper = share_intervals([hits], [total], alpha)
    return float(lower[0]), float(upper[0])


def share_intervals(hits: ArrayLike, totals: ArrayLike, alpha: float) -> tuple[Floats, Floats]:
    """`share_interval` of many shares at once, each (n,): some 2 us a share for tables and curves."""
    _check_alpha(alpha)
    seen, all_of = np.asarray(hits, dtype=np.float64), np.asarray(totals, dtype=np.float64)
    _check_shares(seen, all_of)
    return _share_regions(seen, all_of, np.full(len(seen), -math.log(alpha)))


def share_difference(before: Share, after: Share, alpha: float) -> tuple[float, float]:
    """Anytime-valid bounds on (share after - share before), both independent, each given as (hits, total)."""
    _check_alpha(alpha)
    hits = np.array([before[0], after[0]], dtype=np.float64)
    totals = np.array([before[1], after[1]], dtype=np.float64)
    _check_shares(hits, totals)
    prior = _log_prior(hits, totals)
    least = prior - _log_chance(hits, totals, hits / np.maximum(totals, 1.0))
    lower, upper = _share_regions(hits, totals, -math.log(alpha) - least[::-1])
    grids = np.linspace(lower, upper, GRID_POINTS)
    logs = prior - _log_chance(hits, totals, grids)
    return _difference((grids[:, 0], logs[:, 0]), (grids[:, 1], logs[:, 1]), alpha)


_Curve: TypeAlias = tuple[Floats, Floats]  # an even grid of candidate means, and the log capital on it


class _Hedge:
    """Two gamblers for each candidate mean m on the grid: one bets that the mean is above m, one below."""

    def __init__(self, alpha: float, points: int = GRID_POINTS) -> None:
        _check_alpha(alpha)
        self.alpha = alpha
        self.count = 0
        self.sum = 0.0
        self.grid: Floats = np.arange(1, points + 1) / (points + 1)
        self.plus = np.zeros(points)  # log capitals
        self.minus = np.zeros(points)
        self._spread = 0.0  # sum of squared distances from the running means
        self._variance = 0.25  # estimated from what came before: a bet must not know its own outcome

    def take(self, x: Floats) -> tuple[Floats, Floats]:
        """Take values (n,); gives the log capitals after each of them, (n, points) up and down."""
        t = self.count + np.arange(1, len(x) + 1)
        sums = self.sum + np.cumsum(x)
        spread = self._spread + np.cumsum(np.square(x - (0.5 + sums) / (t + 1)))
        variance = (0.25 + spread) / (t + 1)
        before = np.concatenate([[self._variance], variance[:-1]])
        bets = np.sqrt(2.0 * math.log(2.0 / self.alpha) / (before * t * np.log1p(t)))[:, None]
        distance = x[:, None] - self.grid
        up = np.log1p(np.minimum(bets, 0.5 / self.grid) * distance)
        down = np.log1p(-np.minimum(bets, 0.5 / (1.0 - self.grid)) * distance)
        plus = self.plus + np.cumsum(up, axis=0)
        minus = self.minus + np.cumsum(down, axis=0)
        self.plus, self.minus = plus[-1], minus[-1]
        self.sum, self._spread, self._variance = float(sums[-1]), float(spread[-1]), float(variance[-1])
        self.count += len(x)
        return plus, minus

    def curve(self) -> _Curve:
        """The joint log capital now."""
        return self.grid, _joint(self.plus, self.minus)


def _hedged(values: ArrayLike, alpha: float, what: str, points: int = GRID_POINTS) -> _Hedge:
    """The gamblers after all of `values`, which may be long."""
    hedge = _Hedge(alpha, points)
    x = _bounded(values, 0.0, 1.0, what)
    for start in range(0, len(x), BLOCK_VALUES):
        hedge.take(x[start : start + BLOCK_VALUES])
    return hedge


def _bounds(plus: Floats, minus: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Means that neither gambler can rule out, from log capitals (n, grid): (lower, upper), each (n,)."""
    level = math.log(2.0 / alpha)  # each of the two starts with half the money
    upper = 1.0 - (minus >= level).sum(axis=1) / (GRID_POINTS + 1)
    lower = (plus >= level).sum(axis=1) / (GRID_POINTS + 1)
    return np.minimum(lower, upper), upper


def _joint(plus: Floats, minus: Floats) -> Floats:
    """Log of the two gamblers' whole capital, started with half the money each."""
    joint: Floats = np.logaddexp(plus, minus) - math.log(2.0)
    return joint


def _holds_zero(bounds: tuple[float, float]) -> bool:
    return bounds[0] <= 0.0 <= bounds[1]


def _difference(before: _Curve, after: _Curve, alpha: float) -> tuple[float, float]:
    """The extremes of b - a over all pairs of candidate means whose joint log capital is below log(1/alpha).

    Rounded outwards by a step of each grid.
    """
    (a, log_a), (b, log_b) = before, after
    level = max(-math.log(alpha), float(log_a.min() + log_b.min()) + 1e-9)  # the best pair is always in
    room = level - log_a
    from_right = np.minimum.accumulate(log_b[::-1])[::-1]  # rises with b
    from_left = np.minimum.accumulate(log_b)  # falls with b
    # So the largest b below `room` is the last such of the one, the smallest the first such of the other.
    last = np.searchsorted(from_right, room, side="left") - 1
    first = len(b) - np.searchsorted(from_left[::-1], room, side="left")
    possible = first < len(b)
    step = float((a[-1] - a[0]) / (len(a) - 1) + (b[-1] - b[0]) / (len(b) - 1))
    upper = float((b[last[possible]] - a[possible]).max()) + step
    lower = float((b[first[possible]] - a[possible]).min()) - step
    return max(lower, -1.0), min(upper, 1.0)


def _share_regions(hits: Floats, totals: Floats, levels: Floats) -> tuple[Floats, Floats]:
    """Where the mixture's log evidence against a share p stays below its level, by bisection: (n,), (n,)."""
    best = hits / np.maximum(totals, 1.0)
    least = _log_prior(hits, totals) - levels  # log evidence is below its level where log chance is above this
    bounds = []
    for end in (0.0, 1.0):
        outside, inside = np.full(len(hits), end), best.copy()
        for _ in range(34):
            middle = (outside + inside) / 2
            out = _log_chance(hits, totals, middle) <= least
            outside, inside = np.where(out, middle, outside), np.where(out, inside, middle)
        reached = _log_chance(hits, totals, np.full(len(hits), end)) > least
        bounds.append(np.where(reached, end, outside))
    return bounds[0], bounds[1]


def _log_prior(hits: Floats, totals: Floats) -> Floats:
    """Log of Beta(hits + 1/2, misses + 1/2) / Beta(1/2, 1/2): the chance of what was seen by the mixture."""
    pairs = zip(hits.tolist(), (totals - hits).tolist(), strict=True)
    logs = [math.lgamma(h + 0.5) + math.lgamma(m + 0.5) - math.lgamma(h + m + 1) for h, m in pairs]
    return np.array(logs) - math.log(math.pi)


def _log_chance(hits: Floats, totals: Floats, p: Floats) -> Floats:
    """Log of p^hits (1 - p)^misses: the chance of what was seen by the share p."""
    misses = totals - hits
    with np.errstate(divide="ignore", invalid="ignore"):
        up = np.where(hits > 0, hits * np.log(p), 0.0)
        down = np.where(misses > 0, misses * np.log1p(-p), 0.0)
    log_p: Floats = up + down
    return log_p


def _bounded(values: ArrayLike, low: float, high: float, what: str) -> Floats:
    x = np.asarray(values, dtype=np.float64).reshape(-1)
    wrong = np.flatnonzero(~((x >= low) & (x <= high)))  # a NaN is neither, so it is found as well
    if len(wrong):
        at = wrong[0]
        raise InputError(f"{what}[{at}] is {x[at]}: scale the values to [{low:g}, {high:g}] first.")
    return x


def _check(value: float, low: float, high: float, what: str) -> None:
    if not low <= value <= high:
        raise InputError(f"the {what} is {value}: it has to be in [{low:g}, {high:g}].")


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise InputError(f"alpha is {alpha}: the chance of being wrong has to be above 0 and below 1.")


def _check_shares(hits: Floats, totals: Floats) -> None:
    wrong = np.flatnonzero(~((hits >= 0) & (hits <= totals)))
    if len(wrong):
        at = wrong[0]
        raise InputError(f"{hits[at]:g} hits of {totals[at]:g}: count hits from 0 up to the total.")
