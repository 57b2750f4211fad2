"""Releases by a broker or by the hub's stream: the newest, once, checked; a forged one hides no true one."""

from __future__ import annotations

import random
import threading
import time

import pytest

from hotloop.adapters import pushed_hub
from hotloop.adapters.pushed_hub import PushedHub, Releases
from hotloop.errors import AccessError
from hotloop.testing.release_attacks import Attacker, model


class Client:
    """A hub whose stream gives what a test says, when it says so."""

    def __init__(self):
        self.came, self.streams, self.fails, self.next = threading.Condition(), 0, None, []

    def give(self, release):
        with self.came:
            self.next.append(release)
            self.came.notify_all()

    def follow_signed(self, line, after, stop):
        self.streams += 1
        if self.fails:
            raise self.fails
        while not stop.is_set():
            with self.came:
                self.came.wait_for(lambda: self.next or stop.is_set(), 0.02)
                found = self.next.pop(0) if self.next else None
            if found is not None and found.version > after:
                after = found.version
                yield found


@pytest.fixture(autouse=True)
def hasty(monkeypatch):
    monkeypatch.setattr(pushed_hub, "_GRACE_S", 0.05)


@pytest.fixture
def who(tmp_path):
    return Attacker(tmp_path, random.Random(0))


class Line:
    """A line that follows in a thread, and what it was given and told."""

    def __init__(self, who):
        self.client, self.given, self.told = Client(), [], []
        self.releases = Releases(self.client, "line-1")
        self.hub = PushedHub(self.client, who.check, self.releases)
        self.hub.refused = lambda version, reason: self.told.append((version, reason))
        self.thread = threading.Thread(target=self.follow)

    def follow(self):
        for one in self.hub.follow("line-1", 0):
            self.given.append(one.version)

    def start(self, *, there=True):
        if there:
            self.releases.reachable(now=True)
        self.releases.start()
        self.thread.start()

    def until(self, found):
        deadline = time.monotonic() + 5
        while not found():
            assert time.monotonic() < deadline, (self.given, self.told, self.client.streams)
            time.sleep(0.005)


@pytest.fixture
def line(who):
    found = Line(who)
    yield found
    found.releases.close()
    if found.thread.ident:
        found.thread.join(5)
        found.releases._reader.join(5)
        assert not found.thread.is_alive()


def test_with_a_broker_there_the_stream_is_not_asked(who, line):
    """What comes by the broker is given on, each newer one."""
    line.start()
    line.releases.arrived("settled", who.true())
    line.until(lambda: line.given == [1])
    line.releases.arrived("line", who.true())
    line.until(lambda: line.given == [1, 2])
    time.sleep(0.1)
    assert line.client.streams == 0
    assert line.releases.taken == {"mqtt": 2}


def test_a_line_that_was_away_takes_one_step(who, line):
    """Two topics, five releases: the newest of all, and none that is older after it."""
    settled = [who.true() for _ in range(4)]
    newest = who.true()
    line.releases.reachable(now=True)
    line.releases.gather()
    for release in settled:
        line.releases.arrived("settled", release)
    line.start()
    line.releases.arrived("line", newest)
    line.until(lambda: line.given == [5])
    line.releases.arrived("settled", settled[-1])
    time.sleep(0.1)
    assert (line.given, line.told) == ([5], [])


def test_what_is_over_for_a_line_is_not_taken(who, line):
    """Its topic was emptied before it looked."""
    first, second = who.true(), who.true()
    line.releases.gather()
    line.releases.arrived("settled", first)
    line.releases.arrived("line", second)
    line.releases.arrived("line", None)
    line.start()
    line.until(lambda: line.given == [1])
    time.sleep(0.05)
    assert line.given == [1]


