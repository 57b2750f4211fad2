"""What changes a model and is no verdict: another backbone, a rollback, a promotion by hand, unlearning."""

from __future__ import annotations

import numpy as np
import pytest

from hotloop.config import RolloutConfig, TrustConfig
from hotloop.errors import ModelError
from hotloop.predict import pack_head, unpack_head
from hotloop.steps import held_out
from hotloop.types import Payload, Proposals, Selection, digest

TURNED = [[0.0, 1.0], [1.0, 0.0]]
BLIND = [[1.0, -1.0], [-1.0, 1.0]]  # sees x - y alone: of no use where x + y decides


def heads(loop):
    """The digests of all released heads, by version."""
    return {release.version: release.digest for release in loop.releases}


def test_a_better_backbone_goes_out(stand):
    """What was verified is learned on it, the gate lets it pass, the line answers with it, and the log leads there."""
    loop = stand(turned=True)
    before = loop.taught(40, group=5)
    loop.retrained(TURNED)
    after = loop.settle()
    assert after == before + 1
    release, model = loop.releases[-1], loop.registry.get(after)
    assert (release.tier, model.tier) == ("refresh", "refresh")
    assert model.backbone == loop.engine.vertical.backbone != loop.vertical.backbone
    assert loop.judgements[-1].tier == "refresh"
    prediction, truth = loop.sense((1.0, 1.5))
    assert prediction.outputs[0].label == truth
    loop.rebuilt()


def test_the_loop_learns_on_after_a_refresh(stand):
    """Verdicts on what the new backbone saw are learned as ever; a restart goes on from the same bits."""
    loop = stand(turned=True)
    loop.taught(40, group=5)
    loop.retrained(TURNED)
    loop.settle()
    loop.taught(20, group=4)
    version, head = loop.engine.model.version, loop.engine.model.head
    loop.rebuilt()
    loop.engine.close()
    again = loop.start()
    assert (again.model.version, again.model.head) == (version, head)
    assert again.vertical.backbone == again.model.backbone
    loop.taught(5)
    loop.rebuilt()


def test_a_blind_backbone_is_not_released(stand):
    """The gate sees on the pieces held out that it cannot tell them apart."""
    loop = stand(turned=True)
    before = loop.taught(120, group=10)
    loop.retrained(BLIND)
    assert loop.settle() == before
    assert loop.judgements[-1].decision in ("refuse", "hold")
    assert loop.engine.vertical is loop.vertical
    loop.rebuilt()


def test_what_was_verified_meanwhile_is_learned_once_the_new_backbone_has_seen_it(stand):
    """A verdict on a prediction of the old backbone waits for its features, and then teaches."""
    loop = stand(turned=True)
    loop.taught(40, group=5)
    late, truth = loop.sense((2.0, 1.0))
    loop.retrained(TURNED)
    loop.settle()
    version = loop.engine.model.version
    loop.say(late, truth)
    assert loop.settle() == version
    assert loop.engine.snapshot().elsewhere == 1
    assert loop.engine.refresher.look_again() == 1
    assert loop.engine.snapshot().elsewhere == 0
    assert loop.settle() == version + 1
    assert loop.engine.lineage.now.lessons.held(late.id, None) is None  # it is as it was joined, on other features
    loop.rebuilt()


def test_a_rollback_brings_the_exact_former_state_under_a_new_version(stand):
    """The head of the checkpoint comes back to the last bit; what was said since is kept aside."""
    loop = stand(turned=True)
    loop.taught(40, group=5)
    former = loop.engine.model
    loop.retrained(TURNED)
    refreshed = loop.settle()
    loop.taught(6)
    version = loop.order("rollback", reason="it looked wrong")
    model = loop.registry.get(version)
    assert version > refreshed
    assert model.tier == "rollback"
    assert (model.head, model.backbone) == (former.head, former.backbone)
    assert loop.engine.vertical.backbone == former.backbone
    assert "tester" in loop.judgements[-1].reason
    loop.engine.refresher.look_again()
    loop.settle()
    loop.rebuilt()
    loop.engine.close()
    assert loop.start().vertical.backbone == former.backbone


