"""A line: it predicts at once, sends what it saw when it can, and answers with the newest model it was given.

Three threads that never wait for one another: the caller's (predict), one that sends, one that follows releases.
What waits to be sent is bounded; what a full spool drops is counted by reason.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

from hotloop.errors import HotloopError, InputError, ModelError
from hotloop.ports import Clock, Vertical
from hotloop.predict import Predictor
from hotloop.types import Event, Live, Model, Observation, Payload, Prediction, Proposals, digest

_SEND_MAX = 200  # events in one request
_SPOOL_MAX = 20_000  # events: hours of a line whose hub is away
_LINGER_S = 0.01  # how long an event may wait for others to share its request


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
        self.refused: list[str] = []  # what the hub would not take, in its words
        self._hub = hub
        self._clock = clock
        # Rises over restarts even if the counter is lost: microseconds, more than events can come in one.
        self._sequence = int(clock.now() * 1e6)
        self._spool: deque[tuple[Event, tuple[bytes, ...]]] = deque()
        self._more = threading.Condition()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._send_all, name="hotloop-send", daemon=True),
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
        prediction = self.predictor.predict(observation.id, observation, payload, self._clock.now())
        blobs = (payload.data, payload.reference) if payload.reference is not None else (payload.data,)
        self._spooled(prediction, blobs if keep else ())
        return prediction

    def answer(self, proposals: Proposals, payload: Payload) -> Prediction:
        """As `sense`, with proposals that were made before: for simulated lines."""
        observation = self.observation(payload, self._clock.now())
        prediction = self.predictor.answer(observation.id, observation, proposals, self._clock.now())
        self._spooled(prediction, ())
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
        """Events that are not yet acknowledged."""
        return len(self._spool)

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for at most `timeout_s`; then stop."""
        deadline = time.monotonic() + timeout_s
        while self._spool and time.monotonic() < deadline:
            time.sleep(0.01)
        self._closing.set()
        with self._more:
            self._more.notify_all()
        self._threads[0].join(timeout=1.0)

    def _spooled(self, prediction: Prediction, blobs: tuple[bytes, ...]) -> None:
        sequence = int(prediction.id.rsplit(":", 1)[1])
        with self._more:
            if len(self._spool) >= _SPOOL_MAX:
                self._spool.popleft()
                self.dropped += 1
            self._spool.append((Event(self.place.line, sequence, prediction), blobs))
            self._more.notify()

    def _send_all(self) -> None:
        while not self._closing.is_set():
            with self._more:
                if not self._spool:
                    self._more.wait(timeout=0.5)
                    continue
            time.sleep(_LINGER_S)
            with self._more:
                batch = [self._spool[k] for k in range(min(len(self._spool), _SEND_MAX))]
            try:
                self._send(batch)
            except InputError as error:  # it will never be taken: say so, and do not block the rest
                self.refused.append(str(error))
            except HotloopError:
                self._closing.wait(0.5)
                continue
            with self._more:  # a full spool may have dropped some of them meanwhile: go by number
                while self._spool and self._spool[0][0].sequence <= batch[-1][0].sequence:
                    self._spool.popleft()

    def _send(self, batch: list[tuple[Event, tuple[bytes, ...]]]) -> None:
        blobs = [blob for _, kept in batch for blob in kept]
        if blobs:
            self._hub.put_blobs(blobs)  # first the bytes, then what refers to them
        self._hub.send([event for event, _ in batch])

    def _follow_all(self) -> None:
        while not self._closing.is_set():
            try:
                for model in self._hub.follow(self.place.line, self.predictor.version):
                    self._install(model)
                    if self._closing.is_set():
                        return
            except HotloopError:
                self._closing.wait(0.5)

    def _install(self, model: Model) -> None:
        try:
            if self.predictor.install(model):
                live = Live(line=self.place.line, version=model.version, at=self._clock.now())
                self._hub.acknowledge([live])
        except ModelError as error:
            self.refused.append(str(error))
