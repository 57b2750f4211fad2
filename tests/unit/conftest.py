"""A loop on plain vectors with everything in memory, for the tests of what wires the stages together."""

from __future__ import annotations

import dataclasses
import json

import msgspec
import numpy as np
import pytest

from hotloop.config import GateConfig, JoinConfig, LearnConfig, LoopConfig, RolloutConfig, StoreConfig
from hotloop.engine import Engine
from hotloop.errors import HotloopError, ModelError
from hotloop.feedback import verdict
from hotloop.gate import Finding, judge
from hotloop.lineage import Lineage
from hotloop.ports import Ports
from hotloop.predict import pack_head
from hotloop.recovery import records_of, replay
from hotloop.steps import joined, named
from hotloop.store.channel import LocalChannel
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.memory_lake import MemoryLake
from hotloop.testing.memory_log import MemoryLog
from hotloop.testing.memory_registry import MemoryRegistry
from hotloop.types import Candidate, Command, Judgement, Payload, Rederivation, Release, digest
from hotloop.verticals.vectors import vertical

LABELS = ("ok", "worn")


class Turned:
    """Plain vectors seen through a matrix that can be trained again: the smallest vertical with a backbone."""

    def __init__(self, config, matrix=((1.0, 0.0), (0.0, 1.0))):
        self.config = config
        self.plain = vertical(config)
        self.matrix = np.asarray(matrix, float)
        self.backbone = digest(self.bundle())
        self.recipe = self.plain.recipe
        self.start, self.answer, self.teach = self.plain.start, self.plain.answer, self.plain.teach
        self.outcomes = self.plain.outcomes

    def propose(self, payload):
        """The vector, turned."""
        seen = self.matrix @ np.asarray(json.loads(payload.data), float)
        return self.plain.propose(Payload(json.dumps(seen.tolist()).encode()))

    def bundle(self):
        """The matrix."""
        return json.dumps(self.matrix.tolist()).encode()

    def revived(self, bundle):
        """The same with another matrix."""
        try:
            return Turned(self.config, json.loads(bundle))
        except ValueError as error:
            raise ModelError(f"no matrix: {error}") from error

    def trainer(self):
        """A child that is not there: tests hand in what it would have made."""
        return ("tests_have_no_trainer",)


class KeptLog(MemoryLog):
    """A log that outlives its engine, as a file does; `fails` are raised by the next appends, None lets one pass."""

    def __init__(self, clock):
        super().__init__(clock)
        self.fails: list[HotloopError | None] = []

    def append(self, events):
        """Fail as told, before anything is written."""
        error = self.fails.pop(0) if self.fails else None
        if error is not None:
            raise error
        return super().append(events)

    def close(self):
        """It is kept."""


class KeptState:
    """Snapshots in memory; `fails` is raised by each save."""

    def __init__(self):
        self.state: bytes | None = None
        self.fails: HotloopError | None = None

    def load(self):
        """See Snapshots."""
        return self.state

    def save(self, state):
        """See Snapshots."""
        if self.fails is not None:
            raise self.fails
        self.state = state


