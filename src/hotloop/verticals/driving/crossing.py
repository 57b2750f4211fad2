"""Where two paths cross, and how close in time: candidates for the post-encroachment time.

Each path is taken as segments of about half a second; a tree over (x, y, time) gives those that are near each other
in place and time, and only those that cross at an angle are kept. Where all head the same way, nothing is looked at.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from hotloop.types import Floats
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.measures import Passing, post_encroachment_s, wrapped
from hotloop.verticals.driving.table import Table
from hotloop.verticals.driving.tracks import Ints

SEGMENT_S: Final = 0.5
ANGLE_MIN: Final = np.pi / 7  # less is following or merging
MOVES_M: Final = 0.2  # a shorter segment is standing
STAY_S: Final = 4.0  # that somebody may take to leave the area, on top of the post-encroachment time
SEGMENTS_CHUNK: Final = 20_000


@dataclass(frozen=True)
class Crossings:
    """Pairs whose paths cross, i first: their rows when i is there (or j, if it was not seen then), PET in s, m/s."""

    i: Ints
    j: Ints
    pet: Floats
    v_i: Floats
    v_j: Floats


@dataclass(frozen=True)
class _Segments:
    """Starts and ends by rows, where the middle is, and the course."""

    low: Ints
    high: Ints
    course: Floats
    time: Floats


def crossings(table: Table, limits: MineConfig) -> Crossings:
    """All crossings with a PET below the wider of the two bounds, the earlier one through first."""
    parts = _segments(table)
    none = np.zeros(0, np.int64)
    nothing = Crossings(none, none, np.zeros(0), np.zeros(0), np.zeros(0))
    if not len(parts.low) or _one_way(parts.course):
        return nothing
    found = [_crossed(table, parts, one, two) for one, two in _candidates(table, parts, limits)]
    i, j = (np.concatenate([none, *(each[k] for each in found)]) for k in (0, 1))
    pet, v_i, v_j = (np.concatenate([np.zeros(0), *(each[k] for each in found)]) for k in (2, 3, 4))
    keep = pet <= max(limits.pet_s_max, limits.pedestrian_pet_s_max)
    return Crossings(i[keep], j[keep], pet[keep], v_i[keep], v_j[keep])


def _segments(table: Table) -> _Segments:
    width = max(1, round(SEGMENT_S / table.step_s))
    first = np.searchsorted(table.piece, table.piece, "left")
    last = np.searchsorted(table.piece, table.piece, "right") - 1
    rows = np.arange(len(table))
    low = rows[((rows - first) % width == 0) & (rows < last)]
    high = np.minimum(low + width, last[low])
    dx, dy = table.box.x[high] - table.box.x[low], table.box.y[high] - table.box.y[low]
    moves = np.hypot(dx, dy) > MOVES_M
    time = 0.5 * (table.frame[low] + table.frame[high]) * table.step_s
    return _Segments(low[moves], high[moves], np.arctan2(dy, dx)[moves], time[moves])


def _one_way(course: Floats) -> bool:
    """Whether no two courses cross at an angle that counts: all of them are in one narrow fan, or its opposite."""
    middle = 0.5 * np.angle(np.exp(2j * course).sum())
    return bool((np.abs(np.sin(course - middle)) < np.sin(ANGLE_MIN / 2)).all())


def _candidates(table: Table, parts: _Segments, limits: MineConfig) -> list[tuple[Ints, Ints]]:
    """Segments near each other in place and time, at an angle, in blocks."""
    box = table.box
    x, y = 0.5 * (box.x[parts.low] + box.x[parts.high]), 0.5 * (box.y[parts.low] + box.y[parts.high])
    long = np.hypot(box.x[parts.high] - box.x[parts.low], box.y[parts.high] - box.y[parts.low])
    reach = min(float(long.max()), limits.reach_m)
    within = max(limits.pet_s_max, limits.pedestrian_pet_s_max) + STAY_S
    places = np.column_stack((x / reach, y / reach, parts.time / within))
    tree, out = cKDTree(places), []
    for begin in range(0, len(places), SEGMENTS_CHUNK):
        block = cKDTree(places[begin : begin + SEGMENTS_CHUNK])
        near = block.sparse_distance_matrix(tree, 1.0, p=np.inf, output_type="ndarray")
        one, two = near["i"] + begin, near["j"]
        keep = (one < two) & (np.abs(np.sin(parts.course[two] - parts.course[one])) > np.sin(ANGLE_MIN))
        keep &= table.actor[parts.low[one]] != table.actor[parts.low[two]]
        out.append((one[keep], two[keep]))
    return out


def _crossed(table: Table, parts: _Segments, one: Ints, two: Ints) -> tuple[Ints, Ints, Floats, Floats, Floats]:
    """Of candidates those whose segments cross, with rows, PET and speeds; the earlier one first."""
    box, step = table.box, table.step_s
    a, b, c, d = parts.low[one], parts.high[one], parts.low[two], parts.high[two]
    ux, uy, wx, wy = box.x[b] - box.x[a], box.y[b] - box.y[a], box.x[d] - box.x[c], box.y[d] - box.y[c]
    cross = ux * wy - uy * wx
    px, py = box.x[c] - box.x[a], box.y[c] - box.y[a]
    s, t = (px * wy - py * wx) / cross, (px * uy - py * ux) / cross
    meets = (s >= 0) & (s < 1) & (t >= 0) & (t < 1)
    a, b, c, d, s, t = a[meets], b[meets], c[meets], d[meets], s[meets], t[meets]
    span_a, span_b = (table.frame[b] - table.frame[a]) * step, (table.frame[d] - table.frame[c]) * step
    t_a: Floats = np.asarray(table.frame[a] * step + s * span_a, np.float64)
    t_b: Floats = np.asarray(table.frame[c] * step + t * span_b, np.float64)
    v_a, v_b = np.hypot(ux, uy)[meets] / span_a, np.hypot(wx, wy)[meets] / span_b
    angle = wrapped(parts.course[two[meets]] - parts.course[one[meets]])
    sizes = (box.length[a], box.width[a]), (box.length[c], box.width[c])
    pet = post_encroachment_s(Passing(t_a, t_b, v_a, v_b, angle, *sizes))
    row_a, row_b = np.where(s < 0.5, a, b), np.where(t < 0.5, c, d)
    swap = t_b < t_a
    first, second = np.where(swap, row_b, row_a), np.where(swap, row_a, row_b)
    return first, _then(table, second, table.frame[first]), pet, np.where(swap, v_b, v_a), np.where(swap, v_a, v_b)


def _then(table: Table, row: Ints, frame: Ints) -> Ints:
    """The row of the same piece in an earlier frame; the row itself where there is none."""
    span = int(table.frame.max()) + 1
    key, wanted = table.piece * span + table.frame, table.piece[row] * span + frame
    place = np.minimum(np.searchsorted(key, wanted), len(key) - 1)
    return np.where(key[place] == wanted, place, row)
