"""What of an example may be learned: the seal, trust, second opinions, quotas, in the whole loop."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import GateConfig, TrustConfig
from hotloop.errors import InputError
from hotloop.lessons import as_outputs, compared
from hotloop.types import Claim, Example, Feedback, Observation, Output, Prediction, Proposals, Selection

FRANK = TrustConfig(second_opinion=False, quota_least=99)


def told(loop, piece, label, *reviewers):
    """Each of these says the same of a piece."""
    for reviewer in reviewers:
        loop.say(piece, label, reviewer)
    return loop.settle()


def test_golden_pieces_are_never_learned(stand):
    """Not by the golden word, not by anybody else's, before or after it."""
    loop = stand()
    early, truth = loop.sense((1.0, 1.0))
    told(loop, early, truth, "ann")
    count = loop.engine.lineage.now.reflex.count
    told(loop, early, truth, "golden")
    assert loop.engine.lineage.now.reflex.count == count - 1
    piece, truth = loop.sense((2.0, 0.5))
    told(loop, piece, truth, "golden", "ann", "bob")
    assert loop.engine.lineage.now.reflex.count == count - 1
    assert len(loop.engine.lineage.now.lessons.sealed) == 2
    loop.rebuilt()


def test_the_same_bytes_again_are_not_learned_either(stand):
    """A golden piece that comes down the line once more teaches nothing."""
    loop = stand()
    piece, truth = loop.sense((1.5, 1.0))
    told(loop, piece, truth, "golden")
    again, _ = loop.sense((1.5, 1.0))
    told(loop, again, truth, "ann")
    assert loop.engine.lineage.now.reflex.count == 0


def test_golden_pieces_hold_the_floor(stand):
    """A flood of wrong verdicts that the recent past agrees with is refused by the first model's floor."""
    loop = stand(trust=FRANK, gate=GateConfig(least_examples=10, window_examples=20))
    loop.taught(40, group=4)
    for _ in range(40):
        piece, truth = loop.sense()
        told(loop, piece, truth, "golden")
    refused = 0
    for _ in range(60):
        piece, truth = loop.sense()
        told(loop, piece, "ok" if truth == "worn" else "worn", "ann")
        refused += loop.judgements[-1].decision == "refuse" and "floor" in loop.judgements[-1].reason
    assert refused > 5
    right = []
    for _ in range(100):
        prediction, truth = loop.sense()
        right.append(prediction.outputs[0].label == truth)
    assert np.mean(right) > 0.8


def test_a_liar_is_found_by_gold_and_unlearned(stand):
    """What they taught is taken out by a release of its own; what they say afterwards does not count."""
    loop = stand(trust=FRANK)
    rng = np.random.default_rng(0)
    for _ in range(30):
        piece, truth = loop.sense()
        told(loop, piece, truth, "golden")
        for reviewer in ("ann", "bob", "cid"):
            said = str(rng.choice(["ok", "worn"])) if reviewer == "cid" and truth == "worn" else truth
            said = "ok" if reviewer == "cid" else said
            told(loop, piece, said, reviewer)
        other, truth = loop.sense()
        told(loop, other, truth, "ann")
        lied, truth = loop.sense()
        told(loop, lied, "ok" if truth == "worn" else "worn", "cid")
    lessons = loop.engine.lineage.now.lessons
    assert lessons.trust.standing("cid").distrusted
    assert not lessons.trust.standing("ann").distrusted
    assert any("cid is not trusted any more" in judgement.reason for judgement in loop.judgements)
    assert lessons.held(lied.id, None) is None
    count = loop.engine.lineage.now.reflex.count
    piece, truth = loop.sense()
    told(loop, piece, truth, "cid")
    assert loop.engine.lineage.now.reflex.count == count
    loop.rebuilt()
    loop.engine.close()
    assert loop.start().lineage.now.lessons.trust.standing("cid").distrusted


def test_reviewers_on_one_piece_are_weighed(stand):
    """A new one among others counts half: the row that is taught says so."""
    loop = stand(trust=FRANK)
    for _ in range(12):
        piece, truth = loop.sense()
        told(loop, piece, truth, "ann", "bob")
    piece, truth = loop.sense((2.0, 2.0))
    told(loop, piece, truth, "ann")
    loop.say(piece, "ok", "new")
    loop.settle()
    held = loop.engine.lineage.now.lessons.held(piece.id, None)
    assert dict(zip([word.reviewer for word in held.feedback], held.weights, strict=True))["new"] == 0.5
    loop.rebuilt()


