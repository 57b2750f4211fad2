"""A failing scene made small: nothing in it that the failure does not need.

Three steps, each of which keeps only what still fails: the others (delta debugging, Zeller & Hildebrandt 2002: halves,
quarters, ..., one by one), the perturbation (as near to the recorded scene as it still fails), the end (a little after
the failure). The number of runs is bounded; what is there when they are used up still fails.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from hotloop.errors import InputError
from hotloop.verticals.driving.engines import Limits, Simulator
from hotloop.verticals.driving.perturb import Perturbation, perturbed
from hotloop.verticals.driving.planner import Planner
from hotloop.verticals.driving.scenario import STEP_S, Scenario

Fails: TypeAlias = Callable[[Scenario], bool]
RUNS_MAX: Final = 200
_STEPS = 6  # of halving the perturbation: to 1/64 of it
_AFTER_S = 0.5


@dataclass(frozen=True)
class Minimal:
    """What is left: the scene, its share of the perturbation (1: all of it), and how many runs it took."""

    scenario: Scenario
    share: float
    runs: int


def failing(simulator: Simulator, planner: Planner, limits: Limits | None = None) -> Fails:
    """Does a scene fail by an intervention? (Too little progress is no reason to call a scene dangerous.)"""

    def fails(scenario: Scenario) -> bool:
        return simulator.run([scenario], planner)[0].intervention(limits)

    return fails


class _Counted:
    """The test, with its bound."""

    def __init__(self, fails: Fails, most: int) -> None:
        self._fails, self._most, self.runs = fails, most, 0

    def __call__(self, scenario: Scenario) -> bool:
        if self.runs >= self._most:
            return False
        self.runs += 1
        return self._fails(scenario)


def minimised(
    recorded: Scenario, fails: Fails, change: Perturbation | None = None, runs_max: int = RUNS_MAX
) -> Minimal:
    """The least of `recorded` (perturbed by `change`) that still fails. InputError if it does not fail."""
    test = _Counted(fails, runs_max)
    whole = range(len(recorded.others))

    def made(keep: Sequence[int], share: float) -> Scenario:
        scene = recorded.only(keep)
        return scene if change is None else perturbed(scene, change.only(keep).shrunk(share))

    if not test(made(whole, 1.0)):
        raise InputError(f"{recorded.name}: it does not fail, so that there is nothing to make smaller")
    keep = _fewer(list(whole), lambda rows: test(made(rows, 1.0)))
    share = 1.0 if change is None else _nearer(lambda part: test(made(keep, part)))
    scene = _shorter(made(keep, share), test)
    return Minimal(replace(scene, name=f"{recorded.name}~least"), share, test.runs)


def _fewer(rows: list[int], test: Callable[[Sequence[int]], bool]) -> list[int]:
    """ddmin: the complements of ever smaller parts."""
    parts = 2
    while rows:
        size = max(len(rows) // parts, 1)
        for low in range(0, len(rows), size):
            rest = rows[:low] + rows[low + size :]
            if test(rest):
                rows, parts = rest, max(parts - 1, 2)
                break
        else:
            if size == 1:
                break
            parts = min(parts * 2, len(rows))
    return rows


def _nearer(test: Callable[[float], bool]) -> float:
    """The least share that still fails, by halving."""
    if test(0.0):
        return 0.0
    low, high = 0.0, 1.0
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if test(middle) else (middle, high)
    return high


def _shorter(scene: Scenario, test: Fails) -> Scenario:
    """The shortest of its beginnings that still fails, and half a second more where that does, too."""
    low, high = 2, scene.frames
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if test(scene.until(middle)) else (middle + 1, high)
    best = scene.until(high) if high < scene.frames and test(scene.until(high)) else scene
    longer = scene.until(min(best.frames + round(_AFTER_S / STEP_S), scene.frames))
    return longer if longer.frames < scene.frames and test(longer) else best


def size_of(scene: Scenario) -> tuple[int, int, int]:
    """Others, frames, places: what minimising makes less."""
    return len(scene.others), scene.frames, int((~np.isnan(scene.x)).sum())
