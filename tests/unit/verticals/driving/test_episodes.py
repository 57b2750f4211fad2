"""Unit tests of driving.episodes: rows become one case, with hysteresis."""

from __future__ import annotations

import numpy as np
import pytest

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
