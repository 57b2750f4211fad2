"""Waves: few lines first, then whole sites, then all; back as soon as a wave says that it cannot."""

from __future__ import annotations

import random

import pytest

from hotloop.config import RolloutConfig
from hotloop.rollout.waves import LineState, Wave, next_wave

CONFIG = RolloutConfig()
NEW = 9


def fleet(count, sites=4, **of):
    """So many lines, spread over sites; `of` gives a line more."""
    return [
        LineState(f"line-{k:03}", f"site-{k * sites // count}", 8, 1.0) if f"line_{k}" not in of else of[f"line_{k}"]
        for k in range(count)
    ]


def answering(lines, wave, version=NEW):
    """The lines of a wave have acknowledged it."""
    return [LineState(one.line, one.site, version if one.line in wave.lines else 8, 1.0) for one in lines]


def test_few_lines_try_it_first():
    """A tenth, rounded up, of one site."""
    plan = next_wave(fleet(50), None, NEW, 0.0, CONFIG)
    assert plan.action == "offer"
    assert plan.lines == {f"line-{k:03}" for k in range(5)}
    assert "canary: 5 of 50" in plan.reason


@pytest.mark.parametrize("count", [0, 1])
def test_a_lone_line_has_no_canary(count):
    """There is nobody to be told apart from."""
    assert next_wave(fleet(max(count, 1))[:count], None, NEW, 0.0, CONFIG).action == "everywhere"


def test_the_next_wave_waits_until_the_last_answers_and_has_answered_for_a_while():
    """First for the acknowledgements, then for `wave_s`; then whole sites."""
    lines = fleet(50)
    wave = Wave(next_wave(lines, None, NEW, 0.0, CONFIG).lines, 0.0, 1)
    waiting = next_wave(lines, wave, NEW, 5.0, CONFIG)
    assert (waiting.action, "line-000" in waiting.reason) == ("wait", True)
    lines = answering(lines, wave)
    assert "5 s until the next" in next_wave(lines, wave, NEW, 5.0, CONFIG).reason
    plan = next_wave(lines, wave, NEW, 10.0, CONFIG)
    assert plan.action == "offer"
    sites = {one.site for one in lines if one.line in plan.lines}
    assert plan.lines == {one.line for one in lines if one.site in sites}
    assert len(plan.lines) >= 25


def test_in_the_end_it_is_everywhere():
    """In a handful of waves, however many lines there are."""
    lines, wave, now = fleet(1000, sites=20), None, 0.0
    for number in range(1, 9):
        plan = next_wave(lines, wave, NEW, now, CONFIG)
        if plan.action == "everywhere":
            break
        assert plan.action == "offer"
        assert wave is None or plan.lines > wave.lines
        wave = Wave(plan.lines, now, number)
        lines = answering(lines, wave)
        now += 10.0
    assert plan.action == "everywhere"
    assert plan.lines == {one.line for one in lines}
    assert number <= 4


def test_a_wave_that_declines_takes_it_back_with_the_reason():
    """One of five is more than may decline."""
    lines = fleet(50)
    wave = Wave(next_wave(lines, None, NEW, 0.0, CONFIG).lines, 0.0, 1)
    lines = answering(lines, wave)
    lines[2] = LineState("line-002", "site-0", 8, 1.0, declined="it crashed with exit code 139")
    plan = next_wave(lines, wave, NEW, 1.0, CONFIG)
    assert plan.action == "roll back"
    assert "1 of 5 lines of wave 1 declined it; line-002: it crashed" in plan.reason


def test_one_broken_device_of_many_does_not_stop_a_release():
    """It stays with what it has."""
    lines = fleet(1000, sites=20)
    wave = Wave(frozenset(one.line for one in lines[:100]), 0.0, 1)
    lines = answering(lines, wave)
    lines[7] = LineState("line-007", "site-0", 8, 1.0, declined="its memory is full")
    assert next_wave(lines, wave, NEW, 20.0, CONFIG).action == "offer"
    lines[8] = LineState("line-008", "site-0", 8, 1.0, declined="its memory is full")
    assert next_wave(lines, wave, NEW, 20.0, CONFIG).action == "offer"
    lines[9] = LineState("line-009", "site-0", 8, 1.0, declined="its memory is full")
    assert next_wave(lines, wave, NEW, 20.0, CONFIG).action == "roll back"


def test_lines_that_are_away_are_not_offered_it_first():
    """They take it when they are back."""
    lines = fleet(20)
    lines[0] = LineState("line-000", "site-0", 8, 3600.0)
    plan = next_wave(lines, None, NEW, 0.0, CONFIG)
    assert plan.lines == {"line-001", "line-002"}
    wave = Wave(plan.lines, 0.0, 1)
    assert next_wave(answering(lines, wave), wave, NEW, 10.0, CONFIG).action == "offer"


