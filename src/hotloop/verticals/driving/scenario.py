"""A finding in its tracks as a scenario that can be replayed: the subject's seat is empty, a planner takes it.

The others keep what was recorded, a few seconds before the peak to a few after, at 0.1 s; the subject leaves where it
began, the way that it drove (as a path without times) and the greatest speed that it drove: what it did, and when, is
taken away. Places are rounded to millimetres, so that a scenario written as CommonRoad XML and read back is the same,
byte for byte; the digest is of these bytes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Final

import numpy as np

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.driving.finding import Finding
from hotloop.verticals.driving.geometry import SPACING_M, Boxes, Mask, headings, onto, overlaps, resampled
from hotloop.verticals.driving.tracks import Actor, Grid, Tracks, as_grid

STEP_S: Final = 0.1
BEFORE_S: Final = 3.0
AFTER_S: Final = 4.0
OTHERS_MAX: Final = 24
COMMON: Final = "common"  # the case of a scene that nobody found anything in
_NEAR_M = 60.0
_BEHIND_M, _AHEAD_M = 60.0, 120.0
_LEAST_S = 1.0
_SPEED_LEAST = 2.0  # m/s: who stood all the time still wants to get on


@dataclass(frozen=True)
class Seat:
    """Where the planner begins: place, heading, speed (m/s), and what it drives (m)."""

    x: float
    y: float
    heading: float
    v: float
    actor: Actor


@dataclass(frozen=True)
class Scenario:
    """One scene. others (n,), their motion (n, frames) with NaN before the first and after the last frame of each.

    path (P, 2): a point a metre; desired: m/s; goal: index of the path's point that the recorded one reached by the
    end; peak: frame of the worst moment; latency: frames until what the planner says is done.
    """

    name: str
    case: str
    seat: Seat
    others: tuple[Actor, ...]
    x: Floats
    y: Floats
    heading: Floats
    v: Floats
    path: Floats
    desired: float
    goal: int
    peak: int
    latency: int = 0
    region: str = ""

    @property
    def frames(self) -> int:
        """How many, 0.1 s apart."""
        return int(self.x.shape[1])

    @cached_property
    def start_m(self) -> float:
        """How far along the path the planner begins."""
        return float(onto(self.path, np.array([self.seat.x]), np.array([self.seat.y]))[0][0])

    @property
    def recorded_m(self) -> float:
        """How far the recorded one came."""
        return max(self.goal * SPACING_M - self.start_m, 0.0)

    @property
    def hit_at_start(self) -> Mask:
        """Which of the others overlap the seat in the first frame (n,)."""
        seat, sizes = self.seat, np.array([(one.length, one.width) for one in self.others]).reshape(-1, 2)
        own = (seat.x, seat.y, seat.heading, seat.actor.length, seat.actor.width)
        there = Boxes(self.x[:, 0], self.y[:, 0], self.heading[:, 0], sizes[:, 0], sizes[:, 1])
        return overlaps(Boxes(*(np.array([one]) for one in own)), there)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of its canonical bytes."""
        from hotloop.verticals.driving.scenario_xml import to_xml  # noqa: PLC0415 it reads and writes this record

        return hashlib.sha256(to_xml(self)).hexdigest()

    def only(self, keep: Iterable[int]) -> Scenario:
        """The same with these of the others."""
        rows = sorted(set(keep))
        return replace(
            self, others=tuple(self.others[k] for k in rows), x=self.x[rows], y=self.y[rows],
            heading=self.heading[rows], v=self.v[rows],
        )  # fmt: skip

    def until(self, frames: int) -> Scenario:
        """The same, ended after so many frames (the goal moves nearer in proportion); who comes later is left out."""
        if frames >= self.frames:
            return self
        share = (frames - 1) / max(self.frames - 1, 1)
        goal = round((self.start_m + self.recorded_m * share) / SPACING_M)
        cut = replace(
            self, x=self.x[:, :frames], y=self.y[:, :frames], heading=self.heading[:, :frames],
            v=self.v[:, :frames], goal=goal, peak=min(self.peak, frames - 1),
        )  # fmt: skip
        return cut.only(np.flatnonzero(~np.isnan(cut.x).all(axis=1)).tolist())


def from_finding(
    tracks: Tracks, finding: Finding, before_s: float = BEFORE_S, after_s: float = AFTER_S
) -> Scenario:
    """The scene of a finding. InputError if the subject is not there, never moved, or for less than a second."""
    return _scene(tracks, finding.actors[0], finding.peak, finding.case, (before_s, after_s))


