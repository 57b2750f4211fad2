"""The guard of what answers on a device, in the whole agent: admitted, kept, taken back."""

from __future__ import annotations

import json
import threading

import msgspec
import numpy as np
import pytest

from hotloop.agent import Agent, Place
from hotloop.config import EdgeConfig, LoopConfig
from hotloop.edge.device import Device
from hotloop.errors import HubUnreachableError, ModelError, StoreError
from hotloop.predict import pack_head
from hotloop.store.slots import Slots
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.faulty import LABELS, Faulty, bundle
from hotloop.types import Declined, Event, Head, Model, Payload, digest

EDGE = EdgeConfig(proven_pieces=5, keep_s=10.0, latency_s_least=0.01, probe_s=10.0, shadow_pieces=0)
CONFIG = LoopConfig(vertical="faulty-for-tests", edge=EDGE)
RIGHT = [[-1.0, 1.0], [-1.0, 1.0]]


class Hub:
    """A hub in memory: what it offers, the backbones it has, what it was told."""

    def __init__(self):
        self.offers, self.bundles, self.lives, self.away = [], {}, [], False

    def send(self, events):
        raise HubUnreachableError("nothing is sent here")

    def put_blobs(self, blobs):
        raise HubUnreachableError("nothing is sent here")

    def follow(self, line, after):
        self.after = after
        yield from [model for model in self.offers if model.version > after]

    def get_blob(self, name):
        if self.away:
            raise HubUnreachableError("away")
        return self.bundles[name]

    def acknowledge(self, lives):
        self.lives += [live.version for live in lives]


class Line:
    """A line on a disk, that can be switched off and on."""

    def __init__(self, folder):
        self.folder, self.hub, self.clock = folder, Hub(), SimulatedClock()
        self.on()

    def on(self):
        self.slots = Slots(self.folder / "slots.sqlite")
        self.device = Device(CONFIG, self.slots, self.clock)
        self.agent = Agent(Place("s", "line-1"), Faulty(bundle()), self.hub, self.clock, None, self.device)
        self.agent._answer_as_before(self.device)

    def off(self):
        self.slots.close()

    def offered(self, version, data=None, weights=RIGHT, alike=0.0):
        """The hub releases a model, and the line hears of it."""
        data = bundle() if data is None else data
        self.hub.bundles[digest(data)] = data
        head = pack_head(Head(LABELS, np.array(weights), (-1e6, -1e6)))
        model = Model(
            version=version, parent=version - 1, tier="refresh", backbone=digest(data), head=head, labels=LABELS,
            recipe="faulty", alike=alike,
        )  # fmt: skip
        self.hub.offers = [model]
        self.agent._follow_once()
        return self.agent.predictor.version

    def sees(self, count=1, seconds=0.0):
        """So many payloads, each taking so long by the line's clock."""
        found = []
        for number in range(count):
            propose = Faulty.propose
            if seconds:
                Faulty.propose = lambda one, payload: self.clock.advance(seconds) or propose(one, payload)
            try:
                found.append(self.agent.sense(Payload(json.dumps([number % 3 - 1.0, 0.5]).encode())))
            finally:
                Faulty.propose = propose
        return found[-1]

    @property
    def declined(self):
        """What the line told of releases it did not take."""
        self.agent.settle()
        waiting = self.agent._spool.waiting("events", 999)
        bodies = [msgspec.msgpack.decode(item.data, type=Event).body for item in waiting]
        return [(body.version, body.stays, body.reason) for body in bodies if isinstance(body, Declined)]


@pytest.fixture
def line(tmp_path):
    found = Line(tmp_path)
    yield found
    found.off()


def test_a_release_that_does_well_answers_and_is_acknowledged(line):
    """On the backbone at hand, and on another one."""
    line.sees(10)
    assert line.offered(2) == 2
    assert line.offered(3, bundle(0.01), alike=0.9) == 3
    assert line.agent.predictor.vertical.backbone == digest(bundle(0.01))
    assert (line.hub.lives, line.declined) == ([2, 3], [])


