"""The hub at a broker: what each line may take is kept there, and nothing else; a broker never disturbs the hub."""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import time

import msgspec
import pytest

from hotloop.adapters import mqtt_releases
from hotloop.adapters.mqtt import RELEASE_BYTES_MAX, Topics
from hotloop.adapters.mqtt_line import MqttLine
from hotloop.adapters.mqtt_releases import MqttReleases, step, wanted
from hotloop.adapters.pushed_hub import PushedHub, Releases
from hotloop.adapters.release_check import ReleaseCheck
from hotloop.agent import Agent, Place
from hotloop.config import LoopConfig, MqttConfig, RolloutConfig
from hotloop.fleet import Fleet
from hotloop.hub.stream import Broadcast
from hotloop.store.channel import LocalChannel
from hotloop.store.clock import SystemClock
from hotloop.store.signing import first_root
from hotloop.testing.clock import SimulatedClock
from hotloop.testing.faulty import Faulty, bundle
from hotloop.testing.release_attacks import BUNDLE, Attacker
from hotloop.types import Declined, LineReport, Live, Model, Release, digest

SETTLED, STATE, ONE, TWO = (f"hotloop/releases/{what}" for what in ("settled", "state", "line/line-1", "line/line-2"))
TOPICS = Topics("hotloop")
pytestmark = pytest.mark.usefixtures("hasty")


def test_every_line_may_take_what_is_settled():
    """Where nothing is tried, that is all there is."""
    assert wanted(TOPICS, (3, b"c"), (3, b"c"), frozenset()) == {SETTLED: (3, b"c")}
    assert wanted(TOPICS, (0, b""), (0, b""), frozenset()) == {}


def test_lines_that_try_a_release_have_it_on_a_topic_of_their_own():
    """The others keep the settled one."""
    found = wanted(TOPICS, (4, b"d"), (3, b"c"), frozenset({"line-2", "line-1"}))
    assert found == {SETTLED: (3, b"c"), ONE: (4, b"d"), TWO: (4, b"d")}


def test_a_line_that_is_held_hears_it_before_there_is_something_new():
    """And tries nothing."""
    found = wanted(TOPICS, (4, b"d"), (3, b"c"), frozenset({"line-1", "line-2"}), frozenset({"line-1"}))
    assert found == {ONE: (-1, b"stream"), SETTLED: (3, b"c"), TWO: (4, b"d")}
    assert list(found) == [ONE, SETTLED, TWO]


def test_a_hold_is_kept_and_ends(hub, broker, stations):
    """As any other word for a single line."""
    hub.offer((1, b"v1"), (1, b"v1"), frozenset(), frozenset({"line-1"}))
    kept(stations, broker, settled=b"v1", line_1=b"stream", state=b"online")
    hub.offer((2, b"v2"), (2, b"v2"), frozenset())
    kept(stations, broker, settled=b"v2", state=b"online")


def test_what_is_new_goes_first_and_what_is_over_is_emptied_last():
    """So no line is without a release in between."""
    want, there = {SETTLED: (5, b"e")}, {SETTLED: (3, b"c"), ONE: (4, b"d"), TWO: (4, b"d")}
    said = []
    while (found := step(want, there)) is not None:
        topic, (version, data) = found
        said.append((topic, data))
        there = there | {topic: (version, data)} if data else {name: v for name, v in there.items() if name != topic}
    assert said == [(SETTLED, b"e"), (ONE, b""), (TWO, b"")]
    assert there == {SETTLED: (5, b"e")}
    assert step({SETTLED: (5, b"signed anew")}, there) == (SETTLED, (5, b"signed anew"))


@pytest.fixture
def hubs():
    """Makes the hub's side at a broker, and closes it."""
    made = []

    def make(url):
        made.append(MqttReleases(LoopConfig(mqtt=MqttConfig(url=url))))
        made[-1].start()
        return made[-1]

    yield make
    for hub in made:
        hub.close()


@pytest.fixture
def hub(broker, hubs):
    return hubs(broker.url)


