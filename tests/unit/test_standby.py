"""The state to go back to: watched, kept when proven better, brought back when proven worse."""

from __future__ import annotations

import json

import msgspec
import numpy as np

from hotloop.config import GateConfig, RolloutConfig
from hotloop.standby import answer_loss, answered, measured
from hotloop.types import Claim, Example, Feedback, Judgement, Observation, Prediction, Proposals

from .conftest import LABELS, Stand, Turned

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


class Dear(Turned):
    """Vectors whose wrong answers cost a half; those on the left cannot tell. It notes by whom they are priced."""

    def __init__(self, config, matrix=((1.0, 0.0), (0.0, 1.0))):
        super().__init__(config, matrix)
        self.priced_by = []

    def revived(self, bundle):
        """The same with another matrix."""
        return Dear(self.config, json.loads(bundle))

    def costs(self, examples, heads, expects):
        """See Costing."""
        self.priced_by.append(expects)
        found = np.zeros((len(heads), len(examples)))
        for column, example in enumerate(examples):
            x = self.teach(example).x[0]
            truth = LABELS.index(example.feedback[0].claims[0].label)
            for row, head in enumerate(heads):
                wrong = int((x @ head.weights).argmax()) != truth
                found[row, column] = np.nan if example.prediction.proposals.array()[0, 0] < -0.5 else 0.5 * wrong
        return found


def dear(**settings):
    """A loop on such a vertical."""
    loop = Stand(**settings)
    loop.vertical = Dear(loop.config)
    loop.start()
    return loop


def test_where_a_vertical_tells_costs_they_are_the_losses():
    """Priced by what answers now, or by the head itself where nobody is named; None where an example cannot tell."""
    loop = dear()
    loop.taught(30)
    champion = loop.engine.lineage.champion
    said = answered(loop.vertical, told(loop, (1.0, 1.0), "worn"), champion)
    assert (said.loss, said.by_label, said.said) == (0.0, {}, ("worn",))
    start = loop.vertical.start()
    assert answer_loss(loop.vertical, told(loop, (1.0, 1.0), "ok"), champion, start) == 0.5
    assert loop.vertical.priced_by[-1].weights is start.weights
    assert answer_loss(loop.vertical, told(loop, (-1.0, 1.0), "ok"), champion) is None
    assert (measured(loop.vertical), measured(loop.vertical.plain)) == ("cost", "error")


def told(loop, x, label):
    """A piece and a word on it, which the loop has not heard."""
    piece, _ = loop.sense(x)
    return Example(piece, (Feedback(prediction=piece.id, reviewer="r", claims=(Claim(label=label),)),))


def test_gate_and_watch_bet_on_costs():
    """The judgement says so; what cannot tell is not watched; what is made worse comes back, in words of cost."""
    gate = msgspec.structs.replace(EASY, window_examples=40)
    loop = dear(gate=gate, rollout=RolloutConfig(interval_s=0.0, checkpoint_examples=40))
    loop.taught(40)
    assert "its cost is" in loop.judgements[-1].reason
    seen = loop.engine.lineage.standby.watch.count
    loop.verified((-1.0, 0.3))
    loop.settle()
    assert loop.engine.lineage.standby.watch.count == seen
    loop.verified((1.0, 0.3))
    loop.settle()
    assert loop.engine.lineage.standby.watch.count == seen + 1
    loop.taught(110, group=3)
    for number in range(500):
        piece, truth = loop.sense(4 * loop.rng.normal(size=2) if number < 60 else None)
        wrong = "ok" if truth == "worn" else "worn"
        loop.say(piece, wrong if number < 60 else truth, "bob")
        loop.settle()
        if loop.engine.model.tier == "rollback":
            break
    back = [one for one in loop.bodies(Judgement) if one.decision == "rollback"]
    assert back
    assert "its cost is" in back[0].reason
    loop.rebuilt()


def test_a_gate_without_enough_costs_goes_by_rights_and_wrongs():
    """Nobody on the right side has been verified yet."""
    loop = dear()
    for _ in range(30):
        loop.verified((-1.0 - abs(loop.rng.normal()), loop.rng.normal()))
        loop.settle()
    assert "its error is" in loop.judgements[-1].reason


def test_another_backbone_is_judged_and_watched_by_costs():
    """Both backbones price by what answers now; the former one's come with its features."""
    loop = dear(rollout=RolloutConfig(interval_s=0.0, checkpoint_examples=1000))
    loop.taught(60, group=5)
    loop.retrained(TURNED)
    loop.settle()
    assert loop.engine.model.tier == "refresh"
    assert "its cost is" in loop.judgements[-1].reason
    assert not [part.name for part in loop.judgements[-1].slices if part.name.startswith("label:")]
    for _ in range(12):
        loop.verified(np.abs(loop.rng.normal(size=2)))
    loop.settle()
    standby = loop.engine.lineage.standby
    assert (standby.watch.count, len(standby.examples)) == (0, 12)
    loop.engine.refresher.look_again()
    loop.settle()
    assert (standby.watch.count, len(standby.examples)) == (12, 0)
    assert standby.words().startswith("on 12 verified pieces its cost is")
    loop.rebuilt()
