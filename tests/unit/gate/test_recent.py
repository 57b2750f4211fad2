"""The recent past: a bounded window, and losses that a slow obvious oracle agrees with."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.gate import RecentPast
from hotloop.types import Head, Rows


def rows(count, columns=2, targets=2, fill=0.0):
    return Rows(np.full((count, columns), fill), np.zeros((count, targets)), np.ones(count))


def past_of(*held):
    past = RecentPast(100)
    for number, one in enumerate(held):
        past.add(f"p{number}", one)
    return past


def test_the_oldest_leave_first():
    """Three fit: of five the last three stay, oldest first."""
    past = RecentPast(3)
    for name in "abcde":
        past.add(name, rows(1))
    assert past.names() == ("c", "d", "e")
    assert len(past) == 3


def test_a_later_truth_takes_the_place_and_is_the_newest():
    """One prediction counts once, with what is known of it last."""
    past = RecentPast(3)
    for name in "abca":
        past.add(name, rows(1, fill=1.0))
    assert past.names() == ("b", "c", "a")


def test_an_example_that_teaches_nothing_is_not_kept():
    """No row, no loss."""
    past = RecentPast(3)
    past.add("a", rows(0))
    assert past.names() == ()


def test_a_truth_that_was_taken_back_leaves():
    """Whoever takes back a word leaves no stale truth to be judged by."""
    past = RecentPast(3)
    past.add("a", rows(1))
    past.add("b", rows(1))
    past.add("a", rows(0))
    assert past.names() == ("b",)


def test_without_a_past_there_are_no_losses():
    """An empty array for each head."""
    head = Head(("a",), np.zeros((2, 1)), (0.5,))
    assert [found.shape for found in RecentPast(3).losses(head, head)] == [(0,), (0,)]


def test_a_long_history_takes_no_more_room():
    """Examples of changing sizes, replaced and pushed out a thousand times: the losses are those of the window."""
    rng = np.random.default_rng(0)
    past, held = RecentPast(5), {}
    for number in range(1000):
        name = f"p{number % 7 if number % 3 else number}"
        x = rng.integers(-2, 3, (int(rng.integers(0, 90)), 2)).astype(float)
        one = Rows(x, (x > 0).astype(float), np.ones(len(x)))
        past.add(name, one)
        held.pop(name, None)
        if len(x):
            held[name] = one
        held = dict(list(held.items())[-5:])
        if number % 50 == 0:
            assert past.names() == tuple(held)
            assert past.losses(SAYS_A)[0].tolist() == oracle(held.values(), SAYS_A)
    assert len(past._slot) < 2000


def head(weights, thresholds=(0.5, 0.5)):
    return Head(("a", "b"), np.asarray(weights, float), thresholds)


X = np.array([[1.0, 0.0], [0.0, 1.0]])
SAYS_A_THEN_B = head([[1, 0], [0, 1]])
SAYS_NOTHING = head([[0, 0], [0, 0]])
SAYS_A = head([[1, 0], [1, 0]])


@pytest.mark.parametrize(
    ("truth", "of", "loss"),
    [
        ([[1, 0], [0, 1]], SAYS_A_THEN_B, 0.0),
        ([[1, 0], [0, 1]], SAYS_NOTHING, 1.0),
        ([[1, 0], [0, 1]], SAYS_A, 0.5),
        ([[0, 0], [0, 0]], SAYS_NOTHING, 0.0),
        ([[0, 0], [0, 0]], SAYS_A, 1.0),
        ([[1, 0], [0, 0]], SAYS_NOTHING, 1.0),  # the agreed second row does not dilute it
        ([[1, 0], [0, 0]], SAYS_A, 0.5),
        ([[0.4, 0.4], [0, 1]], SAYS_A_THEN_B, 0.5),  # reviewers who differ: no majority, nothing there
    ],
)
def test_losses_by_hand(truth, of, loss):
    """The share of disputed rows that are decided wrongly."""
    past = past_of(Rows(X, np.array(truth, float), np.ones(2)))
    assert past.losses(of)[0].tolist() == [loss]


def test_each_label_has_its_own_threshold():
    """What counts is the margin over the threshold, not the score."""
    both = head([[0.6, 0.8], [0, 0]], thresholds=(0.3, 0.7))
    past = past_of(Rows(X[:1], np.array([[1.0, 0.0]]), np.ones(1)))
    assert past.losses(both)[0].tolist() == [0.0]  # a: 0.3 over, b: 0.1 over


def test_rows_of_a_site_are_judged_by_its_own_weights_and_no_others_are():
    """A site of which nothing is held changes nothing."""
    past = RecentPast(10)
    past.add("a", Rows(np.array([[1.0, 1.0]]), np.array([[1.0, 0.0]]), np.ones(1)), site="here")
    past.add("b", Rows(np.array([[1.0, 1.0]]), np.array([[1.0, 0.0]]), np.ones(1)), site="there")
    shared = head(np.zeros((2, 2)))
    right = np.array([[1.0, 0.0], [0.0, 0.0]])
    for site, losses in (("here", [0.0, 1.0]), ("there", [1.0, 0.0]), ("nowhere", [1.0, 1.0])):
        own = dataclasses.replace(shared, own={site: right})
        assert [found.tolist() for found in past.losses(shared, own)] == [[1.0, 1.0], losses], site


def test_columns_behind_the_labels_are_not_judged():
    """A vertical's own extra columns say nothing."""
    wide = Head(("a",), np.array([[1.0, 9.0], [0.0, 9.0]]), (0.5,))
    past = past_of(Rows(X, np.array([[1.0, 1.0], [0.0, 1.0]]), np.ones(2)))
    assert past.losses(wide)[0].tolist() == [0.0]


