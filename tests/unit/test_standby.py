"""The state to go back to: watched, kept when proven better, brought back when proven worse."""

from __future__ import annotations

import numpy as np

from hotloop.config import GateConfig, RolloutConfig
from hotloop.standby import answer_loss
from hotloop.types import Observation, Prediction, Proposals

EASY = GateConfig(tolerance=1.0, slice_tolerance=1.0, golden_tolerance=1.0, site_tolerance=1.0)
TURNED = [[0.0, 1.0], [1.0, 0.0]]
SPOILED = [[1e-3, 0.0], [0.0, 1e-3]]  # hardly sees anything


def test_a_loop_that_is_made_worse_goes_back_by_itself(stand):
    """The gate is switched off and wrong verdicts are learned; the true ones after them show it, and the former state
    is back.
    """
    loop = stand(gate=EASY, rollout=RolloutConfig(interval_s=0.0, checkpoint_examples=40))
    loop.taught(150, group=3)
    former = loop.engine.lineage.standby.former
    for _ in range(60):  # far out, so that each weighs much
        piece, truth = loop.sense(4 * loop.rng.normal(size=2))
        loop.say(piece, "ok" if truth == "worn" else "worn", "bob")
        loop.settle()
        if loop.engine.model.tier == "rollback":
            break
    for _ in range(400):
        if loop.engine.model.tier == "rollback":
            break
        loop.verified()
        loop.settle()
    found = loop.judgements[-1]
    assert (loop.engine.model.tier, found.decision) == ("rollback", "rollback")
    assert "alarm at" in found.reason
    assert _version_of(found.reason) == former.version
    assert loop.engine.model.head == loop.registry.get(former.version).head
    loop.rebuilt()


def _version_of(reason):
    return int(reason.split("back to version ")[1].split(":")[0])


def test_a_loop_that_goes_well_is_never_rolled_back(stand):
    """Three hundred true verdicts; and the state to go back to moves on with what is proven."""
    loop = stand(rollout=RolloutConfig(interval_s=0.0, checkpoint_examples=40))
    loop.taught(300, group=3)
    assert {release.tier for release in loop.releases} == {"start", "reflex"}
    assert loop.engine.lineage.standby.number > 1


def test_a_refresh_that_fails_on_the_line_comes_back(stand):
    """The former backbone looks at the same pieces; when it is proven better it answers again, and learns on."""
    loop = stand(turned=True, gate=EASY, rollout=RolloutConfig(interval_s=0.0, checkpoint_examples=1000))
    loop.taught(60, group=5)
    former = loop.engine.model
    loop.retrained(SPOILED)
    loop.settle()
    loop.order("promote")
    assert loop.engine.model.tier == "refresh"
    loop.rebuilt()
    for _ in range(120):
        piece, truth = loop.sense()
        # every verdict is true; the backbone is what is wrong, and the reflex cannot learn from it
        loop.say(piece, truth)
        loop.settle()
        loop.engine.refresher.look_again()
        loop.settle()
        if loop.engine.vertical.backbone == former.backbone:
            break
    assert loop.engine.vertical.backbone == former.backbone
    tiers = [release.tier for release in loop.releases]
    assert "rollback" in tiers
    back = loop.releases[tiers.index("rollback")]
    assert loop.registry.get(back.version).head == former.head
    loop.engine.refresher.look_again()
    loop.settle()
    loop.taught(10, group=2)
    loop.rebuilt()


def test_what_cannot_be_answered_has_no_loss(stand):
    """Features of another model, or nothing to say of it: it does not count."""
    from hotloop.types import Claim, Example, Feedback

    loop = stand()
    seen = Observation(id="p", site="s", line="l", at=0.0, digest="d")
    strange = Prediction(
        id="p", observation=seen, version=1, outputs=(), confidence=1.0, proposals=Proposals(1, 9, b"\0" * 18)
    )
    word = Feedback(prediction="p", reviewer="r", claims=(Claim(label="ok"),))
    assert answer_loss(loop.vertical, Example(strange, (word,)), loop.engine.lineage.champion) is None
    piece, truth = loop.sense((1.0, 1.0))
    silent = Feedback(prediction=piece.id, reviewer="r", claims=())
    assert answer_loss(loop.vertical, Example(piece, (silent,)), loop.engine.lineage.champion) is None
    loop.taught(20)
    loss = answer_loss(
        loop.vertical,
        Example(piece, (Feedback(prediction=piece.id, reviewer="r", claims=(Claim(label=truth),)),)),
        loop.engine.lineage.champion,
    )
    assert loss == 0.0


def test_pieces_that_wait_for_the_former_backbone_are_bounded(stand, monkeypatch):
    """The oldest is let go."""
    monkeypatch.setattr("hotloop.standby._PENDING_MAX", 3)
    loop = stand(turned=True)
    loop.taught(40, group=5)
    loop.retrained(TURNED)
    loop.settle()
    for _ in range(5):
        loop.verified()
    loop.settle()
    assert len(loop.engine.lineage.standby.examples) == 3
    assert np.isfinite(loop.engine.lineage.standby.watch._worse).all()
