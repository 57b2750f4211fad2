"""The laws of the Learner: the reflex keeps them, and each law finds a learner that breaks it."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import LearnConfig
from hotloop.errors import ModelError
from hotloop.learn import Reflex
from hotloop.testing.checks import learner as laws
from hotloop.types import Change, Claim, Example, Feedback, Head, Observation, Prediction, Proposals, Rows

LABELS = ("ok", "worn", "cracked")
COLUMNS = 6


def teach(example):
    truth = LABELS.index(example.feedback[0].claims[0].label)
    return Rows(example.prediction.proposals.array(), np.eye(len(LABELS))[[truth]], np.ones(1))


def make_changes(seed, count):
    random = np.random.default_rng(seed)
    changes = []
    for number in range(count):
        name = f"{seed}-{number}"
        truth = int(random.integers(len(LABELS)))
        features = random.normal(size=(1, COLUMNS)) + 2.0 * truth
        seen = Observation(id=name, site=f"site-{number % 3}", line="line-1", at=0.0, digest="")
        prediction = Prediction(
            id=name,
            observation=seen,
            version=1,
            outputs=(),
            confidence=0.5,
            proposals=Proposals(1, COLUMNS, features.astype("<f2").tobytes()),
        )
        feedback = Feedback(prediction=name, reviewer="r", claims=(Claim(label=LABELS[truth]),))
        changes.append(Change(number + 1, None, Example(prediction, (feedback,))))
    return changes


def reflex(kind=Reflex):
    start = Head(LABELS, np.zeros((COLUMNS, len(LABELS))), (0.5,) * len(LABELS))
    return kind(teach, start, LearnConfig())


@pytest.mark.parametrize("law", laws.LAWS, ids=lambda law: law.__name__)
def test_the_reflex_keeps_the_law(law):
    """The reflex does what every Learner must."""
    law(reflex, make_changes)


def test_check_learner_runs_every_law():
    """`check_learner` makes at least one new learner a law."""
    made = []

    def make():
        made.append(reflex())
        return made[-1]

    laws.check_learner(make, make_changes)
    assert len(made) >= len(laws.LAWS) == 9


class Idle(Reflex):
    def learn(self, changes):
        pass


class FirstCountsDouble(Reflex):
    def learn(self, changes):
        super().learn([*changes, *(changes[:1] if not self.count else [])])


class ByBatch(Reflex):
    def learn(self, changes):
        super().learn(changes if len(changes) < 2 else changes[:-1])


class NeverForgets(Reflex):
    def unlearn(self, examples):
        pass


class KeepsTheFirstWord(Reflex):
    def learn(self, changes):
        super().learn([Change(change.offset, None, change.after) for change in changes])


class LearnsByLooking(Reflex):
    def head(self):
        found = super().head()
        self.learn(make_changes(99, 1))
        return found


class HalfRestored(Reflex):
    def restore(self, state):
        super().restore(state)
        self.learn(make_changes(99, 1))


class Hoards(Reflex):
    def state(self):
        return super().state() + b"x" * self.count


class Trusts(Reflex):
    def restore(self, state):
        try:
            super().restore(state)
        except ModelError:
            return


@pytest.mark.parametrize(
    ("law", "broken"),
    [
        (laws.it_learns, Idle),
        (laws.order_does_not_matter, FirstCountsDouble),
        (laws.batches_do_not_matter, ByBatch),
        (laws.unlearned_is_never_seen, NeverForgets),
        (laws.the_last_word_replaces_the_first, KeepsTheFirstWord),
        (laws.looking_does_not_learn, LearnsByLooking),
        (laws.a_state_restores_it_whole, HalfRestored),
        (laws.a_state_does_not_grow, Hoards),
        (laws.a_foreign_state_is_refused, Trusts),
    ],
    ids=lambda item: item.__name__,
)
def test_the_law_finds_a_learner_that_breaks_it(law, broken):
    """A law that never fails is not known to work."""
    with pytest.raises(AssertionError):
        law(lambda: reflex(broken), make_changes)
