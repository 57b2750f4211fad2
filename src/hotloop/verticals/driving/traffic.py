"""Seeded synthetic traffic as tracks, at 10 Hz: a highway of several lanes, and a street with a crossing and a zebra.

Cars keep distance by the intelligent driver model (Treiber, Hennecke & Helbing 2000) and change lanes as MOBIL has it
(Kesting, Treiber & Helbing 2007), which makes common driving: what is rare is planted (`planted.py`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.driving.tracks import Actor, Kind, Tracks

STEP_S: Final = 0.1
LANE_M: Final = 3.6
_VEHICLES_MAX = 2_000
_CALM_S = 30.0  # driven before the log begins, so that it begins as traffic does
_BRAKE, _PUSH, _STANDING_M, _HEADWAY_S = 2.0, 1.2, 2.0, 1.3  # m/s2, m/s2, m, s: of the driver model
_BRAKE_MAX, _JERK_MAX = 5.0, 8.0  # m/s2, m/s3
_CHANGE_S, _CHANGE_GAIN, _CHANGE_SAFE = 5.0, 0.25, 1.5  # s, m/s2, m/s2
_LANE_KEY = 1e7  # m: lanes lie so far apart in the sorted order
_FAR = 1e5
_NOISE: Final = {"place": 0.02, "heading": 0.002, "v": 0.03, "a": 0.05}
_CYCLE_S, _MAIN_S, _SIDE_FROM_S, _SIDE_TO_S, _WALK_TO_S = 44.0, 20.0, 24.0, 38.0, 29.0
_STOP_M: Final = np.array((12.0, 12.0, 27.0, 27.0, 12.0, 12.0))  # before the middle of the crossing, by lane
_ZEBRA_M = 20.0  # beyond it
_WALKS_MAX = 30

_Bools = NDArray[np.bool_]


@dataclass
class _Fleet:
    """Vehicles on lanes: s along the lane (m), v, a; `old`: the lane that it still leaves, else the same as `lane`."""

    lane: Floats
    old: Floats
    s: Floats
    v: Floats
    a: Floats
    began: Floats  # s: when it began to change lanes
    wanted: Floats  # m/s
    length: Floats


def highway(seed: int, vehicles: int = 40, seconds: float = 60.0, lanes: int = 4, noise: float = 1.0) -> Tracks:
    """A drive along x; lane k's middle is at y = 3.6 k. `noise`: times the usual one. InputError."""
    _checked(vehicles, seconds)
    if not 1 <= lanes <= 12:
        raise InputError(f"a highway of {lanes} lanes; 1 to 12 are driven")
    rng = np.random.default_rng([seed, 1])
    fleet, kinds, width = _on_highway(rng, vehicles, lanes)
    frames, warm = round(seconds / STEP_S), int(_CALM_S / STEP_S)
    told = np.empty((5, vehicles, frames))
    for number in range(-warm, frames):
        now_s = number * STEP_S
        _change_lanes(fleet, lanes, now_s)
        wave = np.sin(2 * np.pi * (now_s / 50.0 + fleet.lane / 7.0)).clip(0.0)  # dense traffic has them
        slow = 1.0 - 0.25 * wave
        _drive(fleet, fleet.wanted * slow, np.full(vehicles, _FAR))
        if number >= 0:
            share, slope = _blend((now_s - fleet.began) / _CHANGE_S)
            across = (fleet.lane - fleet.old) * LANE_M
            sideways = across * slope / _CHANGE_S
            told[:, :, number] = (
                fleet.s, fleet.old * LANE_M + across * share, np.arctan2(sideways, fleet.v.clip(1.0)), fleet.v, fleet.a,
            )  # fmt: skip
    actors = _actors(kinds, fleet.length, width)
    return _table(actors, told, rng, noise, f"highway {seed}")


