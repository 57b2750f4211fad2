"""A line at a real broker: answers out, verdicts and payloads in, what is wrong is said, nothing makes it wait."""

from __future__ import annotations

import json
import threading
import time

import msgspec
import pytest
from paho.mqtt import properties

from hotloop.adapters.mqtt import RELEASE_BYTES_MAX, Said
from hotloop.adapters.mqtt_line import MqttLine
from hotloop.adapters.pushed_hub import Releases
from hotloop.agent import Agent, Place
from hotloop.config import EdgeConfig, LoopConfig, MqttConfig
from hotloop.errors import ConfigError, DiskFullError, HubUnreachableError
from hotloop.store.clock import SystemClock
from hotloop.store.signing import SignedRelease
from hotloop.store.spool import MemorySpool
from hotloop.testing.faulty import Faulty, bundle
from hotloop.types import Event, Payload, digest

HERE = "hotloop/site-1/line-1"
pytestmark = pytest.mark.usefixtures("hasty")


class Away:
    """A hub that is not there."""

    def send(self, *_):
        raise HubUnreachableError("away")

    put_blobs = follow = acknowledge = get_blob = follow_signed = send


class Line:
    """A line with its side of the broker."""

    def __init__(self, url, **edge):
        config = LoopConfig(mqtt=MqttConfig(url=url), edge=EdgeConfig(**edge))
        clock = SystemClock()
        spool = MemorySpool(EdgeConfig(), clock)
        self.agent = Agent(Place("site-1", "line-1"), Faulty(bundle()), Away(), clock, spool)
        self.releases = Releases(Away(), "line-1")
        self.side = MqttLine(config, self.agent, self.releases)
        self.agent.answered = self.side.answered

    def start(self):
        self.side.start()
        return self

    def until(self, found, limit_s=5.0):
        deadline = time.monotonic() + limit_s
        while not (answer := found(self.side.state())):
            assert time.monotonic() < deadline, self.side.state()
            time.sleep(0.005)
        return answer

    def verdicts(self):
        waiting = self.agent._spool.waiting("events", 99)
        found = [msgspec.msgpack.decode(item.data, type=Event).body for item in waiting if item.kind == "verdict"]
        return [(one.reviewer, one.claims[0].label) for one in found]


@pytest.fixture
def lines():
    """Makes lines, and closes them."""
    made = []

    def make(url, **edge):
        made.append(Line(url, **edge))
        return made[-1]

    yield make
    for line in made:
        if line.side._threads[0].ident:
            line.side.close()


@pytest.fixture
def line(broker, station, lines):
    found = lines(broker.url, payload_bytes_max=1000).start()
    station.until(f"{HERE}/state")
    broker.heeds("line:hotloop:site-1:line-1")
    return found


def word(**changed):
    """A verdict as JSON."""
    said = {"prediction": "line-1:7", "reviewer": "ann", "claims": [{"label": "worn"}], **changed}
    return json.dumps(said).encode()


def test_each_answer_is_published(line, station):
    """As it is written beside an image; what it was about can be told by its digest."""
    said = line.agent.sense(Payload(b"[1.0, 2.0]"))
    found = station.json(f"{HERE}/answer")[0]
    assert found == {
        "prediction": said.id, "version": 0, "good": False, "payload": digest(b"[1.0, 2.0]"),
        "outputs": [{"label": "worn", "score": 3.0, "region": None, "proposal": 0}],
    }  # fmt: skip
    line.side.answered(msgspec.structs.replace(said, outputs=()))
    assert station.json(f"{HERE}/answer", 2)[1]["good"] is True


def test_a_verdict_is_in_the_spool(line, station):
    """As the line's word: who gave it is known by the broker alone."""
    station.say(f"{HERE}/feedback", word())
    station.say(f"{HERE}/feedback", word(reviewer="line-1"))
    station.say(f"{HERE}/feedback", word(reviewer="line-1.bob", claims=[{"label": "ok"}]))
    line.until(lambda state: state.verdicts == 3)
    assert line.verdicts() == [("line-1.ann", "worn"), ("line-1", "worn"), ("line-1.bob", "ok")]


@pytest.mark.parametrize(
    ("data", "error", "words"),
    [
        (b"{]", "InputError", "no feedback"),
        (b"\xff", "InputError", "no feedback"),
        (b"", "InputError", "no feedback"),
        (word(prediction="a b"), "InputError", "no id"),
        (word(claims=[{"label": "green"}]), "InputError", "no label 'green'"),
        (word(reviewer="a b"), "InputError", "is no name"),
        (word(reviewer="x" * 64), "InputError", "is no name"),
        (word(evidence="x" * 4001), "InputError", "at most 4000"),
        (word(claims=[{"output": 10**30, "label": "ok"}]), "InputError", "a whole number"),
        (word(claims=[{"output": 10_000, "label": "ok"}]), "InputError", "index of an output"),
        (word(claims=[{"region": [1.0] * 65, "label": "ok"}]), "InputError", "at most 64"),
        (word(compleet=True), "InputError", "compleet"),
        (word(claims=[{"label": "ok"}] * 1001), "InputError", "1000 claims"),
        (b" " * (2**20 + 1), "InputError", "at most 1048576 bytes"),
    ],
)
def test_a_verdict_that_cannot_be_is_said_and_counted(line, station, data, error, words):
    """Nothing of it is in the spool, and the next one is taken."""
    station.say(f"{HERE}/feedback", data)
    found = station.json(f"{HERE}/refused")[0]
    assert (found["of"], found["error"], words in found["detail"]) == ("feedback", error, True), found
    assert (found["digest"], len(found["detail"]) <= 500) == (digest(data), True)
    station.say(f"{HERE}/feedback", word())
    line.until(lambda state: (state.verdicts, state.refused) == (1, 1))
    assert line.verdicts() == [("line-1.ann", "worn")]


