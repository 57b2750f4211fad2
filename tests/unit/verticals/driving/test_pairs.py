"""Unit tests of driving.pairs: every pair that a plain loop over all finds, and no more memory than allowed."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.errors import InputError
from hotloop.testing.drives import Drive, steady, tracks_of, traffic
from hotloop.verticals.driving import measures, pairs
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.pairs import pairs_of
from hotloop.verticals.driving.table import believed

LIMITS = MineConfig()


def crowd(seed=1, actors=14, frames=12):
    """Actors in a small place, heading anywhere."""
    rng, drives = np.random.default_rng(seed), []
    for _ in range(actors):
        start, course, v = rng.uniform(-40, 40, 2), rng.uniform(-np.pi, np.pi), rng.uniform(0.5, 15)
        way = steady(v, frames)
        drives.append(Drive(start[0] + way * np.cos(course), start[1] + way * np.sin(course)))
    return believed(tracks_of(*drives), LIMITS)


def every_pair(table):
    """Rows i < j of one frame."""
    return [
        (i, j)
        for i in range(len(table))
        for j in range(i + 1, len(table))
        if table.frame[i] == table.frame[j]
    ]


def one(table, k):
    """A row as boxes."""
    return table.box.take(np.array([k]))


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_contacts_are_those_of_a_plain_loop(seed):
    """Of all pairs within reach, those that would touch in time are found, with that time."""
    table = crowd(seed)
    wanted = {}
    for i, j in every_pair(table):
        a, b = one(table, i), one(table, j)
        ttc, closing = measures.contact(a, b)
        far = np.hypot(b.x - a.x, b.y - a.y)[0]
        if far <= LIMITS.reach_m and ttc[0] <= 2 * LIMITS.ttc_s_max and closing[0] >= LIMITS.closing_m_s_min:
            wanted[i, j] = ttc[0]
    found = pairs_of(table, LIMITS).contact
    assert len(wanted) > 3
    assert {(int(i), int(j)): t for i, j, t in zip(found.i, found.j, found.ttc, strict=True)} == pytest.approx(wanted)


def test_near_ones_are_those_of_a_plain_loop():
    """Gaps of all that are nearly touching are those of the rectangles one by one."""
    table = crowd(4, actors=30)
    found = pairs_of(table, LIMITS).near
    known = dict(zip(zip(found.i.tolist(), found.j.tolist(), strict=True), found.gap, strict=True))
    close = 0
    for i, j in every_pair(table):
        gap = measures.gap(one(table, i), one(table, j))[0]
        if gap <= LIMITS.gap_m_max:
            close += 1
            assert known[i, j] == pytest.approx(gap, abs=1e-9)
    assert close > 5


def test_followers_and_leaders_are_those_of_a_plain_loop():
    """Both directions of each pair that heads the same way and is beside or ahead."""
    table = believed(traffic(2, 8, 12, lanes=2), LIMITS)
    wanted = set()
    for i, j in every_pair(table):
        for a, b in ((i, j), (j, i)):
            stand = measures.ahead(one(table, a), one(table, b))
            near = np.hypot(table.box.x[a] - table.box.x[b], table.box.y[a] - table.box.y[b]) <= LIMITS.reach_m
            if near and stand.gap[0] > -table.box.length[a] and abs(stand.across[0]) < pairs.BESIDE_M:
                wanted.add((a, b))
    found = pairs_of(table, LIMITS).follow
    assert set(zip(found.i.tolist(), found.j.tolist(), strict=True)) == wanted
    assert len(wanted) > 20


def test_small_blocks_change_nothing(monkeypatch):
    """However little may be in memory at once, the same pairs come out in the same order."""
    table = crowd(5)
    whole = pairs_of(table, LIMITS)
    monkeypatch.setattr(pairs, "WORST_MAX", 10)
    parts = pairs_of(table, MineConfig(pairs_chunk=7))
    assert parts.looked_at == whole.looked_at
    for name in ("near", "contact", "follow"):
        for column in ("i", "j"):
            left, right = getattr(getattr(whole, name), column), getattr(getattr(parts, name), column)
            assert (left == right).all()


def test_rows_are_in_order_of_pair_and_frame():
    """Pairs come sorted by both pieces, then by frame: what episodes are cut from."""
    table, found = (t := crowd(6)), pairs_of(t, LIMITS).near
    keys = list(zip(table.piece[found.i], table.piece[found.j], table.frame[found.i], strict=True))
    assert keys == sorted(keys)


def test_pairs_grow_with_vehicles_and_not_with_their_square():
    """Four times as many cars on a longer road have some four times as many pairs within reach."""
    counts = [pairs_of(believed(traffic(1, n, 10), LIMITS), LIMITS).looked_at for n in (40, 160)]
    assert counts[1] / counts[0] < 6


def test_a_crowd_that_is_none_is_refused(monkeypatch):
    """A frame with more actors than any scene has is refused by its number."""
    monkeypatch.setattr(pairs, "CROWD_MAX", 5)
    with pytest.raises(InputError, match=r"frame 0 has 14 actors; at most 5"):
        pairs_of(crowd(), LIMITS)


def test_nobody_near_gives_no_pairs():
    """An actor alone, and none at all."""
    for tracks in (tracks_of(Drive(steady(5, 20), 0.0)), traffic(0, 1, 5).between(50, 60)):
        found = pairs_of(believed(tracks, LIMITS), LIMITS)
        assert (found.looked_at, len(found.near.i), len(found.contact.i), len(found.follow.i)) == (0, 0, 0, 0)