@pytest.mark.filterwarnings("ignore:invalid value")
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_score_that_is_no_number_makes_the_loss_none(value):
    """Only of the example that it is in."""
    x = X.copy()
    x[1, 1] = value
    past = past_of(Rows(X, np.eye(2), np.ones(2)), Rows(x, np.eye(2), np.ones(2)))
    found = past.losses(head([[1, 0], [0, 1]]))[0]
    assert found[0] == 0.0
    assert np.isnan(found[1])


def oracle(held, of):
    """The loss of each example, written out."""
    losses = []
    for one in held:
        wrong = disputed = 0
        for x, y in zip(one.x, one.y, strict=True):
            margins = [float(x @ of.weights[:, k]) - of.thresholds[k] for k in range(len(of.labels))]
            said = int(np.argmax(margins)) if max(margins) >= 0 else None
            truths = [float(y[k]) - 0.5 for k in range(len(of.labels))]
            there = int(np.argmax(truths)) if max(truths) >= 0 else None
            if said is not None or there is not None:
                disputed += 1
                wrong += said != there
        losses.append(wrong / disputed if disputed else 0.0)
    return losses


@settings(max_examples=40)
@given(st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, 4))
def test_losses_equal_a_slow_oracle(seed, examples, labels):
    """Random rows, truths and heads: the fast way and the obvious one agree on each example."""
    rng = np.random.default_rng(seed)
    held = []
    for _ in range(examples):
        count = int(rng.integers(1, 5))
        y = np.round(rng.random((count, labels)) * 2) / 2 * (rng.random((count, 1)) < 0.7)
        held.append(Rows(rng.integers(-2, 3, (count, 3)).astype(float), y, np.ones(count)))
    names = tuple(f"l{k}" for k in range(labels))
    heads = [Head(names, rng.integers(-2, 3, (3, labels)) / 2, (0.5,) * labels) for _ in range(2)]
    found = past_of(*held).losses(*heads)
    for of, losses in zip(heads, found, strict=True):
        assert losses.tolist() == oracle(held, of)
