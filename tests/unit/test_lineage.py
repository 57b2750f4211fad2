"""join -> learn -> gate as a function of the log: groups, refusals, and a state that goes on alike."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from hotloop.config import GateConfig, LoopConfig
from hotloop.errors import ModelError
from hotloop.feedback import verdict
from hotloop.lineage import Lineage, as_released
from hotloop.predict import pack_head
from hotloop.types import (
    Claim,
    Event,
    Feedback,
    Head,
    Judgement,
    Notice,
    Observation,
    Payload,
    Prediction,
    Record,
    digest,
)
from hotloop.verticals.vectors import vertical

CONFIG = LoopConfig(
    vertical="vectors", tables={"vectors": dict(labels=("ok", "worn"), columns=2)}, gate=GateConfig(least_examples=10)
)


class Told:
    """A lineage and the records it is told, which are also what it looks up."""

    def __init__(self, config=CONFIG):
        self.vertical = vertical(config)
        self.records = []
        self.laps = []
        self.lineage = Lineage(self.vertical, config, self.about, self.laps.append)

    def about(self, name):
        """The records of a prediction."""
        bodies = [(record, record.event.body) for record in self.records]
        return [r for r, b in bodies if getattr(b, "id", None) == name or getattr(b, "prediction", None) == name]

    def take(self, body):
        """One more record."""
        record = Record(len(self.records) + 1, 0.0, Event("d", len(self.records) + 1, body))
        self.records.append(record)
        return self.lineage.take(record)

    def predicted(self, name, x):
        """A prediction on `x`."""
        seen = Observation(id=name, site="s", line="l", at=0.0, digest="d")
        proposals = self.vertical.propose(Payload(msgspec.json.encode(list(x))))
        return self.take(
            Prediction(id=name, observation=seen, version=1, outputs=(), confidence=1.0, proposals=proposals)
        )

    def verified(self, name, x, label):
        """A prediction with its verdict."""
        self.predicted(name, x)
        return self.take(verdict(name, [(label, None)], "ann"))


@pytest.fixture
def told():
    return Told()


def taught(told, count=12):
    """Teach points above and below the diagonal, one an update."""
    for number, x in enumerate(np.random.default_rng(0).normal(size=(count, 2)).tolist()):
        told.verified(f"p{number}", x, "worn" if sum(x) > 0 else "ok")
        assert told.lineage.update().decision == "promote"
    return told


def test_it_begins_with_the_start_model(told):
    """Version 1, nothing waiting, nothing held, and nothing to update."""
    lineage = told.lineage
    assert (lineage.version, lineage.offset, lineage.waiting, lineage.held) == (1, 0, 0, 0)
    assert lineage.update() is None
    assert told.laps == []


def test_a_prediction_alone_changes_nothing(told):
    """Nor does a notice; but the offset goes on."""
    assert told.predicted("p", (1.0, 2.0)) is None
    assert told.take(Notice(subject="s", text="t")) is None
    assert (told.lineage.offset, told.lineage.waiting) == (2, 0)


def test_an_update_takes_what_waits(told):
    """Two verdicts, one version; the stages are told when they are done."""
    told.verified("p", (1.0, 1.0), "worn")
    told.verified("q", (-1.0, -1.0), "ok")
    assert told.lineage.waiting == 2
    update = told.lineage.update()
    assert (update.decision, update.learned, update.refused, told.lineage.version) == ("promote", 2, (), 2)
    assert update.head is told.lineage.champion
    assert told.laps == ["learned", "gated"]
    assert told.lineage.update() is None


def test_what_only_wants_the_join_leaves_it_unlearned(told):
    """As a report does."""
    assert told.verified("p", (1.0, 1.0), "worn").after is not None
    told.lineage.forget()
    assert told.lineage.update() is None


def test_a_verdict_and_its_correction_in_one_group_are_one_change(told):
    """From the first before to the last after: nothing is learned to be unlearned at once."""
    told.verified("p", (1.0, 1.0), "ok")
    told.take(verdict("p", [("worn", None)], "ann"))
    update = told.lineage.update()
    assert update.learned == 1
    assert told.lineage.now.reflex.count == 1


def test_what_is_released_is_what_was_judged(told):
    """The champion is rounded as a line will have it."""
    taught(told)
    champion = told.lineage.champion
    assert pack_head(champion) == pack_head(as_released(champion))
    np.testing.assert_array_equal(champion.weights, champion.weights.astype(np.float32))


def test_weights_that_are_no_numbers_are_refused(told, monkeypatch):
    """Whatever made them: the champion stays, and the verdict is held."""
    champion = told.lineage.champion
    broken = Head(champion.labels, np.full_like(champion.weights, np.nan), champion.thresholds)
    monkeypatch.setattr(told.lineage.now.reflex, "head", lambda: broken)
    told.verified("p", (1.0, 1.0), "worn")
    update = told.lineage.update()
    assert (update.decision, update.head) == ("refuse", None)
    assert "not finite" in update.finding.reason
    assert told.lineage.champion is champion
    assert told.lineage.held == 1
    assert told.lineage.now.reflex.count == 0


def test_what_cannot_be_learned_is_held_and_the_rest_is_learned(told, monkeypatch):
    """A change that the moments refuse does not take its group with it, nor stop the loop."""
    taught(told)
    whole = told.lineage.now.reflex.learn

    def learn(changes):
        if any(change.after.prediction.id == "bad" for change in changes if change.after):
            raise ModelError("the moments are not positive definite")
        whole(changes)

    monkeypatch.setattr(told.lineage.now.reflex, "learn", learn)
    told.verified("good", (1.0, 0.5), "worn")
    offset = told.verified("bad", (0.5, 1.0), "worn").offset
    update = told.lineage.update()
    assert (update.decision, update.learned, update.refused) == ("promote", 1, (offset,))
    assert told.lineage.held == 1


def test_a_large_group_is_refused_as_a_whole(told, refusing):
    """Beyond 16 it is not tried one by one; all offsets are named."""
    refusing.on = True
    for number in range(17):
        told.verified(f"p{number}", (1.0, number / 10), "worn")
    update = told.lineage.update()
    assert (update.singly, len(update.refused), update.learned) == (False, 17, 0)
    assert told.lineage.held == 17


def test_a_recorded_judgement_is_taken_at_its_word(told):
    """A rebuild does not judge again: what was refused then is refused now, by its offset."""
    for number in range(3):
        told.verified(f"p{number}", (1.0, number / 10), "worn")
    recorded = Judgement(
        candidate=2, champion=1, decision="promote", reason="then", count=5, difference=0.1, e_value=2.0,
        learned_to=6, refused=(4,), singly=True,
    )  # fmt: skip
    update = told.lineage.update(recorded)
    assert (update.refused, update.learned, update.singly) == ((4,), 2, True)
    assert update.finding.reason == "then"
    assert told.lineage.held == 1


def test_each_example_is_taught_once_an_update(told, monkeypatch):
    """The vertical's rows are asked for by learner, gate and memory: they are made once, and not kept."""
    asked = []
    teach = told.vertical.teach
    monkeypatch.setattr(told.vertical, "teach", lambda example: (asked.append(example), teach(example))[1])
    told.verified("p", (1.0, 1.0), "worn")
    told.lineage.update()
    assert len(asked) == 1
    assert told.lineage.now._taught == {}


