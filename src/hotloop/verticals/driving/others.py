"""The others in B scenes at once: as recorded, or held up by who is in their way.

Each keeps to the places that were recorded. Who follows the planner's vehicle along its path (or follows somebody who
was held up by it) brakes by the Intelligent Driver Model when it comes nearer and would run into it within 3 s, or is
within 1 m + 0.3 s: from then on it is later than recorded at each place, never earlier. Road users that cross, and
those who come from ahead, are replayed as they were. Who would appear in a place that is taken stays away.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.driving.geometry import Boxes, Mask, headings, onto, overlaps, speed_limits, wrapped
from hotloop.verticals.driving.scenario import STEP_S, Scenario

BRAKE_MAX: Final = 8.0
_BEND = 3.0  # m/s2 to the side that a bend is driven with
_SLOW = 1.5  # m/s2 with which one slows to a bend
_SPEED_UP, _COMFORT, _HEADWAY_S, _GAP_M = 2.0, 3.0, 0.8, 1.5
_X, _Y, _TURN, _V, _S, _D = range(6)


@dataclass(frozen=True)
class Batch:
    """B scenes as arrays: path (B, P, 2), its directions and speed limits (B, P), the others' record (B, M, T, 6)."""

    scenarios: tuple[Scenario, ...]
    path: Floats
    turn: Floats
    limit: Floats
    record: Floats
    size: Floats  # (B, M, 2)
    frames: Floats  # (B,) of each scene


def batch_of(scenarios: Sequence[Scenario]) -> Batch:
    """Laid side by side; paths of different lengths go straight on."""
    points = max(len(one.path) for one in scenarios)
    path = np.stack([_straight_on(one.path, points) for one in scenarios])
    limit = [speed_limits(own, one.desired, _BEND, _SLOW) for own, one in zip(path, scenarios, strict=True)]
    most = max(max((len(one.others) for one in scenarios), default=0), 1)
    frames = max(one.frames for one in scenarios)
    record = np.full((len(scenarios), most, frames, 6), np.nan)
    size = np.ones((len(scenarios), most, 2))
    for k, one in enumerate(scenarios):
        n, t = len(one.others), one.frames
        if not n:
            continue
        s, d = onto(path[k], one.x.ravel(), one.y.ravel())
        columns = (one.x, one.y, one.heading, one.v, s.reshape(n, t), d.reshape(n, t))
        record[k, :n, :t] = np.stack(columns, axis=-1)
        size[k, :n] = [(actor.length, actor.width) for actor in one.others]
    ends = np.array([one.frames for one in scenarios], np.float64)
    return Batch(tuple(scenarios), path, headings(path), np.stack(limit), record, size, ends)


def _straight_on(path: Floats, points: int) -> Floats:
    step = path[-1] - path[-2]
    more = path[-1] + step * np.arange(1, points - len(path) + 1)[:, None]
    return np.concatenate((path, more))


@dataclass(frozen=True)
class Ego:
    """The planner's vehicle in B scenes: along and beside its path, speed, as a rectangle."""

    s: Floats
    d: Floats
    v: Floats
    box: Boxes


