"""Small scenes by hand, for the tests of what plays, changes and judges them."""

from __future__ import annotations

import numpy as np

from hotloop.verticals.driving.scenario import Scenario, Seat
from hotloop.verticals.driving.tracks import Actor, Tracks

CAR = (4.5, 1.8)


def road(seconds: float = 6.0, v: float = 10.0, case: str = "common", name: str = "road:ego:0") -> Scenario:
    """An empty straight road along x; the seat is at 0, the path from -60 to 300 m, the recorded one drove at v."""
    frames = round(seconds / 0.1) + 1
    none = np.zeros((0, frames))
    path = np.stack((np.arange(-60.0, 301.0), np.zeros(361)), axis=1)
    seat = Seat(0.0, 0.0, 0.0, v, Actor("ego", "car", *CAR))
    return Scenario(name, case, seat, (), none, none, none, none, path, v, 60 + round(v * seconds), frames // 2)


def with_one(
    scene: Scenario, start: tuple[float, float], velocity: tuple[float, float], kind: str = "car",
    size: tuple[float, float] = CAR, frames: tuple[int, int] | None = None,
) -> Scenario:  # fmt: skip
    """With one more who moves straight on at a constant velocity, in these frames (first, last)."""
    count = scene.frames
    t = np.arange(count) * 0.1
    x, y = start[0] + velocity[0] * t, start[1] + velocity[1] * t
    heading = np.full(count, np.arctan2(velocity[1], velocity[0]))
    rows = np.stack((x, y, heading, np.full(count, np.hypot(*velocity))))
    first, last = frames or (0, count - 1)
    rows[:, :first] = np.nan
    rows[:, last + 1 :] = np.nan
    rows = np.round(rows, 3) + 0.0
    actor = Actor(f"other{len(scene.others)}", kind, *size)
    return Scenario(
        scene.name, scene.case, scene.seat, (*scene.others, actor), np.vstack((scene.x, rows[0])),
        np.vstack((scene.y, rows[1])), np.vstack((scene.heading, rows[2])), np.vstack((scene.v, rows[3])),
        scene.path, scene.desired, scene.goal, scene.peak, scene.latency, scene.region,
    )  # fmt: skip


def wall(scene: Scenario, at: float) -> Scenario:
    """With a car that stands in the way."""
    return with_one(scene, (at, 0.0), (0.0, 0.0))


def braking(scene: Scenario, gap: float, hard: float, at_s: float = 1.0) -> Scenario:
    """With a car ahead, as fast as the seat, that brakes to a stop."""
    count = scene.frames
    t = np.arange(count) * 0.1
    v = np.maximum(scene.seat.v - hard * np.maximum(t - at_s, 0.0), 0.0)
    x = gap + CAR[0] + np.concatenate(([0.0], ((v[1:] + v[:-1]) / 2 * 0.1).cumsum()))
    rows = np.round(np.stack((x, np.zeros(count), np.zeros(count), v)), 3)
    return Scenario(
        scene.name, scene.case, scene.seat, (*scene.others, Actor("ahead", "car", *CAR)), np.vstack((scene.x, rows[0])),
        np.vstack((scene.y, rows[1])), np.vstack((scene.heading, rows[2])), np.vstack((scene.v, rows[3])),
        scene.path, scene.desired, scene.goal, scene.peak,
    )  # fmt: skip


def tracks(step_s: float = 0.1, seconds: float = 12.0) -> Tracks:
    """Three cars on a road along x, one of them in the next lane and there from 2 s on, and a thing that stands."""
    frames = np.arange(round(seconds / step_s))
    rows = []
    starts = ((0.0, 0.0, 10.0, 0), (25.0, 0.0, 10.0, 0), (-10.0, 3.5, 12.0, 2.0), (60.0, -5.0, 0.0, 0))
    for actor, (x, y, v, first) in enumerate(starts):
        there = frames[frames * step_s >= first]
        same = np.ones(len(there))
        rows.append(np.stack((actor * same, there, x + v * there * step_s, y * same, 0.0 * same, v * same)))
    table = np.concatenate(rows, axis=1)
    kinds = ("car", "car", "truck", "static")
    actors = tuple(Actor(f"a{k}", kind, *CAR, ego=k == 0) for k, kind in enumerate(kinds))
    return Tracks(
        actors, table[0].astype(np.int64), table[1].astype(np.int64), table[2], table[3], table[4], table[5],
        np.full(table.shape[1], np.nan), step_s, source="log", region="eu",
    ).check()  # fmt: skip
