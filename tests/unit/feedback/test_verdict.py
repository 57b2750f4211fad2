"""The short forms of what people say."""

from __future__ import annotations

from hotloop.feedback import check_feedback, false_alarms, right, verdict
from hotloop.types import Claim, Observation, Output, Prediction, Proposals

SAID = Prediction(
    id="p",
    observation=Observation(id="p", site="s", line="l", at=0.0, digest="d"),
    version=1,
    outputs=(Output("open", 0.9, (1.0, 1.0, 2.0, 2.0), 0), Output("short", 0.6, (5.0, 5.0, 6.0, 6.0), 3)),
    confidence=0.6,
    proposals=Proposals(0, 0, b""),
)


def test_right_agrees_with_each_output_and_nothing_else():
    """Each output is claimed as what it was said to be, where it was said to be."""
    found = right(SAID, "ann", 7.0)
    assert found.claims == (
        Claim(output=0, label="open", region=(1.0, 1.0, 2.0, 2.0)),
        Claim(output=1, label="short", region=(5.0, 5.0, 6.0, 6.0)),
    )
    assert (found.prediction, found.reviewer, found.at, found.complete) == ("p", "ann", 7.0, True)


def test_right_of_nothing_is_a_clean_piece():
    """Where nothing was said, there is nothing."""
    assert right(Prediction(id="q", observation=SAID.observation, version=1, outputs=(), confidence=1.0,
                            proposals=SAID.proposals), "ann").claims == ()  # fmt: skip


def test_false_alarms_say_nothing_of_the_other_outputs():
    """Only the named outputs are nothing; the feedback is not complete."""
    found = false_alarms(SAID, [1], "ann")
    assert found.claims == (Claim(output=1, label=None),)
    assert not found.complete


def test_a_verdict_is_the_whole_truth():
    """Each thing that is there, by label and place; of the kind that teaches."""
    found = verdict("p", [("open", (1.0, 1.0, 2.0, 2.0)), ("short", None)], "ann", 3.0)
    assert found.claims == (Claim(label="open", region=(1.0, 1.0, 2.0, 2.0)), Claim(label="short"))
    assert (found.kind, found.complete, found.at) == ("verdict", True, 3.0)


def test_each_short_form_passes_the_check():
    """What these make is never refused."""
    for feedback in (right(SAID, "a"), false_alarms(SAID, [0, 1], "a"), verdict("p", [], "a")):
        assert check_feedback(feedback, ("open", "short")) is feedback