@pytest.mark.parametrize("version", [1, 3, 5])
def test_any_former_version_can_come_back(stand, version):
    """It is learned again from the log, and is the same to the last bit."""
    loop = stand()
    loop.taught(12)
    wanted = heads(loop)[version]
    now = loop.order("rollback", version=version)
    assert heads(loop)[now] == wanted == digest(loop.engine.model.head)
    loop.taught(9)
    loop.rebuilt()


def test_a_verdict_can_be_unlearned(stand):
    """After it the head is that of a loop that never heard it."""
    loop, other = stand(), stand()
    for number in range(30):
        loop.verified()
        other.verified()
        if number == 10:
            wild = loop.verified((5.0, 5.0), "ok")
        loop.settle()
        other.settle()
    loop.order("unlearn", selection=Selection(verdict=wild))
    found, wanted = (unpack_head(pack_head(one.engine.lineage.now.reflex.head())) for one in (loop, other))
    assert np.abs(found.weights - wanted.weights).max() <= 1e-6
    assert loop.releases[-1].tier == "reflex"
    assert "1 words on 1 pieces" in loop.judgements[-1].reason
    loop.rebuilt()


def test_what_is_unlearned_stays_so_until_something_else_is_said(stand):
    """The same word again does not count; another one does."""
    loop = stand()
    loop.taught(12)
    piece, _ = loop.sense((3.0, 3.0))
    loop.say(piece, "ok", "bob")
    loop.settle()
    loop.order("unlearn", selection=Selection(reviewer="bob"))
    version = loop.engine.model.version
    loop.say(piece, "ok", "bob")
    assert loop.settle() == version
    loop.say(piece, "worn", "bob")
    assert loop.settle() == version + 1
    loop.rebuilt()


def test_what_a_backbone_was_trained_on_calls_for_another(stand):
    """Unlearned in the head at once; the backbone is marked, over a restart too, until the rest was learned anew."""
    loop = stand(turned=True)
    loop.taught(30, group=5)
    bad = loop.verified((3.0, 3.0), "ok")
    loop.settle()
    loop.order("unlearn", selection=Selection(verdict=bad))
    assert not loop.engine.lineage.tainted
    worse = loop.verified((3.0, 3.5), "ok")
    loop.settle()
    loop.retrained(TURNED)
    loop.settle()
    loop.order("unlearn", selection=Selection(verdict=worse))
    assert loop.engine.lineage.tainted
    loop.engine.close()
    assert loop.start().lineage.tainted
    loop.retrained([[0.0, 1.5], [1.5, 0.0]], tier="consolidate")
    loop.settle()
    if loop.judgements[-1].decision == "hold":
        loop.order("promote")
    assert not loop.engine.lineage.tainted
    loop.rebuilt()


def test_a_line_on_the_first_backbone_is_heard_after_a_refresh_and_a_restart(stand):
    """Its predictions fit the model that the loop began with: nothing is lost."""
    loop = stand(turned=True)
    loop.taught(30, group=5)
    loop.retrained(TURNED)
    loop.settle()
    loop.engine.close()
    engine = loop.start()
    engine._answered(loop.vertical.propose(Payload(b"[1.0, 2.0]")))
    for one in (engine, stand().engine):
        with pytest.raises(ModelError):
            one._answered(Proposals(1, 9, b"\0" * 18))


def test_freezing_keeps_the_model_and_loses_nothing(stand):
    """While frozen no version goes out; after it what was said meanwhile is learned."""
    loop, other = stand(), stand()
    for one in (loop, other):
        one.taught(10, group=10)
    version = loop.order("freeze")
    for one in (loop, other):
        one.taught(7, group=7)
    assert loop.engine.model.version == version
    assert loop.engine.snapshot().frozen
    assert loop.order("thaw") == version + 1
    assert loop.engine.model.head == other.engine.model.head
    loop.rebuilt()


