"""When a slower tier is due, and why."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hotloop.config import RefreshConfig
from hotloop.learn import Counts, due

AUTO = RefreshConfig(automatic=True, examples_min=100, stalled_examples=50, pause_s=60.0, consolidate_hours=24.0)
IDLE = Counts(
    examples=0,
    seconds=1e6,
    whole_seconds=0.0,
    stalled="",
    drifted=False,
    ordered="",
    tainted=False,
    running=False,
    frozen=False,
)


@pytest.mark.parametrize(
    ("counts", "words", "tier"),
    [
        ({"ordered": "refresh"}, "refresh was ordered", "refresh"),
        ({"ordered": "consolidate"}, "consolidate was ordered", "consolidate"),
        ({"ordered": "refresh", "frozen": True, "seconds": 0.0}, "ordered", "refresh"),
        ({"tainted": True, "drifted": True, "examples": 1}, "still be in the backbone", "consolidate"),
        ({"drifted": True, "examples": 1}, "error has risen", "refresh"),
        ({"stalled": "no gain", "examples": 50}, "stalled: no gain", "refresh"),
        ({"examples": 100}, "100 new verified pieces", "refresh"),
        ({"whole_seconds": 86_400.0}, "24.0 hours", "consolidate"),
        ({"drifted": True, "examples": 100, "whole_seconds": 1e9}, "error has risen", "refresh"),
    ],
)
def test_what_calls_for_a_job(counts, words, tier):
    """Its reason in words, and which tier; the first that holds."""
    found = due(replace(IDLE, **counts), AUTO)
    assert found is not None
    assert (words in found[0], found[1]) == (True, tier)


@pytest.mark.parametrize(
    ("counts", "config"),
    [
        ({}, AUTO),
        ({"ordered": "refresh", "running": True}, AUTO),
        ({"examples": 1000}, RefreshConfig()),
        ({"examples": 1000, "frozen": True}, AUTO),
        ({"examples": 1000, "seconds": 59.0}, AUTO),
        ({"examples": 99}, AUTO),
        ({"stalled": "x", "examples": 49}, AUTO),
        ({"drifted": True}, AUTO),
        ({"whole_seconds": 1e9}, RefreshConfig(automatic=True)),
        ({"ordered": "freeze"}, AUTO),
    ],
)
def test_what_does_not(counts, config):
    """One at a time, not unasked where it is off, frozen or too soon, not for too little."""
    assert due(replace(IDLE, **counts), config) is None
