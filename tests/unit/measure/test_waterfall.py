"""Each verdict followed to the line that has learned it."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.measure import Measures
from hotloop.measure import waterfall as module
from hotloop.measure.waterfall import MOMENTS
from hotloop.types import (
    Event,
    Feedback,
    Live,
    Observation,
    Prediction,
    Proposals,
    Record,
    Release,
)

T = 1_000_000.0  # the hub's time when a test begins


@pytest.fixture
def measures():
    """Measures feed the waterfall as the engine does."""
    return Measures()


def summary(measures):
    """The waterfall's part of the report."""
    return measures.report("loop").waterfall


def told(story, measures, name="p", at=T, line="line-1"):
    """A prediction at `at` and a verdict on it 5 s later."""
    measures.add(story.prediction(name, at=at, line=line))
    measures.add(story.feedback(name, at=at + 5))


def test_one_verdict_with_all_its_moments(story, measures):
    """Every moment comes from the record that says it, and every stage is the time between two of them."""
    measures.add(story.prediction("p", at=T + 0.4, observed=T, predicted=T + 0.2))
    measures.add(story.feedback("p", at=T + 6.5, given=T + 6.0))
    release = story.release(2, 2, T + 7.0, joined_at=T + 6.6, learned_at=T + 6.7, gated_at=T + 6.9)
    assert measures.add(release) == []
    (passage,) = measures.add(story.live(2, at=T + 7.5))
    expected = (0.0, 0.2, 6.0, 6.5, 6.6, 6.7, 6.9, 7.0, 7.5)
    assert passage.moments == pytest.approx([T + t for t in expected])
    assert (passage.prediction, passage.line, passage.offset, passage.version) == ("p", "line-1", 2, 2)
    assert passage.verdict_to_live_s == pytest.approx(1.0)
    stages = {stage.name: stage.spread.p50_s for stage in summary(measures).stages}
    assert list(stages) == list(MOMENTS[1:])
    wanted = dict(zip(MOMENTS[1:], (0.2, 5.8, 0.5, 0.1, 0.1, 0.2, 0.1, 0.5), strict=True))
    assert stages == pytest.approx(wanted, rel=0.01)
    assert summary(measures).pipeline.p50_s == pytest.approx(7.3, rel=0.01)
    assert summary(measures).verdict_to_live.p50_s == pytest.approx(1.0, rel=0.01)


def test_a_release_takes_only_what_it_has_learned(story, measures):
    """A verdict after the release's `learned_to` waits for the next one."""
    told(story, measures, "p")
    told(story, measures, "q")
    measures.add(story.release(2, 2, T + 20))
    assert [p.prediction for p in measures.add(story.live(2, at=T + 21))] == ["p"]
    measures.add(story.release(3, 4, T + 30))
    assert [p.prediction for p in measures.add(story.live(3, at=T + 31))] == ["q"]


def test_the_verdicts_own_line_has_to_be_live(story, measures):
    """Another line with the new version does not count; a still newer version on the own one does."""
    told(story, measures, line="line-1")
    measures.add(story.release(2, 2, T + 6))
    assert measures.add(story.live(2, at=T + 7, line="line-2")) == []
    assert summary(measures).undelivered == 1
    assert measures.add(story.live(1, at=T + 7)) == []
    (passage,) = measures.add(story.live(9, at=T + 8))
    assert (passage.version, passage.moments[8]) == (2, T + 8)
    assert summary(measures).undelivered == 0


def test_a_line_that_is_quicker_than_the_log_is_not_missed(story, measures):
    """Where the acknowledgement is logged before the release, the passage ends when the release is seen."""
    told(story, measures)
    measures.add(story.live(2, at=T + 6))
    (passage,) = measures.add(story.release(2, 2, T + 6))
    assert passage.moments[8] == T + 6


def test_only_the_first_release_counts(story, measures):
    """The stages of one rollout, and later releases, do not count a verdict again."""
    told(story, measures)
    measures.add(story.release(2, 2, T + 6, stage="canary"))
    measures.add(story.release(2, 2, T + 7, stage="everywhere"))
    measures.add(story.release(3, 2, T + 8))
    assert len(measures.add(story.live(3, at=T + 9))) == 1
    assert summary(measures).verdict_to_live.count == 1