class Others:
    """Where they are now, and one step on."""

    def __init__(self, batch: Batch, *, reactive: bool = True) -> None:
        self._batch, self._reactive = batch, reactive
        there = ~np.isnan(batch.record[..., _X])
        self._last = np.where(there.any(axis=2), batch.record.shape[2] - 1 - there[:, :, ::-1].argmax(axis=2), -1)
        self._born = there.argmax(axis=2)
        self._clock = np.zeros(there.shape[:2])  # the frame of the record that each is at
        self._speed = np.full(there.shape[:2], np.nan)  # of who was held up
        self._away = np.zeros(there.shape[:2], bool)
        self.now = self._read()

    def _read(self) -> Floats:
        """State (B, M, 6) at the own clocks."""
        record = self._batch.record
        low = np.clip(self._clock.astype(np.int64), 0, record.shape[2] - 1)
        high = np.minimum(low + 1, np.maximum(self._last, 0))
        rows, columns = np.ogrid[: low.shape[0], : low.shape[1]]
        share = (self._clock - low)[..., None]
        first = record[rows, columns, low]
        second = np.where(share > 0, record[rows, columns, high], first)
        state = first + share * (second - first)
        held = ~np.isnan(self._speed)
        state[..., _V] = np.where(held, self._speed, state[..., _V])
        state[(self._clock > self._last) | self._away] = np.nan
        return np.asarray(state, np.float64)

    @property
    def boxes(self) -> Boxes:
        """Their rectangles (B, M)."""
        now, size = self.now, self._batch.size
        return Boxes(now[..., _X], now[..., _Y], now[..., _TURN], size[..., 0], size[..., 1])

    @property
    def held_up(self) -> Mask:
        """Who is later than recorded (B, M)."""
        return np.asarray(~np.isnan(self._speed))

    def step(self, frame: int, ego: Ego) -> None:
        """From `frame` to the next one."""
        delay = np.ones_like(self._clock)
        if self._reactive:
            delay = self._held(ego)
        self._clock = self._clock + delay
        self.now = self._read()
        new = (self._born == frame + 1) & ~np.isnan(self.now[..., _X])
        if new.any():
            own = ego.box
            place = (column[:, None] for column in (own.x, own.y, own.heading, own.length + 4.0, own.width))
            wide = Boxes(*place)
            self._away |= new & overlaps(wide, self.boxes)
            self.now[self._away] = np.nan

    def _held(self, ego: Ego) -> Floats:
        """How many frames of its record each goes on: 1, or less behind who is in its way."""
        now = self.now
        gap, speed = self._ahead(ego)
        v = now[..., _V]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            closing = v - speed
            close = gap < 1.0 + 0.3 * v
            near = ((closing > 0.1) & (close | (gap < 3.0 * closing))) | (close & self.held_up)
            near &= v > 0.05
            wanted = _GAP_M + np.maximum(v * _HEADWAY_S + v * closing / (2 * np.sqrt(_SPEED_UP * _COMFORT)), 0.0)
            braked = np.clip(_SPEED_UP * (1 - (wanted / np.maximum(gap, 0.1)) ** 2), -BRAKE_MAX, _SPEED_UP)
        rate, recorded = self._record_rate()
        held = self.held_up
        regained = np.clip((recorded - v) / STEP_S, -BRAKE_MAX, _SPEED_UP)
        acceleration = np.where(near, np.minimum(braked, regained), regained)
        speed_next = np.maximum(v + acceleration * STEP_S, 0.0)
        slower = near & (speed_next < recorded - 0.01)
        moved = np.where(rate > 1e-3, speed_next * STEP_S / np.maximum(rate, 1e-3), 1.0)
        delay = np.where(held | slower, np.clip(moved, 0.0, 1.0), 1.0)
        self._speed = np.where(held | slower, np.minimum(speed_next, np.maximum(recorded, 0.0)), np.nan)
        return np.asarray(np.where(np.isnan(delay), 1.0, delay))

    def _record_rate(self) -> tuple[Floats, Floats]:
        """Metres of the record in its next frame, and the speed that was recorded there (B, M)."""
        record = self._batch.record
        low = np.clip(self._clock.astype(np.int64), 0, record.shape[2] - 1)
        high = np.minimum(low + 1, np.maximum(self._last, 0))
        rows, columns = np.ogrid[: low.shape[0], : low.shape[1]]
        first, second = record[rows, columns, low], record[rows, columns, high]
        metres = np.hypot(second[..., _X] - first[..., _X], second[..., _Y] - first[..., _Y])
        return metres, np.asarray(second[..., _V])

    def _ahead(self, ego: Ego) -> tuple[Floats, Floats]:
        """Gap to, and speed of, the nearest one in the way of each that drives along the path: the planner's vehicle,
        or somebody who was held up (B, M).
        """
        now, size = self.now, self._batch.size
        turn = self._turn_at(now[..., _S])
        follows = np.cos(now[..., _TURN] - turn) > 0.8
        lead_s = np.concatenate((ego.s[:, None], np.where(self.held_up, now[..., _S], np.nan)), axis=1)
        lead_d = np.concatenate((ego.d[:, None], now[..., _D]), axis=1)
        lead_v = np.concatenate((ego.v[:, None], now[..., _V]), axis=1)
        lead_size = np.concatenate((np.stack((ego.box.length, ego.box.width), axis=1)[:, None], size), axis=1)
        with np.errstate(invalid="ignore"):
            distance = lead_s[:, None, :] - now[..., _S][:, :, None]
            aside = np.abs(lead_d[:, None, :] - now[..., _D][:, :, None])
            wide = (lead_size[:, None, :, 1] + size[:, :, None, 1]) / 2 + 0.2
            inside = (distance > 0) & (aside < wide) & follows[:, :, None]
        gap = np.where(inside, distance - (lead_size[:, None, :, 0] + size[:, :, None, 0]) / 2, np.inf)
        nearest = gap.argmin(axis=2)
        rows, columns = np.ogrid[: gap.shape[0], : gap.shape[1]]
        return gap[rows, columns, nearest], lead_v[rows, nearest]

    def _turn_at(self, s: Floats) -> Floats:
        """The direction of the path at s (B, M)."""
        place = np.clip(np.nan_to_num(s), 0, self._batch.turn.shape[1] - 1).astype(np.int64)
        return np.take_along_axis(self._batch.turn, place, axis=1)

    def along_path(self) -> tuple[Floats, Floats, Floats, Floats, Floats]:
        """Metres s and d (B, M), and as seen along the path: turn, speed along it and across it (left positive)."""
        now = self.now
        turn = wrapped(now[..., _TURN] - self._turn_at(now[..., _S]))
        return now[..., _S], now[..., _D], turn, now[..., _V] * np.cos(turn), now[..., _V] * np.sin(turn)