@pytest.mark.parametrize("fault", ["crash", "nan", "slow", "other", "crash at load"])
def test_a_backbone_that_fails_never_answers(line, fault):
    """The line predicts on, tells why, and takes the next one that does well."""
    line.sees(10)
    bad = bundle(1.0, fault)
    assert line.offered(2, bad, alike=0.95) == 0
    assert line.sees().version == 0
    [(version, stays, reason)] = line.declined
    assert (version, stays) == (2, 0)
    assert "was not installed" in reason
    assert line.hub.lives == []
    assert line.offered(3, bundle(0.01), alike=0.95) == 3


class Passing(threading.Event):
    """Each wait is a moment in which the line sees a piece."""

    def __init__(self, line, pieces=10**6):
        super().__init__()
        self.line, self.left, self.waits = line, pieces, 0

    def wait(self, timeout=None):
        self.waits += 1
        if self.left > 0:
            self.left -= 1
            self.line.sees()
        return False


@pytest.fixture
def shadowed(line, monkeypatch):
    """A line on which another backbone answers sixteen pieces unheard first."""
    edge = msgspec.structs.replace(EDGE, shadow_pieces=16, shadow_s=5.0)
    line.device._config = msgspec.structs.replace(CONFIG, edge=edge)
    line.agent._closing = Passing(line)
    return line


def test_another_backbone_answers_unheard_before_it_answers(shadowed):
    """Sixteen pieces are answered by the former one meanwhile; then it is live."""
    shadowed.sees(10)
    assert shadowed.offered(2, bundle(0.01), alike=0.9) == 2
    assert shadowed.agent._closing.waits == 16
    assert shadowed.declined == []
    assert shadowed.offered(3, bundle(0.01)) == 3, "a head on it needs no shadow"
    assert shadowed.agent._closing.waits == 16


@pytest.mark.parametrize("fault", ["other", "nan", "raise", "slow"])
def test_one_that_fails_unheard_never_answers(shadowed, fault, monkeypatch):
    """It did well in its trial, and does not on what comes now."""
    monkeypatch.setattr(shadowed.device, "probe", lambda model, bundle, before: None)
    shadowed.sees(10)
    assert shadowed.offered(2, bundle(1.0, fault), alike=0.95) == 0
    [(version, stays, reason)] = shadowed.declined
    assert (version, stays) == (2, 0)
    assert "was not installed" in reason
    assert shadowed.hub.lives == []


def test_a_line_that_sees_little_does_not_wait_for_ever(shadowed):
    """Three pieces in five seconds: they are what it is judged by. Without any, its trial was enough."""
    shadowed.agent._closing = Passing(shadowed, 3)
    assert shadowed.offered(2, bundle(0.01), alike=0.9) == 2
    assert shadowed.agent._closing.waits == 100
    shadowed.agent._closing = Passing(shadowed, 0)
    assert shadowed.offered(3, bundle(0.02), alike=0.9) == 3


def test_what_was_taken_back_meanwhile_is_not_what_one_goes_back_to(shadowed, monkeypatch):
    """The release before fails while the next one answers unheard: the one before that is the way back."""
    shadowed.sees(10)
    shadowed.offered(2)
    first = shadowed.agent._former
    shadowed.agent._closing.wait = lambda _=None: bool(shadowed.agent._go_back("slow")) and False
    assert shadowed.offered(3, bundle(0.01)) == 3
    assert shadowed.agent._former is first


def test_a_release_that_was_declined_is_not_asked_for_again(line):
    """The hub is asked for newer ones."""
    line.sees(10)
    line.offered(2, bundle(0.0, "nan"))
    line.agent._follow_once()
    assert line.hub.after == 2
    assert len(line.declined) == 1


def test_a_backbone_that_cannot_be_fetched_is_asked_for_again(line):
    """The hub was away for a moment: that is no reason to decline."""
    line.hub.away = True
    assert line.offered(2, bundle(0.01)) == 0
    line.hub.away = False
    line.agent._follow_once()
    assert line.agent.predictor.version == 2
    assert line.declined == []


