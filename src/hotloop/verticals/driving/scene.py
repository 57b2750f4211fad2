"""A scene in numbers, fixed in length and bounded: an actor at a frame, and who is around it.

Used for novelty (leverage of the moments, h = xᵀ A⁻¹ x: far from all that was seen is near 1, often seen near 0), for
likeness (scenes whose features differ little are one), and as what human verdicts on findings teach.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from hotloop.learn.moments import Moments
from hotloop.types import Floats
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.measures import wrapped
from hotloop.verticals.driving.table import Table
from hotloop.verticals.driving.tracks import KINDS, Ints

AROUND_M: Final = 30.0
_SIDES: Final = ("front", "left", "back", "right")
SCENE: Final = (
    "speed", "acceleration", "turning", "drifting", "on foot", "large", "others", "on foot near", "on wheels near",
    "large near", "standing near", "oncoming near", "crossing near",
    *(f"near {side}" for side in _SIDES), *(f"closing {side}" for side in _SIDES),
)  # fmt: skip
NUMBERS: Final = ("severity", "novelty", "surprise", "rarity")
NAMES: Final = (*CASES, *NUMBERS, *SCENE)


def scenes(table: Table, at: Ints) -> Floats:
    """(len(at), len(SCENE)): the scenes around these rows of the table, each number from -1 to 1."""
    box, n = table.box, len(at)
    if not n:
        return np.zeros((0, len(SCENE)))
    where = np.column_stack((box.x, box.y, table.frame * (2.0 * AROUND_M)))
    found = cKDTree(where[at]).sparse_distance_matrix(cKDTree(where), AROUND_M, output_type="ndarray")
    order = np.lexsort((found["j"], found["i"]))
    who, other, far = found["i"][order], found["j"][order], found["v"][order]
    own = table.piece[at[who]] == table.piece[other]
    who, other, far = who[~own], other[~own], far[~own]
    row = at[who]
    dx, dy = box.x[other] - box.x[row], box.y[other] - box.y[row]
    c, s = np.cos(box.heading[row]), np.sin(box.heading[row])
    side = (np.floor((np.arctan2(dy * c - dx * s, dx * c + dy * s) + np.pi / 4) / (np.pi / 2)).astype(int)) % 4
    turn = np.cos(wrapped(box.heading[other] - box.heading[row]))
    kind, bikes = table.kind[other], [KINDS.index("bicycle"), KINDS.index("motorcycle")]
    large = box.length > 7.0
    counts = [
        np.bincount(who, weights=flag, minlength=n)
        for flag in (
            np.ones(len(who)), table.on_foot[other], np.isin(kind, bikes), large[other], np.abs(box.v[other]) < 0.5,
            turn < -0.7, np.abs(turn) < 0.7,
        )
    ]  # fmt: skip
    nearest, closing = _by_side(table, (row, who, other), side, far, n)
    own_numbers = (
        box.v[at] / 30, table.a[at] / 8, box.bend[at] * box.v[at] * 2, table.drift[at] / 3,
        table.on_foot[at].astype(float), large[at].astype(float),
    )  # fmt: skip
    bounded = [counts[0] / 15, *(count / 4 for count in counts[1:])]
    out: Floats = np.clip(np.column_stack((*own_numbers, *bounded, *nearest, *closing)), -1.0, 1.0)
    return out


def _by_side(
    table: Table, rows: tuple[Ints, Ints, Ints], side: Ints, far: Floats, n: int
) -> tuple[list[Floats], list[Floats]]:
    """On each side how near the nearest is (1: here, 0: nobody) and how fast it comes nearer (20 m/s: 1)."""
    row, who, other = rows
    box, nearest, closing = table.box, [], []
    dx, dy = box.x[other] - box.x[row], box.y[other] - box.y[row]
    vx = box.v[other] * np.cos(box.heading[other]) - box.v[row] * np.cos(box.heading[row])
    vy = box.v[other] * np.sin(box.heading[other]) - box.v[row] * np.sin(box.heading[row])
    comes = -(dx * vx + dy * vy) / np.maximum(far, 0.1)
    order = np.lexsort((other, -far))
    for k in range(4):
        chosen = order[side[order] == k]  # the nearest is written last
        near, fast = np.zeros(n), np.zeros(n)
        near[who[chosen]] = np.maximum(1 - far[chosen] / AROUND_M, 0.0)
        fast[who[chosen]] = comes[chosen] / 20
        nearest.append(near)
        closing.append(fast)
    return nearest, closing


def novelty(moments: Moments, scene: Floats) -> Floats:
    """(n,): h / (1 + h) of the leverage h of scenes with a leading one, 0 (often seen) to 1 (never)."""
    h = np.maximum(moments.leverage(with_one(scene)), 0.0)
    out: Floats = h / (1 + h)
    return out


def with_one(scene: Floats) -> Floats:
    """(n, d + 1): scenes with a one before them, as the moments take them."""
    return np.column_stack((np.ones(len(scene)), scene))


def vector(finding: Finding) -> Floats:
    """(len(NAMES),) What ranking and human verdicts see of a finding: its case, its numbers, its scene; -1 to 1."""
    known = finding.features
    case = [1.0 if finding.case == one else 0.0 for one in CASES]
    return np.array([*case, *(known.get(name, 0.0) for name in (*NUMBERS, *SCENE))])