def test_a_release_that_was_rolled_back_brings_nothing(story, measures):
    """A version that is taken from the lines is not what a verdict went live with."""
    told(story, measures)
    assert measures.add(story.release(2, 2, T + 6, stage="rolled back")) == []
    assert summary(measures).unlearned == 1


def test_what_the_gate_held_back_is_not_shown_as_learned(story, measures):
    """A release passes over refused feedback: it is counted as refused, never as live."""
    told(story, measures, "bad")
    told(story, measures, "good")
    measures.add(story.judgement("promote", refused=[2]))
    measures.add(story.release(2, 4, T + 20))
    assert [p.prediction for p in measures.add(story.live(2, at=T + 21))] == ["good"]
    assert (summary(measures).refused, summary(measures).unlearned) == (1, 0)


def test_skewed_clocks_are_counted_and_shown(story, measures):
    """A clock an hour ahead gives a negative stage, and the hub's own measure stays right."""
    measures.add(story.prediction("p", at=T))
    measures.add(story.feedback("p", at=T + 5, given=T + 3600))
    measures.add(story.release(2, 2, T + 6))
    measures.add(story.live(2, at=T + 7))
    received = summary(measures).stages[2]
    assert (received.name, received.spread.negative) == ("received", 1)
    assert received.spread.p50_s == pytest.approx(-3595, rel=0.01)
    assert summary(measures).verdict_to_live.p50_s == pytest.approx(2.0, rel=0.01)


def test_moments_that_were_not_said_make_no_stage(story, measures):
    """A device that sends no time (0) does not show stages of 50 years."""
    measures.add(story.prediction("p", at=T, observed=0.0, predicted=0.0))
    measures.add(story.feedback("p", at=T + 5, given=0.0))
    measures.add(story.release(2, 2, T + 6))
    measures.add(story.live(2, at=T + 7))
    counts = {stage.name: stage.spread.count for stage in summary(measures).stages}
    assert counts == dict.fromkeys(MOMENTS[1:], 0) | {"live": 1}
    assert summary(measures).pipeline.count == 0
    assert summary(measures).verdict_to_live.count == 1


def test_early_feedback_is_live_with_what_learned_it_after_its_prediction(story, measures):
    """A release between the feedback and its prediction cannot have learned it."""
    measures.add(story.feedback("p", at=T))
    measures.add(story.release(2, 1, T + 1))
    measures.add(story.prediction("p", at=T + 2))
    assert measures.add(story.live(2, at=T + 3)) == []
    measures.add(story.release(3, 3, T + 4))
    assert [p.version for p in measures.add(story.live(3, at=T + 5))] == [3]


def test_verdicts_that_wait_for_a_release_are_bounded(story, measures, monkeypatch):
    """Beyond the limit the oldest is given up, and counted."""
    monkeypatch.setattr(module, "UNLEARNED_MAX", 2)
    for name in "abc":
        told(story, measures, name)
    assert (summary(measures).unlearned, summary(measures).dropped) == (2, 1)
    measures.add(story.release(2, story.offset, T + 9))
    assert [p.prediction for p in measures.add(story.live(2, at=T + 10))] == ["b", "c"]


def test_a_line_that_is_gone_cannot_push_out_the_others(story, measures, monkeypatch):
    """The room for undelivered verdicts is shared; who exceeds it gives up its own oldest."""
    monkeypatch.setattr(module, "UNDELIVERED_MAX", 2)
    told(story, measures, "kept", line="line-1")
    for name in "abc":
        told(story, measures, name, line="gone")
    measures.add(story.release(2, story.offset, T + 9))
    assert (summary(measures).undelivered, summary(measures).dropped) == (2, 2)
    assert [p.prediction for p in measures.add(story.live(2, at=T + 10))] == ["kept"]
    assert [p.prediction for p in measures.add(story.live(2, at=T + 10, line="gone"))] == ["c"]
    assert summary(measures).undelivered == 0


