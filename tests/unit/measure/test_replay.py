"""The same log with feedback that comes later."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.errors import InputError
from hotloop.measure import DELAYS_S, delayed
from hotloop.types import Feedback, Prediction

quick = settings(max_examples=40, deadline=None)


def names(records):
    """Each record as p or f with its number, in order."""
    return [
        r.event.body.id if isinstance(r.event.body, Prediction) else "f" + r.event.body.prediction[1:] for r in records
    ]


def log(story):
    """Three predictions a minute apart, each with a verdict 10 s later, and what follows from them."""
    records = []
    for i in range(3):
        records += [story.prediction(f"p{i}", at=60.0 * i), story.feedback(f"p{i}", at=60.0 * i + 10)]
        records += [
            story.judgement("promote", at=60.0 * i + 11),
            story.release(i + 2, story.offset),
            story.live(i + 2),
        ]
    return [*records, story.notice()]


@pytest.mark.parametrize(
    ("delay_s", "order"),
    [
        (0.0, ["p0", "f0", "p1", "f1", "p2", "f2"]),
        (49.9, ["p0", "f0", "p1", "f1", "p2", "f2"]),
        (50.0, ["p0", "f0", "p1", "f1", "p2", "f2"]),
        (50.1, ["p0", "p1", "f0", "p2", "f1", "f2"]),
        (120.0, ["p0", "p1", "p2", "f0", "f1", "f2"]),
        (604_800.0, ["p0", "p1", "p2", "f0", "f1", "f2"]),
    ],
)
def test_feedback_comes_that_much_later(story, delay_s, order):
    """Predictions keep their times; feedback falls behind those it was before."""
    assert names(delayed(log(story), delay_s)) == order


def test_records_are_a_log_of_their_own(story):
    """Offsets run 1, 2, 3; times never go back and say when each would have come."""
    out = list(delayed(log(story), 100.0))
    assert [r.offset for r in out] == [1, 2, 3, 4, 5, 6]
    assert [r.received_at for r in out] == [0.0, 60.0, 110.0, 120.0, 170.0, 230.0]


def test_what_follows_is_left_for_the_replay_to_make(story):
    """Judgements, releases, acknowledgements and notices of the old run do not come out."""
    bodies = {type(r.event.body) for r in delayed(log(story), 0.0)}
    assert bodies == {Prediction, Feedback}


def test_a_clock_that_jumped_back_does_not_reorder(story):
    """The hub's clock may have jumped: the log's order is what counts."""
    records = [
        story.prediction("p0", at=500.0),
        story.feedback("p0", at=100.0),
        story.prediction("p1", at=101.0),
    ]
    out = list(delayed(records, 0.0))
    assert names(out) == ["p0", "f0", "p1"]
    assert [r.received_at for r in out] == [500.0, 500.0, 500.0]


@quick
@given(st.lists(st.tuples(st.booleans(), st.floats(0, 100)), max_size=40), st.floats(0, 200))
def test_nothing_is_lost_and_each_kind_keeps_its_order(steps, delay_s):
    """Every prediction and feedback comes out once, and among its kind in the log's order."""
    from hotloop.types import Event, Observation, Proposals, Record

    seen = Observation(id="o", site="s", line="l", at=0.0, digest="")
    records, now = [], 0.0
    for i, (is_feedback, pause) in enumerate(steps, 1):
        now += pause
        said = {"version": 1, "outputs": (), "confidence": 0.0, "proposals": Proposals(0, 0, b"")}
        body = (
            Feedback(prediction=f"p{i}", reviewer="a", claims=())
            if is_feedback
            else Prediction(id=f"p{i}", observation=seen, **said)
        )
        records.append(Record(i, now, Event("d", i, body)))
    out = list(delayed(records, delay_s))
    for kind in (Prediction, Feedback):
        given_order = [r.event for r in records if isinstance(r.event.body, kind)]
        assert [r.event for r in out if isinstance(r.event.body, kind)] == given_order
    assert [r.received_at for r in out] == sorted(r.received_at for r in out)


@pytest.mark.parametrize("delay_s", [-1.0, float("nan")])
def test_a_delay_below_zero_is_refused(delay_s):
    """Feedback cannot come before it was given."""
    with pytest.raises(InputError, match="delay"):
        list(delayed([], delay_s))


def test_the_delays_are_those_of_the_question():
    """0 s, 30 min, 1 day and 1 week, in seconds."""
    assert list(DELAYS_S.values()) == [0, 30 * 60, 24 * 3600, 7 * 24 * 3600]
