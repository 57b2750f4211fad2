"""Verdicts held back: not lost, not doubled, tried again together, and in the end what should be learned is."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.config import LearnConfig
from hotloop.gate import Held
from hotloop.gate.held import HeldState, merged, name_of, reverse
from hotloop.learn import Reflex
from hotloop.types import Change, Claim, Example, Feedback, Head, Observation, Prediction, Proposals, Rows


def example(name, word):
    """An example on prediction `name` whose one reviewer says `word`."""
    seen = Observation(id=name, site="s", line="l", at=0.0, digest="d")
    prediction = Prediction(
        id=name, observation=seen, version=1, outputs=(), confidence=1.0, proposals=Proposals(0, 0, b"")
    )
    return Example(prediction, (Feedback(prediction=name, reviewer="ann", claims=(Claim(label=word),)),))


def change(offset, name, before, after):
    return Change(offset, before and example(name, before), after and example(name, after))


def test_a_prediction_that_is_not_held_is_as_the_joiner_says():
    """The usual case: nothing is adjusted."""
    given_change = change(1, "p", "a", "b")
    assert Held().adjust(given_change) is given_change


def test_a_later_verdict_starts_from_what_was_really_learned():
    """Refused: "a" was never learned, so the correction to "b" has nothing to unlearn."""
    held = Held()
    held.hold([change(1, "p", None, "a")])
    assert held.adjust(change(2, "p", "a", "b")) == change(2, "p", None, "b")
    assert len(held) == 0


def test_a_correction_of_what_was_learned_unlearns_exactly_that():
    """Learned "a", refused "b", then "c": "a" goes out and "c" comes in."""
    held = Held()
    held.hold([change(2, "p", "a", "b")])
    assert held.adjust(change(3, "p", "b", "c")) == change(3, "p", "a", "c")


def test_refused_twice_still_starts_from_what_was_learned():
    """However often its updates are refused."""
    held = Held()
    held.hold([change(2, "p", "a", "b")])
    held.hold([held.adjust(change(3, "p", "b", "c"))])
    assert held.adjust(change(4, "p", "c", "d")) == change(4, "p", "a", "d")


def test_seven_wait_and_eight_are_tried_again():
    """In the order in which they were refused; afterwards nothing is held."""
    held = Held()
    changes = [change(k, f"p{k}", None, "a") for k in range(1, 9)]
    held.hold(changes[:7])
    assert held.retry() == []
    held.hold(changes[7:])
    assert len(held) == 8
    assert held.retry() == changes
    assert len(held) == 0
    assert held.retry() == []


def test_what_is_refused_again_is_no_new_refusal():
    """Otherwise eight held verdicts would be tried again for ever, each time with a judgement in the log."""
    held = Held()
    held.hold([change(k, f"p{k}", None, "a") for k in range(1, 9)])
    held.hold(held.retry())
    assert len(held) == 8
    assert held.retry() == []
    held.hold([change(k, f"q{k}", None, "a") for k in range(1, 8)])
    assert held.retry() == []
    held.hold([change(99, "q", None, "a")])
    assert len(held.retry()) == 16


def test_a_new_word_on_a_tried_prediction_is_fresh():
    """What was tried last time and is said anew counts as new."""
    held = Held()
    held.hold([change(k, f"p{k}", None, "a") for k in range(1, 9)])
    held.hold(held.retry())
    assert held.retry() == []
    held.hold([held.adjust(change(20 + k, f"p{k}", "a", "b")) for k in range(1, 9)])
    assert [c.offset for c in held.retry()] == list(range(21, 29))


def test_beyond_the_limit_the_oldest_are_not_tried_again_but_not_forgotten():
    """Their next verdict still starts from what was really learned."""
    held = Held(examples_max=2)
    held.hold([change(1, "p", "x", "a"), change(2, "q", None, "a"), change(3, "r", None, "a")])
    assert len(held) == 2
    assert held.adjust(change(4, "p", "a", "b")) == change(4, "p", "x", "b")
    assert held.adjust(change(5, "p", "b", "c")) == change(5, "p", "b", "c")


def test_a_dropped_prediction_that_is_refused_again_is_held_again():
    """With its new word, from the same start."""
    held = Held(examples_max=1)
    held.hold([change(1, "p", "x", "a"), change(2, "q", None, "a")])
    held.hold([held.adjust(change(3, "p", "a", "b"))])
    assert held.adjust(change(4, "p", "b", "c")) == change(4, "p", "x", "c")


def test_the_state_is_all_of_it():
    """Written and read as bytes, it goes on as if nothing had been."""
    held = Held(examples_max=3)
    held.hold([change(k, f"p{k}", "x", "a") for k in range(1, 5)])
    data = msgspec.msgpack.encode(held.state())
    other = Held(examples_max=3)
    other.hold([change(9, "old", None, "a")])
    other.restore(msgspec.msgpack.decode(data, type=HeldState))
    assert other.state() == held.state()
    for one in (held, other):
        one.hold([change(k, f"q{k}", None, "a") for k in range(1, 5)])
    assert other.retry() == held.retry() != []
    assert other.adjust(change(20, "p1", "a", "b")) == change(20, "p1", "x", "b")


def test_a_change_is_about_its_prediction():
    """Whichever side of it there is."""
    assert name_of(change(1, "p", None, "a")) == name_of(change(1, "p", "a", None)) == "p"
    with pytest.raises(AssertionError):
        name_of(Change(1, None, None))


def test_reversed_changes_undo_in_reverse_order():
    """The last first, each the other way round."""
    changes = [change(1, "p", None, "a"), change(2, "q", "a", "b")]
    assert reverse(changes) == [change(2, "q", "b", "a"), change(1, "p", "a", None)]


WORDS = ("a", "b", "c")


def teach(one):
    """Each prediction has features of its own; the word is the target."""
    number = int(one.prediction.id)
    x = np.random.default_rng(number).normal(size=(1, 3))
    return Rows(x, np.array([[float(one.feedback[0].claims[0].label == word) for word in WORDS]]), np.ones(1))


@settings(max_examples=25, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.sampled_from(WORDS), st.booleans()), max_size=40))
def test_whatever_is_refused_the_learner_holds_what_was_promoted(steps):
    """Any sequence of verdicts, refused or not: the learner equals one that saw only the promoted last words.

    Exactly what was learned is unlearned, even where refused words came between.
    """
    reflex = Reflex(teach, Head(WORDS, np.zeros((3, 3)), (0.5,) * 3), LearnConfig())
    held, said, learned = Held(examples_max=2), {}, {}
    for offset, (number, word, refused) in enumerate(steps, 1):
        name = str(number)
        if said.get(name) == word:
            continue
        adjusted = held.adjust(change(offset, name, said.get(name), word))
        group = merged([*held.retry(), adjusted])
        said[name] = word
        reflex.learn(group)
        if refused:
            reflex.learn(reverse(group))
            held.hold(group)
            continue
        learned |= {name_of(c): c.after for c in group}
    oracle = Reflex(teach, Head(WORDS, np.zeros((3, 3)), (0.5,) * 3), LearnConfig())
    oracle.learn([Change(1, None, one) for one in learned.values()])
    np.testing.assert_allclose(reflex.head().weights, oracle.head().weights, atol=1e-9)
    assert reflex.count == len(learned)


def test_what_a_rollback_took_out_waits_for_other_refusals():
    """It is held, and not tried again by itself."""
    held = Held()
    changes = [change(k, f"p{k}", None, "a") for k in range(20)]
    held.set_aside(changes)
    assert len(held) == 20
    assert held.holds("p3")
    assert not held.holds("x")
    assert held.retry() == []


def test_changes_of_one_prediction_become_one():
    """From the first before to the last after; what comes to nothing is none."""
    one, two, other = change(1, "p", None, "a"), change(3, "p", "a", "b"), change(2, "q", "a", "b")
    assert merged([one, other, two]) == [other, change(3, "p", None, "b")]
    assert merged([one, change(4, "p", "a", None)]) == []
