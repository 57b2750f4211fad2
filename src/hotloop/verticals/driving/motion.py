"""Where an actor will be in 1, 2 and 3 s: constant velocity, constant turn rate, and a learned one.

The learned one is closed form (`learn/moments.py`): features of the own and the neighbours' recent motion -> what is to
be added to constant velocity, in the actor's own frame (x along the heading, y to the left), m. So it can be unlearned,
and merged over sites. Its error is compared with that of calm moments at like speed, counted in fixed bins: counts add
up and are taken back exactly.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from hotloop.learn.moments import Moments
from hotloop.types import Floats
from hotloop.verticals.driving.measures import Boxes, turned
from hotloop.verticals.driving.pairs import Pairs
from hotloop.verticals.driving.table import Table
from hotloop.verticals.driving.tracks import Ints

AHEAD_S: Final = (1.0, 2.0, 3.0)
TARGETS: Final = 2 * len(AHEAD_S)
SPEEDS: Final = (2.0, 8.0, 16.0)  # m/s: bounds of the classes of speed
EDGES: Final = np.geomspace(0.01, 100.0, 160)  # m: bins of the error
FEATURES: Final = (
    "one", "v", "a", "a v", "bend v2", "turn", "drift", "jerk", "leader", "gap", "closing", "closing / gap",
    "leader a", "follower gap", "follower closing", "on foot",
)  # fmt: skip


def straight(box: Boxes, seconds: float) -> tuple[Floats, Floats]:
    """x, y (n,) after so long at constant velocity, m."""
    way = box.v * seconds
    return box.x + way * np.cos(box.heading), box.y + way * np.sin(box.heading)


def turning(box: Boxes, seconds: float) -> tuple[Floats, Floats]:
    """x, y (n,) after so long at constant speed and turn rate, m."""
    moved = turned(box, seconds)
    return moved.x, moved.y


def features(table: Table, pairs: Pairs) -> Floats:
    """(rows, len(FEATURES)): the recent motion of each row's actor, of whom it follows and of who follows it."""
    box, follow = table.box, pairs.follow
    on_path = follow.inside & (follow.gap >= 0)
    i, j, gap = follow.i[on_path], follow.j[on_path], follow.gap[on_path]
    leader, follower = _first(len(table), i, gap), _first(len(table), j, gap)
    closing, has, behind = follow.closing[on_path], leader >= 0, follower >= 0
    lead_gap = np.where(has, gap[leader], 50.0) if len(gap) else np.full(len(table), 50.0)
    lead_close = np.where(has, closing[leader], 0.0) if len(gap) else np.zeros(len(table))
    lead_a = np.where(has, table.a[j[leader]], 0.0) if len(gap) else np.zeros(len(table))
    back_gap = np.where(behind, gap[follower], 50.0) if len(gap) else np.full(len(table), 50.0)
    back_close = np.where(behind, closing[follower], 0.0) if len(gap) else np.zeros(len(table))
    turn = box.bend * box.v
    columns = (
        np.ones(len(table)), box.v / 10, table.a / 3, table.a * box.v / 30, turn * box.v / 3, turn * 3, table.drift,
        table.jerk / 10, has.astype(float), lead_gap / 20, lead_close / 5, lead_close / (lead_gap + 3), lead_a / 3,
        back_gap / 20, back_close / 5, table.on_foot.astype(float),
    )  # fmt: skip
    out: Floats = np.clip(np.column_stack(columns), -10.0, 10.0)
    return out


def _first(rows: int, row: Ints, gap: Floats) -> Ints:
    """(rows,): the index of the pair with the least gap of each row; -1: none."""
    out = np.full(rows, -1, np.int64)
    order = np.lexsort((np.arange(len(gap)), -gap))  # the least is written last
    out[row[order]] = order
    return out


def residuals(table: Table) -> Floats:
    """(rows, 6): what was recorded 1, 2, 3 s later less constant velocity, own frame, m; NaN where no record is."""
    box, out = table.box, np.full((len(table), TARGETS), np.nan)
    key = table.piece * (int(table.frame.max(initial=0)) + 1 + 100_000) + table.frame
    c, s = np.cos(box.heading), np.sin(box.heading)
    for k, seconds in enumerate(AHEAD_S):
        wanted = key + round(seconds / table.step_s)
        place = np.minimum(np.searchsorted(key, wanted), max(len(key) - 1, 0))
        there = key[place] == wanted
        x, y = straight(box, seconds)
        dx, dy = box.x[place] - x, box.y[place] - y
        out[:, 2 * k] = np.where(there, dx * c + dy * s, np.nan)
        out[:, 2 * k + 1] = np.where(there, dy * c - dx * s, np.nan)
    return out


def errors(moments: Moments | None, x: Floats, y: Floats) -> Floats:
    """(rows,): mean distance over 1, 2, 3 s to what was recorded, m; NaN where one is not. Without moments: of
    constant velocity.
    """
    left = y if moments is None else y - x @ moments.weights()
    out: Floats = np.hypot(left[:, 0::2], left[:, 1::2]).mean(axis=1)
    return out


def speed_class(v: Floats) -> Ints:
    """(rows,): 0 to len(SPEEDS)."""
    return np.searchsorted(SPEEDS, np.abs(v), "right").astype(np.int64)


def counted(error: Floats, v: Floats) -> Ints:
    """(classes, bins): how many errors are in which bin of which class of speed; NaN is in none."""
    known = np.isfinite(error)
    out = np.zeros((len(SPEEDS) + 1, len(EDGES) + 1), np.int64)
    np.add.at(out, (speed_class(v[known]), np.searchsorted(EDGES, error[known], "right")), 1)
    return out


def quantile(counts: Ints, error: Floats, v: Floats) -> Floats:
    """(rows,): share of calm errors at like speed that were in lower bins, of one more than were seen; 0 for NaN."""
    below = np.concatenate((np.zeros((len(counts), 1)), np.cumsum(counts, axis=1)), axis=1)
    kind, known = speed_class(v), np.isfinite(error)
    place = np.searchsorted(EDGES, np.where(known, error, 0.0), "right")
    out: Floats = np.where(known, below[kind, place] / (counts.sum(axis=1)[kind] + 1.0), 0.0)
    return out
