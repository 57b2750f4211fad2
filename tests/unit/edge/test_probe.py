"""A backbone that crashes, hangs, answers NaN, is slow or eats memory is told from one that does well, in its time."""

from __future__ import annotations

import time

import pytest

from hotloop.config import EdgeConfig, LoopConfig
from hotloop.edge import probe
from hotloop.edge.health import Trial, unhealthy
from hotloop.edge.probe import Asked, in_a_child, tried
from hotloop.predict import pack_head
from hotloop.testing.faulty import Faulty, bundle
from hotloop.types import Payload

PAYLOADS = tuple(Payload(f"[{k}.0, -0.5]".encode()) for k in range(-8, 8))
CONFIG = LoopConfig(vertical="faulty-for-tests", edge=EdgeConfig(latency_s_least=0.01))
HEAD = Faulty(bundle()).start()


def asked(data, config=CONFIG, head=None):
    return Asked(config, data, pack_head(HEAD) if head is None else head, PAYLOADS)


def present():
    return tried(Faulty(bundle()), HEAD, PAYLOADS)


def test_one_that_does_well_is_found_to(tmp_path):
    """Its answers come back, each with its time."""
    trial = in_a_child(asked(bundle(0.01)), 30.0, 0)
    assert trial.failure == ""
    assert trial.answers == present().answers
    assert len(trial.seconds) == len(PAYLOADS)
    assert unhealthy(present(), trial, 0.9, CONFIG.edge) == ""


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("crash", "exit code 139"),
        ("crash at load", "exit code 139"),
        ("hang", "hung"),
        ("nan", "no finite number"),
        ("slow", "times as long"),
        ("memory", "crashed"),
        ("raise", "raises"),
        ("other", "0% of 16"),
    ],
)
def test_one_that_fails_is_refused_within_five_seconds(fault, words):
    """The reason is said; the process that asks lives."""
    began = time.monotonic()
    trial = in_a_child(asked(bundle(0.5, fault)), CONFIG.edge.probe_s, CONFIG.edge.probe_bytes_max)
    assert words in unhealthy(present(), trial, 0.95, CONFIG.edge)
    assert time.monotonic() - began < 5.0


@pytest.mark.parametrize(
    ("question", "words"),
    [
        (asked(b"?"), "no backbone"),
        (asked(b"", LoopConfig(vertical="nowhere")), "no vertical"),
        (asked(b"?", LoopConfig(vertical="vectors", tables={"vectors": {"labels": ["a", "b"]}})), "cannot be given"),
        (asked(b"", head=b"?"), "no head"),
    ],
)
def test_a_trial_that_cannot_be_says_why(question, words):
    """In the child's words, or as if in them."""
    assert words in probe._tried(question).failure


def test_a_process_that_cannot_be_started_is_said(monkeypatch):
    """The release is not installed; nothing else happens."""
    monkeypatch.setattr(probe.sys, "executable", "/nowhere/python")
    assert "no process" in in_a_child(asked(bundle()), 1.0, 0).failure


def test_an_answer_in_this_process_stops_at_the_first_failure():
    """What came before it is kept."""
    assert tried(Faulty(bundle(0.0, "raise")), HEAD, PAYLOADS) == Trial(failure="ModelError: this backbone raises")