def test_no_broker_gives_the_sealed_truth(broker, station, lines):
    """Not even where the golden reviewer is called as the line is."""
    line = lines(broker.url).start()
    config = msgspec.structs.replace(line.side._config.trust, golden="line-1")
    line.side._config = msgspec.structs.replace(line.side._config, trust=config)
    broker.heeds("line:hotloop:site-1:line-1")
    station.say(f"{HERE}/feedback", word(reviewer="line-1"))
    assert "sealed truth" in station.json(f"{HERE}/refused")[0]["detail"]
    assert line.verdicts() == []


def test_a_full_disk_is_said_to_whoever_gives_a_verdict(line, station, monkeypatch):
    """It has to be given again."""

    def full(*_):
        raise DiskFullError("make room")

    monkeypatch.setattr(line.agent._spool, "put", full)
    station.say(f"{HERE}/feedback", word())
    found = station.json(f"{HERE}/refused")[0]
    assert (found["error"], found["detail"]) == ("DiskFullError", "make room")


def test_a_verdict_that_the_broker_repeats_is_taken_once(line):
    """Behind a later one it would else be the last word. The same word given anew is a new one."""
    for data, again, number in [
        (word(), False, 1), (word(claims=[{"label": "ok"}]), False, 2), (word(), True, 1), (word(), False, 3),
    ]:  # fmt: skip
        line.side.came(Said(f"{HERE}/feedback", data, again=again, number=number))
    line.until(lambda state: state.verdicts == 3)
    time.sleep(0.05)
    assert [label for _, label in line.verdicts()] == ["worn", "ok", "worn"]


def test_a_verdict_given_while_the_line_is_away_is_taken_when_it_is_back(broker, station, lines, line):
    """The broker keeps it for the line."""
    line.side.close()
    station.say(f"{HERE}/feedback", word())
    assert station.until(f"{HERE}/state", 2) == [b"online", b"offline"]
    again = lines(broker.url).start()
    again.until(lambda state: state.verdicts == 1)
    assert again.verdicts() == [("line-1.ann", "worn")]


def test_a_payload_is_answered(line, station):
    """With its content type; what cannot be read, or is too large, is told."""
    kinds = []
    sense = line.agent.sense
    line.agent.sense = lambda payload: (kinds.append(payload.media_type), sense(payload))
    kind = properties.Properties(properties.PacketTypes.PUBLISH)
    kind.ContentType = "application/json"
    station.say(f"{HERE}/payload", b"[1.0, 2.0]", properties=kind)
    assert station.json(f"{HERE}/answer")[0]["payload"] == digest(b"[1.0, 2.0]")
    station.say(f"{HERE}/payload", b"?")
    station.say(f"{HERE}/payload", b" " * 1001)
    told = station.json(f"{HERE}/refused", 2)
    assert [(one["of"], one["error"]) for one in told] == [("payload", "InputError")] * 2
    assert "two numbers" in told[0]["detail"]
    assert "at most 1000" in told[1]["detail"]
    assert kinds == ["application/json", "application/octet-stream"]


def test_payloads_build_no_queue(line):
    """A slow model takes the newest few; the others are counted."""
    go, seen = threading.Event(), []
    line.agent.sense = lambda payload: (go.wait(5), seen.append(payload.data))
    for number in range(10):
        line.side.came(Said(f"{HERE}/payload", b"%d" % number))
        if number == 0:
            line.until(lambda _: not line.side._inbox)
    go.set()
    line.until(lambda _: len(seen) == 5)
    assert seen == [b"0", b"6", b"7", b"8", b"9"]
    assert line.side.state().dropped == {"payload: the line is too slow": 5}


def test_a_flood_of_verdicts_is_bounded(line):
    """Those that nobody waits for go first; else those that the broker should not have sent yet: they come again."""
    go, taken = threading.Event(), []
    line.agent.say = lambda said: (go.wait(5), taken.append(said.at))
    for number in range(1, 41):
        line.side.came(Said(f"{HERE}/feedback", word(at=float(number)), number=number))
    for number in range(41, 201):
        line.side.came(Said(f"{HERE}/feedback", word(at=float(number))))
    for number in range(201, 211):
        line.side.came(Said(f"{HERE}/feedback", word(at=float(number)), number=number))
    assert len(line.side._inbox) == 128
    go.set()
    line.until(lambda state: state.verdicts + sum(state.dropped.values()) == 210)
    assert set(taken) >= {float(number) for number in (*range(1, 41), *range(201, 211))}
    assert list(line.side.state().dropped) == ["feedback: too many at once"]