def test_the_state_does_not_grow_with_the_log():
    """After the window is full, it holds as much after 60 verdicts as after 30, but for digits."""
    told = Told(msgspec.structs.replace(CONFIG, gate=GateConfig(window_examples=10, least_examples=10)))
    sizes = []
    for number, x in enumerate(np.random.default_rng(0).normal(size=(60, 2)).tolist()):
        told.verified(f"p{number}", x, "worn" if sum(x) > 0 else "ok")
        told.lineage.update()
        sizes.append(len(told.lineage.state()))
    assert sizes[59] <= sizes[29] + 120
    assert len(told.lineage.now.examples) <= 20


def test_a_restored_state_goes_on_alike(told):
    """Same heads, to the last bit, from there on; also for a correction of what came before."""
    taught(told)
    other = Told()
    other.records = list(told.records)
    other.lineage.restore(told.lineage.state(), offset_max=len(told.records))
    assert other.lineage.state() == told.lineage.state()
    for one in (told, other):
        one.take(verdict("p3", [("worn", None)], "bob"))
        one.verified("q", (0.5, 0.7), "worn")
        one.lineage.update()
    assert pack_head(other.lineage.champion) == pack_head(told.lineage.champion)
    assert other.lineage.version == told.lineage.version


@pytest.mark.parametrize("cut", [0, 1, 20, -1])
def test_a_damaged_state_is_refused(told, cut):
    """As a ModelError, which leads to a rebuild; and nothing of it is taken over."""
    state = taught(told).lineage.state()
    other = Told()
    with pytest.raises(ModelError):
        other.lineage.restore(state[:cut], offset_max=1000)
    assert (other.lineage.version, other.lineage.now.reflex.count) == (1, 0)


def test_a_changed_byte_is_found_wherever_it_is(told):
    """Rot in the state is never taken over: it is learned from the log again."""
    state = taught(told, 3).lineage.state()
    other = Told()
    for place in range(0, len(state), 20):
        changed = bytearray(state)
        changed[place] ^= 0x01
        with pytest.raises(ModelError, match="not as it was written"):
            other.lineage.restore(bytes(changed), offset_max=10**9)
    assert (other.lineage.version, other.lineage.now.reflex.count) == (1, 0)
    other.lineage.restore(state, offset_max=10**9)
    assert other.lineage.version == 4


@pytest.mark.parametrize("data", [b"", b"\xc1", b"\x81\xa1\x80\x01", b"{}"])
def test_a_state_of_another_kind_is_refused_whatever_its_digest(told, data):
    """Bytes that are no state, though they are as they were written."""
    with pytest.raises(ModelError, match="damaged"):
        told.lineage.restore(digest(data).encode() + data, offset_max=9)


def test_a_state_is_taken_between_two_groups(told):
    """With something waiting there is none to take."""
    told.verified("p", (1.0, 1.0), "worn")
    with pytest.raises(AssertionError, match="between two groups"):
        told.lineage.state()


def test_a_withdrawn_truth_is_unlearned_and_judges_no_more(told):
    """The last word names nothing: as if it had never been said."""
    taught(told)
    count = told.lineage.now.reflex.count
    told.take(Feedback(prediction="p3", reviewer="ann", claims=(Claim(output=0),)))
    assert told.lineage.update().decision == "promote"
    assert told.lineage.now.reflex.count == count - 1
    assert "p3" not in told.lineage.now.recent.names()
