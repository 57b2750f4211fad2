"""What might have happened: the recorded scene with other speeds, gaps, delays, sizes. Seeded, plausible, measured.

A perturbation changes how fast and how early some of the others drive the way that they drove (never where), how large
they are, how fast the planner's vehicle begins, and how late it acts. Each change is a factor or a shift whose unit is
one plausible standard deviation (`SPREAD`), so that the distance of a perturbed scene from the recorded one is a plain
root mean square, and `shrunk` walks back to the recorded one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.driving.geometry import Boxes, Mask, overlaps
from hotloop.verticals.driving.scenario import STEP_S, Scenario
from hotloop.verticals.driving.tracks import Actor

# One standard deviation of each: share of the speed, m ahead, share of the size; of the own speed; frames of delay.
SPREAD: Final = {"speed": 0.08, "gap": 2.0, "size": 0.05, "own": 0.05, "late": 2.0}
ACCELERATION_MAX: Final = 9.0  # m/s2 of anybody; where more was recorded, so much
_TRIES = 20
_LATENCY_MAX = 10


@dataclass(frozen=True)
class Perturbation:
    """Changes in standard deviations: of the others (n,) their speed, gap, size; the own speed and delay of action."""

    speed: tuple[float, ...]
    gap: tuple[float, ...]
    size: tuple[float, ...]
    own: float = 0.0
    late: float = 0.0

    @property
    def distance(self) -> float:
        """How far it is from the recorded scene: root mean square of what is changed, in standard deviations."""
        values = np.array([*self.speed, *self.gap, *self.size, self.own, self.late])
        changed = values[values != 0]
        return float(np.sqrt((changed**2).mean())) if len(changed) else 0.0

    def shrunk(self, share: float) -> Perturbation:
        """So much of it: 0 is the recorded scene, 1 itself."""
        parts = [tuple(share * one for one in column) for column in (self.speed, self.gap, self.size)]
        return Perturbation(parts[0], parts[1], parts[2], share * self.own, share * self.late)

    def only(self, keep: Sequence[int]) -> Perturbation:
        """For the scene with these of the others."""
        parts = [tuple(column[k] for k in keep) for column in (self.speed, self.gap, self.size)]
        return replace(self, speed=parts[0], gap=parts[1], size=parts[2])


def perturbed(scenario: Scenario, change: Perturbation) -> Scenario:
    """The scene after the change. InputError if the change is for another number of others."""
    count = len(scenario.others)
    if not len(change.speed) == len(change.gap) == len(change.size) == count:
        raise InputError(f"{scenario.name}: a perturbation of {len(change.speed)} others for a scene with {count}")
    motion = np.stack((scenario.x, scenario.y, scenario.heading, scenario.v))
    moved = motion.copy()
    for k in range(count):
        if change.speed[k] or change.gap[k]:
            factor, gap = max(1 + SPREAD["speed"] * change.speed[k], 0.1), SPREAD["gap"] * change.gap[k]
            moved[:, k] = _moved(motion[:, k], factor, gap)
    actors = tuple(_larger(one, s) for one, s in zip(scenario.others, change.size, strict=True))
    v = round(scenario.seat.v * max(1 + SPREAD["own"] * change.own, 0.0), 3)
    latency = scenario.latency + int(np.clip(round(SPREAD["late"] * abs(change.late)), 0, _LATENCY_MAX))
    moved = np.round(moved, 3) + 0.0
    return replace(
        scenario, x=moved[0], y=moved[1], heading=moved[2], v=moved[3], others=actors, latency=latency,
        seat=replace(scenario.seat, v=v),
    )  # fmt: skip


def _larger(actor: Actor, change: float) -> Actor:
    factor = max(1 + SPREAD["size"] * change, 0.5)
    return replace(actor, length=round(actor.length * factor, 3), width=round(actor.width * factor, 3))


def _moved(motion: Floats, factor: float, gap: float) -> Floats:
    """x, y, heading, v (4, frames) of one who drives the same way at `factor` times the speed, `gap` metres ahead."""
    there = np.flatnonzero(~np.isnan(motion[0]))
    x, y, heading, v = motion[:, there]
    arc = np.concatenate(([0.0], np.hypot(np.diff(x), np.diff(y)).cumsum()))
    if arc[-1] < 0.1:  # it stood: it stands a little further on
        out = motion.copy()
        out[0, there], out[1, there] = x + gap * np.cos(heading), y + gap * np.sin(heading)
        return out
    unique = np.concatenate(([True], np.diff(arc) > 1e-6))
    wanted = factor * arc + gap
    out = motion.copy()
    for row, column in ((0, x), (1, y), (2, heading)):
        out[row, there] = np.interp(wanted, arc[unique], column[unique])
    over = np.where(wanted > arc[-1], wanted - arc[-1], np.minimum(wanted, 0.0))  # beyond either end: straight on
    out[0, there] += over * np.cos(out[2, there])
    out[1, there] += over * np.sin(out[2, there])
    out[3, there] = factor * v
    return out


def plausible(scenario: Scenario, recorded: Scenario) -> bool:
    """Nobody overlaps anybody at the start, nor any of the others each other where they did not, and nobody speeds up
    or brakes harder than can be (or than was recorded).
    """
    slope = np.abs(np.diff(scenario.v, axis=1)) / STEP_S
    before = np.abs(np.diff(recorded.v, axis=1)) / STEP_S
    with np.errstate(invalid="ignore"):
        if (slope > np.fmax(ACCELERATION_MAX, 1.05 * before)).any():
            return False
    if (scenario.hit_at_start & ~recorded.hit_at_start).any():
        return False
    return not (_touching(scenario) & ~_touching(recorded)).any()


def _boxes(scenario: Scenario, frames: slice) -> Boxes:
    """The others' rectangles (n, frames)."""
    length = np.array([one.length for one in scenario.others])[:, None]
    width = np.array([one.width for one in scenario.others])[:, None]
    return Boxes(scenario.x[:, frames], scenario.y[:, frames], scenario.heading[:, frames], length, width)


