"""Which two are near each other in a frame, and how they stand to each other: the part that costs.

The rows of a chunk of frames go into one tree of places (x, y, and the frame as a third coordinate that is wider than
the reach), so that a query costs as much as there are neighbours: near-linear in vehicles. Cheap bounds by circles
come first; rectangles are compared only where circles might touch.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Final, TypeVar

import numpy as np
from scipy.spatial import cKDTree

from hotloop.errors import InputError
from hotloop.types import Floats
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.measures import (
    Ahead,
    Flags,
    ahead,
    circle_contact_s,
    contact,
    depth,
    gap,
    reach,
    relative_speed,
    turning_contact_s,
    wrapped,
)
from hotloop.verticals.driving.table import Table
from hotloop.verticals.driving.tracks import Ints

WORST_MAX: Final = 4_000_000  # pairs that the tree may answer with at once: 64 MB
CROWD_MAX: Final = 10_000  # actors in one frame
BESIDE_M: Final = 6.0  # across a path; farther away is no part of following or cutting in
SAME_WAY: Final = np.pi / 4  # a follower and its leader head the same way within this
TURN_MIN: Final = np.pi / 9  # from here on both must also touch along their bends to count


@dataclass(frozen=True)
class Near:
    """Pairs by rows i < j of the table, with gap m (0: overlap), depth m, relative speed m/s. Only the near ones."""

    i: Ints
    j: Ints
    gap: Floats
    depth: Floats
    speed: Floats


@dataclass(frozen=True)
class Contact:
    """Pairs by rows i < j that would touch within the horizon: TTC s, closing m/s (across the sides)."""

    i: Ints
    j: Ints
    ttc: Floats
    closing: Floats


@dataclass(frozen=True)
class Follow:
    """Rows i and j, where j is beside or ahead on the path of i and heads the same way: as `Ahead`."""

    i: Ints
    j: Ints
    gap: Floats
    across: Floats
    closing: Floats
    inside: Flags


Columns = TypeVar("Columns", Near, Contact, Follow)


@dataclass(frozen=True)
class Pairs:
    """All that is known of pairs of a log. looked_at: pairs within reach."""

    near: Near
    contact: Contact
    follow: Follow
    looked_at: int


def pairs_of(table: Table, limits: MineConfig) -> Pairs:
    """The pairs of a table. InputError for a frame that is too crowded to be one."""
    near: list[Near] = []
    touching: list[Contact] = []
    follow: list[Follow] = []
    looked_at = 0
    for i, j in _within(table, limits):
        looked_at += len(i)
        a, b = table.box.take(i), table.box.take(j)
        apart = np.hypot(b.x - a.x, b.y - a.y) - reach(a) - reach(b)
        close = apart <= 2 * limits.gap_m_max
        near.append(_near(table, i[close], j[close]))
        might = circle_contact_s(a, b) <= 2 * limits.ttc_s_max
        touching.append(_contact(table, i[might], j[might], limits))
        same = np.cos(b.heading - a.heading) > np.cos(SAME_WAY)
        follow.append(_follow(table, np.append(i[same], j[same]), np.append(j[same], i[same])))
    joined = _joined(near, Near, table), _joined(touching, Contact, table), _joined(follow, Follow, table)
    return Pairs(*joined, looked_at)


def _near(table: Table, i: Ints, j: Ints) -> Near:
    a, b = table.box.take(i), table.box.take(j)
    return Near(i, j, gap(a, b), depth(a, b), relative_speed(a, b))


def _contact(table: Table, i: Ints, j: Ints, limits: MineConfig) -> Contact:
    """Those whose rectangles would touch; where they do not head the same way, along their bends as well."""
    a, b = table.box.take(i), table.box.take(j)
    ttc, closing = contact(a, b)
    keep = (ttc <= 2 * limits.ttc_s_max) & (closing >= limits.closing_m_s_min)
    i, j, a, b, ttc, closing = i[keep], j[keep], a.take(keep), b.take(keep), ttc[keep], closing[keep]
    bent = (np.abs(wrapped(b.heading - a.heading)) > TURN_MIN) & (np.abs(a.bend) + np.abs(b.bend) > 0.002)
    turning = turning_contact_s(a.take(bent), b.take(bent), 2 * limits.ttc_s_max)
    ttc[bent] = np.maximum(ttc[bent], turning)
    keep = ttc <= 2 * limits.ttc_s_max
    return Contact(i[keep], j[keep], ttc[keep], closing[keep])


def _follow(table: Table, i: Ints, j: Ints) -> Follow:
    stand: Ahead = ahead(table.box.take(i), table.box.take(j))
    keep = (stand.gap > -table.box.length[i]) & (np.abs(stand.across) < BESIDE_M)
    found = (stand.gap, stand.across, stand.closing, stand.inside)
    return Follow(i[keep], j[keep], *(column[keep] for column in found))  # type: ignore[arg-type]


def _within(table: Table, limits: MineConfig) -> Iterator[tuple[Ints, Ints]]:
    """Rows i < j of one frame whose middles are within reach, in order, in blocks of at most `pairs_chunk`."""
    order = np.argsort(table.frame, kind="stable")
    frames, counts = np.unique(table.frame, return_counts=True)
    if len(counts) and counts.max() > CROWD_MAX:
        raise InputError(
            f"frame {int(frames[counts.argmax()])} has {int(counts.max())} actors; at most {CROWD_MAX} are taken: "
            "cut the log by place"
        )
    worst, ends = np.cumsum(counts * (counts - 1.0) / 2), np.cumsum(counts)
    done, begin = 0.0, 0
    if not len(order):
        yield order, order
    while begin < len(order):
        most, least = np.searchsorted(worst, done + WORST_MAX, "right") - 1, np.searchsorted(ends, begin, "right")
        part = int(max(most, least))
        end, done = int(ends[part]), float(worst[part])
        rows, begin = order[begin:end], end
        box = table.box
        places = np.column_stack((box.x[rows], box.y[rows], table.frame[rows] * (2.0 * limits.reach_m)))
        found = rows[cKDTree(places).query_pairs(limits.reach_m, output_type="ndarray")]
        i, j = np.minimum(found[:, 0], found[:, 1]), np.maximum(found[:, 0], found[:, 1])
        for low in range(0, max(len(i), 1), limits.pairs_chunk):
            yield i[low : low + limits.pairs_chunk], j[low : low + limits.pairs_chunk]


def _joined(parts: list[Columns], kind: type[Columns], table: Table) -> Columns:
    """Parts as one, sorted by (piece of i, piece of j, frame)."""
    whole = [np.concatenate([getattr(part, one.name) for part in parts]) for one in fields(kind)]
    order = np.lexsort((table.frame[whole[0]], table.piece[whole[1]], table.piece[whole[0]]))
    return kind(*(column[order] for column in whole))
