"""A line: it predicts at once, sends what it saw when it can, and answers with the newest model it was given.

Four threads that never wait for one another: the caller's (predict), one that sends what was said, one that sends
the pictures, one that follows releases. What waits to be sent is bounded; what a full spool drops is counted.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from hotloop.errors import HotloopError, InputError, ModelError
from hotloop.ports import Clock, Refreshable, Vertical
from hotloop.predict import Predictor
from hotloop.types import Event, Live, Model, Observation, Payload, Prediction, Proposals, digest

_SEND_MAX = 200  # events in one request
_SPOOL_MAX = 20_000  # events: hours of a line whose hub is away
_REFUSED_MAX = 100
_LINGER_S = 0.01  # how long an event may wait for others to share its request
_BLOBS_MAX = 256  # payloads that wait for their way to the lake; beyond it the oldest are not kept
_BACKBONES_MAX = 3  # at hand, so that a way back needs no network
_SENT_MAX = 10_000  # digests remembered as delivered: a template is sent once, not with each piece
_RETRY_S = 0.5  # how long a hub that failed, or ended a stream, is left alone


class Hub(Protocol):
    """What a line needs of its hub. `adapters.hub_client` is one over HTTP."""

    def send(self, events: Sequence[Event]) -> list[int]:
        """Deliver events; returns when they are durable. May be called again with the same ones."""
        ...

    def put_blobs(self, blobs: Sequence[bytes]) -> list[str]:
        """Deliver bytes; their digests."""
        ...

    def follow(self, line: str, after: int) -> Iterator[Model]:
        """Each newer model, the newest first, as it comes; ends when the hub does."""
        ...

    def acknowledge(self, lives: Sequence[Live]) -> None:
        """Say which version answers now."""
        ...

    def get_blob(self, digest: str) -> bytes:
        """Bytes by their digest: a new backbone's."""
        ...


@dataclass(frozen=True)
class Place:
    """Where an agent stands."""

    site: str
    line: str


