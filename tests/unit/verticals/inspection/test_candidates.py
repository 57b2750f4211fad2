"""The reflex on candidates: rows, lessons, answers."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import ModelError
from hotloop.learn.moments import Moments
from hotloop.types import Rows
from hotloop.verticals.inspection import candidates
from hotloop.verticals.inspection.candidates import Expansion, assign, decide
from hotloop.verticals.inspection.detector import Description
from hotloop.verticals.inspection.score import overlaps, truths_of

LABELS = ("open", "short")
FEATURES = 10


@pytest.fixture
def expand():
    """An expansion of ten features of which the first two are scores."""
    mean = tuple(np.linspace(0, 1, FEATURES))
    return Expansion(Description(LABELS, "grey+template", (0.5, 0.5), mean, (0.5,) * FEATURES), seed=3, projected=32)


def some_features(count, seed=0):
    return np.random.default_rng(seed).random((count, FEATURES)).astype(np.float16)


def test_prior_head_is_the_start_model(expand):
    """Before any verdict a row's answer is the start model's own probability, to the last bit."""
    features = some_features(7)
    assert np.array_equal(expand(features) @ expand.prior(), features[:, :2].astype(np.float64))


def test_rows_have_the_stated_columns(expand):
    """The number of columns is known before the first row, and no candidates give no rows."""
    assert expand(some_features(3)).shape == (3, expand.columns)
    assert expand(some_features(0)).shape == (0, expand.columns)


def test_rows_depend_on_the_seed_alone():
    """Two expansions of one seed are equal; another seed mixes differently, the plain columns stay."""
    description = Description(LABELS, "grey", (0.5, 0.5), (0.0,) * FEATURES, (1.0,) * FEATURES)
    rows = some_features(4)
    first, again, other = (Expansion(description, seed)(rows) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    plain = len(LABELS) + 1 + FEATURES
    assert np.array_equal(first[:, :plain], other[:, :plain])
    assert not np.allclose(first[:, plain:], other[:, plain:])


def test_the_random_layer_never_changes():
    """A log is replayed with the same mixing years later: the bits are pinned."""
    mix, lift = candidates._random_layer(4, 8, seed=0)
    pinned = hashlib.sha256(mix.tobytes() + lift.tobytes()).hexdigest()
    assert pinned == "7f0b9e119a22b854e21deffffb241981b4feeab05f02df49582f357a41ce1e6a"
    assert set(np.unique(mix)) == {-0.5, 0.5}
    assert np.abs(lift).max() <= 1


def test_an_odd_feature_is_bounded(expand):
    """One feature far from its mean moves a row no further than the limit allows."""
    wild = some_features(1)
    wild[0, 5] = 60000.0
    wilder = wild.copy()
    wilder[0, 5] = -60000.0
    assert np.isfinite(expand(wild)).all()
    assert np.abs(expand(wild)).max() < 50
    assert np.abs(expand(wild) - expand(wilder)).max() < 50


def test_features_of_another_model_are_refused(expand):
    """Features of another width are an error, not a wrong answer."""
    with pytest.raises(ModelError, match="another start model"):
        expand(np.zeros((2, FEATURES + 1), np.float16))
    with pytest.raises(ModelError):
        expand(np.zeros(FEATURES, np.float16))


def test_complete_verdict_names_hits_and_ground():
    """With all truths known, what overlaps one is it, what is far from all is ground, what is near is neither."""
    regions = np.array([[0, 0, 10, 10], [0, 0, 10, 30], [50, 50, 60, 60.0]])
    lesson = assign(regions, truths_of([(0, 0, 10, 10)], [1]), 2, complete=True)
    assert lesson.rows.tolist() == [0, 2]
    assert lesson.y.tolist() == [[0, 1], [0, 0]]
    assert lesson.w.tolist() == [1, 1]


def test_partial_verdict_leaves_the_rest_unknown():
    """A verdict on single answers teaches of those alone: the confirmed one and the false alarm."""
    regions = np.array([[0, 0, 10, 10], [30, 30, 40, 40], [50, 50, 60, 60.0]])
    lesson = assign(regions, truths_of([(0, 0, 10, 10)], [0]), 2, complete=False, refuted=(1,))
    assert lesson.rows.tolist() == [0, 1]
    assert lesson.y.tolist() == [[1, 0], [0, 0]]


def test_nothing_said_teaches_nothing():
    """A partial verdict without a truth or a false alarm has no rows."""
    lesson = assign(np.array([[0, 0, 10, 10.0]]), truths_of([], []), 2, complete=False)
    assert len(lesson.rows) == 0
    assert lesson.y.shape == (0, 2)


def test_a_good_piece_makes_all_candidates_ground():
    """Complete and empty: every candidate was a false alarm."""
    lesson = assign(np.array([[0, 0, 10, 10.0], [5, 5, 9, 9]]), truths_of([], []), 3, complete=True)
    assert lesson.rows.tolist() == [0, 1]
    assert not lesson.y.any()


def test_a_refuted_candidate_on_a_truth_is_that_truth():
    """Refuted as answered, but a reviewer drew the truth there: it is the truth that is learned."""
    regions = np.array([[0, 0, 10, 10.0]])
    lesson = assign(regions, truths_of([(0, 0, 10, 11)], [1]), 2, complete=False, refuted=(0,))
    assert lesson.y.tolist() == [[0, 1]]


def test_no_candidates_no_lesson():
    """A board on which nothing was found teaches nothing, whatever was missed on it."""
    lesson = assign(np.zeros((0, 4)), truths_of([(0, 0, 10, 10)], [1]), 2, complete=True)
    assert lesson.y.shape == (0, 2)


box = st.tuples(st.integers(0, 50), st.integers(0, 50), st.integers(2, 30), st.integers(2, 30))
answered = st.lists(st.tuples(box, st.floats(0, 1.5), st.floats(-0.5, 1)), max_size=12)


@settings(max_examples=60, deadline=None)
@given(answered, st.floats(0, 1))
def test_answers_reach_their_threshold_and_do_not_overlap(rows, threshold):
    """Every answer reaches its label's threshold, none covers a better one, scores fall and lie in [0, 1]."""
    regions = np.array([(x, y, x + w, y + h) for (x, y, w, h), _, _ in rows], float).reshape(-1, 4)
    scores = np.array([r[1:] for r in rows], float).reshape(-1, 2)
    kept, said = decide(regions, scores, (threshold, 0.9))
    assert (np.diff(said.scores) <= 0).all()
    assert ((said.scores >= 0) & (said.scores <= 1)).all()
    for index, label in zip(kept, said.labels, strict=True):
        assert scores[index].max() == scores[index, label] >= (threshold, 0.9)[label]
    shares = overlaps(said.regions, said.regions) - np.eye(len(kept))
    assert not len(kept) or shares.max() <= 0.3 + 1e-9


