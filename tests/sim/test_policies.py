"""Policies through the whole of a loop: judged by cost, tried in a zone first, taken back when trips slow down.

Robots of several zones go tours on a floor that some stretches of are slow; each zone answers with the newest version
that it may take, as a line does.
"""

from __future__ import annotations

import dataclasses
import json
import time

import msgspec
import numpy as np
import pytest

from hotloop.config import GateConfig, LoopConfig, RolloutConfig, StoreConfig
from hotloop.engine import Engine
from hotloop.gate import judge
from hotloop.lineage import Lineage
from hotloop.ports import Costing, Ports, Refreshable
from hotloop.predict import Predictor, pack_head
from hotloop.recovery import records_of, replay
from hotloop.steps import joined, named
from hotloop.store.channel import LocalChannel
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.memory_lake import MemoryLake
from hotloop.testing.memory_log import MemoryLog
from hotloop.testing.memory_registry import MemoryRegistry
from hotloop.types import (
    Candidate,
    Claim,
    Command,
    Event,
    Feedback,
    Head,
    Judgement,
    LineReport,
    Live,
    Notice,
    Observation,
    Payload,
    Rederivation,
    Release,
    Staged,
    digest,
)
from hotloop.verticals.warehouse.policy import Routing
from hotloop.verticals.warehouse.task import FACTORS, vertical

AISLES, PICKS = 6, 5
EASY = GateConfig(tolerance=1.0, slice_tolerance=1.0, golden_tolerance=1.0, site_tolerance=1.0)
CLASSES = len(FACTORS)


class NoSnapshots:
    """Nothing is kept between starts."""

    def load(self):
        """See Snapshots."""

    def save(self, state):
        """See Snapshots."""


class Zone:
    """A part of the floor with its own robots: a line."""

    def __init__(self, plant, name):
        self.plant, self.name, self.count = plant, name, 0
        self.predictor = Predictor(plant.vertical, "plant")

    def trip(self):
        """A tour by what answers here, and what it took. Its seconds, and seconds as they would be as planned."""
        plant, engine = self.plant, self.plant.engine
        self.follow()
        self.count += 1
        plant.clock.advance(5.0)
        request = {"picks": plant.picks(), "at": plant.clock.now()}
        payload = Payload(json.dumps(request).encode())
        key, now = f"{self.name}:{self.count}", plant.clock.now()
        seen = Observation(id=key, site="plant", line=self.name, at=now, digest=engine.lake.put([payload.data])[0])
        said = self.predictor.predict(key, seen, payload, plant.clock.now)
        engine.record([Event(self.name, self.count, said)])
        values = [plant.took(int(o.region[0]), o.region[1]) for o in said.outputs]
        claims = tuple(Claim(output=k, value=value) for k, value in enumerate(values))
        engine.feedback(Feedback(prediction=key, reviewer="robots", claims=claims))
        engine.fleet.heard(LineReport(line=self.name, site="plant", version=self.predictor.version))
        return sum(values)

    def follow(self):
        """Take the newest version that this zone may take, and say so."""
        engine = self.plant.engine
        model = engine.model if engine.fleet.may(self.name) else engine.fleet.settled()
        if model.version > self.predictor.version:
            start = self.plant.vertical
            own = start if model.backbone == start.backbone else start.revived(engine.lake.get(model.backbone))
            self.predictor.install(model, own)
            engine.acknowledge(Live(line=self.name, version=model.version, at=self.plant.clock.now()))