def kept(stations, broker, limit_s=5.0, **expected):
    """What a newcomer is given at once, once it is as expected (by the last part of the topic)."""
    deadline = time.monotonic() + limit_s
    while True:
        newcomer = stations(broker)
        time.sleep(0.05)
        found = {topic.rpartition("/")[2]: data[-1] for topic, data in newcomer.heard.items()}
        newcomer.client.disconnect()
        if found == {name.replace("_", "-"): data for name, data in expected.items()}:
            return
        assert time.monotonic() < deadline, found


def test_the_newest_is_kept_for_whoever_comes(hub, broker, stations):
    """One message, whatever went before; "online" once it is there."""
    for version in range(1, 6):
        hub.offer((version, b"v%d" % version), (version, b"v%d" % version), frozenset())
    kept(stations, broker, settled=b"v5", state=b"online")
    assert hub.trouble == ""


def test_a_wave_has_topics_of_its_own_and_they_are_emptied(hub, broker, stations):
    """When it is over: taken by all, or taken back."""
    hub.offer((2, b"new"), (1, b"old"), frozenset({"line-1"}))
    kept(stations, broker, settled=b"old", line_1=b"new", state=b"online")
    hub.offer((2, b"new"), (1, b"old"), frozenset({"line-1", "line-2"}))
    kept(stations, broker, settled=b"old", line_1=b"new", line_2=b"new", state=b"online")
    hub.offer((3, b"back"), (3, b"back"), frozenset())
    kept(stations, broker, settled=b"back", state=b"online")


def test_what_an_earlier_hub_left_for_single_lines_is_emptied(broker, station, stations, hubs):
    """It was killed in the middle of a wave."""
    station.keep(TWO, b"left")
    hub = hubs(broker.url)
    hub.offer((2, b"new"), (1, b"old"), frozenset({"line-1"}))
    kept(stations, broker, settled=b"old", line_1=b"new", state=b"online")


def test_a_broker_that_forgot_gets_all_of_it_again(hub, broker, stations):
    """It was killed, and kept nothing."""
    hub.offer((2, b"new"), (1, b"old"), frozenset({"line-1"}))
    kept(stations, broker, settled=b"old", line_1=b"new", state=b"online")
    broker.stop(9)
    hub.offer((3, b"newer"), (1, b"old"), frozenset({"line-1"}))
    broker.start()
    kept(stations, broker, settled=b"old", line_1=b"newer", state=b"online")


def test_a_hub_that_goes_says_so_and_its_releases_stay(hub, broker, stations):
    """They are signed, and the newest."""
    hub.offer((1, b"v1"), (1, b"v1"), frozenset())
    kept(stations, broker, settled=b"v1", state=b"online")
    hub.close()
    kept(stations, broker, settled=b"v1", state=b"offline")


def test_a_release_that_does_not_fit_sends_the_lines_to_the_stream(hub, broker, stations, monkeypatch, caplog):
    """They are told by the state; a smaller one brings them back. The limit itself still fits."""
    monkeypatch.setattr(mqtt_releases, "_RETRY_S", 0.05)
    limit = b"x" * RELEASE_BYTES_MAX
    with caplog.at_level(logging.WARNING):
        hub.offer((1, limit), (1, limit), frozenset())
        kept(stations, broker, settled=limit, state=b"online")
        hub.offer((2, limit + b"x"), (2, limit + b"x"), frozenset())
        kept(stations, broker, settled=limit, state=b"offline")
        assert "larger" in hub.trouble
        time.sleep(0.2)
        hub.offer((3, b"small"), (3, b"small"), frozenset())
        kept(stations, broker, settled=b"small", state=b"online")
    assert [record.getMessage().partition("(")[0].strip() for record in caplog.records] == [
        "a release cannot go out by the broker", "releases go out by the broker again"
    ]  # fmt: skip
    assert hub.trouble == ""