@settings(max_examples=40, deadline=None)
@given(answered)
def test_what_is_left_out_is_low_or_covered(rows):
    """A candidate that is not said is below its threshold or under a better answer."""
    regions = np.array([(x, y, x + w, y + h) for (x, y, w, h), _, _ in rows], float).reshape(-1, 4)
    scores = np.array([r[1:] for r in rows], float).reshape(-1, 2)
    kept, said = decide(regions, scores, (0.5, 0.5))
    for index in set(range(len(rows))) - set(kept.tolist()):
        covered = overlaps(regions[index : index + 1], said.regions)
        assert scores[index].max() < 0.5 or covered.max() > 0.3


def test_verdicts_move_the_head_and_leave_again(expand):
    """Learning what a candidate truly is makes the head say so; unlearning gives the start model back."""
    features = some_features(40, seed=5)
    x = expand(features)
    moments = Moments(expand.columns, 2, 1.0, expand.prior())
    y = np.zeros((40, 2))
    y[:, 1] = features[:, 7] > 0.5
    rows = Rows(np.repeat(x, 30, 0), np.repeat(y, 30, 0), np.ones(1200))
    moments.apply([(1, rows)])
    said = (x @ moments.weights())[:, 1] > 0.5
    assert (said == (y[:, 1] > 0.5)).mean() >= 0.95
    assert not ((features[:, 1] > 0.5) == (y[:, 1] > 0.5)).mean() >= 0.75  # what the start model said
    moments.apply([(-1, rows)])
    assert np.allclose(x @ moments.weights(), features[:, :2], atol=1e-6)
