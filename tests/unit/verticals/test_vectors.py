"""Plain vectors: what is read, said and taught; and it does learn."""

from __future__ import annotations

import json

import numpy as np
import pytest

from hotloop.config import LearnConfig, LoopConfig
from hotloop.errors import ConfigError, InputError, ModelError
from hotloop.learn import Reflex
from hotloop.types import (
    Change,
    Claim,
    Example,
    Feedback,
    Head,
    Observation,
    Outcome,
    Output,
    Payload,
    Prediction,
    Proposals,
)
from hotloop.verticals.vectors import Vectors, VectorsConfig, vertical

LABELS = ("ok", "worn", "broken")


def made(columns=2, seed=0, **settings):
    return Vectors(VectorsConfig(labels=LABELS, columns=columns, **settings), seed)


def payload(*values):
    return Payload(json.dumps(values).encode())


def example(own, values, *words, said="ok"):
    """A prediction on `values`, with one feedback a word: a label, None for one that names none."""
    seen = Observation(id="p", site="s", line="l", at=0.0, digest="d")
    prediction = Prediction(
        id="p", observation=seen, version=1, outputs=(Output(said, 0.5),), confidence=0.5,
        proposals=own.propose(payload(*values)),
    )  # fmt: skip
    feedback = tuple(
        Feedback(prediction="p", reviewer=f"r{k}", claims=(Claim(label=word),)) for k, word in enumerate(words)
    )
    return Example(prediction, feedback)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"labels": ()}, "labels"),
        ({"labels": ("ok",)}, "labels"),
        ({"labels": ("ok", "ok")}, "labels"),
        ({"labels": LABELS, "columns": 2, "center": (1.0,)}, "center"),
        ({"labels": LABELS, "columns": 2, "scale": (1.0, 2.0, 3.0)}, "scale"),
        ({"labels": LABELS, "columns": 2, "scale": (1.0, 0.0)}, "scale"),
        ({"labels": LABELS, "columns": 2, "scale": (1.0, -1.0)}, "scale"),
    ],
)
def test_settings_that_cannot_be_are_named(settings, named):
    """Labels to choose from, and one centre and scale a column."""
    with pytest.raises(ConfigError, match=rf"\[vectors\] {named}"):
        vertical(LoopConfig(tables={"vectors": dict(**settings)}))


def test_the_recipe_names_what_decides_the_features():
    """Columns, projection and seed: a learner of another recipe is not taken over."""
    config = LoopConfig(tables={"vectors": dict(labels=LABELS, columns=3, projected=8)}, learn=LearnConfig(seed=5))
    recipe = vertical(config).recipe
    assert recipe.startswith("vectors 3+8, scaled by ")
    assert recipe.endswith("seed 5")
    other = LoopConfig(tables={"vectors": dict(labels=LABELS, columns=3, projected=8, scale=(1.0, 2.0, 1.0))})
    assert vertical(other).recipe.split(", ")[1] != recipe.split(", ")[1]
    assert vertical(config).backbone == ""


def test_the_start_head_knows_nothing():
    """All scores are 0 and the first label is said: a cold start."""
    own = made(projected=4)
    head = own.start()
    assert head.weights.shape == (1 + 2 + 4, 3)
    assert own.answer(own.propose(payload(1, 2)), head) == (Output("ok", 0.0),)


def test_a_vector_is_centred_and_scaled():
    """The features are in usual spreads, as float32."""
    found = made(center=(1.0, 10.0), scale=(2.0, 5.0)).propose(payload(5, 0))
    np.testing.assert_array_equal(found.array(), [[2.0, -2.0]])
    assert (found.rows, found.columns, found.kind, found.regions) == (1, 2, "f4", ())


@pytest.mark.parametrize(
    "data",
    [b"", b"[", b"{}", b'["1", "2"]', b"[1]", b"[1, 2, 3]", b"[1, null]", b"[NaN, 1]", b"[1e999, 1]", b"\xff\xfe",
     b"[1e300, 1]", b"[1, -1e7]", b"[1, 2] 3", b"1"],
)  # fmt: skip
def test_what_is_no_vector_is_refused(data):
    """Foreign, cut, short, long, endless and huge ones end in an InputError."""
    with pytest.raises(InputError):
        made().propose(Payload(data))


@pytest.mark.parametrize("settings", [{"scale": (1e-300, 1.0)}, {"projected": 64}])
def test_numbers_that_would_drown_the_moments_are_refused_at_the_door(settings):
    """What passes can always be learned: scaled and projected values stay within what the learner takes."""
    own = made(**settings)
    with pytest.raises(InputError, match="scale"):
        own.propose(payload(9.9e5, 9.9e5))


def test_the_largest_vector_that_passes_can_be_learned():
    """The door and the learner agree on where the limit is."""
    own = made()
    reflex = Reflex(own.teach, own.start(), LearnConfig())
    reflex.learn([Change(1, None, example(own, (1e6, -1e6), "worn"))])
    assert np.isfinite(reflex.head().weights).all()


