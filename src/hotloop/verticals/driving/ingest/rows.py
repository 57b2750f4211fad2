"""From the rows of a log, in any order, to `Tracks`; what a log leaves out and its places tell is derived here.

    heading  the direction between the places before and after, where the actor moves faster than 0.5 m/s; where it is
             slower, the last such heading (the next one before there is any; 0 if it never moves)
    v        the way between the places before and after, along the heading, by its time
    a        never derived: NaN says that the log has none

Times become whole frames here, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.driving.tracks import FRAME_MAX, Actor, Ints, Moment, Tracks

_MOVES_M_S = 0.5


@dataclass(frozen=True)
class Rows:
    """Columns of one length in any order; heading, v and a are NaN where the log has none. Frames are whole."""

    actor: Ints
    frame: Floats
    x: Floats
    y: Floats
    heading: Floats
    v: Floats
    a: Floats

    @classmethod
    def of(cls, rows: Sequence[Sequence[float]]) -> Rows:
        """Rows of (actor, frame, x, y, heading, v, a)."""
        table = np.asarray(rows, np.float64).reshape(-1, 7)
        return cls(table[:, 0].astype(np.int64), *table[:, 1:].T)


def tracks_of(
    rows: Rows, actors: Sequence[Actor], step_s: float, source: str, moments: Sequence[Moment] = ()
) -> Tracks:
    """The rows as checked tracks, sorted by (actor, frame). InputError by what is wrong with them."""
    if not (np.abs(rows.frame) <= FRAME_MAX).all():
        raise InputError(f"{source}: a frame that is no number from 0 to {FRAME_MAX}")
    frame = rows.frame.astype(np.int64)
    order = np.lexsort((frame, rows.actor))
    actor, frame = rows.actor[order], frame[order]
    x, y, heading, v, a = (column[order] for column in (rows.x, rows.y, rows.heading, rows.v, rows.a))
    heading, v = derived(actor, (frame * step_s).astype(np.float64), x, y, heading, v)
    told = tuple(sorted(set(moments), key=lambda one: (one.frame, one.what)))
    return Tracks(tuple(actors), actor, frame, x, y, heading, v, a, step_s, source, moments=told).check()


def derived(
    actor: Ints, time_s: Floats, x: Floats, y: Floats, heading: Floats, v: Floats
) -> tuple[Floats, Floats]:  # fmt: skip
    """Heading and v with what is NaN in them derived; rows sorted by (actor, time)."""
    lacks = np.isnan(heading), np.isnan(v)
    if not (lacks[0].any() or lacks[1].any()):
        return heading, v
    here = np.arange(len(actor))
    before, after = np.maximum(here - 1, 0), np.minimum(here + 1, len(actor) - 1)
    before = np.where(actor[before] == actor, before, here)
    after = np.where(actor[after] == actor, after, here)
    took = time_s[after] - time_s[before]
    took = np.where(took > 0, took, np.inf)  # an actor with one row: it does not move
    vx, vy = (x[after] - x[before]) / took, (y[after] - y[before]) / took
    along = np.where(np.hypot(vx, vy) > _MOVES_M_S, np.arctan2(vy, vx), np.nan)
    heading = np.where(lacks[0], held(actor, along), heading)
    return heading, np.where(lacks[1], vx * np.cos(heading) + vy * np.sin(heading), v)


def held(actor: Ints, values: Floats) -> Floats:
    """Values with each NaN filled from the actor's row before that has one, else from the one after, else with 0."""
    out = _forward(actor, values)
    out = _forward(actor[::-1], out[::-1])[::-1]
    return np.where(np.isnan(out), 0.0, out)


def _forward(actor: NDArray[np.int64], values: Floats) -> Floats:
    last = np.maximum.accumulate(np.where(np.isnan(values), 0, np.arange(len(values))))
    return np.where(actor[last] == actor, values[last], values)


def frames_of(time_s: Floats, step_s: float, source: str) -> Floats:
    """Whole frames of times since the first one. InputError if a time lies a quarter of a step off."""
    begin = float(np.min(time_s, where=np.isfinite(time_s), initial=np.inf))
    at = (np.where(np.isfinite(time_s), time_s, np.nan) - begin) / step_s
    frame = np.rint(at)
    off = ~(np.abs(at - frame) <= 0.25)
    if off.any():
        when = time_s[int(np.flatnonzero(off)[0])]
        raise InputError(f"{source}: time {when} s is none of every {step_s:g} s, in which the log's other times lie")
    return frame


def step_of(time_s: Floats, source: str) -> float:
    """The step between the times of a log, in s: the median difference of those that differ, to the microsecond."""
    steps = np.diff(np.unique(time_s[np.isfinite(time_s)]))
    steps = steps[steps > 1e-4]
    if not len(steps):
        raise InputError(f"{source}: one moment only; a track takes two")
    return float(np.round(np.median(steps), 6))