class Stand:
    """The stores of one loop, and engines on them: each `start` is a restart."""

    def __init__(self, *, turned=False, folder="hotloop-data", **settings):
        self.config = LoopConfig(
            store=StoreConfig(folder=str(folder)),
            vertical="vectors",
            tables={"vectors": dict(labels=LABELS, columns=2)},
            **{
                "gate": GateConfig(least_examples=10),
                "rollout": RolloutConfig(interval_s=0.0),
                "join": JoinConfig(),
                "learn": LearnConfig(),
            }
            | settings,
        )
        self.vertical = (Turned if turned else vertical)(self.config)
        self.clock = SimulatedClock()
        self.log = KeptLog(self.clock)
        self.lake = MemoryLake()
        self.registry = MemoryRegistry()
        self.snapshots = KeptState()
        self.rng = np.random.default_rng(0)

    def start(self):
        """An engine on what is here."""
        ports = Ports(self.log, self.lake, self.registry, LocalChannel(), self.clock, self.snapshots)
        self.engine = Engine(self.config, self.vertical, ports)
        return self.engine

    def sense(self, x=None):
        """One vector on line-1 (a random one), and the label that it truly has: worn above the diagonal."""
        x = self.rng.normal(size=2) if x is None else np.asarray(x, float)
        self.clock.advance(0.5)
        prediction = self.engine.observe(Payload(json.dumps(list(x)).encode()), "line-1")
        return prediction, LABELS[int(x.sum() > 0)]

    def say(self, prediction, label, reviewer="ann"):
        """A verdict of one label; its offset."""
        return self.engine.feedback(verdict(prediction.id, [(label, None)], reviewer, self.clock.now())).offset

    def verified(self, x=None, label=None):
        """Sense and verify one vector; the verdict's offset."""
        prediction, truth = self.sense(x)
        return self.say(prediction, label or truth)

    def order(self, order, **more):
        """Give an order, and turn until it is carried out; the version that answers then."""
        self.engine.command(Command(order=order, by="tester", **more))
        return self.settle()

    def settle(self):
        """Turn until all is learned; the version that answers then."""
        while self.engine.turn() is not None or self.engine.behind:
            pass
        return self.engine.model.version

    def taught(self, count, group=1):
        """Teach `count` true verdicts, so many a turn."""
        for number in range(1, count + 1):
            self.verified()
            if number % group == 0:
                self.settle()
        return self.settle()

    def bodies(self, kind):
        """All of one kind in the log, in order."""
        return [r.event.body for r in records_of(self.log, 0) if isinstance(r.event.body, kind)]

    @property
    def releases(self):
        """The releases of the log."""
        return self.bodies(Release)

    @property
    def judgements(self):
        """The judgements of the log."""
        return self.bodies(Judgement)

    def retrained(self, matrix, tier="refresh", skip=()):
        """Hand in a backbone that a child has trained: its bundle and what it sees of all that was verified."""
        engine = self.engine
        made = engine.vertical.revived(json.dumps(matrix).encode())
        upto = engine.lineage.offset
        names = [name for name in named(engine.reach, 0, upto) if name not in skip]
        examples = [joined(engine.reach, name, upto) for name in names]
        seen = engine.refresher._looked([one.prediction for one in examples if one is not None], made)
        blobs = engine.lake.put([made.bundle(), msgspec.msgpack.encode(Rederivation(made.backbone, seen))])
        return engine.note(
            Candidate(
                tier=tier,
                backbone=blobs[0],
                features=blobs[1],
                count=len(seen),
                trained_to=upto,
                seconds=1.0,
                reason="told to",
            )
        )

    def rebuilt(self):
        """The lineage that the log alone leads to, checked release by release: same heads, to the last bit."""
        engine = self.engine
        lineage = Lineage(self.vertical, self.config, self.log.about, records=engine._between, fetch=self.lake.get)
        lineage.reach = dataclasses.replace(lineage.reach, past=engine._past)
        steps = list(replay(records_of(self.log, 0), lineage, lambda record, change: None))
        assert [step.release for step in steps] == self.releases[1:]
        assert [digest(pack_head(step.head)) for step in steps] == [r.digest for r in self.releases[1:]]
        return lineage


@pytest.fixture
def stand():
    """Makes a Stand with the settings given, and starts its engine."""

    def make(**settings):
        found = Stand(**settings)
        found.start()
        return found

    return make


class Refusing:
    """A gate that refuses everything while it is `on`, and is the real one otherwise."""

    on = False

    def judge(self, champion, candidate, config, parts=None, **slow):
        """As the gate's."""
        if self.on:
            return Finding("refuse", "told to", len(champion), 1.0, 99.0)
        return judge(champion, candidate, config, parts, **slow)


@pytest.fixture
def refusing(monkeypatch):
    """Puts a gate in place that can be told to refuse."""
    gate = Refusing()
    monkeypatch.setattr("hotloop.lineage.judge", gate.judge)
    return gate
