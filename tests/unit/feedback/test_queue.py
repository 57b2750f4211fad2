"""The review order: unsure first, new before known, not the same thing twice."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.feedback.queue import order, uncertainty, value


@pytest.mark.parametrize(
    ("scores", "wanted"),
    [
        ([[0.5, 0.0]], 1.0),  # on its threshold
        ([[0.95, 0.02]], 0.165),  # far above it and the next
        ([[0.02, 0.01]], 0.147),  # far below it: nothing is said
        ([[0.9, 0.88]], 0.923),  # two kinds as likely
        ([[0.95, 0.0], [0.5, 0.1]], 1.0),  # the least sure row decides
    ],
)
def test_doubt_is_the_distance_from_the_next_answer(scores, wanted):
    """From a threshold or from the next kind, whichever is nearer; of the least sure row."""
    assert uncertainty(np.array(scores), (0.5, 0.5)) == pytest.approx(wanted, abs=0.01)


def test_a_piece_without_anything_is_not_doubted():
    """No row, no doubt; one kind alone has no next."""
    assert uncertainty(np.zeros((0, 2)), (0.5, 0.5)) == 0.0
    assert uncertainty(np.array([[0.75]]), (0.5,)) == pytest.approx(0.368, abs=0.01)


def test_thresholds_that_are_always_reached_leave_the_next_kind():
    """Whole pieces: the best kind is always said, so only the second one counts."""
    assert uncertainty(np.array([[0.4, 0.35]]), (-1e6, -1e6)) == pytest.approx(0.819, abs=0.01)


def test_new_pieces_are_worth_more():
    """Equal doubt: the newer one; but novelty alone is bounded."""
    worth = value(np.array([0.5, 0.5, 0.0]), np.array([0.0, 4.0, 1e9]))
    assert worth[1] > worth[0]
    assert worth[2] < 0.7
    sure = value(np.array([0.1, 0.01]), np.array([0.2, 0.2]))
    assert sure[0] == sure[1]


def test_alike_pieces_are_not_asked_in_a_row():
    """Of five that are the same, one comes; then something else."""
    features = np.array([[1.0, 0.0]] * 5 + [[0.0, 1.0]])
    values = np.array([1.0, 0.99, 0.98, 0.97, 0.96, 0.7])
    assert order(values, features, 2) == [0, 5]
    assert sorted(order(values, features, 99)) == [0, 1, 2, 3, 4, 5]
    assert order(values, features, 0) == []
