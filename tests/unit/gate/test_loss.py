"""The loss of one piece: what is disputed and decided wrongly."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.gate.loss import label_losses, piece_loss
from hotloop.types import Head, Rows

HEAD = Head(("a", "b"), np.eye(2), (0.5, 0.5))


@pytest.mark.parametrize(
    ("x", "y", "loss"),
    [
        ([[1, 0]], [[1, 0]], 0.0),
        ([[1, 0]], [[0, 1]], 1.0),
        ([[0, 0]], [[0, 0]], 0.0),  # nothing there, nothing said: no dispute
        ([[1, 0], [0, 0]], [[1, 0], [0, 1]], 0.5),
        ([[1, 0], [0, 0], [0, 0]], [[0, 0], [0, 0], [0, 0]], 1.0),  # agreed rows do not dilute
        ([[np.inf, 0]], [[1, 0]], 1.0),
        (np.zeros((0, 2)), np.zeros((0, 2)), 0.0),
    ],
)
def test_disputed_rows_decided_wrongly(x, y, loss):
    """The share of them; all wrong where a score is no number."""
    x, y = np.array(x, float), np.array(y, float)
    assert piece_loss(Rows(x, y, np.ones(len(x))), HEAD) == loss


def test_each_label_has_a_loss_of_its_own():
    """Of the rows where it is there or said; not a number where it is neither."""
    x = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 0]])
    y = np.array([[1.0, 0, 0], [1, 0, 0], [0, 0, 0]])
    head = Head(("a", "b", "c"), np.eye(3), (0.5,) * 3)
    found = label_losses(Rows(x, y, np.ones(3)), head)
    assert found[:2] == (0.5, 1.0)
    assert np.isnan(found[2])