def crewed(stand):
    """A loop whose champion is sure, with three reviewers at work."""
    loop = stand(trust=TrustConfig(quota_least=99))
    for number in range(60):
        piece, truth = loop.sense()
        told(loop, piece, truth, ("ann", "bob", "cid")[number % 3])
    return loop


def test_what_a_sure_model_contradicts_waits_for_a_second_voice(stand):
    """Alone it waits; when another says so of the same piece it is learned."""
    loop = crewed(stand)
    piece, _ = loop.sense((3.0, 3.0))
    version = told(loop, piece, "ok", "ann")
    assert piece.id in loop.engine.lineage.now.lessons.seconds
    assert loop.engine.snapshot().seconds == 1
    assert loop.engine.review(5)[0][0] == (piece.id, 2.0, "second opinion")
    assert told(loop, piece, "ok", "bob") == version + 1
    assert not loop.engine.lineage.now.lessons.seconds
    loop.rebuilt()


def test_what_others_say_of_other_pieces_corroborates(stand):
    """Two who contradict it on the same kind: then the model has to explain itself, and what waited is learned."""
    loop = crewed(stand)
    one, _ = loop.sense((3.0, 3.0))
    told(loop, one, "ok", "ann")
    assert one.id in loop.engine.lineage.now.lessons.seconds
    other, _ = loop.sense((3.1, 3.2))
    told(loop, other, "ok", "bob")
    lessons = loop.engine.lineage.now.lessons
    assert not lessons.seconds
    assert lessons._exceptions.get(one.id, "plain") is not None
    loop.rebuilt()


def test_no_reviewer_teaches_more_than_their_share(stand):
    """With a crew at work a tireless one waits; nothing is lost."""
    loop = stand(trust=TrustConfig(second_opinion=False, quota_least=4))
    crew = ["ann", "bob", "cid", "dan", "eve"]
    for number in range(60):
        piece, truth = loop.sense()
        told(loop, piece, truth, crew[number % 5])
    for _ in range(30):
        piece, truth = loop.sense()
        told(loop, piece, truth, "tireless")
    held = [judgement for judgement in loop.judgements if judgement.decision == "hold"]
    assert held
    assert "quota" in held[-1].reason
    waiting = len(loop.engine.lineage._deferred)
    assert waiting >= 15
    loop.rebuilt()
    version = loop.order("unlearn", selection=Selection(reviewer="tireless"))
    assert not loop.engine.lineage._deferred
    assert version == loop.engine.model.version
    loop.rebuilt()


def test_a_word_in_the_form_of_an_answer():
    """By its own place, by the output that it is about, or by none; a refuted output is no answer."""
    seen = Observation(id="p", site="s", line="l", at=0.0, digest="d")
    box = (0.0, 0.0, 9.0, 9.0)
    prediction = Prediction(
        id="p",
        observation=seen,
        version=1,
        outputs=(Output("open", 0.9, box),),
        confidence=0.9,
        proposals=Proposals(0, 0, b""),
    )
    word = Feedback(
        prediction="p",
        reviewer="r",
        claims=(Claim(output=0, label="short"), Claim(label="open"), Claim(output=0), Claim(output=7, label="open")),
    )
    assert as_outputs(word, prediction) == (
        Output("short", 1.0, box, -1), Output("open", 1.0, None, -1), Output("open", 1.0, None, -1)
    )  # fmt: skip


def test_what_cannot_be_compared_blames_nobody(stand):
    """Features of another model: no outcome."""
    loop = stand()
    seen = Observation(id="p", site="s", line="l", at=0.0, digest="d")
    strange = Prediction(
        id="p", observation=seen, version=1, outputs=(), confidence=1.0, proposals=Proposals(1, 9, b"\0" * 18)
    )
    word = Feedback(prediction="p", reviewer="r", claims=(Claim(label="ok"),))
    assert compared(word, word, strange, loop.vertical) == ()
    assert Example(strange, (word,)).weight(0) == 1.0


def test_what_was_learned_of_a_golden_piece_before_it_was_golden_is_taken_out(stand):
    """Its equal came down the line first, and was learned, or waits in the same group."""
    loop = stand(trust=FRANK)
    loop.taught(10)
    before = loop.engine.lineage.now.reflex.count
    first, truth = loop.sense((1.5, 1.0))
    told(loop, first, truth, "ann")
    golden, second = loop.sense((1.5, 1.0))[0], loop.sense((1.5, 1.0))[0]
    assert loop.engine.lineage.now.reflex.count == before + 1
    loop.say(second, truth)
    told(loop, golden, truth, "golden")
    assert loop.engine.lineage.now.reflex.count == before
    assert "2 pieces are nearly golden ones" in loop.judgements[-1].reason
    loop.rebuilt()
    loop.engine.close()
    assert loop.start().lineage.now.reflex.count == before


