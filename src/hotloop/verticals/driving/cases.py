"""From measures to cases: which rows count, and how bad they are, on one scale from 0 (nothing) to 1 (a collision).

The scale: a collision is 1; what a driver must answer with full braking (9 m/s2) is about 0.9; what is uncomfortable
(3.4 m/s2, AASHTO's comfortable deceleration) about 0.3; tailgating, a jerk or a strange scene stay below 0.5.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.driving.crossing import Crossings
from hotloop.verticals.driving.episodes import Hits
from hotloop.verticals.driving.finding import Case
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.measures import Flags, along_s, headway_s, required_braking, wrapped
from hotloop.verticals.driving.pairs import Pairs
from hotloop.verticals.driving.table import BRAKING_MAX, Table
from hotloop.verticals.driving.tracks import Ints

FULL_BRAKING: Final = 9.0  # m/s2, on a dry road
ENTRY_M: Final = 0.5  # how deep two may be in each other at first, beyond what they moved: the tracker's error
MOVES_M_S: Final = 2.0  # relative speed from where on being close is a near miss; speed of a follower that matters
DRIFT_M_S: Final = 0.4  # across the course: who changes lanes
CUT_IN_TTC_S: Final = 3.0


@dataclass(frozen=True)
class Found:
    """Hits of one case."""

    case: Case
    unit: str
    hits: Hits


def of_pairs(table: Table, pairs: Pairs, limits: MineConfig) -> tuple[list[Found], int]:
    """Cases of two, and how many pairs were in each other from the beginning (left out)."""
    never, doubted = _impossible(table, pairs)
    return [
        _collisions(table, pairs, never),
        _near_misses(table, pairs, never, limits),
        _short_ttc(table, pairs, limits),
        _headways(table, pairs, limits),
        _cut_ins(table, pairs, limits),
    ], doubted


def _hits(table: Table, rows: tuple[Ints, Ints], measure: tuple[Floats, Floats], past: Flags) -> Hits:
    """Hits of subject rows and other rows, with (severity, value)."""
    i, j = rows
    severity = np.clip(measure[0], 0.0, 1.0)
    return Hits(table.actor[i], table.actor[j], table.frame[i], severity, measure[1], past, i, j)


def _impossible(table: Table, pairs: Pairs) -> tuple[Flags, int]:
    """(near,): rows of pairs that are in each other in a way that no movement explains, until they part."""
    near = pairs.near
    key = table.piece[near.i] * (int(table.piece.max(initial=0)) + 1) + table.piece[near.j]
    deep, frame = near.gap <= 0, table.frame[near.i]
    new = np.append(True, (np.diff(key) != 0) | (np.diff(frame) > 1) | (deep[1:] != deep[:-1]))[: len(key)]
    begin = np.flatnonzero(new)
    run = np.cumsum(new) - 1
    if not len(begin):
        return deep, 0
    start_i, start_j = (np.searchsorted(table.piece, table.piece[rows[begin]]) for rows in (near.i, near.j))
    together = np.maximum(table.frame[start_i], table.frame[start_j]) == frame[begin]
    sudden = near.depth[begin] > near.speed[begin] * table.step_s + ENTRY_M
    wrong = deep[begin] & (together | sudden)
    return wrong[run], len(np.unique(key[begin[wrong]]))


def _faster_first(table: Table, i: Ints, j: Ints) -> tuple[Ints, Ints]:
    """The subject of a pair is the faster one."""
    swap = np.abs(table.box.v[j]) > np.abs(table.box.v[i])
    return np.where(swap, j, i), np.where(swap, i, j)


def _collisions(table: Table, pairs: Pairs, never: Flags) -> Found:
    near = pairs.near
    moving = np.maximum(np.abs(table.box.v[near.i]), np.abs(table.box.v[near.j])) > 0.3
    keep = (near.gap <= 0) & ~never & moving
    i, j = near.i[keep], near.j[keep]
    # of the frames of one collision the first is the peak: all are equally bad
    return Found("collision", "m/s", _hits(table, (i, j), (np.ones(len(i)), near.speed[keep]), np.ones(len(i), bool)))


def _near_misses(table: Table, pairs: Pairs, never: Flags, limits: MineConfig) -> Found:
    near = pairs.near
    keep = (near.gap > 0) & (near.gap <= limits.gap_m_max * limits.release) & (near.speed >= MOVES_M_S) & ~never
    i, j = _faster_first(table, near.i[keep], near.j[keep])
    far, speed = near.gap[keep], near.speed[keep]
    severity = (0.9 - 0.4 * far / limits.gap_m_max) * np.clip(speed / 6.0, 0.4, 1.0)
    return Found("near miss", "m", _hits(table, (i, j), (severity, far), far <= limits.gap_m_max))


def _threat(ttc: Floats, closing: Floats, limit: float) -> Floats:
    """Severity of a time to collision: a part for the time, the larger one for the braking that it asks for."""
    need = np.minimum(required_braking(closing, ttc), 2 * FULL_BRAKING)
    near = np.clip(1 - ttc / limit, 0.0, 1.0) * np.clip(closing / 5.0, 0.2, 1.0)
    return np.minimum(0.95, 0.35 * near + 0.6 * np.clip(need / FULL_BRAKING, 0.0, 1.0))


def _short_ttc(table: Table, pairs: Pairs, limits: MineConfig) -> Found:
    found = pairs.contact
    keep = (found.ttc <= limits.ttc_s_max * limits.release) & (found.ttc > 0)
    keep &= ~(table.on_foot[found.i] & table.on_foot[found.j])
    i, j = _faster_first(table, found.i[keep], found.j[keep])
    ttc = found.ttc[keep]
    severity = _threat(ttc, found.closing[keep], limits.ttc_s_max)
    return Found("short time to collision", "s", _hits(table, (i, j), (severity, ttc), ttc <= limits.ttc_s_max))


def _nearest(table: Table, pairs: Pairs) -> Flags:
    """(follow,): whether j is the first one on the path of i."""
    follow = pairs.follow
    gap = np.where(follow.inside & (follow.gap >= 0), follow.gap, np.inf)
    least = np.full(len(table), np.inf)
    np.minimum.at(least, follow.i, gap)
    first: Flags = np.isfinite(gap) & (gap == least[follow.i])
    return first


def _headways(table: Table, pairs: Pairs, limits: MineConfig) -> Found:
    follow, first = pairs.follow, _nearest(table, pairs)
    headway = headway_s(follow.gap, table.box.v[follow.i])
    keep = first & (headway <= limits.headway_s_max * limits.release) & (table.box.v[follow.i] >= 2 * MOVES_M_S)
    keep &= ~table.on_foot[follow.i]
    headway = headway[keep]
    severity = 0.1 + 0.3 * (1 - headway / limits.headway_s_max)
    rows = follow.i[keep], follow.j[keep]
    return Found("short headway", "s", _hits(table, rows, (severity, headway), headway <= limits.headway_s_max))


def _cut_ins(table: Table, pairs: Pairs, limits: MineConfig) -> Found:
    """Rows in which j has just come from beside into the path of i, moving across itself, with a short gap left."""
    follow = pairs.follow
    key = table.piece[follow.i] * (int(table.piece.max(initial=0)) + 1) + table.piece[follow.j]
    new = np.append(True, np.diff(key) != 0)[: len(key)]
    frame, rows = table.frame[follow.i], np.arange(len(key))
    wide = 0.5 * (table.box.width[follow.i] + table.box.width[follow.j])
    beside = np.abs(follow.across) > wide
    last = np.maximum.accumulate(np.where(beside, rows, -1))
    begin = np.maximum.accumulate(np.where(new, rows, 0))
    was = (last >= begin) & (last < rows)
    since = np.where(was, (frame - frame[np.maximum(last, 0)]) * table.step_s, np.inf)
    across = np.abs(table.drift[follow.j])
    moved = (across > DRIFT_M_S) & (across > np.abs(table.drift[follow.i]))
    own = np.maximum.accumulate(np.where(moved, rows, -1))
    moved_lately = (own >= begin) & ((frame - frame[np.maximum(own, 0)]) * table.step_s <= limits.cut_in_s)
    headway = headway_s(follow.gap, table.box.v[follow.i])
    ttc = along_s(follow.gap, follow.closing)
    keep = follow.inside & ~beside & (follow.gap >= 0) & (since <= limits.cut_in_s) & moved_lately
    keep &= (table.box.v[follow.i] >= MOVES_M_S) & ~table.on_foot[follow.i]
    keep &= (headway <= limits.cut_in_headway_s_max * limits.release) | (ttc <= CUT_IN_TTC_S)
    need = required_braking(follow.closing[keep], ttc[keep])
    headway = headway[keep]
    near = np.clip(1 - headway / limits.cut_in_headway_s_max, 0.0, 1.0)
    severity = 0.25 + 0.35 * near + 0.4 * np.clip(need / FULL_BRAKING, 0.0, 1.0)
    past = (headway <= limits.cut_in_headway_s_max) | (ttc[keep] <= CUT_IN_TTC_S)
    return Found("cut-in", "s", _hits(table, (follow.j[keep], follow.i[keep]), (severity, headway), past))


def of_crossings(table: Table, found: Crossings, limits: MineConfig) -> list[Found]:
    """Crossings, those of pedestrians apart; the subject is the later one, or the one that is not on foot."""
    walks_i, walks_j = table.on_foot[found.i], table.on_foot[found.j]
    out = []
    cases: tuple[tuple[Case, Flags, float], ...] = (
        ("crossing", ~walks_i & ~walks_j, limits.pet_s_max),
        ("pedestrian crossing", walks_i ^ walks_j, limits.pedestrian_pet_s_max),
    )
    for case, kind, limit in cases:
        keep = kind & (found.pet <= limit)
        i, j, pet = found.i[keep], found.j[keep], np.maximum(found.pet[keep], 0.0)
        drives_first = walks_j[keep]
        rows = np.where(drives_first, i, j), np.where(drives_first, j, i)
        fast = np.where(drives_first, found.v_i[keep], found.v_j[keep])
        severity = 0.1 + 0.6 * (1 - pet / limit) * np.clip(fast / 8.0, 0.3, 1.0)
        out.append(Found(case, "s", _hits(table, rows, (severity, pet), np.ones(len(i), bool))))
    return out


def of_one(table: Table, limits: MineConfig) -> list[Found]:
    """Hard braking and jerk."""
    rows, nobody = np.arange(len(table)), np.full(len(table), -1)
    moves = ~table.on_foot & (table.a >= -BRAKING_MAX)
    out = []
    braking, jerk = -table.a, np.abs(table.jerk)
    hard = 0.3 + 0.4 * (braking - limits.braking_m_s2_min) / 5.0
    harsh = 0.1 + 0.3 * (jerk / limits.jerk_m_s3_min - 1)
    cases: tuple[tuple[Case, str, Floats, Floats, float, float], ...] = (
        ("hard braking", "m/s2", braking, hard, limits.braking_m_s2_min, 0.85),
        ("jerk", "m/s3", jerk, harsh, limits.jerk_m_s3_min, 0.35),
    )
    for case, unit, measure, severity, limit, most in cases:
        keep = moves & (measure >= limit / limits.release)
        at, level = rows[keep], np.clip(severity[keep], 0.0, most)
        past = measure[keep] >= limit
        hits = Hits(
            table.actor[at], nobody[keep], table.frame[at], level, measure[keep], past, at, nobody[keep]
        )
        out.append(Found(case, unit, hits))
    return out


def of_rows(table: Table, case: Case, rows: Ints, measure: tuple[Floats, Floats]) -> Found:
    """A case of given rows with (severity, value in 0 to 1): surprise, novelty."""
    nobody = np.full(len(rows), -1)
    severity, value = measure
    past = np.ones(len(rows), bool)
    return Found(case, "share", Hits(table.actor[rows], nobody, table.frame[rows], severity, value, past, rows, nobody))


def crossing_angle(table: Table, i: int, j: int) -> float:
    """Between two headings, 0 to π, rad."""
    return float(abs(wrapped(np.array([table.box.heading[j] - table.box.heading[i]]))[0]))
