"""The notice that more verdicts do not help."""

import numpy as np
import pytest

from hotloop.measure.ceiling import EXAMPLES_MIN, ceiling


def noisy(means, spread=0.1, seed=0):
    """Scores around these means, within [0, 1]."""
    rng = np.random.default_rng(seed)
    return np.clip(np.asarray(means) + spread * (rng.random(len(means)) - 0.5), 0, 1).tolist()


def test_a_flat_stretch_is_a_ceiling():
    """A thousand examples at 0.8: nothing improved and a gain worth having is ruled out."""
    text = ceiling(noisy(np.full(1000, 0.8)))
    assert text.startswith("The last 1000 verified examples brought no provable improvement: quality is 0.80")
    assert "refresh" in text


def test_a_fall_is_called_a_fall():
    """Quality that drops is not a ceiling but an alarm."""
    text = ceiling(noisy(np.linspace(0.9, 0.5, 600)))
    assert text.startswith("Quality fell over the last 600 verified examples")


@pytest.mark.parametrize(
    "scores",
    [
        pytest.param(noisy(np.full(EXAMPLES_MIN - 1, 0.8)), id="too few"),
        pytest.param(noisy(np.linspace(0.4, 0.9, 600)), id="still rising"),
        pytest.param(noisy(np.full(1000, 1.0), spread=0), id="perfect"),
        pytest.param((np.random.default_rng(1).random(200) < 0.5).astype(float).tolist(), id="unsure"),
        pytest.param([], id="nothing"),
    ],
)
def test_no_notice_where_there_is_no_ceiling(scores):
    """Silence unless both are known: no improvement, and none to be expected."""
    assert ceiling(scores) == ""