def test_a_golden_word_that_is_unlearned_breaks_the_seal(stand):
    """A truth that was none judges nobody any more; the piece may be learned, and its next floor is its own."""
    loop = stand(trust=FRANK)
    loop.taught(10)
    piece, truth = loop.sense((1.5, 1.0))
    wrong = loop.say(piece, "ok" if truth == "worn" else "worn", "golden")
    loop.settle()
    lessons = loop.engine.lineage.now.lessons
    assert len(lessons.sealed) == 1
    high = lessons.sealed.state().pieces[0].floor
    loop.order("unlearn", selection=Selection(verdict=wrong))
    assert len(loop.engine.lineage.now.lessons.sealed) == 0
    count = loop.engine.lineage.now.reflex.count
    told(loop, piece, truth, "ann")
    assert loop.engine.lineage.now.reflex.count == count + 1
    told(loop, piece, truth, "golden")
    assert loop.engine.lineage.now.reflex.count == count
    sealed = loop.engine.lineage.now.lessons.sealed
    assert len(sealed) == 1
    assert sealed.state().pieces[0].floor < high
    loop.rebuilt()


def test_a_golden_word_that_is_corrected_has_a_new_floor(stand):
    """Else the wrong truth's floor would let anything pass."""
    loop = stand(trust=FRANK)
    loop.taught(20)
    piece, truth = loop.sense((2.0, 2.0))
    told(loop, piece, "ok", "golden")
    high = loop.engine.lineage.now.lessons.sealed.state().pieces[0].floor
    told(loop, piece, truth, "golden")
    assert loop.engine.lineage.now.lessons.sealed.state().pieces[0].floor < high
    loop.rebuilt()


def test_a_reviewer_who_was_distrusted_by_mistake_is_reinstated(stand):
    """They start anew; what they had said is tried again by the gate, and learned."""
    loop = stand(trust=FRANK)
    said = []
    for _ in range(40):
        piece, truth = loop.sense()
        told(loop, piece, truth, "ann", "bob")
        other, truth = loop.sense()
        told(loop, other, truth, "cid")
        said.append(other.id)
    for _ in range(30):  # the golden words were wrong
        piece, truth = loop.sense()
        told(loop, piece, "ok" if truth == "worn" else "worn", "golden")
        told(loop, piece, truth, "cid")
    lessons = loop.engine.lineage.now.lessons
    assert lessons.trust.standing("cid").distrusted
    count = loop.engine.lineage.now.reflex.count
    loop.order("reinstate", selection=Selection(reviewer="ann"))
    assert "'ann' is not distrusted" in loop.judgements[-1].reason
    loop.order("unlearn", selection=Selection(reviewer="golden"))
    loop.order("reinstate", selection=Selection(reviewer="cid"))
    assert any("'cid' starts anew" in judgement.reason for judgement in loop.judgements)
    loop.taught(1)
    lessons = loop.engine.lineage.now.lessons
    assert not lessons.trust.standing("cid").distrusted
    assert loop.engine.lineage.now.reflex.count >= count + len(said)
    assert not any(loop.engine.lineage.unlearned(name) for name in said)
    loop.rebuilt()
    with pytest.raises(InputError, match="name a reviewer"):
        loop.order("reinstate")


def test_what_comes_under_seal_is_taken_out_whatever_the_gate_says(stand, refusing):
    """A model that needs a golden piece to be good is not good; what came with it is judged all the same."""
    loop = stand(trust=FRANK)
    loop.taught(10)
    piece, truth = loop.sense((1.5, 1.0))
    told(loop, piece, truth, "ann")
    count = loop.engine.lineage.now.reflex.count
    refusing.on = True
    version = told(loop, piece, truth, "golden")
    assert loop.engine.lineage.now.reflex.count == count - 1
    assert "may not be known any more" in loop.judgements[-1].reason
    second, truth = loop.sense((2.5, 1.0))
    refusing.on = False
    told(loop, second, truth, "ann")
    refusing.on = True
    loop.say(second, truth, "golden")
    loop.verified()
    assert loop.settle() == version + 2
    assert loop.engine.lineage.now.reflex.count == count - 1
    assert len(loop.judgements[-1].refused) == 1
    assert loop.engine.lineage.held == 1
    loop.rebuilt()
