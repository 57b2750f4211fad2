"""Unit tests of driving.episodes: rows become one case, with hysteresis."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.verticals.driving.episodes import Hits, episodes


def hits(frames, severity, past=None, pair=(1, 2)):
    """Rows of one pair."""
    n = len(frames)
    frames, severity = np.asarray(frames), np.asarray(severity, float)
    past = np.ones(n, bool) if past is None else np.asarray(past, bool)
    subject, partner = (np.full(n, who) for who in pair)
    return Hits(subject, partner, frames, severity, severity, past, np.arange(n), np.arange(n))


def test_a_run_is_one_episode_with_its_worst_frame():
    """Rows that follow each other are one; its peak is the most severe of them, the first of equals."""
    found = episodes(hits([3, 4, 5, 6], [0.2, 0.5, 0.5, 0.1]), 3)
    assert [(one.first, one.peak, one.last, one.worst) for one in found] == [(3, 4, 6, 1)]


@pytest.mark.parametrize(("join", "count"), [(1, 2), (4, 2), (5, 1)])
def test_a_short_pause_does_not_part_an_episode(join, count):
    """Five frames apart: one episode if so much may be missing, else two."""
    assert len(episodes(hits([3, 8], [0.2, 0.5]), join)) == count


def test_what_never_passes_the_narrow_bound_is_no_case():
    """Hysteresis: rows in the wider bound only carry an episode on, they begin none."""
    assert episodes(hits([1, 2, 3], [0.9, 0.9, 0.9], [0, 0, 0]), 3) == []
    found = episodes(hits([1, 2, 3, 4], [0.9, 0.3, 0.9, 0.9], [0, 1, 0, 0]), 3)
    assert [(one.first, one.peak, one.last) for one in found] == [(1, 2, 4)]


def test_pairs_are_kept_apart_and_in_order():
    """Rows of two pairs in the same frames, in any order, are two episodes, by subject and partner."""
    one, two = hits([5, 6], [0.1, 0.2], pair=(3, 1)), hits([5, 6], [0.4, 0.3], pair=(1, 9))
    both = Hits(*(np.concatenate((getattr(one, n), getattr(two, n))) for n in one.__dataclass_fields__))
    found = episodes(both, 2)
    assert [(int(both.subject[e.worst]), e.peak) for e in found] == [(1, 5), (3, 6)]


def test_no_rows_no_episodes():
    """Nothing in, nothing out."""
    assert episodes(hits([], []), 3) == []


def test_a_row_in_the_wider_bound_is_never_the_peak():
    """However severe it is: what is told of a case is a moment past the narrow bound."""
    found = episodes(hits([1, 2, 3], [0.9, 0.3, 0.8], [0, 1, 0]), 1)
    assert [(one.peak, one.worst) for one in found] == [(2, 1)]


def test_an_episode_of_a_pair_does_not_go_on_in_another():
    """The last row of one pair and the first one of the next in the table are two cases, though their frames follow."""
    one, two = hits([5, 6], [0.1, 0.2], pair=(1, 2)), hits([7, 8], [0.4, 0.3], pair=(1, 3))
    both = Hits(*(np.concatenate((getattr(one, n), getattr(two, n))) for n in one.__dataclass_fields__))
    assert [(e.first, e.last) for e in episodes(both, 5)] == [(5, 6), (7, 8)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 40), st.floats(0, 1), st.booleans()), max_size=40,
             unique_by=lambda row: row[:2]),
    st.integers(1, 6), st.randoms(use_true_random=False),
)  # fmt: skip
def test_every_row_past_the_bound_is_in_one_episode_whatever_the_order(rows, join, random):
    """Episodes of a pair lie more than the pause apart, hold a row that counts, in whatever order rows come."""

    def made(some):
        who, frame, severity, past = (np.array([row[k] for row in some]) for k in range(4))
        if not len(some):
            return hits([], [])
        rest = np.arange(len(some))
        return Hits(who, who + 1, frame, severity.astype(float), severity, past.astype(bool), rest, rest)

    table = made(rows)
    found = episodes(table, join)
    spans = [(int(table.subject[one.worst]), one.first, one.peak, one.last) for one in found]
    for who, frame, _, past in rows:
        assert sum(w == who and a <= frame <= b for w, a, _, b in spans) <= 1
        assert not past or any(w == who and a <= frame <= b for w, a, _, b in spans)
    assert all(table.past[one.worst] and table.frame[one.worst] == one.peak for one in found)
    for (w, _, _, last), (other, first, _, _) in pairwise(spans):
        assert w != other or first - last > join
    shuffled = list(rows)
    random.shuffle(shuffled)
    again = made(shuffled)
    assert [(int(again.subject[e.worst]), e.first, e.peak, e.last) for e in episodes(again, join)] == spans