def test_lines_by_the_thousand_are_bounded(story, measures, monkeypatch):
    """Acknowledgements of made-up lines stop being remembered at the limit."""
    monkeypatch.setattr(module, "LINES_MAX", 1)
    measures.add(story.live(5, at=T, line="line-1"))
    assert measures.add(story.live(5, at=T, line="made-up")) == []
    told(story, measures, "p", line="made-up")
    measures.add(story.release(5, story.offset, T + 9))
    assert summary(measures).undelivered == 1


def test_the_newest_passages_are_kept_whole(story, measures):
    """One can look at single verdicts, newest last, up to the limit."""
    for i in range(module.PASSAGES_MAX + 5):
        told(story, measures, f"p{i}")
        measures.add(story.release(i + 2, story.offset, T))
        measures.add(story.live(i + 2, at=T + 10))
    latest = summary(measures).latest
    assert len(latest) == module.PASSAGES_MAX
    assert latest[-1].prediction == f"p{module.PASSAGES_MAX + 4}"


def test_what_is_held_back_is_remembered_within_a_limit(story, measures, monkeypatch):
    """A judgement that lists more offsets than there can be verdicts is not kept."""
    monkeypatch.setattr(module, "UNLEARNED_MAX", 2)
    told(story, measures)
    measures.add(story.judgement("promote", refused=[2, 3, 4]))
    measures.add(story.release(2, 2, T + 9))
    assert summary(measures).refused == 0


def test_an_old_acknowledgement_does_not_take_a_line_back(story, measures):
    """Acknowledgements may come late and out of order: the highest version a line has said stays."""
    measures.add(story.live(5, at=T))
    measures.add(story.live(3, at=T + 1))
    told(story, measures)
    (passage,) = measures.add(story.release(4, story.offset, T + 9))
    assert passage.moments[8] == T


steps = st.lists(
    st.tuples(st.sampled_from(["prediction", "feedback", "release", "live"]), st.integers(0, 5)),
    max_size=60,
)


@settings(max_examples=150, deadline=None)
@given(steps)
def test_any_log_agrees_with_the_definition(steps):
    """Against a slow search of the whole log for each verdict's first release and its line's first word."""
    records, version = [], 1
    for i, (kind, number) in enumerate(steps, 1):
        line, name = f"line-{number % 2}", f"p{number}"
        seen = Observation(id=name, site="s", line=line, at=T, digest="")
        said = {"version": 1, "outputs": (), "confidence": 0.0, "proposals": Proposals(0, 0, b"")}
        if kind == "prediction":
            body = Prediction(id=name, observation=seen, **said)
        elif kind == "feedback":
            body = Feedback(prediction=name, reviewer=str(i), claims=(), at=T)
        elif kind == "release":
            version += 1
            body = Release(version=version, parent=1, tier="reflex", digest="", learned_to=i - 1 - number)
        else:
            body = Live(line=line, version=max(version - number // 2, 1))
        records.append(Record(i, T + i, Event("d", i, body)))
    measures = Measures()
    found = [(p.offset, p.version, p.moments[8]) for r in records for p in measures.add(r)]
    assert sorted(found) == sorted(by_definition(records))


def by_definition(records):
    """(offset where it could be learned, version, live at) of each verdict that is live on its line."""
    bodies = [(r.offset, r.received_at, r.event.body) for r in records]
    places = {}
    for offset, _, body in bodies:
        if isinstance(body, Prediction):
            places.setdefault(body.id, (offset, body.observation.line))
    for offset, _, body in bodies:
        if not isinstance(body, Feedback) or body.prediction not in places:
            continue
        predicted, line = places[body.prediction]
        since = max(offset, predicted)
        later = [(o, b) for o, _, b in bodies if isinstance(b, Release) and o > since and b.learned_to >= since]
        if not later:
            continue
        released, release = later[0]
        words = [(o, at, b.version) for o, at, b in bodies if isinstance(b, Live) and b.line == line]
        best = max((word[2] for word in words if word[0] < released), default=0)
        if best >= release.version:  # the line was there before the log said so
            yield since, release.version, next(at for _, at, v in words if v == best)
        else:
            after = [at for o, at, v in words if o > released and v >= release.version]
            if after:
                yield since, release.version, after[0]