class Agent:
    """One line's predictor, spool and follower."""

    def __init__(self, place: Place, vertical: Vertical, hub: Hub, clock: Clock) -> None:
        self.place = place
        self.predictor = Predictor(vertical)
        self.dropped = 0  # events that a full spool could not take
        self.unkept = 0  # payloads that did not reach the lake in time
        self.refused: deque[str] = deque(maxlen=_REFUSED_MAX)  # the last that the hub would not take, in its words
        self._hub = hub
        self._clock = clock
        # Rises over restarts even if the counter is lost: microseconds, more than events can come in one.
        self._sequence = int(clock.now() * 1e6)
        self._spool: deque[Event] = deque()
        self._blobs: deque[bytes] = deque()
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._unsaid: Live | None = None  # what answers now, while the hub has not been told
        self._backbones: OrderedDict[str, Vertical] = OrderedDict({vertical.backbone: vertical})  # those at hand
        self._more = threading.Condition()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, name="hotloop-send", daemon=True),
            threading.Thread(target=self._keep_all, name="hotloop-keep", daemon=True),
            threading.Thread(target=self._follow_all, name="hotloop-follow", daemon=True),
        ]

    def start(self) -> None:
        """Begin to send and to follow."""
        for thread in self._threads:
            thread.start()

    def sense(self, payload: Payload, *, keep: bool = True) -> Prediction:
        """Predict now; send later. `keep`: the payload's bytes go to the lake too."""
        at = self._clock.now()
        observation = self.observation(payload, at)
        prediction = self.predictor.predict(observation.id, observation, payload, self._clock.now)
        self._spooled(prediction, payload if keep else None)
        return prediction

    def answer(self, proposals: Proposals, payload: Payload) -> Prediction:
        """As `sense`, with proposals that were made before: for simulated lines."""
        observation = self.observation(payload, self._clock.now())
        prediction = self.predictor.answer(observation.id, observation, proposals, self._clock.now())
        self._spooled(prediction, None)
        return prediction

    def observation(self, payload: Payload, at: float) -> Observation:
        """The next observation of this line, with an id that no other has."""
        self._sequence += 1
        return Observation(
            id=f"{self.place.line}:{self._sequence}",
            site=self.place.site,
            line=self.place.line,
            at=at,
            digest=digest(payload.data),
            reference=None if payload.reference is None else digest(payload.reference),
        )

    @property
    def waiting(self) -> int:
        """Events that are not yet acknowledged, and payloads that are not yet kept."""
        return len(self._spool) + len(self._blobs)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for at most `timeout_s`; then stop."""
        deadline = time.monotonic() + timeout_s
        while self.waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        self._closing.set()
        with self._more:
            self._more.notify_all()
        for thread in self._threads[:2]:
            if thread.is_alive():
                thread.join(timeout=1.0)

    def _spooled(self, prediction: Prediction, payload: Payload | None) -> None:
        sequence = int(prediction.id.rsplit(":", 1)[1])
        with self._more:
            if len(self._spool) >= _SPOOL_MAX:
                self._spool.popleft()
                self.dropped += 1
            self._spool.append(Event(self.place.line, sequence, prediction))
            if payload is not None:
                self._blobs.extend(blob for blob in (payload.reference, payload.data) if blob is not None)
            while len(self._blobs) > _BLOBS_MAX:
                self._blobs.popleft()
                self.unkept += 1
            self._more.notify_all()

    def _send_all(self) -> None:
        while self._anything(self._spool):
            time.sleep(_LINGER_S)
            if not self._send_once():
                self._closing.wait(_RETRY_S)

    def _send_once(self) -> bool:
        """Deliver what waits, in order, in one request; False if the hub could not take it now.

        Where the hub refuses something of it for good, each event goes alone, so that the others arrive.
        """
        with self._more:
            batch = [self._spool[k] for k in range(min(len(self._spool), _SEND_MAX))]
        try:
            self._hub.send(batch)
        except InputError:
            return all(self._sent_alone(event) for event in batch)
        except HotloopError:
            return False
        self._done(batch[-1])
        return True

    def _sent_alone(self, event: Event) -> bool:
        try:
            self._hub.send([event])
        except InputError as error:  # it will never be taken: say so, and do not block the rest
            self.refused.append(str(error))
        except HotloopError:
            return False
        self._done(event)
        return True

    def _done(self, event: Event) -> None:
        """Forget events up to this one. Go by number: a full spool may have dropped some of them meanwhile."""
        with self._more:
            while self._spool and self._spool[0].sequence <= event.sequence:
                self._spool.popleft()

    def _keep_all(self) -> None:
        while self._anything(self._blobs):
            if not self._keep_once():
                self._closing.wait(_RETRY_S)

    def _keep_once(self) -> bool:
        """Deliver the oldest payload, if its digest was not delivered before; False if the hub could not take it."""
        with self._more:
            blob = self._blobs[0]
        name = digest(blob)
        try:
            if name not in self._sent:
                self._hub.put_blobs([blob])
        except InputError as error:
            self.refused.append(str(error))
        except HotloopError:
            return False
        self._sent[name] = None
        if len(self._sent) > _SENT_MAX:
            self._sent.popitem(last=False)
        with self._more:
            if self._blobs and self._blobs[0] is blob:
                self._blobs.popleft()
        return True

    def _anything(self, queue: deque[Any]) -> bool:
        """Wait until there is something to send; False when the agent closes."""
        with self._more:
            self._more.wait_for(lambda: bool(queue) or self._closing.is_set())
        return not self._closing.is_set()

    def _follow_all(self) -> None:
        while not self._closing.is_set():
            self._follow_once()
            self._closing.wait(_RETRY_S)

    def _follow_once(self) -> None:
        """Answer with each newer model until the hub ends the stream, or fails."""
        with suppress(HotloopError):
            self._say_live()
            for model in self._hub.follow(self.place.line, self.predictor.version):
                self._install(model)
                if self._closing.is_set():
                    return

    def _install(self, model: Model) -> None:
        try:
            if self.predictor.install(model, self._on_backbone(model.backbone)):
                self._unsaid = Live(line=self.place.line, version=model.version, at=self._clock.now())
        except ModelError as error:
            self.refused.append(str(error))
        self._say_live()

    def _on_backbone(self, backbone: str) -> Vertical:
        """The vertical on a backbone: one at hand, or made of the hub's bundle. The line predicts on while it comes."""
        known = self._backbones.get(backbone)
        vertical = known or self.predictor.vertical
        if known is None and isinstance(vertical, Refreshable):
            vertical = vertical.revived(self._hub.get_blob(backbone))
            self._backbones[backbone] = vertical
            if len(self._backbones) > _BACKBONES_MAX:
                self._backbones.popitem(last=False)
        return vertical

    def _say_live(self) -> None:
        """Acknowledge what answers now; what the hub could not take is said again before the next model comes."""
        if self._unsaid is not None:
            self._hub.acknowledge([self._unsaid])
            self._unsaid = None
