"""What a device asks of a release before it answers: pure, from two trials of the same payloads."""

from __future__ import annotations

import pytest

from hotloop.config import EdgeConfig
from hotloop.edge.health import Trial, agree, median, slack, unhealthy
from hotloop.types import Output

LIMITS = EdgeConfig()
OPEN, SHORT = Output("open", 0.9), Output("short", 0.8)


def trial(count=20, answer=(OPEN,), seconds=0.01, failure=""):
    return Trial((answer,) * count, (seconds,) * count, failure)


@pytest.mark.parametrize(
    ("candidate", "expected", "words"),
    [
        (trial(), 0.9, ""),
        (trial(seconds=0.029), 0.9, ""),
        (trial(seconds=0.031), 0.9, "3.1 times as long"),
        (trial(failure="it hung"), 0.0, "it hung"),
        (trial(count=19), 0.0, "19 of 20"),
        (trial(answer=(Output("open", float("nan")),)), 0.0, "no number"),
        (trial(answer=(Output("open", float("inf")),)), 0.0, "no number"),
        (trial(answer=(SHORT,)), 0.9, "0% of 20"),
        (trial(answer=(SHORT,)), 0.0, ""),
        (trial(answer=(SHORT,)), 0.3, ""),
    ],
)
def test_what_makes_a_release_unfit(candidate, expected, words):
    """Each reason in words; a release that differs as much as the gate expects is fit."""
    found = unhealthy(trial(), candidate, expected, LIMITS)
    assert words in found
    assert bool(found) == bool(words)


def test_a_fast_device_is_not_measured_in_microseconds():
    """Three times nothing is nothing."""
    assert not unhealthy(trial(seconds=0.0001), trial(seconds=0.004), 0.0, LIMITS)
    assert "times as long" in unhealthy(trial(seconds=0.0001), trial(seconds=0.006), 0.0, LIMITS)


def test_without_payloads_only_a_failure_counts():
    """A device that was just switched on has seen nothing."""
    assert unhealthy(Trial(), Trial(), 0.99, LIMITS) == ""
    assert "crashed" in unhealthy(Trial(), Trial(failure="it crashed"), 0.0, LIMITS)


def test_answers_agree_on_labels_whatever_their_order():
    """Each as often."""
    assert agree((OPEN, SHORT), (SHORT, OPEN))
    assert not agree((OPEN,), (OPEN, OPEN))
    assert agree((), ())


def test_slack_shrinks_with_the_number_of_payloads():
    """Few payloads prove little."""
    assert slack(16) > 0.4 > slack(100) > slack(1000) > 0
    assert median([]) == 0.0
    assert median([3.0, 1.0, 2.0]) == 2.0
