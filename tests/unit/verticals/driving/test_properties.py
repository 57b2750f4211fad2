"""The vertical on anything: whatever the traffic and the verdicts, its laws hold."""

from __future__ import annotations

from dataclasses import replace

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.config import LearnConfig, LoopConfig
from hotloop.errors import InputError
from hotloop.learn import Reflex
from hotloop.types import Change, Claim, Example, Feedback, Observation, Payload, Prediction
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.planted import PLANTABLE, plant
from hotloop.verticals.driving.rows import expanded, finding_of, proposals_of, region_of
from hotloop.verticals.driving.segment import pack
from hotloop.verticals.driving.task import FLAGGED, vertical
from hotloop.verticals.driving.traffic import highway, street

TASK = vertical(LoopConfig(vertical="driving"))
SEEN = Observation(id="o", site="s", line="l", at=0.0, digest="d")
shares = st.floats(0.0, 1.0, allow_nan=False)
frames = st.integers(0, 10_000)


@st.composite
def findings(draw):
    """Any finding that mining could make."""
    first = draw(frames)
    peak = first + draw(st.integers(0, 50))
    actors = tuple(draw(st.lists(st.integers(0, 500), max_size=3, unique=True)))
    numbers = {name: draw(shares) for name in ("severity", "novelty", "surprise", "rarity")}
    features = numbers | {"speed": draw(shares), "others": draw(shares)}
    case, value = draw(st.sampled_from(CASES)), draw(st.floats(-1e3, 1e3))
    return Finding(
        case, numbers["severity"], value, "", actors, first, peak, peak + draw(st.integers(0, 50)), "w",
        numbers["novelty"], numbers["surprise"], numbers["rarity"], features,
    )  # fmt: skip


@st.composite
def claims(draw):
    """Anything that may be said of an output."""
    value = draw(st.none() | st.floats(-2.0, 2.0))
    return Claim(output=draw(st.integers(0, 8)), label=draw(st.none() | st.sampled_from(CASES)), value=value)


def said(proposals, head):
    """A prediction of these proposals."""
    outputs = TASK.answer(proposals, head)
    return Prediction(id="p", observation=SEEN, version=1, outputs=outputs, confidence=1.0, proposals=proposals)


def spoken(prediction, some, complete, reviewer="r"):
    """An example with one word."""
    word = Feedback(prediction="p", reviewer=reviewer, claims=tuple(some), complete=complete)
    return Example(prediction, (word,))


@given(findings())
def test_a_region_is_a_finding_and_back(one):
    """To four digits of its measures; a second time it is exactly the same."""
    region = region_of(one, 0.1)
    back = finding_of(region)
    assert (back.case, back.actors, back.first, back.peak, back.last) == (
        one.case, one.actors, one.first, one.peak, one.last,
    )  # fmt: skip
    assert back.severity == pytest.approx(one.severity, abs=1e-4)
    assert back.value == pytest.approx(one.value, abs=1e-4)
    assert region_of(back, 0.1) == region


@given(st.lists(findings(), max_size=8))
def test_the_queue_is_ordered_and_whole(some):
    """Every finding once, scores from 0 to 1, none before a higher one; at first each by its severity."""
    proposals = proposals_of(some, 0.1)
    outputs = TASK.answer(proposals, TASK.start())
    assert sorted(output.proposal for output in outputs) == list(range(len(some)))
    scores = [output.score for output in outputs]
    assert scores == sorted(scores, reverse=True)
    for output in outputs:
        assert output.label == some[output.proposal].case
        assert output.score == pytest.approx(some[output.proposal].severity, abs=1e-3)


@settings(deadline=None)
@given(st.lists(findings(), min_size=1, max_size=6), st.lists(claims(), max_size=6), st.booleans())
def test_what_was_learned_can_be_taken_out(some, words, complete):
    """Whatever was said: afterwards the head is as it was."""
    reflex = Reflex(TASK.teach, TASK.start(), LearnConfig())
    example = spoken(said(proposals_of(some, 0.1), TASK.start()), words, complete)
    reflex.learn([Change(1, None, example)])
    reflex.unlearn([example])
    np.testing.assert_allclose(reflex.head().weights, TASK.start().weights, atol=1e-8)


@given(st.lists(findings(), min_size=1, max_size=6), st.lists(claims(), max_size=6), st.booleans())
def test_what_is_taught_is_lawful(some, words, complete):
    """Targets and weights from 0 to 1, a row a finding that was spoken of, one case at most in each."""
    example = spoken(said(proposals_of(some, 0.1), TASK.start()), words, complete)
    rows = TASK.teach(example)
    assert len(rows.x) == len(rows.y) == len(rows.w) <= len(some)
    assert ((rows.y >= 0) & (rows.y <= 1)).all()
    assert ((rows.w >= 0) & (rows.w <= 1)).all()
    assert ((rows.y > 0).sum(axis=1) <= 1).all()
    assert len(rows.w) == len(some) or not complete


