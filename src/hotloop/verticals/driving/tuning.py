"""The rule planner's parameters tuned on mined scenes, rehearsed on common ones, judged on scenes it never saw.

The search is differential evolution (Storn & Price 1997; SciPy), seeded and bounded, from the champion on. The cost
of a parameter set is the mean loss (interventions, discomfort, lost progress: `regression.loss`) over the mined scenes,
plus, per common scene, only what it is worse than the champion there: what is common may get better, but is never
traded in. Scenes are split by the recording that they come from, so that no moment is on both sides.
"""

from __future__ import annotations

import hashlib
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
from hotloop.verticals.driving.geometry import Mask
from hotloop.verticals.driving.planner import PlannerConfig, RulePlanner
from hotloop.verticals.driving.regression import Played, Regression, judge_planner, losses
from hotloop.verticals.driving.scenario import COMMON, Scenario

# What is searched: parameter, least, most. Narrower than what may be set: a tuned planner is still a sensible one.
BOUNDS: Final = {
    "headway_s": (0.5, 2.5), "gap_m": (1.0, 4.0), "speed_up": (0.5, 2.5), "comfort": (1.0, 4.0), "brake": (4.0, 9.0),
    "collision_s": (0.5, 6.0), "horizon_s": (0.0, 5.0), "yield_s": (0.0, 2.5), "margin_m": (0.0, 1.2),
}  # fmt: skip
_REHEARSED = 3.0  # how much a common scene that gets worse counts beside a mined one


@dataclass(frozen=True)
class Effort:
    """How long is searched: rounds, candidates a round."""

    rounds: int = 12
    candidates: int = 18
    seed: int = 0


@dataclass(frozen=True)
class Tuned:
    """The parameters, their cost and the champion's on what was tuned on, and how many parameter sets were tried."""

    config: PlannerConfig
    cost: float
    cost_before: float
    tried: int


def split(scenarios: Sequence[Scenario], held_share: float = 0.5) -> tuple[list[Scenario], list[Scenario]]:
    """To tune on, and held out: by the digest of the recording's name, so that a scene stays where it is."""
    tune: list[Scenario] = []
    held: list[Scenario] = []
    for one in scenarios:
        recording = one.name.split(":")[0]
        mark = int.from_bytes(hashlib.blake2b(recording.encode(), digest_size=8).digest()) / 2**64
        (held if mark < held_share else tune).append(one)
    return tune, held


def tuned(
    scenarios: Sequence[Scenario], simulator: Simulator, champion: PlannerConfig, effort: Effort | None = None
) -> Tuned:
    """The best parameters found on these scenes (mined and common ones). InputError if none was mined."""
    effort = effort or Effort()
    mined = np.array([one.case != COMMON for one in scenarios], bool)
    if not mined.any():
        raise InputError("no scene to tune on was mined: common driving alone says nothing of what goes wrong")
    before = losses(simulator.run(scenarios, RulePlanner(champion), effort.seed))
    tried = 0

    def cost(values: Floats) -> float:
        nonlocal tried
        tried += 1
        after = losses(simulator.run(scenarios, RulePlanner(_config(champion, values)), effort.seed))
        return _cost(before, after, mined)

    lows, highs = np.array(list(BOUNDS.values())).T
    rng = np.random.Generator(np.random.PCG64([effort.seed, 11]))
    start = np.clip(np.array([getattr(champion, name) for name in BOUNDS], np.float64), lows, highs)
    crowd = lows + rng.random((effort.candidates, len(lows))) * (highs - lows)
    half = effort.candidates // 2
    crowd[:half] = np.clip(start + 0.15 * (highs - lows) * rng.normal(size=(half, len(lows))), lows, highs)
    crowd[0] = start
    found = differential_evolution(
        cost, list(BOUNDS.values()), maxiter=effort.rounds, init=crowd, rng=rng, polish=False, tol=0.0,
        updating="immediate",
    )  # fmt: skip
    return Tuned(_config(champion, found.x), float(found.fun), _cost(before, before, mined), tried)


def _cost(before: Floats, after: Floats, mined: Mask) -> float:
    """Mean loss where it was mined, and what was lost where it is common."""
    worse = np.maximum(after[~mined] - before[~mined] - 0.002, 0.0)
    return float(after[mined].mean() + (_REHEARSED * worse.mean() if len(worse) else 0.0))


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


def trial(
    held: Sequence[Scenario], simulator: Simulator, sides: tuple[PlannerConfig, PlannerConfig], config: GateConfig,
    regression: Regression | None = None,
) -> Trial:  # fmt: skip
    """Champion and candidate (`sides`) on the same held-out scenes, judged by the gate."""
    champion, candidate = (simulator.run(held, RulePlanner(side)) for side in sides)
    return Trial(judge_planner(Played(tuple(held), champion, candidate), config, regression), champion, candidate)