def test_what_is_held_out_depends_on_the_bytes_alone():
    """The share is kept, and the same piece is held out wherever it is asked."""
    names = [digest(str(n).encode()) for n in range(4000)]
    assert abs(np.mean([held_out(name, 0.2) for name in names]) - 0.2) < 0.03
    assert all(held_out(name, 0.4) for name in names if held_out(name, 0.2))


def test_a_word_that_was_held_back_can_be_unlearned(stand, refusing):
    """It taught nothing, so nothing is to be taken out; it is not tried again either."""
    loop = stand()
    version = loop.taught(10)
    refusing.on = True
    held = loop.verified()
    loop.settle()
    assert loop.engine.lineage.held == 1
    refusing.on = False
    assert loop.order("unlearn", selection=Selection(verdict=held)) == version
    assert loop.engine.lineage.held == 0
    assert "nothing of them was learned" in loop.judgements[-1].reason
    loop.rebuilt()


def test_a_rollback_does_not_bring_back_what_was_unlearned(stand):
    """The former state had learned it: it comes back without, also where nothing else was said of the piece."""
    loop = stand(rollout=RolloutConfig(interval_s=0.0, checkpoint_examples=10))
    loop.taught(5)
    secret, truth = loop.sense((9.0, 9.0))
    loop.say(secret, truth, "bob")
    known = loop.settle()
    loop.taught(10)
    loop.order("unlearn", selection=Selection(reviewer="bob"))
    count = loop.engine.lineage.now.reflex.count
    version = loop.order("rollback", version=known)
    assert "less 1 pieces that may not be known any more" in loop.judgements[-1].reason
    assert loop.engine.lineage.now.lessons.held(secret.id, None) is None
    assert loop.engine.lineage.now.reflex.count == count - 10
    assert heads(loop)[version] != heads(loop)[known]
    loop.rebuilt()


def test_what_waits_for_a_thaw_can_be_unlearned(stand):
    """It was never learned: nothing is taken out, and it is not learned afterwards."""
    loop = stand()
    loop.taught(5)
    loop.order("freeze")
    loop.verified()
    loop.settle()
    count = loop.engine.lineage.now.reflex.count
    loop.order("unlearn", selection=Selection(since=loop.clock.now() - 0.3))
    loop.order("thaw")
    assert loop.engine.lineage.now.reflex.count == count
    loop.rebuilt()


def test_while_frozen_nothing_is_changed_by_itself(stand):
    """Nobody is distrusted, no copy is taken out, no alarm goes back: a thaw looks for them again."""
    loop = stand(trust=TrustConfig(second_opinion=False, quota_least=99))
    loop.taught(10)
    first, truth = loop.sense((1.5, 1.0))
    loop.say(first, truth)
    version = loop.settle()
    count = loop.engine.lineage.now.reflex.count
    loop.order("freeze")
    copy, _ = loop.sense((1.5, 1.0))
    loop.say(copy, truth, "golden")
    assert loop.settle() == version
    assert loop.engine.lineage.now.reflex.count == count
    loop.engine.close()
    loop.start()
    loop.order("thaw")
    assert loop.engine.lineage.now.reflex.count == count - 1
    loop.rebuilt()


def test_a_former_version_that_came_after_another_rollback(stand):
    """Learning it again goes through the other one, which goes back to a version too."""
    loop = stand(turned=True)
    loop.taught(6)
    loop.retrained(TURNED)
    loop.settle()
    loop.order("promote")
    loop.taught(2)
    assert loop.engine.vertical is not loop.vertical
    loop.order("rollback", version=3)
    loop.taught(3)
    wanted = loop.engine.model.version
    loop.retrained(BLIND)
    loop.settle()
    loop.order("promote")
    assert loop.engine.model.backbone != loop.vertical.backbone
    version = loop.order("rollback", version=wanted)
    assert heads(loop)[version] == heads(loop)[wanted]
    assert loop.engine.model.backbone == loop.vertical.backbone
    loop.rebuilt()