def test_what_the_broker_keeps_is_no_verdict_and_no_payload(broker, station, lines):
    """It would be given again with each connection."""
    station.keep(f"{HERE}/feedback", word())
    station.keep(f"{HERE}/payload", b"[1.0, 2.0]")
    line = lines(broker.url).start()
    told = station.json(f"{HERE}/refused", 2)
    assert {one["of"] for one in told} == {"feedback", "payload"}
    assert {"without retain" in one["detail"] for one in told} == {True}
    assert (line.verdicts(), line.side.state().verdicts) == ([], 0)


def test_a_broker_that_is_away_makes_no_prediction_wait(broker, station, lines, monkeypatch):
    """The newest answers are kept, what is dropped is counted; they arrive when it is back."""
    monkeypatch.setattr("hotloop.adapters.mqtt_line._ANSWERS_MAX", 5)
    broker.stop()
    line = lines(broker.url).start()
    began = time.monotonic()
    names = [line.agent.sense(Payload(b"[1.0, 2.0]")).id for _ in range(8)]
    assert time.monotonic() - began < 1.0
    state = line.until(lambda state: state.trouble and state)
    assert (state.connected, state.waiting) == (False, 5)
    assert state.dropped == {"answer: too many wait for the broker": 3}
    broker.start()
    assert [one["prediction"] for one in station.json(f"{HERE}/answer", 5)] == names[3:]
    line.until(lambda state: (state.connected, state.waiting, state.trouble) == (True, 0, ""))


def test_an_answer_that_the_broker_does_not_take_is_counted(tmp_path, lines, brokers):
    """Too large for it, or not allowed: neither ends the connection."""
    small = brokers(packet_bytes_max=900)
    small.start()
    line = lines(small.url).start()
    said = line.agent.sense(Payload(b"[1.0, 2.0]"))
    line.side.answered(msgspec.structs.replace(said, outputs=said.outputs * 30))
    state = line.until(lambda state: state.dropped and state)
    assert state.dropped == {"answer: larger than the broker takes": 1}
    (tmp_path / "acl").write_text("topic read #\n")
    strict = brokers(f"acl_file {tmp_path}/acl")
    strict.start()
    other = lines(strict.url).start()
    other.agent.sense(Payload(b"[1.0, 2.0]"))
    other.until(lambda state: state.dropped == {"answer: refused by the broker: Not authorized": 2})
    assert other.side.state().connected


def test_what_is_no_release_is_refused_and_the_stream_followed(line, station):
    """Nonsense, or larger than a release may be: said to the hub; one that is as large as may be is looked at."""
    topic = "hotloop/releases/settled"
    line.releases.reachable(now=True)
    station.say(topic, b"nonsense")
    station.say(topic, b" " * (RELEASE_BYTES_MAX + 1))
    line.until(lambda _: len(line.agent.refused) == 2)
    assert ["no release" in words or "at most 4194304 bytes" in words for words in line.agent.refused] == [True, True]
    assert not line.releases._quiet.is_set()
    release = SignedRelease(3, 1, {"timestamp.json": b"t"}, b"")
    whole = msgspec.json.encode(release)
    station.say(topic, whole + b" " * (RELEASE_BYTES_MAX - len(whole)))
    line.until(lambda _: line.releases._newest == {"settled": release})
    station.say("hotloop/releases/line/line-1", whole)
    line.until(lambda _: "line" in line.releases._newest)
    station.say("hotloop/releases/line/line-1", b"")
    line.until(lambda _: "line" not in line.releases._newest)
    station.say("hotloop/releases/line/line-1", b"stream")
    line.until(lambda _: line.releases._aside)
    station.say("hotloop/releases/line/line-1", b"")
    line.until(lambda _: not line.releases._aside)
    assert len(line.agent.refused) == 2


def test_the_broker_is_the_way_only_while_the_hub_is_there(broker, line, station):
    """By what is kept about the hub; not after the connection is lost."""
    assert not line.releases._there
    station.keep("hotloop/releases/state", b"online")
    line.until(lambda _: line.releases._there)
    station.keep("hotloop/releases/state", b"offline")
    line.until(lambda _: not line.releases._there)
    station.keep("hotloop/releases/state", b"online")
    line.until(lambda _: line.releases._there)
    broker.stop()
    line.until(lambda _: not line.releases._there)


def test_a_site_has_not_the_hubs_name(lines):
    """Its topics would be those of releases."""
    config = LoopConfig(mqtt=MqttConfig(url="mqtt://b"))
    agent = Agent(Place("releases", "line-1"), Faulty(bundle()), Away(), SystemClock())
    with pytest.raises(ConfigError, match="releases"):
        MqttLine(config, agent, Releases(Away(), "line-1"))