def test_the_projection_follows_from_the_seed():
    """Two makes of one recipe see the same; another seed sees otherwise."""
    one, same, other = (made(projected=16, seed=seed).teach(example(made(), (1, 2), "ok")).x for seed in (3, 3, 4))
    np.testing.assert_array_equal(one, same)
    assert (one != other).any()


def test_the_best_label_is_said_with_its_score_in_bounds():
    """A score above 1 or below 0 is shown as 1 or 0."""
    own = made()
    for constant, wanted in ((7.0, 1.0), (-7.0, 0.0), (0.25, 0.25)):
        weights = np.full((3, 3), -9.0)
        weights[:, 2] = (constant, 0.0, 0.0)
        assert own.answer(own.propose(payload(0, 0)), Head(LABELS, weights, (0.5,) * 3)) == (Output("broken", wanted),)


def test_a_verdict_teaches_its_label():
    """One row: the features with a constant, 1 for the label, weight 1."""
    rows = made().teach(example(made(), (3, 4), "worn"))
    np.testing.assert_array_equal(rows.x, [[1.0, 3.0, 4.0]])
    np.testing.assert_array_equal(rows.y, [[0.0, 1.0, 0.0]])
    np.testing.assert_array_equal(rows.w, [1.0])


def test_reviewers_who_differ_teach_their_mean():
    """Two of three say worn: two thirds of it."""
    rows = made().teach(example(made(), (3, 4), "worn", "ok", "worn"))
    np.testing.assert_allclose(rows.y, [[1 / 3, 2 / 3, 0.0]])


@pytest.mark.parametrize("words", [(), (None,), ("unheard of",)])
def test_feedback_that_names_no_label_teaches_nothing(words):
    """No row, of the right width."""
    rows = made(projected=2).teach(example(made(), (3, 4), *words))
    assert (rows.x.shape, rows.y.shape, rows.w.shape) == ((0, 5), (0, 3), (0,))


def test_a_silent_reviewer_does_not_dilute_the_others():
    """Only votes count."""
    rows = made().teach(example(made(), (3, 4), None, "worn"))
    np.testing.assert_array_equal(rows.y, [[0.0, 1.0, 0.0]])


def test_vectors_of_another_loop_are_no_features():
    """A line with the wrong settings is told so by name, when it is answered and when it would teach."""
    own, foreign = made(), made(columns=3)
    strange = foreign.propose(payload(1, 2, 3))
    with pytest.raises(ModelError, match="1 x 2, not 1 x 3"):
        own.answer(strange, own.start())
    with pytest.raises(ModelError):
        own.teach(example(foreign, (1, 2, 3), "ok"))
    with pytest.raises(ModelError):
        own.answer(Proposals(2, 2, bytes(16), kind="f4"), own.start())


def test_how_an_answer_turned_out():
    """A hit where they agree; else a false alarm of the one and a miss of the other; nothing without a truth."""
    own = made()
    said = (Output("ok", 0.9),)
    assert own.outcomes(said, example(own, (1, 2), "ok")) == (Outcome("hit", "ok"),)
    assert own.outcomes(said, example(own, (1, 2), "worn")) == (Outcome("false alarm", "ok"), Outcome("missed", "worn"))
    assert own.outcomes(said, example(own, (1, 2), None)) == ()
    assert own.outcomes((), example(own, (1, 2), "ok")) == ()


def right_of(own, examples, tests):
    """The share of `tests` that is answered right after learning `examples`."""
    reflex = Reflex(own.teach, own.start(), LearnConfig())
    reflex.learn([Change(k, None, one) for k, one in enumerate(examples, 1)])
    head = reflex.head()
    return np.mean([own.answer(own.propose(payload(*x)), head)[0].label == label for x, label in tests])


def test_it_learns_a_straight_border_from_a_hundred_verdicts():
    """95 of 100 fresh points on the right side, at least."""
    rng = np.random.default_rng(0)
    points = rng.normal(size=(200, 2))
    labelled = [(x, "worn" if x.sum() > 0 else "ok") for x in points]
    own = made()
    assert right_of(own, [example(own, x, label) for x, label in labelled[:100]], labelled[100:]) >= 0.95


def test_a_projection_learns_a_border_that_is_not_straight():
    """Inside or outside a circle: beyond plain features, within projected ones."""
    rng = np.random.default_rng(1)
    points = rng.normal(size=(700, 2))
    labelled = [(x, "worn" if x @ x > 1.4 else "ok") for x in points]
    plain, projected = made(), made(projected=128)
    scores = [
        right_of(own, [example(own, x, label) for x, label in labelled[:400]], labelled[400:])
        for own in (plain, projected)
    ]
    assert scores[0] < 0.75
    assert scores[1] > 0.93