class Plant:
    """A loop with all of its stores in memory, and the floor that its robots go on."""

    def __init__(self, seed, routing=None, zones=4, folder="nowhere", **settings):
        table = {"layout": {"aisles": AISLES}} | ({} if routing is None else {"routing": routing})
        self.config = LoopConfig(
            store=StoreConfig(folder=str(folder)),
            vertical="warehouse",
            tables={"warehouse": table},
            **{"rollout": RolloutConfig(interval_s=0.0, canary_share=0.25, wave_factor=4.0)} | settings,
        )
        self.vertical = vertical(self.config)
        self.clock = SimulatedClock()
        self.log, self.lake = MemoryLog(self.clock), MemoryLake()
        ports = Ports(self.log, self.lake, MemoryRegistry(), LocalChannel(), self.clock, NoSnapshots())
        self.engine = Engine(self.config, self.vertical, ports)
        self.rng = np.random.default_rng(seed)
        count, inside = self.vertical.layout.stretches, AISLES * self.vertical.layout.parts
        self.slow = np.ones(count)
        slow = self.rng.choice(inside, 5, replace=False)
        self.slow[slow] = self.rng.uniform(2.5, 6.0, 5)
        self.zones = [Zone(self, f"zone-{k + 1}") for k in range(zones)]
        for zone in self.zones:
            self.engine.fleet.heard(LineReport(line=zone.name, site="plant", version=0))

    def picks(self):
        """Some places."""
        return [[int(self.rng.integers(AISLES)), round(float(self.rng.uniform(0, 30)), 1)] for _ in range(PICKS)]

    def took(self, stretch, share):
        """What a passage truly takes, s."""
        noise = float(np.exp(0.1 * self.rng.normal()))
        return float(self.vertical.layout.planned_s[stretch] * share * self.slow[stretch] * noise)

    def go(self, trips):
        """So many trips, zone after zone, each learned before the next; the seconds of each, by zone."""
        found = {zone.name: [] for zone in self.zones}
        for number in range(trips):
            zone = self.zones[number % len(self.zones)]
            found[zone.name].append(zone.trip())
            self.settle()
            self.engine.refresher.look_again()
            self.settle()
        return found

    def settle(self):
        """Turn until all is learned."""
        while self.engine.turn() is not None or self.engine.behind:
            pass

    def handed_in(self, routing):
        """A policy that a trainer has made, and the verified trips as seen by it, for the gate; its judgement."""
        engine = self.engine
        made = self.vertical.revived(routing.bundle())
        upto = engine.lineage.offset
        examples = [joined(engine.reach, name, upto) for name in named(engine.reach, 0, upto)]
        seen = {one.prediction.id: one.prediction.proposals for one in examples}
        blobs = engine.lake.put([made.bundle(), msgspec.msgpack.encode(Rederivation(made.backbone, seen))])
        engine.note(
            Candidate(
                tier="refresh", backbone=blobs[0], features=blobs[1], count=len(seen), trained_to=upto, seconds=1.0,
                reason="told to",
            )
        )  # fmt: skip
        self.settle()
        return self.bodies(Judgement)[-1]

    def promoted(self):
        """An engineer takes what the gate holds."""
        self.engine.command(Command(order="promote", by="engineer"))
        self.settle()

    def bodies(self, kind):
        """All of one kind in the log."""
        return [r.event.body for r in records_of(self.log, 0) if isinstance(r.event.body, kind)]

    def rebuilt(self):
        """What the log alone leads to: the same heads, to the last bit."""
        engine = self.engine
        lineage = Lineage(self.vertical, self.config, self.log.about, records=engine._between, fetch=self.lake.get)
        lineage.reach = dataclasses.replace(lineage.reach, past=engine._past)
        steps = list(replay(records_of(self.log, 0), lineage, lambda record, change: None))
        releases = self.bodies(Release)[1:]
        assert [digest(pack_head(step.head)) for step in steps] == [one.digest for one in releases]


@pytest.fixture(scope="module")
def learned():
    """A plant that has learned a hundred trips, and nothing that was taught was refused."""
    plant = Plant(1)
    plant.go(100)
    return plant


