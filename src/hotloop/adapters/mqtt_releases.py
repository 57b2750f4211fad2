"""The hub at a broker: it keeps there the release that each line may take, as its own stream carries it.

    {topic}/releases/settled        what every line may take
    {topic}/releases/line/{line}    for the lines of a wave, while it is under way; emptied when it is over. For a line
                                    that is held "stream": it takes nothing from here, and asks the hub
    {topic}/releases/state          "online" while both are as the hub wants them

Only the newest of each is ever under way: one message at a time, and what comes next is decided when the broker has
acknowledged it. A broker that is away, or will not have a release, disturbs nothing: lines follow by the stream.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from typing import Final, TypeAlias

from hotloop.adapters.mqtt import BY_THE_STREAM, RELEASE_BYTES_MAX, Connection, Identity, Said, Topics
from hotloop.config import LoopConfig

Offer: TypeAlias = tuple[int, bytes]  # a version, and its signed release as JSON
Wanted: TypeAlias = Mapping[str, Offer]

_ACKNOWLEDGED_S: Final = 10.0  # the broker has so long to say that it has a release
_RETRY_S: Final = 5.0  # after it would not
_LEFT_S: Final = 2.0  # after connecting: what an earlier hub left there has come by then
_HELD: Final = -1  # in place of a version
_ONLINE, _OFFLINE = (1, b"online"), (0, b"offline")
_SOMETHING = (0, b"?")  # lies there since before this hub
_log = logging.getLogger(__name__)


def wanted(
    topics: Topics, newest: Offer, settled: Offer, trying: frozenset[str], held: frozenset[str] = frozenset()
) -> dict[str, Offer]:
    """What the broker should hold, in the order in which it should get it: who is held first, before there is
    something new; the settled release; the newest for the lines that try it.
    """
    found: dict[str, Offer] = {topics.of_line(line): (_HELD, BY_THE_STREAM) for line in sorted(held)}
    if settled[0]:
        found[topics.settled] = settled
    if newest[0] != settled[0]:
        found |= {topics.of_line(line): newest for line in sorted(trying - held)}
    return found


def step(want: Wanted, there: Mapping[str, Offer]) -> tuple[str, Offer] | None:
    """The next message that brings the broker nearer to what is wanted: new ones first, then what is over is emptied.
    `there`: what lies on each topic. None: nothing is left to do. A release that was signed anew is a new one.
    """
    for topic, offer in want.items():
        if there.get(topic) != offer:
            return topic, offer
    return next(((topic, (0, b"")) for topic in there if topic not in want), None)


class MqttReleases:
    """The hub's client of the broker, with a thread of its own. It is the `Ear` of its connection."""

    def __init__(self, config: LoopConfig) -> None:
        """ConfigError if the broker's settings cannot be used."""
        self._topics = Topics(config.mqtt.topic)
        who = Identity(f"hub:{config.mqtt.topic}", self._topics.hub, RELEASE_BYTES_MAX)
        self._connection = Connection(config.mqtt, who, self)
        self._changed = threading.Condition()
        self._want: dict[str, Offer] = {}
        self._there: dict[str, Offer] = {}
        self._open = False  # the broker has not said what became of the last message
        self._failure = ""  # why it would not have it
        self._unable = ""  # why a release cannot be put there
        self._again_s = 0.0
        self._speechless = False  # not even that can be put there
        self._closing = self._listening = False
        self._up_s = 0.0
        self._thread = threading.Thread(target=self._put_all, name="hub-mqtt", daemon=True)

    @property
    def trouble(self) -> str:
        """Why the lines get no releases by the broker; "" while they do."""
        return self._connection.trouble or self._unable

    def start(self) -> None:
        """Begin to publish."""
        self._connection.start()
        self._thread.start()

    def offer(
        self, newest: Offer, settled: Offer, trying: frozenset[str], held: frozenset[str] = frozenset()
    ) -> None:
        """There is something newer, or for other lines: those that try the newest, those that take nothing. Never
        waits.
        """
        with self._changed:
            self._want, self._again_s = wanted(self._topics, newest, settled, trying, held), 0.0
            self._changed.notify_all()

    def close(self) -> None:
        """Go. What is kept at the broker stays: it is signed, and the newest."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if self._thread.ident is not None:
            self._thread.join(_ACKNOWLEDGED_S)
        self._connection.close()

    # the broker's thread

    def up(self) -> None:
        """Whatever it holds now, it gets what is wanted; and it says what an earlier hub left for single lines."""
        with self._changed:
            self._there, self._listening, self._up_s = {}, True, time.monotonic()
            self._changed.notify_all()
        self._connection.subscribe([(self._topics.of_line("+"), 0)])

    def down(self) -> None:
        """Wait for it."""
        with self._changed:
            self._changed.notify_all()

    def came(self, said: Said) -> None:
        """What was kept there before."""
        if said.kept and said.data:
            with self._changed:
                self._there.setdefault(said.topic, _SOMETHING)
                self._changed.notify_all()

    def put(self, failure: str) -> None:
        """The broker has the message, or will not have it."""
        with self._changed:
            self._open, self._failure = False, failure
            self._changed.notify_all()

    # its own thread

    def _put_all(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._closing or self._due() is not None, timeout=1.0)
                if self._closing:
                    return
                due = self._due()
                forget = self._listening and time.monotonic() > self._up_s + _LEFT_S
                self._listening = self._listening and not forget
            self._connection.tend()
            if forget and self._connection.connected:
                self._connection.unsubscribe(self._topics.of_line("+"))
            if due is not None:
                self._put_one(*due)

    def _due(self) -> tuple[str, Offer] | None:
        """The next message, if the broker can have it now."""
        if not self._connection.connected or not self._want:
            return None
        if self._unable and step(self._want, self._there) is None:
            self._unable = ""
            _log.warning("releases go out by the broker again")
        if not self._unable:
            return step({**self._want, self._topics.hub: _ONLINE}, self._there)
        waits = time.monotonic() < self._again_s
        if self._there.get(self._topics.hub) != _OFFLINE:
            return None if waits and self._speechless else (self._topics.hub, _OFFLINE)
        return None if waits else step(self._want, self._there)

    def _put_one(self, topic: str, offer: Offer) -> None:
        data = offer[1]
        connection = self._up_s
        why = "it is larger than a message may be" if len(data) > RELEASE_BYTES_MAX else self._given(topic, data)
        with self._changed:
            if why is None or connection != self._up_s:  # it broke: all is said again when it is there
                return
            if why:
                self._cannot(f"{topic}: {why}")
                self._speechless = topic == self._topics.hub
            elif data:
                self._there[topic] = offer
            else:
                self._there.pop(topic, None)

    def _cannot(self, words: str) -> None:
        """The lines are told to follow by the stream; it is tried again."""
        if not self._unable:
            _log.warning("a release cannot go out by the broker (%s): lines follow by the stream", words)
        self._unable, self._again_s = words, time.monotonic() + _RETRY_S

    def _given(self, topic: str, data: bytes) -> str | None:
        """Publish, and wait until the broker has it: "" then, else why it will not; None if it went away.

        An earlier message that the library still holds goes first: sent again behind a newer one it would take its
        place.
        """
        if not self._until_put():
            return None
        with self._changed:
            self._open, self._failure = True, ""
        if self._connection.publish(topic, data, keep=True) is None:
            self._open = False
            return "it is larger than the broker takes"
        return self._failure if self._until_put() else None

    def _until_put(self) -> bool:
        """Wait until the broker has said what became of the last message; False if it went away."""
        with self._changed:
            self._changed.wait_for(
                lambda: not self._open or self._closing or not self._connection.connected, _ACKNOWLEDGED_S
            )
            return not self._open