def test_the_stream_takes_over_and_gives_back(who, line):
    """Without a broker the hub's stream is followed; when it is there again, no more."""
    line.start(there=False)
    line.client.give(who.true())
    line.until(lambda: line.given == [1])
    line.releases.reachable(now=True)
    line.releases.arrived("settled", who.true())
    line.until(lambda: line.given == [1, 2])
    time.sleep(0.1)
    line.client.give(who.true())
    time.sleep(0.1)
    assert line.given == [1, 2], "the stream is not listened to"
    line.releases.reachable(now=False)
    line.until(lambda: line.given == [1, 2, 3])
    assert line.releases.taken == {"mqtt": 1, "stream": 2}


def test_a_forged_release_hides_no_true_one(who, line):
    """However high its number, it is refused by name; the other topic, and the next one, are taken."""
    true = who.true()
    forged = who.evil.sign(model(99))
    line.releases.gather()
    line.releases.arrived("settled", forged)
    line.releases.arrived("line", true)
    line.start()
    line.until(lambda: line.given == [1])
    assert [(version, "not signed by the keys" in reason) for version, reason in line.told] == [(99, True)]
    line.releases.arrived("settled", who.true())
    line.until(lambda: line.given == [1, 2])


def test_after_a_forged_release_the_stream_is_followed_too_until_the_broker_is_right_again(who, line):
    """Whoever can write to the broker cannot cut a line off."""
    line.start()
    line.releases.arrived("settled", who.evil.sign(model(9)))
    line.until(lambda: line.told)
    line.client.give(who.true())
    line.until(lambda: line.given == [1])
    assert line.releases.taken == {"stream": 1}
    line.releases.arrived("settled", who.true())
    line.until(lambda: line.given == [1, 2])
    line.until(lambda: line.releases._quiet.is_set())
    line.releases.doubt()
    assert not line.releases._quiet.is_set()


def test_a_release_that_could_not_be_finished_is_given_again(who, line):
    """Its backbone did not come: who follows anew gets it anew, without the broker saying it again."""
    line.releases.reachable(now=True)
    line.releases.arrived("settled", who.true())
    assert next(line.hub.follow("line-1", 0)).version == 1
    assert next(line.hub.follow("line-1", 0)).version == 1


def test_why_the_stream_cannot_be_had_is_raised(line):
    """A device that was told off hears it, as without a broker."""
    line.client.fails = AccessError("send a token that is known")
    line.releases.start()
    with pytest.raises(AccessError):
        next(line.hub.follow("line-1", 0))


def test_closing_ends_the_waiting(line):
    """At once, also before anything came."""
    line.start()
    line.releases.close()
    line.thread.join(1)
    assert not line.thread.is_alive()
    line.releases.reachable(now=False)
    assert line.releases._quiet.is_set(), "no stream is opened any more"


def test_a_broker_that_holds_releases_back_is_found_out(who, line, monkeypatch):
    """The stream is looked at now and then; what it has and the broker had not is taken, and it is followed on."""
    monkeypatch.setattr(pushed_hub, "_PEEK_S", 0.05)
    monkeypatch.setattr(pushed_hub, "_PEEK_FOR_S", 0.05)
    line.start()
    line.client.give(who.true())
    line.until(lambda: line.given == [1])
    time.sleep(0.2)
    line.client.give(who.true())
    line.until(lambda: line.given == [1, 2])
    assert line.releases._doubted
    streams = line.client.streams
    time.sleep(0.2)
    assert line.client.streams == streams, "it stays open"
    line.releases.arrived("settled", who.true())
    line.until(lambda: line.given == [1, 2, 3])
    line.until(lambda: not line.releases._doubted)


def test_a_line_that_is_held_takes_nothing_from_the_broker(who, line):
    """The stream says what is for it; when it is let go, the broker does again."""
    line.releases.aside(now=True)
    line.start()
    line.releases.arrived("settled", who.true())
    line.until(lambda: line.client.streams == 1)
    time.sleep(0.05)
    assert line.given == []
    line.client.give(who.true())
    line.until(lambda: line.given == [2])
    line.releases.arrived("settled", who.true())
    time.sleep(0.05)
    assert line.given == [2]
    line.releases.aside(now=False)
    line.until(lambda: line.given == [2, 3])
    assert line.releases._quiet.is_set()
