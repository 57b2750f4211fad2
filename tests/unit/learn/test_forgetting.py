"""Forgetting by half-life: what is old counts less, and what is taken out is still exactly what was learned."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import LearnConfig
from hotloop.errors import ModelError
from hotloop.learn import Reflex
from hotloop.types import Change, Example, Head, Observation, Prediction, Proposals, Rows

START = Head(("a", "b"), np.zeros((3, 2)), (0.5, 0.5))
HOUR = 3600.0


def example(name, at, site="s"):
    rng = np.random.default_rng(int(name))
    seen = Observation(id=name, site=site, line="l", at=at, digest="d")
    proposals = Proposals(1, 3, rng.normal(size=3).astype("<f4").tobytes(), kind="f4")
    said = Prediction(id=name, observation=seen, version=1, outputs=(), confidence=1.0, proposals=proposals)
    return Example(said, ())


def teach(one):
    x = one.prediction.proposals.array()
    return Rows(x, np.array([[x.sum(), -x[0, 0]]]), np.ones(1))


def reflex(half_life_s=HOUR):
    return Reflex(teach, START, LearnConfig(half_life_s=half_life_s))


def learned(own, *examples):
    for number, one in enumerate(examples):
        own.learn([Change(number, None, one)])
    return own.head().weights


def by_hand(examples, now, half_life_s=HOUR):
    """Weighted ridge regression from scratch."""
    a, b = np.eye(3), np.zeros((3, 2))
    for one in examples:
        rows = teach(one)
        weight = 0.5 ** ((now - one.prediction.observation.at) / half_life_s)
        a += weight * rows.x.T @ rows.x
        b += weight * rows.x.T @ rows.y
    return np.linalg.solve(a, b)


def test_a_lesson_of_a_half_life_ago_counts_half():
    """As if each were weighed anew at the time of the newest."""
    examples = [example(str(k), 1000.0 + k * HOUR / 3) for k in range(12)]
    np.testing.assert_allclose(learned(reflex(), *examples), by_hand(examples, examples[-1].prediction.observation.at))


def test_small_steps_of_time_are_not_lost():
    """Steps below a hundredth of a half-life add up."""
    examples = [example(str(k), 1000.0 + 10.0 * k) for k in range(200)]
    found = learned(reflex(), *examples)
    np.testing.assert_allclose(found, by_hand(examples, examples[-1].prediction.observation.at), rtol=0.02, atol=1e-3)


def test_what_is_taken_out_is_what_was_learned():
    """However much time has passed between: as if it had never been there."""
    examples = [example(str(k), 1000.0 + k * HOUR) for k in range(8)]
    own = reflex()
    learned(own, *examples)
    own.unlearn([examples[2]])
    rest = [one for one in examples if one is not examples[2]]
    np.testing.assert_allclose(own.head().weights, by_hand(rest, examples[-1].prediction.observation.at), atol=1e-9)


def test_one_that_comes_late_has_the_weight_of_its_time():
    """Feedback on an old observation is old."""
    late, rest = example("3", 1000.0), [example(str(k), 1000.0 + k * HOUR) for k in range(10, 15)]
    found = learned(reflex(), *rest, late)
    np.testing.assert_allclose(found, by_hand([*rest, late], rest[-1].prediction.observation.at))


def test_very_old_lessons_do_not_underflow():
    """A year is 8,760 half-lives."""
    own = reflex()
    found = learned(own, example("1", 1000.0), example("2", 1000.0 + 365 * 24 * HOUR))
    assert np.isfinite(found).all()
    np.testing.assert_allclose(found, by_hand([example("2", 0.0)], 0.0), atol=1e-6)
    own.unlearn([example("1", 1000.0)])
    assert np.isfinite(own.head().weights).all()


def test_sites_forget_too():
    """Leave-one-site-out stays what it is."""
    examples = [example(str(k), 1000.0 + k * HOUR, site="ab"[k % 2]) for k in range(8)]
    own = reflex()
    learned(own, *examples)
    alone = [one for one in examples if one.prediction.observation.site == "a"]
    np.testing.assert_allclose(
        own.leave_out("b").weights, by_hand(alone, examples[-1].prediction.observation.at), atol=1e-9
    )


def test_a_restart_goes_on_where_it_was():
    """The time is part of the state."""
    examples = [example(str(k), 1000.0 + k * HOUR) for k in range(8)]
    whole, first, second = reflex(), reflex(), reflex()
    learned(whole, *examples)
    learned(first, *examples[:5])
    second.restore(first.state())
    learned(second, *examples[5:])
    np.testing.assert_array_equal(second.head().weights, whole.head().weights)


def test_without_a_half_life_nothing_is_forgotten():
    """And the state is of the same form."""
    examples = [example(str(k), 1000.0 + k * HOUR) for k in range(8)]
    own = reflex(0.0)
    found = learned(own, *examples)
    np.testing.assert_allclose(found, by_hand(examples, 0.0, 1e18))
    other = reflex(0.0)
    other.restore(own.state())
    np.testing.assert_array_equal(other.head().weights, found)
    with pytest.raises(ModelError):
        other.restore(b"x" * 200)