def test_a_line_that_falls_silent_after_it_was_offered_is_waited_for():
    """The release may have taken it down: nobody else gets it before it is back, or an engineer leaves it out."""
    wave = Wave(frozenset({"line-000", "line-001", "line-002"}), 0.0, 1)
    lines = answering(fleet(20), wave)
    lines[1] = LineState("line-001", "site-0", NEW, 61.0)
    plan = next_wave(lines, wave, NEW, 100.0, CONFIG)
    assert plan.action == "wait"
    assert "1 of 3 lines of wave 1 fell silent after they were offered it: line-001" in plan.reason
    lines[1] = LineState("line-001", "site-0", NEW, 61.0, pinned=True)
    assert next_wave(lines, wave, NEW, 100.0, CONFIG).action != "wait"
    lines[1] = LineState("line-001", "site-0", NEW, 90_000.0)
    assert next_wave(lines, wave, NEW, 100.0, CONFIG).action != "wait", "it is no line any more"


@pytest.mark.parametrize("acknowledged", [True, False])
def test_a_wave_that_mostly_fell_silent_is_the_way_back(acknowledged):
    """Whether it answered before that or not: one wave is all that a release that kills can reach."""
    wave = Wave(frozenset({"line-000", "line-001", "line-002"}), 0.0, 1)
    lines = answering(fleet(20), wave) if acknowledged else fleet(20)
    for k in (0, 2):
        lines[k] = LineState(f"line-00{k}", "site-0", NEW if acknowledged else 8, 61.0)
    plan = next_wave(lines, wave, NEW, 100.0, CONFIG)
    assert plan.action == "roll back"
    assert "2 of 3 lines of wave 1 fell silent" in plan.reason


def test_a_wave_of_lines_that_are_none_any_more_begins_anew():
    """All of it was silent for a day."""
    lines = [LineState(one.line, one.site, 8, 90_000.0 if k < 2 else 1.0) for k, one in enumerate(fleet(20))]
    plan = next_wave(lines, Wave(frozenset({"line-000", "line-001"}), 0.0, 1), NEW, 100.0, CONFIG)
    assert (plan.action, plan.lines) == ("offer", {"line-002", "line-003"})


def test_it_begins_when_most_lines_are_here():
    """A switch has failed, or the plant is off: one line that is here is no canary of all, and none is everybody."""
    lines = [LineState(one.line, one.site, 8, 1.0 if k < 1 else 3600.0) for k, one in enumerate(fleet(10))]
    plan = next_wave(lines, None, NEW, 0.0, CONFIG)
    assert (plan.action, "1 of 10 lines are here" in plan.reason) == ("wait", True)
    away = [LineState(one.line, one.site, 8, 3600.0) for one in fleet(10)]
    assert next_wave(away, None, NEW, 0.0, CONFIG).action == "wait"
    half = [LineState(one.line, one.site, 8, 1.0 if k < 5 else 3600.0) for k, one in enumerate(fleet(10))]
    assert next_wave(half, None, NEW, 0.0, CONFIG).action == "offer"
    pinned = [LineState(one.line, one.site, 8, 1.0, pinned=k > 0) for k, one in enumerate(fleet(10))]
    assert next_wave(pinned, None, NEW, 0.0, CONFIG).action == "everywhere", "pinned lines are asked nothing"


def test_an_old_word_of_one_line_does_not_undo_a_wave_of_many():
    """Of a hundred that were offered it one has declined it; the others are off for the night."""
    lines = fleet(100)
    wave = Wave(frozenset(one.line for one in lines), 0.0, 3)
    lines = [LineState(one.line, one.site, NEW, 1.0) for one in lines]
    lines[0] = LineState("line-000", "site-0", 8, 1.0, declined="its memory is full")
    for k in range(2, 40):
        lines[k] = LineState(lines[k].line, lines[k].site, NEW, 3600.0)
    assert next_wave(lines, wave, NEW, 100.0, CONFIG).action == "wait"


def test_a_pinned_line_is_left_alone():
    """It is in no wave."""
    lines = fleet(20)
    lines[0] = LineState("line-000", "site-0", 8, 1.0, pinned=True)
    assert "line-000" not in next_wave(lines, None, NEW, 0.0, CONFIG).lines


@pytest.mark.parametrize("seed", range(20))
def test_a_bad_release_reaches_one_wave_at_most(seed):
    """Whatever share of a thousand devices it breaks: those that ever tried it are the first wave, or some more where
    it breaks next to none.
    """
    rng = random.Random(seed)
    share = rng.choice((1.0, 0.5, 0.2))
    bad = {f"line-{k:03}" for k in range(1000) if rng.random() < share}
    lines, wave, now = fleet(1000, sites=20), None, 0.0
    for number in range(1, 20):
        plan = next_wave(lines, wave, NEW, now, CONFIG)
        if plan.action in ("roll back", "everywhere"):
            break
        wave = Wave(plan.lines, now, number)
        lines = [
            LineState(one.line, one.site, 8, 1.0, declined="it hung" if one.line in bad & wave.lines else "")
            for one in answering(lines, wave)
        ]
        now += 10.0
    assert plan.action == "roll back"
    assert wave.number == 1
    assert len(wave.lines) == 100