def street(seed: int, vehicles: int = 16, pedestrians: int = 6, seconds: float = 60.0, noise: float = 1.0) -> Tracks:
    """Two lanes each way along x, a crossing road along y with lights, and people who cross at x = 20 when they may."""
    _checked(vehicles + pedestrians, seconds)
    rng = np.random.default_rng([seed, 2])
    path = rng.permutation(np.arange(vehicles) % 6).astype(np.float64)
    place = np.zeros(vehicles)
    for one in range(6):
        here = np.flatnonzero(path == one)
        place[here] = -35.0 - np.cumsum(rng.uniform(14.0, 45.0, len(here)))
    fleet = _fleet(rng, path, place, rng.uniform(9.5, 13.5, vehicles), np.full(vehicles, 4.5))
    fleet.v = fleet.wanted * 0.8
    frames = round(seconds / STEP_S)
    told = np.empty((5, vehicles + pedestrians, frames))
    shift = float(rng.uniform(0.0, _CYCLE_S))
    for number in range(frames):
        clock = (number * STEP_S + shift) % _CYCLE_S
        _drive(fleet, fleet.wanted, _to_light(fleet, clock))
        told[:, :vehicles, number] = _on_paths(fleet)
    told[:, vehicles:] = _walkers(rng, pedestrians, frames, shift)
    actors = _actors(["car"] * vehicles, fleet.length, np.full(vehicles, 1.8))
    people = [Actor(f"p{k}", "pedestrian", 0.5, 0.6) for k in range(pedestrians)]
    return _table((*actors, *people), told, rng, noise, f"street {seed}")


def _checked(count: int, seconds: float) -> None:
    if not (1 <= count <= _VEHICLES_MAX and 1.0 <= seconds <= 36_000.0):
        raise InputError(f"{count} actors for {seconds} s; 1 to {_VEHICLES_MAX} for 1 to 36000 s are driven")


