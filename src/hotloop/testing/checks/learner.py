"""The laws of the Learner: what every tier must do. TRUST: exact and reversible, in any order.

Each law takes `make`, which gives a learner that has learned nothing (the same recipe each time), and
`make_changes(seed, count)`, which gives `count` changes on different predictions, each with an `after` that
teaches something and no `before`, from the same few sites for every seed. `check_learner` runs them all.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import TypeAlias

import msgspec
import numpy as np

from hotloop.errors import ModelError
from hotloop.ports import Learner
from hotloop.testing.checks.raising import raises
from hotloop.types import Change, Example, Head

Maker: TypeAlias = Callable[[], Learner]
ChangeMaker: TypeAlias = Callable[[int, int], Sequence[Change]]
Law: TypeAlias = Callable[[Maker, ChangeMaker], None]
COUNT = 60
ERROR_MAX = 1e-8  # relative: |W - W'| / (1 + |W|), elementwise
STATE_SLACK_BYTES = 64  # counts in the state may take a byte or two more


def check_learner(make: Maker, make_changes: ChangeMaker) -> None:
    """Hold a learner to all laws, each with new ones."""
    for law in LAWS:
        law(make, make_changes)


def same(one: Head, other: Head) -> bool:
    """Whether two heads are equal, to a relative error of 1e-8."""
    first, second = np.asarray(one.weights), np.asarray(other.weights)
    return (
        one.labels == other.labels
        and first.shape == second.shape
        and bool(np.all(np.abs(first - second) <= ERROR_MAX * (1 + np.abs(second))))
        and bool(np.allclose(one.thresholds, other.thresholds, rtol=ERROR_MAX, atol=ERROR_MAX))
    )


def it_learns(make: Maker, make_changes: ChangeMaker) -> None:
    """What is learned changes the head, and the head is made of finite numbers."""
    learner = make()
    before = learner.head()
    learner.learn(make_changes(0, COUNT))
    assert not same(learner.head(), before), "learning must change the head"
    assert np.isfinite(learner.head().weights).all(), "a head is finite"


def order_does_not_matter(make: Maker, make_changes: ChangeMaker) -> None:
    """The same changes in any order give the same head."""
    changes = list(make_changes(1, COUNT))
    learner = _taught(make, changes)
    for seed in range(3):
        random.Random(seed).shuffle(changes)
        assert same(_taught(make, changes).head(), learner.head()), "another order must give the same head"


def batches_do_not_matter(make: Maker, make_changes: ChangeMaker) -> None:
    """One by one, in one call, or with empty calls between: the same head (stream equals batch)."""
    changes = make_changes(2, COUNT)
    single = make()
    for change in changes:
        single.learn([change])
        single.learn([])
    assert same(single.head(), _taught(make, changes).head()), "stream must equal batch"


def unlearned_is_never_seen(make: Maker, make_changes: ChangeMaker) -> None:
    """After unlearning some examples, in any order, the head is that of a learner that never saw them."""
    changes = make_changes(3, COUNT)
    learner = _taught(make, changes)
    gone = [change.after for change in changes[::2] if change.after is not None]
    random.Random(3).shuffle(gone)
    learner.unlearn(gone[:10])
    learner.unlearn(gone[10:])
    assert same(learner.head(), _taught(make, changes[1::2]).head()), "unlearned must be as never seen"
    learner.unlearn([change.after for change in changes[1::2] if change.after is not None])
    assert same(learner.head(), make().head()), "with all unlearned it is as new"


def the_last_word_replaces_the_first(make: Maker, make_changes: ChangeMaker) -> None:
    """A change with a `before` takes out what that taught; with no `after` nothing is left of it."""
    old, new = make_changes(4, COUNT), make_changes(5, COUNT)
    learner = _taught(make, old)
    learner.learn([Change(c.offset + COUNT, _after(o), _after(c)) for o, c in zip(old, new, strict=True)])
    assert same(learner.head(), _taught(make, new).head()), "the last word must replace the first"
    learner.learn([Change(c.offset + 2 * COUNT, _after(c), None) for c in new])
    assert same(learner.head(), make().head()), "a verdict taken back must leave nothing"


def looking_does_not_learn(make: Maker, make_changes: ChangeMaker) -> None:
    """`head` and `state` change nothing, and a head that was given does not change when more is learned."""
    changes = make_changes(6, COUNT)
    learner = _taught(make, changes[:30])
    given = learner.head()
    kept = np.array(given.weights)
    for _ in range(3):
        learner.head()
        learner.state()
    assert same(learner.head(), given), "looking must not learn"
    learner.learn(changes[30:])
    assert np.array_equal(given.weights, kept), "a head that was given must not change"
    assert same(learner.head(), _taught(make, changes).head()), "looking in between must not matter"


def a_state_restores_it_whole(make: Maker, make_changes: ChangeMaker) -> None:
    """A restored learner has the same head to the last bit, learns on alike, and can still unlearn."""
    changes = make_changes(7, COUNT)
    learner = _taught(make, changes[:40])
    other = _taught(make, make_changes(8, 5))  # what it had learned itself is gone
    other.restore(learner.state())
    assert np.array_equal(other.head().weights, learner.head().weights), "the same head to the last bit"
    assert other.state() == learner.state(), "the same state"
    for one in (learner, other):
        one.learn(changes[40:])
        one.unlearn([after for change in changes[:20] if (after := change.after) is not None])
    assert np.array_equal(other.head().weights, learner.head().weights), "both go on alike"


def a_state_does_not_grow(make: Maker, make_changes: ChangeMaker) -> None:
    """The state is as large after ten times as much was learned."""
    learner = _taught(make, make_changes(9, COUNT))
    size = len(learner.state())
    for seed in range(10, 20):
        learner.learn(make_changes(seed, COUNT))
    assert len(learner.state()) <= size + STATE_SLACK_BYTES, "a state must not grow with what was learned"


def a_foreign_state_is_refused(make: Maker, make_changes: ChangeMaker) -> None:
    """Bytes that are no state of this recipe raise ModelError and change nothing."""
    learner = _taught(make, make_changes(20, COUNT))
    state = learner.state()
    another = msgspec.msgpack.encode({"recipe": "another"})
    for foreign in (b"", b"no state", state[: len(state) // 2], another):
        assert raises(ModelError, learner.restore, foreign), f"{foreign[:20]!r} must be refused"
    assert learner.state() == state, "a refused state changes nothing"


def _taught(make: Maker, changes: Sequence[Change]) -> Learner:
    """A new learner that has learned the changes."""
    learner = make()
    learner.learn(changes)
    return learner


def _after(change: Change) -> Example | None:
    """The example that a change led to."""
    return change.after


LAWS: tuple[Law, ...] = (
    it_learns,
    order_does_not_matter,
    batches_do_not_matter,
    unlearned_is_never_seen,
    the_last_word_replaces_the_first,
    looking_does_not_learn,
    a_state_restores_it_whole,
    a_state_does_not_grow,
    a_foreign_state_is_refused,
)
