"""Rectangles and paths in the plane, over arrays: who overlaps whom, how far along a path and how far beside it.

A path is points (..., P, 2) one metre apart (`SPACING_M`); s is metres along it from its first point, d metres to the
left of it. Lengths in m, angles in rad. Whatever is NaN overlaps nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InputError
from hotloop.types import Floats

Mask: TypeAlias = NDArray[np.bool_]
SPACING_M: Final = 1.0
_SMOOTH = 5  # points of a moving mean: a recorded position jitters by centimetres, which at 1 m is degrees


@dataclass(frozen=True)
class Boxes:
    """Rectangles: middle, heading, size; arrays that broadcast."""

    x: Floats
    y: Floats
    heading: Floats
    length: Floats
    width: Floats


def overlaps(a: Boxes, b: Boxes) -> Mask:
    """Where two rectangles touch or overlap: separating axes, the four sides' directions."""
    dx, dy = b.x - a.x, b.y - a.y
    turn = b.heading - a.heading
    cos, sin = np.abs(np.cos(turn)), np.abs(np.sin(turn))
    apart = np.zeros(np.broadcast(dx, turn).shape, bool)
    for one, other in ((a, b), (b, a)):
        ahead = np.abs(dx * np.cos(one.heading) + dy * np.sin(one.heading))
        aside = np.abs(dy * np.cos(one.heading) - dx * np.sin(one.heading))
        apart |= ahead > (one.length + other.length * cos + other.width * sin) / 2
        apart |= aside > (one.width + other.length * sin + other.width * cos) / 2
    missing = np.isnan(dx) | np.isnan(dy) | np.isnan(turn)
    return ~apart & ~missing


def wrapped(angle: Floats) -> Floats:
    """Angles as -π to π."""
    return np.asarray((angle + np.pi) % (2 * np.pi) - np.pi, np.float64)


def resampled(points: Floats, before_m: float, after_m: float) -> Floats:
    """A driven way (n, 2) as points one metre apart, smoothed, with straight ends before and after. (P, 2).

    InputError where nobody moved by at least a centimetre: such a way has no direction.
    """
    steps = np.hypot(*np.diff(points, axis=0).T) if len(points) > 1 else np.zeros(0)
    kept = [0]
    travelled = 0.0
    for k, step in enumerate(steps, 1):
        travelled += float(step)
        if travelled >= 0.5:  # closer points would give jitter a direction
            kept.append(k)
            travelled = 0.0
    if len(kept) < 2:
        kept = [0, len(points) - 1]
    chosen = points[kept]
    arc = np.concatenate(([0.0], np.hypot(*np.diff(chosen, axis=0).T).cumsum()))
    if arc[-1] < 0.01:
        raise InputError("a way without length has no direction: nobody moved")
    fine = np.arange(0.0, arc[-1], SPACING_M) if arc[-1] >= SPACING_M else np.array([0.0, arc[-1]])
    way = np.stack([np.interp(fine, arc, chosen[:, k]) for k in (0, 1)], axis=1)
    return _lengthened(_smoothed(way), before_m, after_m)


def _smoothed(way: Floats) -> Floats:
    if len(way) <= _SMOOTH:
        return way
    half = _SMOOTH // 2
    padded = np.concatenate((2 * way[0] - way[half:0:-1], way, 2 * way[-1] - way[-2 : -half - 2 : -1]))
    window = np.ones(_SMOOTH) / _SMOOTH
    return np.stack([np.convolve(padded[:, k], window, "valid") for k in (0, 1)], axis=1)


def _lengthened(way: Floats, before_m: float, after_m: float) -> Floats:
    """Straight ends, and all points one metre apart again."""
    reach = min(_SMOOTH, len(way) - 1)
    first, last = way[reach] - way[0], way[-1] - way[-1 - reach]
    start = way[0] - first / np.hypot(*first) * before_m
    end = way[-1] + last / np.hypot(*last) * after_m
    whole = np.concatenate((start[None], way, end[None]))
    arc = np.concatenate(([0.0], np.hypot(*np.diff(whole, axis=0).T).cumsum()))
    fine = np.arange(0.0, arc[-1], SPACING_M)
    return np.stack([np.interp(fine, arc, whole[:, k]) for k in (0, 1)], axis=1)


def headings(path: Floats) -> Floats:
    """The direction at each point of a path (..., P, 2), unwrapped. (..., P)."""
    step = np.gradient(path, axis=-2)
    return np.asarray(np.unwrap(np.arctan2(step[..., 1], step[..., 0]), axis=-1), np.float64)


def onto(path: Floats, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Metres s and d of places (n,) on one path (P, 2): by the nearest point and its direction. NaN stays NaN."""
    heading = headings(path)
    far = (x[:, None] - path[:, 0]) ** 2 + (y[:, None] - path[:, 1]) ** 2
    near = np.where(np.isnan(far), np.inf, far).argmin(axis=1)
    dx, dy = x - path[near, 0], y - path[near, 1]
    cos, sin = np.cos(heading[near]), np.sin(heading[near])
    return near * SPACING_M + dx * cos + dy * sin, dy * cos - dx * sin


def along(path: Floats, heading: Floats, s: Floats, d: Floats) -> tuple[Floats, Floats, Floats]:
    """Places at s and d of B paths (B, P, 2) with headings (B, P): x, y, heading (B,). Beyond an end: straight on."""
    count = path.shape[1]
    low = np.clip((s / SPACING_M).astype(np.int64), 0, count - 2)
    share = s / SPACING_M - low
    rows = np.arange(len(path))
    point = path[rows, low] + share[:, None] * (path[rows, low + 1] - path[rows, low])
    angle = heading[rows, low] + np.clip(share, 0.0, 1.0) * (heading[rows, low + 1] - heading[rows, low])
    return point[:, 0] - d * np.sin(angle), point[:, 1] + d * np.cos(angle), angle


def speed_limits(path: Floats, desired: float, aside: float, comfort: float) -> Floats:
    """How fast each point of a path (P, 2) may be driven (P,): the bend by `aside` m/s2, slowed to in time."""
    bend = np.abs(np.gradient(headings(path))) / SPACING_M
    window = np.ones(_SMOOTH) / _SMOOTH
    bend = np.convolve(np.pad(bend, _SMOOTH // 2, mode="edge"), window, "valid")
    limit = np.minimum(desired, np.sqrt(aside / np.maximum(bend, 1e-6)))
    for k in range(len(limit) - 2, -1, -1):
        limit[k] = min(limit[k], float(np.sqrt(limit[k + 1] ** 2 + 2 * comfort * SPACING_M)))
    return limit