@given(st.lists(findings(), min_size=1, max_size=6), st.lists(claims(), max_size=6), st.booleans())
def test_outcomes_are_of_flagged_findings_and_truths(some, words, complete):
    """No more hits and false alarms than were flagged, no more hits and misses than there are truths; else "right"."""
    prediction = said(proposals_of(some, 0.1), TASK.start())
    example = spoken(prediction, words, complete)
    told = [one.kind for one in TASK.outcomes(prediction.outputs, example)]
    flagged = sum(output.score >= FLAGGED for output in prediction.outputs)
    truths = int((TASK.teach(example).y.max(axis=1, initial=0.0) >= FLAGGED).sum())
    assert told.count("hit") + told.count("false alarm") <= flagged
    assert told.count("hit") + told.count("missed") == truths
    assert told == ["right"] or "right" not in told
    assert told or not complete


@settings(deadline=None)
@given(st.sampled_from(CASES), shares, st.integers(0, 7))
def test_a_verdict_moves_its_own_case_alone(case, severity, kind):
    """Dull for one kind: that falls (or was 0), and every other kind stays as it was, to the digit."""
    other = CASES[(CASES.index(case) + 1 + kind) % len(CASES)]
    if other == case:
        return
    plain = {"value": 0.0, "unit": "", "actors": (0,), "first": 0, "peak": 1, "last": 2, "words": "w"}
    some = [Finding(name, severity, **plain, features={"severity": severity}) for name in (case, other)]
    reflex = Reflex(TASK.teach, TASK.start(), LearnConfig())
    prediction = said(proposals_of(some, 0.1), TASK.start())
    at = next(k for k, output in enumerate(prediction.outputs) if output.proposal == 0)
    reflex.learn([Change(1, None, spoken(prediction, [Claim(output=at)], complete=False))])
    before, after = ({o.proposal: o.score for o in TASK.answer(prediction.proposals, head)}
                     for head in (TASK.start(), reflex.head()))  # fmt: skip
    assert after[1] == before[1]
    assert after[0] < before[0] or before[0] < 1e-3


@pytest.mark.parametrize("seed", range(4))
def test_a_segment_says_the_same_wherever_it_lies(seed):
    """Moved by kilometres and turned: the same cases of the same actors. Where paths cross depends on which of two
    equally near places of them is taken, so that a crossing may differ in the third digit.
    """
    tracks = plant((highway if seed % 2 else street)(seed, seconds=25.0), seed, dict.fromkeys(PLANTABLE, 1))[0]
    turn, (east, north) = 1.1, (3_000.0, -2_000.0)
    cos, sin = np.cos(turn), np.sin(turn)
    moved = replace(
        tracks, x=tracks.x * cos - tracks.y * sin + east, y=tracks.x * sin + tracks.y * cos + north,
        heading=tracks.heading + turn,
    )  # fmt: skip
    here, there = (TASK.findings(one) for one in (tracks, moved))
    assert [(one.case, one.actors) for one in here] == [(one.case, one.actors) for one in there]
    np.testing.assert_allclose([one.severity for one in here], [one.severity for one in there], atol=5e-3)
    np.testing.assert_allclose([one.peak for one in here], [one.peak for one in there], atol=1)


@pytest.mark.parametrize("seed", range(3))
def test_later_frames_are_other_frames_and_nothing_else(seed):
    """A segment cut out of a longer drive has the cases of that part."""
    tracks = plant(highway(seed, seconds=20.0), seed, dict.fromkeys(PLANTABLE, 1))[0]
    later = replace(tracks, frame=tracks.frame + 700)
    here, there = (TASK.findings(one) for one in (tracks, later))
    assert [(a.case, a.actors, a.first + 700, a.last + 700) for a in here] == [
        (b.case, b.actors, b.first, b.last) for b in there
    ]


@settings(deadline=None, max_examples=60)
@given(st.binary(max_size=200), st.integers(0, 20_000))
def test_a_damaged_segment_is_a_named_error(noise, at):
    """Bytes of a segment overwritten anywhere: it is read, or InputError says why not, and nothing else comes."""
    data = bytearray(WHOLE)
    at = min(at, len(data))
    data[at : at + len(noise)] = noise
    try:
        proposals = TASK.propose(Payload(bytes(data)))
    except InputError:
        return
    expanded(proposals)
    assert msgspec.msgpack.encode(proposals) == msgspec.msgpack.encode(TASK.propose(Payload(bytes(data))))


WHOLE = pack(highway(1, 4, 3.0))
