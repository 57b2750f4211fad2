"""Drives made by hand: who drives where, in a few words."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.driving.measures import Boxes
from hotloop.verticals.driving.tracks import Actor, Kind, Moment, Tracks


@dataclass(frozen=True)
class Drive:
    """One actor: where it is by frame (x, y in m), from which frame on; heading and v follow from the places."""

    x: Floats
    y: Floats
    kind: Kind = "car"
    length: float = 4.5
    width: float = 1.8
    first: int = 0
    ego: bool = False


def tracks_of(*drives: Drive, step_s: float = 0.1, moments: tuple[Moment, ...] = (), source: str = "made") -> Tracks:
    """The table of these drives, checked."""
    columns: list[list[Floats]] = [[] for _ in range(7)]
    for k, one in enumerate(drives):
        x, y = np.broadcast_arrays(np.asarray(one.x, float), np.asarray(one.y, float))
        vx, vy = (np.gradient(c, step_s) if len(c) > 1 else np.zeros(1) for c in (x, y))
        heading = np.arctan2(vy, vx)
        stands = np.hypot(vx, vy) < 1e-9
        heading[stands] = heading[~stands][0] if (~stands).any() else 0.0
        speed, none = np.hypot(vx, vy), np.full(len(x), np.nan)
        when = np.arange(len(x), dtype=np.float64) + one.first
        parts = (np.full(len(x), float(k)), when, x, y, heading, speed, none)
        for column, part in zip(columns, parts, strict=True):
            column.append(part)
    actor, frame, *rest = (np.concatenate(column) for column in columns)
    actors = tuple(Actor(str(k), one.kind, one.length, one.width, one.ego) for k, one in enumerate(drives))
    px, py, turned, speed, none = rest
    who, at = actor.astype(np.int64), frame.astype(np.int64)
    return Tracks(actors, who, at, px, py, turned, speed, none, step_s, source, "d", moments=moments).check()


def driven(v: Floats, start: float = 0.0, step_s: float = 0.1) -> Floats:
    """Places along a line of one that starts at `start` with speeds v."""
    way = np.cumsum(0.5 * (v[1:] + v[:-1]) * step_s)
    out: Floats = np.concatenate((np.zeros(1), way)).astype(np.float64)
    return out + start


def steady(v: float, frames: int, start: float = 0.0, step_s: float = 0.1) -> Floats:
    """The same at one speed."""
    return start + v * step_s * np.arange(frames, dtype=np.float64)


def random_boxes(seed: int, n: int, spread: float = 12.0) -> Boxes:
    """Rectangles anywhere."""
    rng = np.random.default_rng(seed)
    return Boxes(
        rng.uniform(-spread, spread, n), rng.uniform(-spread, spread, n), rng.uniform(-np.pi, np.pi, n),
        rng.uniform(0, 15, n), rng.uniform(0.5, 12, n), rng.uniform(0.4, 2.6, n), rng.uniform(-0.05, 0.05, n),
    )  # fmt: skip


def traffic(seed: int, vehicles: int, frames: int, lanes: int = 5) -> Tracks:
    """Cars in lanes, each at a speed that wavers a little; nobody overtakes in its lane."""
    rng, drives = np.random.default_rng(seed), []
    for k in range(vehicles):
        lane, place = k % lanes, k // lanes
        waver = np.sin(np.arange(frames) * 0.1 / rng.uniform(2, 6) + rng.uniform(0, 6))
        v = 14.0 + lane + 0.3 * waver
        drives.append(Drive(driven(v, 26.0 * place + rng.uniform(0, 4)), np.full(frames, 3.6 * lane)))
    return tracks_of(*drives)
