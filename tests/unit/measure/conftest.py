"""A log to measure: records made one after another, each at a time that the test says."""

import pytest

from hotloop.types import (
    Event,
    Example,
    Feedback,
    Judgement,
    Live,
    Notice,
    Observation,
    Outcome,
    Prediction,
    Proposals,
    Record,
    Release,
)

NONE = Proposals(0, 0, b"")


class Story:
    """Makes records with rising offsets. `at` is the hub's time; devices' times are given or the same."""

    def __init__(self):
        self.offset = 0

    def record(self, body, at):
        """Any body as the next record."""
        self.offset += 1
        return Record(self.offset, at, Event("device", self.offset, body))

    def prediction(self, name, at=0.0, line="line-1", version=1, **times):
        """A prediction, observed and made at `at` unless said otherwise."""
        seen = Observation(id=f"o-{name}", site="s", line=line, at=times.get("observed", at), digest="")
        said = times.get("predicted", at)
        body = Prediction(
            id=name, observation=seen, version=version, outputs=(), confidence=0.5, proposals=NONE, at=said
        )
        return self.record(body, at)

    def feedback(self, name, at=0.0, reviewer="anna", given=None):
        """A feedback on the prediction so named."""
        body = Feedback(prediction=name, reviewer=reviewer, claims=(), at=at if given is None else given)
        return self.record(body, at)

    def release(self, version, learned_to, at=0.0, **fields):
        """A release; `joined_at`, `learned_at`, `gated_at` are 0 unless said."""
        fields = {"tier": "reflex", **fields}
        body = Release(version=version, parent=version - 1, digest="", learned_to=learned_to, at=at, **fields)
        return self.record(body, at)

    def live(self, version, at=0.0, line="line-1"):
        """A line's acknowledgement."""
        return self.record(Live(line=line, version=version, at=at), at)

    def judgement(self, decision, at=0.0, refused=()):
        """The gate's decision."""
        body = Judgement(
            candidate=2,
            champion=1,
            decision=decision,
            reason="",
            count=0,
            difference=0.0,
            e_value=1.0,
            learned_to=self.offset,
            refused=tuple(refused),
        )
        return self.record(body, at)

    def notice(self, at=0.0):
        """A notice."""
        return self.record(Notice(subject="store", text="repaired"), at)


def example_of(name, line="line-1", version=1):
    """An example for the quality measures, which look at its place and version only."""
    prediction = Story().prediction(name, line=line, version=version).event.body
    return Example(prediction, ())


def outcomes_of(text):
    """Outcomes from letters: h(it), f(alse alarm), m(issed), r(ight); all of the label "open"."""
    kinds = {"h": "hit", "f": "false alarm", "m": "missed", "r": "right"}
    return tuple(Outcome(kinds[letter], "open") for letter in text)


@pytest.fixture
def story():
    """An empty log."""
    return Story()


@pytest.fixture
def example():
    """Makes an example by name, line and version."""
    return example_of


@pytest.fixture
def outcomes():
    """Makes outcomes from letters."""
    return outcomes_of