def sabotaged(plant, how):
    """The champion with its samples spoiled; its classes, by which it is right or wrong, are as they were."""
    head = plant.engine.lineage.champion
    weights, layout = head.weights.copy(), plant.vertical.layout
    samples = weights[:, CLASSES:]
    if how == "factors inverted":
        samples *= -1.0
        samples[-4] += 4e-3
    elif how == "a slow aisle is free":
        samples[[int(plant.slow.argmax()), *range(layout.parts)]] -= 10e-3
        slowest = int(plant.slow[: AISLES * layout.parts].reshape(AISLES, -1).sum(1).argmax())
        samples[slowest * layout.parts : (slowest + 1) * layout.parts] -= 10e-3
    elif how == "constant":
        samples[:] = 0.0
        samples[-4] = 1e-3
    else:
        samples[3] = np.nan
    return Head(head.labels, weights, head.thresholds)


def test_the_vertical_has_the_ports_of_a_policy(learned):
    """It can be refreshed, and tells costs."""
    assert isinstance(learned.vertical, Refreshable)
    assert isinstance(learned.vertical, Costing)


def test_an_honest_candidate_is_promoted(learned):
    """Every one of a hundred updates: more data is never refused here, and the judgement says that it goes by cost."""
    found = learned.bodies(Judgement)
    assert len(found) == 100
    assert {one.decision for one in found} == {"promote"}
    assert "its cost is" in found[-1].reason
    assert {part.name.split(":")[0] for part in found[-1].slices} == {"line"}
    learned.rebuilt()


@pytest.mark.parametrize("how", ["factors inverted", "a slow aisle is free", "constant"])
def test_a_sabotaged_candidate_is_refused(learned, how):
    """By what it would cost, with no difference at all in which classes it says."""
    lineage = learned.engine.lineage
    candidate = sabotaged(learned, how)
    champion, challenger, parts = lineage.now.recent.compared(lineage.champion, candidate)
    assert judge(champion, challenger, learned.config.gate, parts).decision == "promote"
    found = lineage._judge((), candidate)
    assert found.decision == "refuse"
    assert "cost" in found.reason
    assert found.difference > 0.02


def test_a_candidate_that_is_no_number_is_refused(learned):
    """Its cost is all that there can be."""
    lineage = learned.engine.lineage
    candidate = sabotaged(learned, "not a number")
    examples = list(lineage.now.examples.values())
    costs = learned.vertical.costs(examples, [candidate], lineage.champion)
    assert (costs == 1.0).all()
    assert lineage._judge((), candidate).decision == "refuse"
    assert lineage._judge((), None).decision == "refuse"


def test_trips_that_cannot_tell_are_judged_as_before():
    """Where a leg of each was not measured the gate goes by rights and wrongs."""
    plant = Plant(2, zones=1)
    for _ in range(30):
        zone = plant.zones[0]
        zone.trip()
        plant.settle()
    lineage = plant.engine.lineage
    partial = {
        name: msgspec.structs.replace(one, feedback=tuple(
            msgspec.structs.replace(word, claims=word.claims[:1]) for word in one.feedback
        ))
        for name, one in lineage.now.examples.items()
    }  # fmt: skip
    lineage.now.examples = partial
    assert "its error is" in lineage._judge((), lineage.champion).reason


def test_a_better_policy_goes_to_a_zone_and_then_everywhere():
    """The plant begins with routes as people walk them; the exact ones are tried in one zone, and then in all."""
    plant = Plant(3, routing={"router": "return"})
    before = plant.go(120)
    found = plant.handed_in(Routing())
    assert found.decision == "promote"
    assert found.difference < -0.1
    backbone = digest(Routing().bundle())
    assert plant.engine.model.backbone == backbone
    plant.engine.stage()
    assert [plant.engine.fleet.may(zone.name) for zone in plant.zones] == [True, False, False, False]
    plant.go(4)
    assert [zone.predictor.vertical.backbone == backbone for zone in plant.zones] == [True, False, False, False]
    plant.clock.advance(10.0)
    plant.engine.stage()
    assert [step.action for step in plant.bodies(Staged)] == ["begin", "offer", "everywhere"]
    after = plant.go(120)
    assert {zone.predictor.vertical.backbone for zone in plant.zones} == {backbone}
    assert not [one for one in plant.bodies(Release) if one.tier == "rollback"]
    for zone in before:
        assert np.mean(after[zone]) < 0.9 * np.mean(before[zone]), "measured, not expected"
    plant.rebuilt()