def from_moment(tracks: Tracks, actor: int, frame: int, case: str = COMMON) -> Scenario:
    """The scene of an actor around a frame, as that of a finding: common driving is taken so."""
    return _scene(tracks, actor, frame, case, (BEFORE_S, AFTER_S))


def _scene(tracks: Tracks, subject: int, peak: int, case: str, around_s: tuple[float, float]) -> Scenario:
    name = f"{tracks.source}:{tracks.actors[subject].name}:{peak}" if subject < len(tracks.actors) else tracks.source
    rows = tracks.rows_of(subject)
    frames = tracks.frame[rows]
    first = max(peak - round(around_s[0] / tracks.step_s), int(frames[0]) if len(frames) else peak)
    last = min(peak + round(around_s[1] / tracks.step_s), int(frames[-1]) if len(frames) else -1)
    if (last - first) * tracks.step_s < _LEAST_S or not first <= peak <= last:
        raise InputError(f"{name}: the subject is in the log for less than {_LEAST_S:g} s around its moment")
    way = np.stack((tracks.x[rows], tracks.y[rows]), axis=1)
    try:
        path = np.round(resampled(way, _BEHIND_M, _AHEAD_M), 3)
    except InputError as error:
        raise InputError(f"{name}: {error}") from error
    times = np.arange(0.0, (last - first) * tracks.step_s + 1e-9, STEP_S)
    window = as_grid(tracks.between(first, last))
    motion = _resampled(window, times / tracks.step_s)
    own = motion[:, subject]
    desired = max(float(tracks.v[rows][(frames >= first) & (frames <= last)].max()), _SPEED_LEAST)
    reached = onto(path, own[0, -1:], own[1, -1:])[0][0]
    others = [k for k in _nearest(motion, subject) if k != subject]
    there = motion[:, others]
    seat = Seat(*_rounded(own[:, 0]), _sized(tracks.actors[subject]))
    scene = Scenario(
        name, case, _aligned(seat, path), tuple(_sized(tracks.actors[k]) for k in others), there[0], there[1],
        there[2], there[3], path, round(desired, 3), round(float(reached) / SPACING_M),
        min(round((peak - first) * tracks.step_s / STEP_S), len(times) - 1), 0, tracks.region,
    )  # fmt: skip
    if scene.hit_at_start.any():
        raise InputError(f"{name}: the scene begins in a collision, which no planner can mend")
    return scene


def _rounded(state: Floats) -> tuple[float, float, float, float]:
    x, y, heading, v = (round(float(one), 3) for one in state)
    return x, y, heading, max(v, 0.0)


def _aligned(seat: Seat, path: Floats) -> Seat:
    """Standing cars' recorded headings are noise: the path's is taken where the speed says nothing."""
    if seat.v > 1.0:
        return seat
    near = int(((path - (seat.x, seat.y)) ** 2).sum(axis=1).argmin())
    return replace(seat, heading=round(float(headings(path)[near]), 3))


def _sized(actor: Actor) -> Actor:
    return replace(actor, length=round(actor.length, 3), width=round(actor.width, 3), ego=False)


def _resampled(grid: Grid, at: Floats) -> Floats:
    """x, y, heading, v (4, actors, times) at fractional columns; a hole in a track is bridged straight."""
    count = grid.x.shape[0]
    out = np.full((4, count, len(at)), np.nan)
    for k in range(count):
        there = np.flatnonzero(~np.isnan(grid.x[k]))
        if not len(there):
            continue
        inside = (at >= there[0] - 1e-9) & (at <= there[-1] + 1e-9)
        for row, column in enumerate((grid.x, grid.y, grid.heading, grid.v)):
            values = np.unwrap(column[k, there]) if row == 2 else column[k, there]
            out[row, k, inside] = np.interp(at[inside], there, values)
    return np.asarray(np.round(out, 3))


def _nearest(motion: Floats, subject: int) -> list[int]:
    """The actors that come nearest to the subject, in the order of the log."""
    apart = np.hypot(motion[0] - motion[0, subject], motion[1] - motion[1, subject])
    least = np.where(np.isnan(apart), np.inf, apart).min(axis=1)
    chosen = np.argsort(least, kind="stable")[: OTHERS_MAX + 1]
    return sorted(int(k) for k in chosen if least[k] <= _NEAR_M)
