"""The newest examples by kind, with what their errors were."""

from __future__ import annotations

from hotloop.measure import parts as module
from hotloop.measure.parts import OVERALL, Parts
from hotloop.types import Claim, Example, Feedback, Observation, Outcome, Prediction, Proposals

SEEN = Observation(id="p", site="s", line="l", at=0.0, digest="d")
MADE = Prediction(id="p", observation=SEEN, version=1, outputs=(), confidence=1.0, proposals=Proposals(0, 0, b""))


def example(*labels):
    """One word a label."""
    return Example(
        MADE, tuple(Feedback(prediction="p", reviewer=f"r{k}", claims=(Claim(label=x),)) for k, x in enumerate(labels))
    )


def test_errors_are_told_apart():
    """Not proposed, decided wrongly, disputed by the reviewers; a hit is no error."""
    kept = Parts()
    kept.judged(example("open"), [Outcome("hit", "open")])
    kept.judged(example("open"), [Outcome("missed", "open")])
    kept.judged(example("open"), [Outcome("missed", "open"), Outcome("false alarm", "short")])
    kept.judged(example("open", "short"), [Outcome("missed", "open"), Outcome("false alarm", "short")])
    whole = kept.parts()[OVERALL]
    assert (whole.unproposed, whole.undecided, whole.disputed) == (1, 2, 2)
    assert whole.scores == (1.0, 0.0, 0.0, 0.0)
    assert not whole.refreshed


def test_kinds_are_parts_of_their_own():
    """With the outcomes of that kind alone; good pieces belong to the whole only."""
    kept = Parts()
    kept.judged(example("open"), [Outcome("hit", "open"), Outcome("missed", "short")])
    kept.judged(example(), [Outcome("right", "")])
    found = kept.parts()
    assert found["label:open"].scores == (1.0,)
    assert found["label:short"].scores == (0.0,)
    assert len(found[OVERALL].scores) == 2


def test_a_refresh_is_remembered_with_the_examples_after_it():
    """Until they are out of the window."""
    kept = Parts()
    kept.judged(example("open"), [Outcome("hit", "open")])
    kept.refreshed()
    assert not kept.parts()[OVERALL].refreshed
    kept.judged(example("open"), [Outcome("hit", "open")])
    assert kept.parts()[OVERALL].refreshed
    assert kept.parts()["label:open"].refreshed


def test_a_flood_of_kinds_is_bounded(monkeypatch):
    """Kinds beyond the limit count in the whole."""
    monkeypatch.setattr(module, "LABELS_MAX", 3)
    kept = Parts()
    for number in range(9):
        kept.judged(example("x"), [Outcome("hit", f"kind-{number}")])
    assert len(kept.parts()) == 3