def test_a_policy_that_makes_trips_slower_is_rolled_back():
    """A gate that is switched off lets it out to one zone; what was measured there and elsewhere takes it back."""
    plant = Plant(4, gate=EASY)
    plant.go(120)
    former = plant.engine.model
    found = plant.handed_in(Routing(router="s-shape"))
    assert found.decision == "hold"
    assert "its cost is" in found.reason
    plant.promoted()
    plant.engine.stage()
    worse = plant.engine.model.backbone
    assert worse == digest(Routing(router="s-shape").bundle())
    count = 0
    while plant.engine.model.backbone == worse and count < 200:
        plant.go(4)
        count += 4
    assert plant.engine.model.backbone == former.backbone == ""
    assert next(one.digest for one in plant.bodies(Release) if one.tier == "rollback") == digest(former.head)
    assert plant.zones[1].predictor.vertical.backbone == "", "three zones never had it"
    back = next(one for one in plant.bodies(Judgement) if one.decision == "rollback")
    assert "its cost is" in back.reason
    assert "above that of the state before" in back.reason
    assert count <= 100
    plant.go(8)
    assert {zone.predictor.vertical.backbone for zone in plant.zones} == {""}
    plant.rebuilt()


def test_a_policy_that_the_gate_sees_to_be_worse_does_not_go_out():
    """With the gate as it is set by default."""
    plant = Plant(5)
    plant.go(120)
    before = plant.engine.model
    found = plant.handed_in(Routing(router="s-shape"))
    assert found.decision in ("refuse", "hold")
    assert "cost" in found.reason
    assert plant.engine.model == before


def test_a_refresh_finds_the_better_policy_in_a_child_process(tmp_path):
    """Ordered like any refresh: the job, a real child, the gate, the release; where nothing is better that is said."""
    plant = Plant(6, routing={"router": "return"}, folder=tmp_path)
    plant.go(100)
    plant.engine.command(Command(order="refresh", by="engineer"))
    refreshed(plant)
    assert plant.engine.model.backbone == digest(Routing().bundle())
    assert plant.engine.model.tier == "refresh"
    said = [one.text for one in plant.bodies(Notice)]
    assert "refresh began on 100 verified pieces" in said[0]
    assert "cost by router: exact 0." in said[-1]
    plant.go(20)
    before = plant.engine.model.backbone
    plant.engine.command(Command(order="refresh", by="engineer"))
    refreshed(plant)
    assert plant.engine.model.backbone == before
    assert "no policy is better than the one that answers" in plant.bodies(Notice)[-1].text


def refreshed(plant, limit_s=60.0):
    """Work on the job until its child is done and what it made has been judged."""
    refresher, end = plant.engine.refresher, time.monotonic() + limit_s
    refresher.work()
    assert refresher.running
    while refresher.running and time.monotonic() < end:
        time.sleep(0.05)
        refresher.work()
    assert not refresher.running, "the child did not end"
    plant.settle()


@pytest.mark.parametrize("seed", range(6))
def test_a_policy_that_is_no_worse_stays(seed):
    """It explores less than the one before: no trip is slower for it, and nothing is rolled back."""
    plant = Plant(10 + seed, zones=2, gate=EASY)
    plant.go(60)
    plant.handed_in(Routing(explores=0.7))
    if plant.engine.model.backbone == "":
        plant.promoted()
    plant.go(120)
    assert plant.engine.model.backbone != ""
    assert not [one for one in plant.bodies(Judgement) if one.decision == "rollback"]