def test_a_broker_that_will_not_have_a_release_is_passed_by(tmp_path, hubs, brokers):
    """Smaller than ours, or not ours to write: said, and no reason to connect again and again."""
    small = brokers(packet_bytes_max=500)
    small.start()
    hub = hubs(small.url)
    hub.offer((1, b"x" * 500), (1, b"x" * 500), frozenset())
    until(lambda: "larger than the broker takes" in hub.trouble)
    (tmp_path / "acl").write_text("topic read #\n")
    strict = brokers(f"acl_file {tmp_path}/acl")
    strict.start()
    other = hubs(strict.url)
    other.offer((1, b"x"), (1, b"x"), frozenset())
    until(lambda: "Not authorized" in other.trouble)
    assert other._connection.connected
    time.sleep(0.5)
    assert strict.said.count("Denied PUBLISH") <= 3, "it is not asked again at once"


def test_a_broker_that_is_not_there_costs_the_hub_nothing(hubs):
    """An offer returns at once, and it stops at once."""
    hub = hubs("mqtt://127.0.0.1:9")
    began = time.monotonic()
    for version in range(1, 1000):
        hub.offer((version, b"v"), (version, b"v"), frozenset())
    assert time.monotonic() - began < 0.5
    until(lambda: "cannot be reached" in hub.trouble)
    hub.close()
    assert time.monotonic() - began < 3.0


def test_one_that_never_started_can_be_closed():
    """The hub could not take its port."""
    MqttReleases(LoopConfig(mqtt=MqttConfig(url="mqtt://127.0.0.1:9"))).close()


def test_an_older_release_is_never_sent_behind_a_newer_one(hub, broker, stations):
    """Not even one that was under way when the connection broke, and that the library sends again."""
    hub.offer((1, b"v1"), (1, b"v1"), frozenset())
    kept(stations, broker, settled=b"v1", state=b"online")
    for version in range(2, 30):
        hub.offer((version, b"v%d" % version), (version, b"v%d" % version), frozenset())
        if version % 5 == 0:
            hub._connection._client._sock_close()
        time.sleep(0.01)
    kept(stations, broker, settled=b"v29", state=b"online")
    time.sleep(0.3)
    kept(stations, broker, settled=b"v29", state=b"online")


def until(found, limit_s=5.0):
    deadline = time.monotonic() + limit_s
    while not found():
        assert time.monotonic() < deadline
        time.sleep(0.005)


