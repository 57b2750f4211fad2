"""The rule planner's parameters tuned on mined scenes, rehearsed on common ones, judged on scenes it never saw.

The search is differential evolution (Storn & Price 1997; SciPy), seeded and bounded, from the champion and the best of
a screening on. The cost of a parameter set is the mean loss (interventions, discomfort, lost progress:
`regression.loss`) over the mined scenes, plus what is worse than the champion on common scenes. A common scene that the
champion drives and the candidate does not costs more than all mined ones could gain: common driving is never traded in.
Since a few hundred scenes say little of the rare common one that fails, so does braking that comes near an
intervention where the champion's does not (`Weights.strain`). Which recordings are held out: `sides`.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec
import numpy as np
from scipy.optimize import differential_evolution

from hotloop.config import GateConfig
from hotloop.errors import InputError
from hotloop.gate.judge import Finding
from hotloop.types import Floats
from hotloop.verticals.driving.engines import Limits, Run, Simulator
from hotloop.verticals.driving.planner import PlannerConfig, RulePlanner
from hotloop.verticals.driving.regression import Played, Regression, judge_planner, losses
from hotloop.verticals.driving.scenario import COMMON, Scenario
from hotloop.verticals.driving.sides import recording_of

# What is searched: parameter, least, most. Narrower than what may be set: a tuned planner is still a sensible one.
# Braking in need stays as hard as a car can: a planner that may not brake harder than 6 m/s2 has no hard braking to
# count, and collides as often (measured: 17 interventions became 5 by that cap alone, 5 collisions before and after).
BOUNDS: Final = {
    "headway_s": (0.5, 2.5), "gap_m": (1.0, 4.0), "speed_up": (0.5, 2.5), "comfort": (1.0, 4.0), "brake": (8.0, 9.0),
    "collision_s": (0.5, 6.0), "horizon_s": (0.0, 5.0), "yield_s": (0.0, 2.5), "margin_m": (0.0, 1.2),
}  # fmt: skip
_REHEARSED = 3.0  # how much the mean loss of common scenes that get worse counts beside that of mined ones
_LOST = 1.0  # of each common scene that newly fails: as much as all mined scenes together
_SLACK = 0.002  # loss by which a common scene may get worse for nothing
_STRAIN_FROM = 4.0  # m/s2: harder is on the way to an intervention (6)
_DRAWS = 10_000  # of the bootstrap
_SCREENED_ON = 96  # scenes: a screening tells bad parameters from good ones, it does not choose


@dataclass(frozen=True)
class Effort:
    """How long is searched: parameter sets that are screened first, rounds, candidates a round, seconds at most.

    A search that is ended by its seconds depends on the machine; without them the same seed finds the same.
    """

    rounds: int = 12
    candidates: int = 18
    seed: int = 0
    screened: int = 0
    seconds: float = float("inf")


@dataclass(frozen=True)
class Weights:
    """What counts beside interventions. strain: of braking beyond 4 m/s2, on mined scenes, and on common ones where
    the champion brakes less.
    """

    strain: float = 0.0


@dataclass(frozen=True)
class Tuned:
    """The parameters, their cost and the champion's on what was tuned on, and how many parameter sets were tried."""

    config: PlannerConfig
    cost: float
    cost_before: float
    tried: int


def tuned(
    scenarios: Sequence[Scenario], simulator: Simulator, champion: PlannerConfig, effort: Effort | None = None,
    weights: Weights | None = None,
) -> Tuned:  # fmt: skip
    """The best parameters found on these scenes (mined and common ones). InputError if none was mined."""
    effort = effort or Effort()
    began = time.monotonic()
    cost = Cost(scenarios, simulator, champion, weights)
    tried = 0

    def of(values: Floats) -> float:
        nonlocal tried
        tried += 1
        return cost(_config(champion, values))

    rng = np.random.Generator(np.random.PCG64([effort.seed, 11]))
    crowd, screened = _crowd(cost, champion, effort, rng)
    found = differential_evolution(
        of, list(BOUNDS.values()), maxiter=effort.rounds, init=crowd, rng=rng, polish=False, tol=0.0,
        updating="immediate", callback=lambda _best, _spread: time.monotonic() - began > effort.seconds,
    )  # fmt: skip
    return Tuned(_config(champion, found.x), float(found.fun), cost.before, tried + screened)


def _crowd(cost: Cost, champion: PlannerConfig, effort: Effort, rng: np.random.Generator) -> tuple[Floats, int]:
    """The first candidates, the champion among them, and how many were tried for it: half near the champion, half
    anywhere, or the best of the screened ones.
    """
    lows, highs = np.array(list(BOUNDS.values())).T
    start = np.clip(np.array([getattr(champion, name) for name in BOUNDS], np.float64), lows, highs)
    count = max(effort.candidates, effort.screened)
    crowd = lows + rng.random((count, len(lows))) * (highs - lows)
    half = count // 2
    crowd[:half] = np.clip(start + 0.15 * (highs - lows) * rng.normal(size=(half, len(lows))), lows, highs)
    crowd[0] = start
    if effort.screened <= effort.candidates:
        return crowd, 0
    few = cost.few(_SCREENED_ON, rng)
    until = time.monotonic() + 0.3 * effort.seconds
    costs = [few(_config(champion, one)) if time.monotonic() < until else np.inf for one in crowd]
    best = np.argsort(costs[1:], kind="stable")[: effort.candidates - 1] + 1
    return crowd[[0, *best.tolist()]], int(np.isfinite(costs).sum())


