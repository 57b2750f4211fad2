"""Feedback paired with the times of its prediction."""

import math

import pytest

from hotloop.measure import verdicts as module
from hotloop.measure.verdicts import Verdicts


def feed(verdicts, record):
    """Give a record to the right method."""
    body = record.event.body
    if hasattr(body, "observation"):
        return verdicts.predicted(body, record.offset)
    return verdicts.told(body, record.offset, record.received_at)


def test_a_feedback_carries_the_times_of_its_prediction(story):
    """Each time is passed on by the clock that said it."""
    verdicts = Verdicts()
    feed(verdicts, story.prediction("p", at=10.0, line="line-7", version=3, observed=8.0, predicted=9.0))
    verdict = feed(verdicts, story.feedback("p", at=20.0, given=15.0))
    assert (verdict.line, verdict.version, verdict.offset, verdict.first) == ("line-7", 3, 2, True)
    times = (verdict.observed_at, verdict.predicted_at, verdict.given_at, verdict.received_at)
    assert times == (8.0, 9.0, 15.0, 20.0)


def test_only_the_first_feedback_on_a_prediction_is_the_first(story):
    """A second opinion is a verdict, but verifies nothing anew."""
    verdicts = Verdicts()
    feed(verdicts, story.prediction("p"))
    told = [feed(verdicts, story.feedback("p", reviewer=name)) for name in ("anna", "ben", "anna")]
    assert [verdict.first for verdict in told] == [True, False, False]


def test_early_feedback_waits_and_counts_from_where_both_are_there(story):
    """What came before its prediction can be learned at the prediction's offset, not before."""
    verdicts = Verdicts()
    assert feed(verdicts, story.feedback("p", at=5.0)) is None
    assert feed(verdicts, story.feedback("p", at=6.0, reviewer="ben")) is None
    assert verdicts.early == 1
    told = feed(verdicts, story.prediction("p", at=7.0))
    assert [(verdict.offset, verdict.received_at, verdict.first) for verdict in told] == [
        (3, 5.0, True),
        (3, 6.0, False),
    ]
    assert verdicts.early == 0


def test_a_prediction_that_comes_twice_keeps_its_first_times(story):
    """Two events with one prediction id do not start its counts anew."""
    verdicts = Verdicts()
    feed(verdicts, story.prediction("p", at=1.0))
    feed(verdicts, story.feedback("p"))
    assert feed(verdicts, story.prediction("p", at=9.0)) == []
    verdict = feed(verdicts, story.feedback("p"))
    assert (verdict.predicted_at, verdict.first) == (1.0, False)


def test_memory_of_predictions_is_bounded(story, monkeypatch):
    """Beyond the limit the oldest prediction is forgotten; its feedback then waits like any early one."""
    monkeypatch.setattr(module, "PREDICTIONS_MAX", 3)
    verdicts = Verdicts()
    for i in range(5):
        feed(verdicts, story.prediction(f"p{i}"))
    assert feed(verdicts, story.feedback("p1")) is None
    assert feed(verdicts, story.feedback("p2")) is not None


@pytest.mark.parametrize(("predictions", "each", "lost"), [(3, 1, 1), (1, 4, 2), (2, 2, 0)])
def test_early_feedback_is_bounded_and_what_is_lost_is_counted(story, monkeypatch, predictions, each, lost):
    """Feedback about nothing we know cannot fill the memory, by many names or by one."""
    monkeypatch.setattr(module, "EARLY_MAX", 2)
    monkeypatch.setattr(module, "EARLY_FEEDBACK_MAX", 2)
    verdicts = Verdicts()
    for i in range(predictions):
        for _ in range(each):
            feed(verdicts, story.feedback(f"p{i}"))
    assert verdicts.lost == lost
    assert verdicts.early <= 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_device_time_that_is_no_number_counts_as_not_said(story, bad):
    """A hostile clock must not reach the figures, nor break the JSON that carries them."""
    verdicts = Verdicts()
    feed(verdicts, story.prediction("p", at=1.0, observed=bad, predicted=bad))
    verdict = feed(verdicts, story.feedback("p", at=2.0, given=bad))
    assert (verdict.observed_at, verdict.predicted_at, verdict.given_at) == (0.0, 0.0, 0.0)
    assert verdict.received_at == 2.0