def test_what_answered_last_answers_after_a_restart(line):
    """With its backbone, before the hub is heard; heads alone are written at most every ten seconds."""
    line.offered(2, bundle(0.01))
    line.offered(3, bundle(0.01))
    line.device.tick()
    line.off()
    line.on()
    assert line.agent.predictor.version == 2
    assert line.agent.predictor.vertical.backbone == digest(bundle(0.01))
    line.offered(4, bundle(0.01))
    line.clock.advance(11.0)
    line.device.tick()
    line.off()
    line.on()
    assert line.agent.predictor.version == 4
    assert line.agent._unsaid.version == 4


def test_one_that_becomes_slow_is_taken_back(line):
    """Three times as long as what answered before, on its first pieces; after a restart too."""
    line.sees(10, seconds=0.02)
    line.offered(2)
    line.clock.advance(11.0)
    line.device.tick()
    line.sees(5, seconds=0.02)
    line.offered(3)
    line.clock.advance(11.0)
    line.device.tick()
    line.sees(4, seconds=0.09)
    assert line.agent.predictor.version == 3
    line.sees(1, seconds=0.09)
    assert line.agent.predictor.version == 2
    assert line.declined == [(3, 2, line.declined[0][2])]
    assert "90.0 ms each, what answered before 20.0" in line.declined[0][2]
    line.device.tick()
    line.off()
    line.on()
    assert line.agent.predictor.version == 2


def test_one_that_fails_on_a_payload_that_the_former_can_answer_is_taken_back(line, monkeypatch):
    """The piece is answered by the former; a payload that neither can answer is the payload's fault."""
    line.sees(10)
    line.offered(2, bundle(0.01))
    answer = Faulty.answer

    def failing(one, proposals, head):
        if one.backbone == digest(bundle(0.01)):
            raise ModelError("no number")
        return answer(one, proposals, head)

    monkeypatch.setattr(Faulty, "answer", failing)
    found = line.sees()
    assert found.version == line.agent.predictor.version == 0
    assert "it failed: no number" in line.declined[0][2]
    monkeypatch.setattr(Faulty, "answer", answer)
    line.offered(3, bundle(0.02))
    monkeypatch.setattr(Faulty, "answer", lambda *_: (_ for _ in ()).throw(ModelError("always")))
    with pytest.raises(ModelError, match="always"):
        line.sees()
    assert line.agent.predictor.version == 3


def test_what_has_proven_itself_is_not_taken_back_for_a_payload(line, monkeypatch):
    """After its first pieces one that fails is an error like any other."""
    line.sees(10)
    line.offered(2, bundle(0.01))
    line.sees(5)
    assert line.device.proven
    line.device.tick()
    monkeypatch.setattr(Faulty, "answer", lambda *_: (_ for _ in ()).throw(ModelError("always")))
    with pytest.raises(ModelError):
        line.sees()
    assert line.agent.predictor.version == 2


def test_a_first_release_that_is_taken_back_leaves_the_start_model(line):
    """Nothing was installed before it."""
    line.sees(10, seconds=0.02)
    line.offered(2, bundle(0.01))
    line.sees(5, seconds=0.5)
    assert line.agent.predictor.version == 0
    line.device.tick()
    line.off()
    line.on()
    assert line.agent.predictor.version == 0


def test_a_disk_that_fails_does_not_stop_a_release(line, monkeypatch):
    """It answers, and that it was not kept is told."""

    def failing(*_, **__):
        raise StoreError("the disk is full")

    monkeypatch.setattr(line.slots, "install", failing)
    assert line.offered(2, bundle(0.01)) == 2
    assert "full" in line.agent.refused[-1]


def test_what_lies_there_and_does_not_fit_is_told(line, monkeypatch):
    """The start model answers until the hub is heard."""
    line.offered(2, bundle(0.01))
    line.off()
    monkeypatch.setattr(Faulty, "revived", lambda one, data: (_ for _ in ()).throw(ModelError("of another kind")))
    line.on()
    assert line.agent.predictor.version == 0
    assert "cannot answer now: of another kind" in line.agent.refused[-1]


def test_a_release_that_was_restarted_early_proves_itself_later(line):
    """Two short nights are no crash: what answers well is not given up for having been switched off."""
    line.offered(2, bundle(0.01))
    for _ in range(4):
        line.off()
        line.on()
        assert line.agent.predictor.version == 2
        line.sees(5)
        line.device.tick()