def _on_highway(rng: np.random.Generator, vehicles: int, lanes: int) -> tuple[_Fleet, list[Kind], Floats]:
    """Vehicles at distances as they drive, trucks on the outer lanes."""
    lane = (np.arange(vehicles) % lanes).astype(np.float64)
    truck = (rng.random(vehicles) < 0.12) & (lane < max(1, lanes // 2))
    place = np.zeros(vehicles)
    for one in range(lanes):
        here = np.flatnonzero(lane == one)
        place[here] = -np.cumsum(rng.uniform(30.0, 60.0, len(here)))
    length = np.where(truck, 12.0, rng.uniform(4.0, 5.2, vehicles))
    wanted = np.where(truck, 22.0, rng.normal(27.0, 1.5, vehicles) + 1.5 * lane)
    kinds: list[Kind] = ["truck" if one else "car" for one in truck]
    return _fleet(rng, lane, place, wanted, length), kinds, np.where(truck, 2.5, 1.85)


def _fleet(rng: np.random.Generator, lane: Floats, s: Floats, wanted: Floats, length: Floats) -> _Fleet:
    speed = wanted * rng.uniform(0.85, 0.95, len(s))
    return _Fleet(lane, lane.copy(), s, speed, np.zeros(len(s)), np.full(len(s), -1e3), wanted, length)


def _blend(share: Floats) -> tuple[Floats, Floats]:
    """A smooth way from 0 to 1 (jerk bounded), and its slope."""
    u = share.clip(0.0, 1.0)
    return u**3 * (10 - 15 * u + 6 * u**2), 30 * u**2 * (1 - u) ** 2


def _push(v: Floats, wanted: Floats, gap: Floats, closing: Floats) -> Floats:
    """The intelligent driver's acceleration, m/s2."""
    space = _STANDING_M + (v * _HEADWAY_S + v * closing / (2 * np.sqrt(_PUSH * _BRAKE))).clip(0.0)
    pushed: Floats = _PUSH * (1 - (v / wanted) ** 4 - (space / gap.clip(0.5)) ** 2)
    return pushed


class _Lanes:
    """Who is ahead and who behind at a place of a lane; who changes is on both lanes."""

    def __init__(self, fleet: _Fleet) -> None:
        both = np.flatnonzero(fleet.old != fleet.lane)
        self._who = np.concatenate((np.arange(len(fleet.s)), both))
        key = np.concatenate((fleet.lane, fleet.old[both])) * _LANE_KEY + fleet.s[self._who]
        order = np.argsort(key, kind="stable")
        self._who, self._key = self._who[order], key[order]

    def ahead(self, lane: Floats, s: Floats) -> NDArray[np.int64]:
        """Index of the vehicle; -1: none."""
        return self._of(np.searchsorted(self._key, lane * _LANE_KEY + s, side="right"), lane)

    def behind(self, lane: Floats, s: Floats) -> NDArray[np.int64]:
        """Index of the vehicle; -1: none."""
        return self._of(np.searchsorted(self._key, lane * _LANE_KEY + s, side="left") - 1, lane)

    def _of(self, at: NDArray[np.int64], lane: Floats) -> NDArray[np.int64]:
        inside = (at >= 0) & (at < len(self._key))
        safe = at.clip(0, len(self._key) - 1)
        same = np.abs(self._key[safe] - lane * _LANE_KEY) < _LANE_KEY / 2
        return np.where(inside & same, self._who[safe], -1)


def _gap(fleet: _Fleet, front: NDArray[np.int64], rear: NDArray[np.int64]) -> tuple[Floats, Floats]:
    """Metres between the two, and how fast they close; far where one of them is not there."""
    there = (front >= 0) & (rear >= 0)
    gap = fleet.s[front] - fleet.s[rear] - (fleet.length[front] + fleet.length[rear]) / 2
    return np.where(there, gap, _FAR), np.where(there, fleet.v[rear] - fleet.v[front], 0.0)


def _drive(fleet: _Fleet, wanted: Floats, stop: Floats) -> None:
    """One step; `stop`: metres to where it has to stand."""
    lanes, own = _Lanes(fleet), np.arange(len(fleet.s))
    push = _push(fleet.v, wanted, stop, np.where(stop < _FAR, fleet.v, 0.0))
    for lane in (fleet.lane, fleet.old):
        push = np.minimum(push, _push(fleet.v, wanted, *_gap(fleet, lanes.ahead(lane, fleet.s), own)))
    push = push.clip(-_BRAKE_MAX, _PUSH)
    a = fleet.a + (push - fleet.a).clip(-_JERK_MAX * STEP_S, _JERK_MAX * STEP_S)
    v = (fleet.v + a * STEP_S).clip(0.0)
    fleet.a = (v - fleet.v) / STEP_S
    fleet.s = fleet.s + (fleet.v + v) / 2 * STEP_S
    fleet.v = v


def _change_lanes(fleet: _Fleet, lanes: int, now_s: float) -> None:
    """Who has changed is there; then the one who gains most by a change begins it, if nobody has to brake hard."""
    fleet.old = np.where(now_s - fleet.began >= _CHANGE_S, fleet.lane, fleet.old)
    order, own = _Lanes(fleet), np.arange(len(fleet.s))
    now = _push(fleet.v, fleet.wanted, *_gap(fleet, order.ahead(fleet.lane, fleet.s), own))
    rested = now_s - fleet.began > 3 * _CHANGE_S
    best, gain_max, to = -1, _CHANGE_GAIN, 0.0
    for side in (-1.0, 1.0):
        lane = fleet.lane + side
        front, rear = order.ahead(lane, fleet.s), order.behind(lane, fleet.s)
        ahead, behind = _gap(fleet, front, own), _gap(fleet, own, rear)
        then = _push(fleet.v, fleet.wanted, *ahead)
        his = _push(fleet.v[rear], fleet.wanted[rear], *behind)
        safe = (his > -_CHANGE_SAFE) & (then > -_CHANGE_SAFE) & (ahead[0] > 12.0) & (behind[0] > 12.0)
        able = rested & safe & (lane >= 0) & (lane < lanes) & (fleet.old == fleet.lane)
        gain = np.where(able, then - now, -np.inf)
        if gain.max() > gain_max:
            best, gain_max, to = int(gain.argmax()), float(gain.max()), float(lane[int(gain.argmax())])
    if best >= 0:
        fleet.lane, fleet.began = fleet.lane.copy(), fleet.began.copy()
        fleet.lane[best], fleet.began[best] = to, now_s


def _to_light(fleet: _Fleet, clock: float) -> Floats:
    """Metres to the line where a vehicle has to wait for its light; far where it need not, or no longer can."""
    side = fleet.lane >= 4
    green = np.where(side, _SIDE_FROM_S <= clock < _SIDE_TO_S - 4.0, clock < _MAIN_S - 4.0)
    left = -_STOP_M[fleet.lane.astype(int)] - fleet.s - fleet.length / 2
    able = (left > 0.0) & (fleet.v**2 / (2 * left.clip(0.1)) < 3.0)
    stop: Floats = np.where(green.astype(bool) | ~able, _FAR, left)
    return stop


def _on_paths(fleet: _Fleet) -> Floats:
    """x, y, heading, v, a of the street's vehicles: lanes 0, 1 to the east, 2, 3 to the west, 4 north, 5 south."""
    lane, half = fleet.lane.astype(int), LANE_M / 2
    heading = np.array((0.0, 0.0, np.pi, np.pi, np.pi / 2, -np.pi / 2))[lane]
    across = np.array((-half, -3 * half, half, 3 * half, half, -half))[lane]
    x = np.where(lane < 4, fleet.s * np.cos(heading), across)
    y = np.where(lane < 4, across, fleet.s * np.sin(heading))
    return np.stack((x, y, heading, fleet.v, fleet.a))


def _walkers(rng: np.random.Generator, count: int, frames: int, shift: float) -> Floats:
    """People; none walks through another."""
    found = np.empty((5, count, frames))
    for one in range(count):
        for _ in range(_WALKS_MAX):
            found[:, one] = _walk(rng, one - count / 2, frames, shift)
            apart = np.hypot(found[0, :one] - found[0, one], found[1, :one] - found[1, one])
            if not (apart < 0.8).any():
                break
    return found


def _walk(rng: np.random.Generator, number: float, frames: int, shift: float) -> Floats:
    """Along the pavement to the zebra, there one waits, crosses when one may, and goes on, away from the crossing."""
    told = np.empty((5, frames))
    speed, side = float(rng.uniform(1.1, 1.6)), float(rng.choice((-1.0, 1.0)))
    edge, off = 2 * LANE_M + 1.2 + float(rng.uniform(0.0, 3.0)), 0.9 * number
    x, y, crossed = _ZEBRA_M + off + float(rng.uniform(-5.0, 35.0)), -side * edge, False
    way = -1.0 if x > _ZEBRA_M + off else 1.0
    for frame in range(frames):
        clock = (frame * STEP_S + shift) % _CYCLE_S
        at_zebra = not crossed and abs(x - _ZEBRA_M - off) < 0.2
        if abs(y) < edge - 0.01 or (at_zebra and _SIDE_FROM_S <= clock < _WALK_TO_S):
            heading, v = side * np.pi / 2, speed
            y = float(np.clip(y + side * speed * STEP_S, -edge, edge))
            crossed = y * side >= edge
        else:
            way = 1.0 if crossed else way
            heading, v = (0.0 if way > 0 else np.pi), 0.0 if at_zebra else speed
            x += way * v * STEP_S
        told[:, frame] = x, y, heading, v, 0.0
    return told


def _actors(kinds: list[Kind], length: Floats, width: Floats) -> tuple[Actor, ...]:
    return tuple(
        Actor(f"v{k}", kind, round(float(length[k]), 2), round(float(width[k]), 2)) for k, kind in enumerate(kinds)
    )


def _table(actors: tuple[Actor, ...], told: Floats, rng: np.random.Generator, noise: float, source: str) -> Tracks:
    """Arrays (x y heading v a, actors, frames) as measured by a sensor that is off by a little."""
    _, count, frames = told.shape
    spread = np.array([_NOISE[name] for name in ("place", "place", "heading", "v", "a")]) * noise
    x, y, heading, v, a = (told + spread[:, None, None] * rng.normal(size=told.shape)).reshape(5, -1)
    actor, frame = np.repeat(np.arange(count), frames), np.tile(np.arange(frames), count)
    return Tracks(actors, actor, frame, x, y, heading, v.clip(0.0), a, STEP_S, source, region="").check()