class Cost:
    """What a parameter set costs on scenes, beside the champion. InputError if none of the scenes was mined."""

    def __init__(
        self, scenarios: Sequence[Scenario], simulator: Simulator, champion: PlannerConfig,
        weights: Weights | None = None,
    ) -> None:  # fmt: skip
        self._scenarios, self._simulator, self._champion = tuple(scenarios), simulator, champion
        self._weights = weights or Weights()
        self._mined = np.array([one.case != COMMON for one in scenarios], bool)
        if not self._mined.any():
            raise InputError("no scene to tune on was mined: common driving alone says nothing of what goes wrong")
        self._runs = simulator.run(self._scenarios, RulePlanner(champion))
        self.before = self._of(self._runs)

    def __call__(self, config: PlannerConfig) -> float:
        """Of these parameters."""
        return self._of(self._simulator.run(self._scenarios, RulePlanner(config)))

    def few(self, most: int, rng: np.random.Generator) -> Cost:
        """The same on fewer scenes: what the champion fails first, then drawn ones, half of them common."""
        fails = np.array([run.intervention() for run in self._runs])
        drawn = rng.permutation(len(fails))
        mined, common = (drawn[self._mined[drawn] == kind] for kind in (True, False))
        mined = np.concatenate((mined[fails[mined]], mined[~fails[mined]]))[: most - min(most // 2, len(common))]
        rows = sorted([*mined.tolist(), *common[: most - len(mined)].tolist()])
        return Cost([self._scenarios[k] for k in rows], self._simulator, self._champion, self._weights)

    def _of(self, runs: Sequence[Run]) -> float:
        mined, common = self._mined, ~self._mined
        before, after = losses(self._runs), losses(runs)
        strain = [_strain(one) for one in (self._runs, runs)]
        cost = after[mined].mean() + self._weights.strain * strain[1][mined].mean()
        if not common.any():
            return float(cost)
        worse = np.maximum(after[common] - before[common] - _SLACK, 0.0)
        strained = np.maximum(strain[1][common] - strain[0][common], 0.0)
        lost = (after[common] >= 1.0) & (before[common] < 1.0)
        return float(
            cost + _REHEARSED * (worse.mean() + self._weights.strain * strained.mean()) + _LOST * float(lost.sum())
        )


def _strain(runs: Sequence[Run]) -> Floats:
    """How near to an intervention each was braked, 0 to 1; a collision is 1."""
    near = [1.0 if one.collisions else (one.hardest - _STRAIN_FROM) / (Limits().brake - _STRAIN_FROM) for one in runs]
    return np.clip(np.array(near, np.float64), 0.0, 1.0)


def _config(champion: PlannerConfig, values: Floats) -> PlannerConfig:
    """Parameters to three digits: what is logged is what is driven."""
    named = {name: round(float(value), 3) for name, value in zip(BOUNDS, values, strict=True)}
    return msgspec.structs.replace(champion, **named)


@dataclass(frozen=True)
class Trial:
    """A candidate on held-out scenes: the gate's word, and both sides' runs."""

    finding: Finding
    champion: tuple[Run, ...]
    candidate: tuple[Run, ...]

    def reduction(self, limits: Limits | None = None) -> float:
        """Share of the champion's interventions that are gone (negative: there are more; 0 if there were none)."""
        before = sum(run.intervention(limits) for run in self.champion)
        after = sum(run.intervention(limits) for run in self.candidate)
        return (before - after) / before if before else 0.0 if not after else -float(after)

    def interval(self, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
        """Where the reduction lies: a bootstrap by recording (Efron 1979), since scenes of one recording are alike.

        Recordings are drawn anew; a draw in which the champion has no intervention says nothing and is left out. NaN if
        all are.
        """
        names = sorted({recording_of(run.scenario) for run in self.champion})
        place = {name: k for k, name in enumerate(names)}
        counted = np.zeros((2, len(names)))
        for side, runs in enumerate((self.champion, self.candidate)):
            for run in runs:
                counted[side, place[recording_of(run.scenario)]] += run.intervention()
        rng = np.random.Generator(np.random.PCG64([seed, 12]))
        drawn = rng.integers(len(names), size=(_DRAWS, len(names)))
        before, after = counted[:, drawn].sum(axis=2)
        there = before > 0
        if not there.any():
            return float("nan"), float("nan")
        gone = (before[there] - after[there]) / before[there]
        low, high = np.quantile(gone, [(1 - level) / 2, (1 + level) / 2])
        return float(low), float(high)


def trial(
    held: Sequence[Scenario], simulator: Simulator, sides: tuple[PlannerConfig, PlannerConfig], config: GateConfig,
    regression: Regression | None = None,
) -> Trial:  # fmt: skip
    """Champion and candidate (`sides`) on the same held-out scenes, judged by the gate."""
    champion, candidate = (simulator.run(held, RulePlanner(side)) for side in sides)
    return Trial(judge_planner(Played(tuple(held), champion, candidate), config, regression), champion, candidate)
