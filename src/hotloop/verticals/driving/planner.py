"""Planners: what they see at one step, what they say, and the rule planner that ships.

A planner is asked for B scenes at once (arrays (B,) of its own state, (B, M) of the others, NaN where there is nobody);
`Each` makes one of a function of a single scene. What it sees is of this step alone: nobody's future. Others are told
as seen along the reference path: `ahead` (m, from the own middle to theirs), `aside` (m, left positive, from the own
middle), `along` and `across` (their speed, m/s, along the path and to the left), `half_ahead` and `half_aside` (half of
their extent in these directions, m), and as x, y, heading.

The rule planner: the Intelligent Driver Model (Treiber, Hennecke & Helbing 2000) on whoever is in its corridor or will
be there soon (a cut-in, a crossing), braking as hard as needed where the time to collision is short; who is past
before it comes, or comes after it has passed, is not waited for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from importlib.metadata import entry_points
from typing import Annotated, Final, Protocol, cast

import numpy as np
from msgspec import Meta

from hotloop.config import Section
from hotloop.errors import ConfigError
from hotloop.types import Floats

PLANNERS: Final = "hotloop.planners"  # entry point group: a callable that takes PlannerConfig and gives a Planner
_FAR = 1e6


class PlannerConfig(Section, frozen=True):
    """`[driving.planner]`: the rule planner."""

    headway_s: Annotated[float, Meta(ge=0.3, le=4.0)] = 1.2  # kept to who is ahead
    gap_m: Annotated[float, Meta(ge=0.5, le=10.0)] = 2.0  # kept where both stand
    speed_up: Annotated[float, Meta(ge=0.3, le=4.0)] = 1.5  # m/s2, at most
    comfort: Annotated[float, Meta(ge=0.5, le=5.0)] = 2.0  # m/s2: braking that the model aims at
    brake: Annotated[float, Meta(ge=3.0, le=9.0)] = 8.0  # m/s2: braking in need, at most
    collision_s: Annotated[float, Meta(ge=0.0, le=8.0)] = 1.5  # time to collision below which it brakes as needed
    horizon_s: Annotated[float, Meta(ge=0.0, le=6.0)] = 1.0  # how far ahead it looks for who comes into its way
    yield_s: Annotated[float, Meta(ge=0.0, le=4.0)] = 0.5  # between who crosses and itself
    margin_m: Annotated[float, Meta(ge=0.0, le=2.0)] = 0.2  # beside its own width that are its way


@dataclass(frozen=True)
class View:
    """What is seen: own (B,), others (B, M). desired: how fast this place of the path may be driven, m/s."""

    step_s: float
    v: Floats
    a: Floats
    length: Floats
    width: Floats
    offset: Floats  # of the own middle from the path, m, left positive
    desired: Floats
    x: Floats
    y: Floats
    heading: Floats
    ahead: Floats
    aside: Floats
    along: Floats
    across: Floats
    half_ahead: Floats
    half_aside: Floats
    other_x: Floats
    other_y: Floats
    other_heading: Floats
    other_v: Floats

    def one(self, k: int) -> View:
        """Scene k alone, as B = 1."""
        columns = {f.name: getattr(self, f.name) for f in fields(self)}
        return View(**{name: x if name == "step_s" else x[k : k + 1] for name, x in columns.items()})


@dataclass(frozen=True)
class Plan:
    """What is to be done: acceleration (B,) in m/s2, and where beside the path to drive (B,), m, left positive."""

    acceleration: Floats
    offset: Floats


class Planner(Protocol):
    """One acceleration a step. Without state: the same view gives the same plan, so that runs repeat."""

    def plan(self, view: View) -> Plan:
        """What to do in each of the B scenes of the view."""
        ...


class Each:
    """A planner from a function of one scene (a View of B = 1) -> (acceleration, offset)."""

    def __init__(self, decide: Callable[[View], tuple[float, float]]) -> None:
        self._decide = decide

    def plan(self, view: View) -> Plan:
        """Asked scene by scene."""
        said = np.array([self._decide(view.one(k)) for k in range(len(view.v))], np.float64).reshape(-1, 2)
        return Plan(said[:, 0], said[:, 1])


class RulePlanner:
    """IDM, braking by time to collision, yielding to who comes into its way."""

    def __init__(self, config: PlannerConfig | None = None) -> None:
        self.config = config or PlannerConfig()

    def plan(self, view: View) -> Plan:
        """What to do: the least of all that somebody asks for, between the hardest braking and the free road."""
        c = self.config
        v = view.v[:, None]
        gap, speed = self._leaders(view)
        closing = v - speed
        wanted = c.gap_m + np.maximum(v * c.headway_s + v * closing / (2 * np.sqrt(c.speed_up * c.comfort)), 0.0)
        free = 1 - (view.v / np.maximum(view.desired, 0.1)) ** 4
        following = c.speed_up * (free[:, None] - (wanted / np.maximum(gap, 0.1)) ** 2)
        following = np.maximum(following, -max(c.comfort, 2.0) * 1.5)  # the model alone never slams the brakes
        room = np.maximum(gap - c.gap_m / 2, 0.1)
        needed = np.where(closing > 0, closing**2 / (2 * room), 0.0)
        urgent = (closing > 0) & (gap < c.collision_s * closing)
        asked = np.where(urgent, np.minimum(following, -1.1 * needed), following)
        asked = np.where(gap < _FAR, asked, np.inf).min(axis=1, initial=np.inf)
        alone = c.speed_up * np.maximum(free, -2.0)
        return Plan(np.maximum(np.minimum(alone, asked), -c.brake), np.zeros_like(view.v))

    def _leaders(self, view: View) -> tuple[Floats, Floats]:
        """Gap (m) and speed (m/s) of each of the others as somebody to follow; a gap of `_FAR`: not in the way."""
        c = self.config
        v = view.v[:, None]
        side = view.width[:, None] / 2 + view.half_aside + c.margin_m
        outside = np.abs(view.aside) - side
        inward = -np.sign(view.aside) * view.across
        with np.errstate(divide="ignore", invalid="ignore"):
            comes_s = np.where(outside <= 0, 0.0, np.where(inward > 0.1, outside / np.maximum(inward, 0.1), np.inf))
            gone_s = np.where(inward > 0.1, (outside + 2 * side) / np.maximum(inward, 0.1), np.inf)
            reach = view.half_ahead + view.length[:, None] / 2
            place = view.ahead + view.along * np.minimum(comes_s, c.horizon_s)  # where the ways meet
            clears_s = (place + reach) / np.maximum(v, 0.1)
            arrives_s = (place - reach) / np.maximum(v, 0.1)
        coming = comes_s <= c.horizon_s
        across = np.abs(view.along) < 0.5 * np.abs(view.across)
        passed = across & (outside > 0) & ((clears_s + c.yield_s < comes_s) | (gone_s + c.yield_s < arrives_s))
        gap = view.ahead - reach
        crossing_gap = place - reach
        gap = np.where(outside > 0, np.minimum(gap, crossing_gap), gap)
        beside = (outside > 0) & (view.ahead < view.half_ahead)  # who drives beside, or behind, has to look himself
        counts = coming & ~passed & (view.ahead > 0) & ~np.where(across, False, beside)
        counts &= ~np.isnan(view.ahead)
        return np.where(counts, np.maximum(gap, 0.1), _FAR), np.where(counts, view.along, 0.0)


def load_planner(name: str, config: PlannerConfig) -> Planner:
    """The planner `name`: "rule", or one of the entry points `hotloop.planners`. ConfigError names those there are."""
    if name == "rule":
        return RulePlanner(config)
    found = entry_points(group=PLANNERS, name=name)
    if not found:
        names = ", ".join(sorted({"rule", *(point.name for point in entry_points(group=PLANNERS))}))
        raise ConfigError(f"no planner {name!r} is installed; there are: {names}")
    make = cast("Callable[[PlannerConfig], Planner]", next(iter(found)).load())
    return make(config)
