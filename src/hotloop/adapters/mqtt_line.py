"""A line at a broker: its answers go out as they are given, verdicts and payloads come in, and so do releases.

    {topic}/{site}/{line}/answer      each answer, at least once
    {topic}/{site}/{line}/feedback    a verdict, as `POST /v1/feedback` takes it; acknowledged once it is in the spool
    {topic}/{site}/{line}/payload     bytes to predict on, with their content type; the newest few are kept
    {topic}/{site}/{line}/refused     what was wrong with one of these two
    {topic}/{site}/{line}/state       "online" or "offline", kept

Nothing here makes a prediction wait: answers wait in a bounded queue for a thread of their own.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from typing import Final

import msgspec

from hotloop.adapters.mqtt import (
    BY_THE_STREAM,
    HEADER_BYTES_MAX,
    RELEASE_BYTES_MAX,
    UNACKNOWLEDGED_MAX,
    Connection,
    Identity,
    Outbox,
    Said,
    Topics,
)
from hotloop.adapters.pushed_hub import Releases, Way
from hotloop.agent import Agent
from hotloop.config import LoopConfig
from hotloop.edge.verdicts import VERDICT_BYTES_MAX, checked_verdict
from hotloop.errors import ConfigError, HotloopError, InputError
from hotloop.store.signing import SignedRelease
from hotloop.types import UNREADABLE, Payload, Prediction, digest

_ANSWERS_MAX: Final = 1000  # that wait for the broker
_ANSWERS_BYTES_MAX: Final = 8 * 2**20
_UNDER_WAY_MAX: Final = 20  # given to the broker, and not acknowledged by it
_PAYLOADS_MAX: Final = 4  # that wait for the model
_SESSION_S: Final = 24 * 3600  # for so long the broker keeps verdicts for a line that is away
_REMEMBERED: Final = 1000  # verdicts that are known when they come again
_REASON_CHARS_MAX: Final = 500
_CLOSE_S: Final = 1.0
_TEND_S: Final = 1.0


class MqttState(msgspec.Struct, frozen=True):
    """How a line stands with its broker. `dropped`: by "kind: why"; `releases`: those taken, by the way they came."""

    connected: bool
    trouble: str
    waiting: int
    published: int
    verdicts: int
    refused: int
    dropped: dict[str, int]
    releases: dict[str, int]


class MqttLine:
    """A line's side of the broker. It is the `Ear` of its connection."""

    def __init__(self, config: LoopConfig, agent: Agent, releases: Releases) -> None:
        """ConfigError if the broker's settings cannot be used."""
        place = agent.place
        if place.site == "releases":
            raise ConfigError('a site that is called "releases" cannot use a broker: its topics are the hub\'s')
        self._agent, self._releases, self._config = agent, releases, config
        self._topics = Topics(config.mqtt.topic, place.site, place.line)
        self._payload_bytes_max = config.edge.payload_bytes_max
        self._more = threading.Condition()
        self._answers = Outbox(_ANSWERS_MAX, _ANSWERS_BYTES_MAX)
        self._inbox: deque[Said] = deque()
        self._heard: OrderedDict[str, None] = OrderedDict()
        self._under_way = self._published = self._verdicts = self._refused = 0
        self._closing = False
        bytes_max = max(self._payload_bytes_max, RELEASE_BYTES_MAX, VERDICT_BYTES_MAX) + HEADER_BYTES_MAX
        name = f"line:{config.mqtt.topic}:{place.site}:{place.line}"
        who = Identity(name, self._topics.here("state"), bytes_max, _SESSION_S)
        self._connection = Connection(config.mqtt, who, self)
        self.address = str(self._connection.address)
        self._threads = [
            threading.Thread(target=self._publish_all, name="hotloop-answers", daemon=True),
            threading.Thread(target=self._take_all, name="hotloop-taken", daemon=True),
        ]

    def start(self) -> None:
        """Begin to listen and to publish."""
        self._connection.start()
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """Publish what waits, for a moment; then go."""
        with self._more:
            self._more.wait_for(lambda: not (self._connection.connected and self._busy()), _CLOSE_S)
            self._closing = True
            self._more.notify_all()
        for thread in self._threads:
            thread.join(_CLOSE_S)
        self._connection.close()

    def answered(self, prediction: Prediction) -> None:
        """Publish an answer as soon as the broker is there. Never waits."""
        said = {
            "prediction": prediction.id,
            "version": prediction.version,
            "outputs": prediction.outputs,
            "good": not prediction.outputs,
            "payload": prediction.observation.digest,
        }
        self._tell("answer", said)

    def state(self) -> MqttState:
        """How it stands."""
        with self._more:
            return MqttState(
                self._connection.connected,
                self._connection.trouble,
                len(self._answers) + self._under_way,
                self._published,
                self._verdicts,
                self._refused,
                dict(self._answers.dropped),
                dict(self._releases.taken),
            )

    # the broker's thread

    def up(self) -> None:
        """Be known, and ask for verdicts, payloads and releases.

        Releases at most once: the newest is kept by the broker and comes with each new connection, and a session
        holds none for a line that is away.
        """
        with self._more:
            self._under_way += 1
            self._more.notify_all()
        self._releases.gather()
        here = self._topics.here
        self._connection.publish(here("state"), b"online", keep=True)
        # In this order: what is for this line alone comes before what is for all.
        releases = (self._topics.hub, self._topics.of_line(self._agent.place.line), self._topics.settled)
        own = [(here("feedback"), 1), (here("payload"), 0)]
        self._connection.subscribe([*((topic, 0) for topic in releases), *own])

    def down(self) -> None:
        """Releases come another way."""
        self._releases.reachable(now=False)

    def came(self, said: Said) -> None:
        """Sort what came."""
        topics = self._topics
        if said.topic == topics.hub:
            self._releases.reachable(now=said.data == b"online")
        elif said.topic == topics.settled:
            self._release("settled", said)
        elif said.topic == topics.of_line(self._agent.place.line):
            self._releases.aside(now=said.data == BY_THE_STREAM)
            self._release("line", Said(said.topic, b"") if said.data == BY_THE_STREAM else said)
        else:
            with self._more:
                self._inbox.append(said)
                self._bound_inbox()
                self._more.notify_all()

    def put(self, failure: str) -> None:
        """The broker has one more, or will not have it."""
        with self._more:
            self._under_way -= 1
            if failure:
                self._answers.drop("answer", f"refused by the broker: {failure}")
            else:
                self._published += 1
            self._more.notify_all()

    def _release(self, way: Way, said: Said) -> None:
        """A release, still to be checked; no data: it is over."""
        try:
            release = _release(said.data) if said.data else None
        except InputError as error:
            self._agent.distrust(0, f"{said.topic}: {error}")
            self._releases.doubt()
            return
        self._releases.arrived(way, release)

    def _bound_inbox(self) -> None:
        """Of payloads the newest few count. Verdicts are bounded by what a broker sends unacknowledged; those that
        nobody waits for, and a broker that does not keep to that, are bounded here.
        """
        payloads = [said for said in self._inbox if said.topic == self._topics.here("payload")]
        if len(payloads) > _PAYLOADS_MAX:
            self._inbox.remove(payloads[0])
            self._answers.drop("payload", "the line is too slow")
        verdicts = [said for said in self._inbox if said.topic != self._topics.here("payload")]
        if len(verdicts) > 2 * UNACKNOWLEDGED_MAX:
            self._inbox.remove(next((said for said in reversed(verdicts) if not said.number), verdicts[-1]))
            self._answers.drop("feedback", "too many at once")

    # threads of its own

    def _busy(self) -> bool:
        return len(self._answers) > 0 or self._under_way > 0

    def _publish_all(self) -> None:
        """Give the broker what waits, oldest first, a few at a time."""
        while True:
            with self._more:
                due = self._more.wait_for(lambda: self._closing or self._may_publish(), _TEND_S)
            self._connection.tend()
            if not due:
                continue
            with self._more:
                if self._closing:
                    return
                if not self._may_publish():
                    continue
                topic, data = self._answers.take()
                self._under_way += 1
            if self._connection.publish(topic, data) is None:
                with self._more:
                    self._under_way -= 1
                    self._answers.drop(topic, "larger than the broker takes")

    def _may_publish(self) -> bool:
        return self._connection.connected and len(self._answers) > 0 and self._under_way < _UNDER_WAY_MAX

    def _take_all(self) -> None:
        """Take verdicts and payloads in the order in which they came."""
        while True:
            with self._more:
                self._more.wait_for(lambda: self._closing or self._inbox)
                if self._closing:
                    return
                said = self._inbox.popleft()
            kind = said.topic.rpartition("/")[2]
            try:
                self._take(kind, said)
            except HotloopError as error:
                self._refuse(kind, said, error)
            self._connection.taken(said)

    def _take(self, kind: str, said: Said) -> None:
        if said.kept:
            raise InputError("it was kept by the broker and would come again and again: publish it without retain")
        if kind == "feedback":
            self._verdict(said)
        else:
            self._predict(said)

    def _verdict(self, said: Said) -> None:
        """Put a verdict into the spool. One that the broker sends again, because an acknowledgement was lost, is known:
        else it would come after a later one of the same reviewer, and be their last word.
        """
        name = digest(said.data)
        if said.again and name in self._heard:
            return
        feedback = checked_verdict(said.data, self._agent, self._config.trust.golden)
        self._agent.say(feedback)
        self._heard[name] = None
        if len(self._heard) > _REMEMBERED:
            self._heard.popitem(last=False)
        with self._more:
            self._verdicts += 1

    def _predict(self, said: Said) -> None:
        if len(said.data) > self._payload_bytes_max:
            raise InputError(f"a payload has at most {self._payload_bytes_max} bytes, this one has {len(said.data)}")
        self._agent.sense(Payload(said.data, said.media_type))

    def _refuse(self, kind: str, said: Said, error: HotloopError) -> None:
        with self._more:
            self._refused += 1
        reason = {"of": kind, "error": type(error).__name__, "detail": str(error)[:_REASON_CHARS_MAX]}
        self._tell("refused", {**reason, "digest": digest(said.data), "at": time.time()})

    def _tell(self, what: str, said: dict[str, object]) -> None:
        data = msgspec.json.encode(said)
        with self._more:
            self._answers.add(self._topics.here(what), data)
            self._more.notify_all()


def _release(data: bytes) -> SignedRelease:
    """What a message says is a release. InputError if it is none, or too large."""
    if len(data) > RELEASE_BYTES_MAX:
        raise InputError(f"a release has at most {RELEASE_BYTES_MAX} bytes, this one has {len(data)}")
    try:
        return msgspec.json.decode(data, type=SignedRelease)
    except UNREADABLE as error:
        raise InputError(f"what came is no release: {str(error)[:_REASON_CHARS_MAX]}") from error