class Watched:
    """A fleet and its stream in an event loop of their own, with a tap to the broker."""

    def __init__(self, hub):
        self.fleet = Fleet(RolloutConfig(canary_share=0.5, wave_s=0.0), SimulatedClock())
        self.channel, self.backs = LocalChannel(), []
        self.broadcast = Broadcast(self.channel, 10, self.framed, self.fleet, self.go_on)
        self.framings = 0
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever)
        self.thread.start()
        asyncio.run_coroutine_threadsafe(self._tapped(hub), self.loop).result(5)

    async def _tapped(self, hub):
        self.broadcast.tap(hub.offer)

    def go_on(self):
        step = self.fleet.tick()
        if step is not None and step.action == "roll back":
            self.backs.append(step.reason)

    def framed(self, model):
        self.framings += 1
        return b"id: %d\nevent: release\ndata: release %d\n\n" % (model.version, model.version)

    def release(self, version, backbone):
        made = Model(
            version=version, parent=version - 1, tier="refresh", backbone=backbone, head=b"", labels=(), recipe="r"
        )
        self.fleet.released(made)
        self.channel.publish(Release(version=version, parent=0, tier="refresh", digest="", learned_to=1), made)
        until(lambda: self.fleet.settled().version == version or self.fleet.trying() or not self.fleet.view().lines)

    def close(self):
        self.broadcast.close()
        self.channel.close()
        self.broadcast._watcher.join(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()


@pytest.fixture
def watched(hub):
    found = Watched(hub)
    yield found
    found.close()


def test_canary_lines_alone_get_a_new_backbone_until_it_is_for_all(watched, broker, stations):
    """As the stream carries it, made once; when a wave declines it, no other line ever sees it."""
    for line in ("line-1", "line-2"):
        watched.fleet.heard(LineReport(line=line, site="s", version=1))
    watched.release(1, "old")
    kept(stations, broker, settled=b"release 1", state=b"online")
    watched.release(2, "new")
    (line,) = watched.fleet.trying()
    kept(stations, broker, settled=b"release 1", state=b"online", **{line.replace("-", "_"): b"release 2"})
    watched.fleet.acknowledged(Live(line=line, version=2))
    kept(stations, broker, settled=b"release 2", state=b"online")
    watched.release(3, "bad")
    (line,) = watched.fleet.trying()
    kept(stations, broker, settled=b"release 2", state=b"online", **{line.replace("-", "_"): b"release 3"})
    watched.fleet.declined(Declined(line=line, version=3, stays=2, reason="slow"))
    kept(stations, broker, settled=b"release 2", state=b"online")
    until(lambda: watched.backs)
    watched.release(4, "new")
    kept(stations, broker, settled=b"release 4", state=b"online")
    assert watched.framings == 4, "each was signed once, for broker and stream"


class Follower:
    """A line that follows at the broker alone: real check, real topics, no stream."""

    def __init__(self, who, name, url, folder):
        self.given, self.told = [], []
        self.releases = Releases(None, name)  # no client: a stream would fail the test
        agent = Agent(Place("site-1", name), Faulty(bundle()), None, SystemClock())
        self.side = MqttLine(LoopConfig(mqtt=MqttConfig(url=url)), agent, self.releases)
        check = ReleaseCheck(folder / name, first_root(who.folder / "hub"), who.file)
        self.hub = PushedHub(None, check, self.releases)
        self.hub.refused = lambda version, reason: self.told.append((version, reason))
        self.thread = threading.Thread(target=self.follow)
        self.thread.start()
        self.side.start()

    def follow(self):
        for model in self.hub.follow("", 0):
            self.given.append(model.version)

    def close(self):
        self.side.close()
        self.releases.close()
        self.thread.join(5)


def test_lines_install_what_they_may_and_nothing_else(watched, broker, stations, tmp_path):
    """Signed, by the broker alone: the canary goes first, the other when it is for all; who was away takes one step."""
    who = Attacker(tmp_path, random.Random(0))
    watched.broadcast._framed = lambda model: b"id: 1\nevent: release\ndata: %b\n\n" % msgspec.json.encode(
        who.hub.sign(model)
    )
    lines = {name: Follower(who, name, broker.url, tmp_path) for name in ("line-1", "line-2")}
    try:
        for line in lines:
            watched.fleet.heard(LineReport(line=line, site="s", version=0))
        watched.release(1, digest(BUNDLE))
        until(lambda: all(line.given == [1] for line in lines.values()))
        watched.release(2, "f" * 64)
        (first,) = watched.fleet.trying()
        canary, other = lines[first], next(line for name, line in lines.items() if name != first)
        until(lambda: canary.given == [1, 2])
        time.sleep(0.1)
        assert other.given == [1]
        watched.fleet.acknowledged(Live(line=first, version=2))
        until(lambda: other.given == [1, 2])
        lines["late"] = Follower(who, "late", broker.url, tmp_path)
        until(lambda: lines["late"].given == [2])
        assert [line.told for line in lines.values()] == [[], [], []]
    finally:
        for line in lines.values():
            line.close()


def test_the_fleet_says_who_tries_what(watched):
    """Those that may take the newest while the others may not; nobody, where nothing is tried."""
    lines = [f"line-{number}" for number in range(6)]
    for line in lines:
        watched.fleet.heard(LineReport(line=line, site="s", version=1))
    watched.release(1, "old")
    assert watched.fleet.trying() == frozenset()
    watched.release(2, "new")
    until(watched.fleet.trying)
    assert watched.fleet.trying() == {line for line in lines if watched.fleet.may(line)}
    assert 0 < len(watched.fleet.trying()) < 6