def _touching(scenario: Scenario) -> Mask:
    """Which two of the others overlap at any half second (n, n)."""
    boxes = _boxes(scenario, slice(None, None, 5))
    one = Boxes(*(column[:, None] for column in (boxes.x, boxes.y, boxes.heading, boxes.length, boxes.width)))
    other = Boxes(*(column[None] for column in (boxes.x, boxes.y, boxes.heading, boxes.length, boxes.width)))
    both = np.asarray(overlaps(one, other).any(axis=2), bool)
    both[np.arange(len(both)), np.arange(len(both))] = False
    return both


def draw(scenario: Scenario, seed: int, count: int, strength: float = 1.0) -> list[tuple[Perturbation, Scenario]]:
    """Up to `count` plausible perturbations, the nearest first. `strength`: times the standard deviations.

    What cannot be is drawn again, at most 20 times; a scene in which nothing else can be gives fewer.
    """
    found = []
    for k in range(count):
        rng = np.random.Generator(np.random.PCG64([seed, k]))
        for _ in range(_TRIES):
            change = _drawn(rng, scenario, strength)
            scene = perturbed(scenario, change)
            if plausible(scene, scenario):
                found.append((change, replace(scene, name=f"{scenario.name}~{seed}.{k}")))
                break
    return sorted(found, key=lambda pair: pair[0].distance)


def _drawn(rng: np.random.Generator, scenario: Scenario, strength: float) -> Perturbation:
    """One to three of the others who come nearest to the path, and the seat."""
    n = len(scenario.others)
    many = min(int(rng.integers(1, 4)), n)
    near = np.hypot(scenario.x - scenario.seat.x, scenario.y - scenario.seat.y)
    order = np.argsort(np.where(np.isnan(near), np.inf, near).min(axis=1, initial=np.inf), kind="stable")[:6]
    chosen = rng.choice(order, size=min(many, len(order)), replace=False) if n else order
    table = np.zeros((3, n))
    table[:, chosen] = np.clip(rng.normal(size=(3, len(chosen))), -3, 3) * strength
    own, late = (float(np.clip(one, -3, 3)) * strength for one in rng.normal(size=2))
    speed, gap, size = (tuple(float(one) for one in row) for row in table)
    return Perturbation(speed, gap, size, own, abs(late))
