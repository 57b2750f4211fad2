"""A line: it predicts at once, sends what it saw when it can, and answers with the newest model it was given.

Threads that never wait for one another: the caller's (predict), one that puts what was said into the spool, one that
sends it, one that sends the payloads, one that follows releases. What a full spool, or a full disk, drops is counted.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias, get_args

import msgspec

from hotloop.config import EdgeConfig
from hotloop.edge.device import Device
from hotloop.errors import (
    AccessError,
    CorruptError,
    HotloopError,
    HubUnreachableError,
    InputError,
    ModelError,
    StoreError,
)
from hotloop.ports import Clock, Refreshable, Spool, Vertical
from hotloop.predict import Current, Predictor
from hotloop.store.spool import MemorySpool
from hotloop.types import (
    UNREADABLE,
    Declined,
    Event,
    Feedback,
    LineReport,
    Live,
    Model,
    Notice,
    Observation,
    Payload,
    Prediction,
    Proposals,
    Spooled,
    SpoolKind,
    SpoolState,
    digest,
)

_SEND_MAX = 200  # events in one request
_MEMORY = EdgeConfig(spool_bytes_max=64 * 2**20)  # of a line without a disk of its own
_FRESH_BYTES_MAX = 64 * 2**20  # that wait for the spool's disk; beyond it the cheapest are dropped
_REFUSED_MAX = 100
_LINGER_S = 0.01  # how long an event may wait for others to share its request
_BACKBONES_MAX = 3  # at hand, so that a way back needs no network
_SENT_MAX = 10_000  # digests remembered as delivered: a template is sent once, not with each piece
_TICK_S = 1.0  # at least so often what is due on the device's disk is written
_RETRY_S = 0.5  # how long a hub that failed, or ended a stream, is left alone
_What: TypeAlias = Literal["events", "payloads"]
_KINDS: tuple[SpoolKind, ...] = get_args(SpoolKind)


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

    def __init__(
        self,
        place: Place,
        vertical: Vertical,
        hub: Hub,
        clock: Clock,
        spool: Spool | None = None,
        device: Device | None = None,
    ) -> None:
        """Without a `spool` what waits is in memory, and gone with the process; without a `device` every release that
        fits answers, and none is kept over a restart.
        """
        self.place = place
        self.predictor = Predictor(vertical, place.site)
        self.refused: deque[str] = deque(maxlen=_REFUSED_MAX)  # the last that the hub would not take, in its words
        self.answered: Callable[[Prediction], None] | None = None  # told each answer; must not wait
        self.trouble = ""  # why the hub takes nothing, in its words; "" while it does
        self._hub = hub
        self._clock = clock
        self._device = device
        # Rises over restarts even if the counter is lost: microseconds, more than events can come in one.
        self._sequence = int(clock.now() * 1e6)
        self._spool = spool or MemorySpool(_MEMORY, clock)
        self._fresh: deque[Spooled] = deque()  # not in the spool yet
        self._fresh_bytes = 0
        self._lost: Counter[str] = Counter()  # dropped, and not counted by the spool yet
        self._settling = threading.Lock()
        self._sent: OrderedDict[str, None] = OrderedDict()
        self._former: Current | None = None  # what answered before, until what answers has proven itself
        self._seen = 0  # the newest version that was offered
        self._unsaid: Live | None = None  # what answers now, while the hub has not been told
        self._backbones: OrderedDict[str, Vertical] = OrderedDict({vertical.backbone: vertical})  # those at hand
        self._more = threading.Condition()
        self._events = threading.Event()  # there may be something to send
        self._payloads = threading.Event()
        self._closing = threading.Event()
        self._threads = [
            threading.Thread(target=self._settle_all, name="hotloop-spool", daemon=True),
            threading.Thread(target=self._send_all, name="hotloop-send", daemon=True),
            threading.Thread(target=self._keep_all, name="hotloop-keep", daemon=True),
            threading.Thread(target=self._follow_all, name="hotloop-follow", daemon=True),
        ]

    def start(self) -> None:
        """Begin to send and to follow, with what answered last. What an earlier run left in the spool goes first."""
        if self._device is not None:
            self._answer_as_before(self._device)
        self._events.set()
        self._payloads.set()
        for thread in self._threads:
            thread.start()

    def sense(self, payload: Payload, *, keep: bool = True) -> Prediction:
        """Predict now; send later. `keep`: the payload's bytes go to the lake too."""
        observation = self.observation(payload, self._clock.now())
        prediction = self._predicted(observation, payload)
        self._spooled(prediction, payload if keep else None)
        if self.answered is not None:
            self.answered(prediction)
        return prediction

    def _predicted(self, observation: Observation, payload: Payload) -> Prediction:
        """Answer; where that fails, or has become too slow since a release, go back to what answered before it."""
        began = self._clock.monotonic()
        try:
            prediction = self.predictor.predict(observation.id, observation, payload, self._clock.now)
        except ModelError as error:
            found = self._by_the_former(observation, payload, str(error))
            if found is None:
                raise
            return found
        took_s = self._clock.monotonic() - began
        if self._device is not None and (why := self._device.saw(payload, took_s, prediction.outputs)):
            self._go_back(why)
        return prediction

    def answer(self, proposals: Proposals, payload: Payload) -> Prediction:
        """As `sense`, with proposals that were made before: for simulated lines."""
        observation = self.observation(payload, self._clock.now())
        prediction = self.predictor.answer(observation.id, observation, proposals, self._clock.now())
        self._spooled(prediction, None)
        return prediction

    def say(self, feedback: Feedback) -> None:
        """Give a verdict at the line: an operator's button, or a sensor's. It is in the spool when this returns.

        DiskFullError: it is not, and has to be given again. InputError: it is none.
        """
        with self._more:
            self._sequence += 1
            event = Event(self.place.line, self._sequence, feedback)
        try:
            data = msgspec.msgpack.encode(event)
        except (OverflowError, UnicodeEncodeError) as error:
            raise InputError(f"a verdict that no hub could read: {error}") from error
        self.settle((Spooled("verdict", feedback.prediction, self._clock.now(), data),))

    def in_its_name(self, feedback: Feedback) -> Feedback:
        """A verdict that was given at this line, as the line's word: only the line knows who gave it, and a token of
        its own speaks for nobody else. Reviewer `ann` is `line-1.ann` to the hub.
        """
        line, reviewer = self.place.line, feedback.reviewer
        if reviewer == line or reviewer.startswith(f"{line}."):
            return feedback
        return msgspec.structs.replace(feedback, reviewer=f"{line}.{reviewer}")

    def observation(self, payload: Payload, at: float) -> Observation:
        """The next observation of this line, with an id that no other has."""
        with self._more:
            self._sequence += 1
            sequence = self._sequence
        return Observation(
            id=f"{self.place.line}:{sequence}",
            site=self.place.site,
            line=self.place.line,
            at=at,
            digest=digest(payload.data),
            reference=None if payload.reference is None else digest(payload.reference),
        )

    @property
    def waiting(self) -> int:
        """Events that are not yet acknowledged, and payloads that are not yet kept."""
        state = self._spool.state()
        return state.events + state.payloads + len(self._fresh)

    def state(self) -> SpoolState:
        """How full the spool is, and all that was ever dropped, by kind and reason."""
        state = self._spool.state()
        with self._more:
            return msgspec.structs.replace(state, dropped=dict(Counter(state.dropped) + self._lost))

    def report(self, latency_ms: float = 0.0) -> LineReport:
        """How this line is."""
        state = self.state()
        return LineReport(
            line=self.place.line,
            site=self.place.site,
            version=self.predictor.version,
            waiting=state.events + state.payloads,
            spool_bytes=state.size_bytes,
            dropped=state.dropped,
            latency_ms=latency_ms,
            trouble=self.trouble,
            at=self._clock.now(),
        )

    def close(self, timeout_s: float = 5.0) -> None:
        """Send what waits, for at most `timeout_s`; then stop. The spool stays open: it is its maker's."""
        deadline = time.monotonic() + timeout_s
        while self.waiting and time.monotonic() < deadline:
            time.sleep(0.01)
        self._closing.set()
        self._events.set()
        self._payloads.set()
        with self._more:
            self._more.notify_all()
        for thread in self._threads[:3]:
            if thread.is_alive():
                thread.join(timeout=1.0)
        with suppress(StoreError):  # what could not be put is lost with this process, as far as it can tell
            self.settle()

    # into the spool

    def _spooled(self, prediction: Prediction, payload: Payload | None) -> None:
        """Leave it for the thread that puts it into the spool: the line does not wait for a disk."""
        name, sequence = prediction.id, int(prediction.id.rsplit(":", 1)[1])
        kind: SpoolKind = "flagged" if prediction.outputs else "unflagged"
        data = msgspec.msgpack.encode(Event(self.place.line, sequence, prediction))
        items = [Spooled(kind, name, prediction.observation.at, data)]
        if payload is not None:
            with_it: SpoolKind = "flagged payload" if prediction.outputs else "unflagged payload"
            blobs = (blob for blob in (payload.reference, payload.data) if blob is not None)
            items += [Spooled(with_it, name, prediction.observation.at, blob) for blob in blobs]
        with self._more:
            self._fresh.extend(items)
            self._fresh_bytes += sum(len(item.data) for item in items)
            self._bound_fresh()
            self._more.notify_all()

    def _bound_fresh(self) -> None:
        """The disk is slow or full: memory is bounded too, by the same rule."""
        for kind in reversed(_KINDS[2:]):
            if self._fresh_bytes <= _FRESH_BYTES_MAX:
                return
            kept: deque[Spooled] = deque()
            for item in self._fresh:
                if item.kind != kind or self._fresh_bytes <= _FRESH_BYTES_MAX:
                    kept.append(item)
                    continue
                self._fresh_bytes -= len(item.data)
                self._lost[f"{kind}: the disk is full or too slow"] += 1
            self._fresh = kept

    def _settle_all(self) -> None:
        while not self._closing.is_set():
            with self._more:
                self._more.wait_for(lambda: self._fresh or self._closing.is_set(), timeout=_TICK_S)
            try:
                if self._fresh:
                    self.settle()
                if self._device is not None:
                    self._device.tick()
            except StoreError as error:
                self.refused.append(str(error))
                self._closing.wait(_RETRY_S)

    def settle(self, more: Sequence[Spooled] = ()) -> None:
        """Put all that is fresh, and `more`, into the spool, in order. StoreError leaves what is fresh as it was, and
        `more` out.
        """
        with self._settling:
            with self._more:
                items, self._fresh = list(self._fresh), deque()
                size, self._fresh_bytes = self._fresh_bytes, 0
                lost, self._lost = self._lost, Counter()
            try:
                self._spool.put([*items, *more], lost)
            except StoreError:
                with self._more:
                    self._fresh.extendleft(reversed(items))
                    self._fresh_bytes += size
                    self._lost += lost
                    self._bound_fresh()
                raise
        self._events.set()
        self._payloads.set()

    # out of the spool

    def _send_all(self) -> None:
        self._deliver_all(self._events, "events", self.send_once)

    def _keep_all(self) -> None:
        self._deliver_all(self._payloads, "payloads", self._keep_once)

    def _deliver_all(self, told: threading.Event, what: _What, once: Callable[[], bool]) -> None:
        """Deliver whenever something comes, until the agent closes."""
        while not self._closing.is_set():
            told.wait()
            told.clear()
            self._closing.wait(_LINGER_S)
            while not self._closing.is_set() and self._has(what):
                if not once():
                    self._closing.wait(_RETRY_S)

    def _has(self, what: _What) -> bool:
        try:
            return bool(self._spool.waiting(what, 1))
        except StoreError as error:
            self.refused.append(str(error))
            return False

    def send_once(self) -> bool:
        """Deliver what waits, in order, in one request; False if the hub could not take it now.

        Where the hub refuses something of it for good, each event goes alone, so that the others arrive.
        """
        try:
            batch = self._spool.waiting("events", _SEND_MAX)
            if batch:
                self._hub.send([_event(item) for item in batch])
                self._spool.done(batch)
        except (InputError, CorruptError):
            return self._one_by_one(batch)
        except AccessError as error:
            self.trouble = str(error)
            return error.known and self._one_by_one(batch)
        except HotloopError as error:
            self.trouble = str(error)
            return False
        self.trouble = ""
        return True

    def _one_by_one(self, batch: Sequence[Spooled]) -> bool:
        """Deliver what can be delivered, and give up what is refused for good; False if something of it stays.

        A token that may say some of it and not the rest (a verdict in another's name) gives up that rest, so that it
        does not block what follows; one that may say none of it keeps all: then it is the token.
        """
        barred: list[tuple[Spooled, str]] = []
        for item in batch:
            try:
                if not self._sent_alone(item):
                    return False
            except AccessError as error:
                barred.append((item, str(error)))
        if len(barred) == len(batch) and not self._may_speak(len(barred)):
            return False
        for item, reason in barred:
            self.refused.append(reason)
            self._delivered(item, {f"{item.kind}: not this line's to say": 1})
        return True

    def _may_speak(self, count: int) -> bool:
        """Whether the hub lets this line say anything at all: it is told what it barred."""
        with self._more:
            self._sequence += 1
            sequence = self._sequence
        text = f"{self.place.line} gave up {count} events that it may not send: another reviewer's, or another line's"
        notice = Notice(subject="barred", text=text, at=self._clock.now())
        try:
            self._hub.send([Event(self.place.line, sequence, notice)])
        except HotloopError:
            return False
        return True

    def _sent_alone(self, item: Spooled) -> bool:
        lost: dict[str, int] = {}
        try:
            self._hub.send([_event(item)])
        except InputError as error:  # it will never be taken: say so, and do not block the rest
            self.refused.append(str(error))
            lost[f"{item.kind}: refused by the hub"] = 1
        except CorruptError as error:
            self.refused.append(str(error))
            lost[f"{item.kind}: damaged on the disk"] = 1
        except AccessError:
            raise
        except HotloopError:
            return False
        return self._delivered(item, lost)

    def _keep_once(self) -> bool:
        """Deliver the oldest payload, if its digest was not delivered before; False if the hub could not take it."""
        lost: dict[str, int] = {}
        try:
            waiting = self._spool.waiting("payloads", 1)
            if not waiting:
                return True
            name = digest(waiting[0].data)
            if name not in self._sent:
                self._hub.put_blobs([waiting[0].data])
        except InputError as error:
            self.refused.append(str(error))
            lost[f"{waiting[0].kind}: refused by the hub"] = 1
        except HotloopError:
            return False
        self._sent[name] = None
        if len(self._sent) > _SENT_MAX:
            self._sent.popitem(last=False)
        return self._delivered(waiting[0], lost)

    def _delivered(self, item: Spooled, lost: dict[str, int]) -> bool:
        """Forget it, and count it if it was refused; False if the disk fails: it is sent again, which costs nothing."""
        try:
            if lost:
                self._spool.put([], lost)
            self._spool.done([item])
        except StoreError:
            return False
        return True

    # releases

    def _follow_all(self) -> None:
        while not self._closing.is_set():
            self._follow_once()
            self._closing.wait(_RETRY_S)

    def _follow_once(self) -> None:
        """Answer with each newer model until the hub ends the stream, or fails."""
        try:
            self._say_live()
            for model in self._hub.follow(self.place.line, max(self._seen, self.predictor.version)):
                self._install(model)
                if self._closing.is_set():
                    return
        except HubUnreachableError:
            return  # it is away: that is what the spool is for
        except HotloopError as error:
            if not self.refused or self.refused[-1] != str(error):
                self.refused.append(str(error))

    def _install(self, model: Model) -> None:
        """Answer with a model, if it is newer, fits, and does well on this device; else decline it."""
        before = self.predictor.current
        if model.version <= before.version:
            return
        try:
            bundle = self._fetched(model)
            if bundle and self._device is not None:
                self._device.probe(model, bundle, before)
            vertical = self._on_backbone(model, bundle)
            candidate = self.predictor.fitted(model, vertical)
            if self._device is not None and vertical.backbone != before.vertical.backbone:
                self._device.shadow(model, candidate, self._closing)
                before = self.predictor.current
            elif self._device is not None:
                self._device.admit(model, candidate, before)
        except ModelError as error:
            self._seen = max(self._seen, model.version)
            self.decline(model.version, str(error))
        else:
            self._seen = max(self._seen, model.version)
            self._has_backbone(vertical)
            self._former = before
            self.predictor.swap(candidate)
            self._unsaid = Live(line=self.place.line, version=model.version, at=self._clock.now())
            self._kept(model, bundle)
        self._say_live()

    def _kept(self, model: Model, bundle: bytes) -> None:
        if self._device is None:
            return
        try:
            self._device.keep(model, bundle)
        except StoreError as error:  # it answers; after a restart an older one does, until the hub is heard again
            self.refused.append(str(error))

    def decline(self, version: int, reason: str) -> None:
        """Tell the hub that a release does not do well here, and why. It goes with what else is sent."""
        stays, at = self.predictor.version, self._clock.now()
        self.refused.append(reason)
        self._tell(Declined(line=self.place.line, version=version, stays=stays, reason=reason, at=at), "flagged")

    def distrust(self, version: int, reason: str) -> None:
        """Tell the hub that what came as a release is none of its own. It counts as nothing, and may be dropped:
        whoever is in between must not stop a rollout, nor fill a spool.
        """
        if not self.refused or self.refused[-1] != reason:
            self.refused.append(reason)
        text = f"{self.place.line} refused what came as version {version}: {reason}"
        self._tell(Notice(subject="untrusted release", text=text, at=self._clock.now()), "unflagged")

    def _tell(self, body: Declined | Notice, kind: SpoolKind) -> None:
        with self._more:
            self._sequence += 1
            data = msgspec.msgpack.encode(Event(self.place.line, self._sequence, body))
            self._fresh.append(Spooled(kind, "", self._clock.now(), data))
            self._fresh_bytes += len(data)
            self._bound_fresh()
            self._more.notify_all()

    def _by_the_former(self, observation: Observation, payload: Payload, error: str) -> Prediction | None:
        """Where a young release fails on a payload and the one before it does not: go back. None: it is the payload."""
        former = self._former
        if former is None or self._device is None or self._device.proven:
            return None
        try:
            proposals = former.vertical.propose(payload)
            found = self.predictor.answer(observation.id, observation, proposals, self._clock.now(), former)
        except ModelError:
            return None
        self._go_back(f"it failed: {error}")
        return found

    def _go_back(self, reason: str) -> bool:
        """Answer with what did before the last release; False if that is not at hand."""
        with self._more:
            former, self._former = self._former, None
            bad = self.predictor.version
            if former is None:
                return False
            self.predictor.swap(former)
            self._unsaid = None
        if self._device is not None:
            self._device.went_back()
        self.decline(bad, f"version {bad} answered and was taken back: {reason}")
        return True

    def _answer_as_before(self, device: Device) -> None:
        """The release that answered when this device was switched off; the start model if there is none that fits."""
        try:
            found = device.start()
            if found is None:
                return
            vertical = self.predictor.vertical
            if found.bundle and isinstance(vertical, Refreshable):
                vertical = vertical.revived(found.bundle)
            self.predictor.swap(self.predictor.fitted(found.model, vertical))
            self._has_backbone(vertical)
            self._unsaid = Live(line=self.place.line, version=found.model.version, at=self._clock.now())
        except (ModelError, StoreError) as error:
            self.refused.append(f"what answered last cannot answer now: {error}")

    def _fetched(self, model: Model) -> bytes:
        """The bytes of a model's backbone; b"" where it is at hand, or cannot be another one than it is."""
        if model.backbone in self._backbones or not isinstance(self.predictor.vertical, Refreshable):
            return b""
        return self._hub.get_blob(model.backbone)

    def _on_backbone(self, model: Model, bundle: bytes) -> Vertical:
        """The vertical on a model's backbone."""
        vertical = self.predictor.vertical
        if bundle and isinstance(vertical, Refreshable):
            return vertical.revived(bundle)
        return self._backbones.get(model.backbone, vertical)

    def _has_backbone(self, vertical: Vertical) -> None:
        """Keep a backbone that answers at hand. One without a digest was built in: nobody could send it again."""
        self._backbones[vertical.backbone] = vertical
        if len(self._backbones) > _BACKBONES_MAX:
            del self._backbones[next(name for name in self._backbones if name)]

    def _say_live(self) -> None:
        """Acknowledge what answers now; what the hub could not take is said again before the next model comes."""
        if self._unsaid is not None:
            self._hub.acknowledge([self._unsaid])
            self._unsaid = None


def _event(item: Spooled) -> Event:
    """The event that an item holds. CorruptError if it is not as it was put."""
    try:
        return msgspec.msgpack.decode(item.data, type=Event)
    except UNREADABLE as error:
        raise CorruptError(f"{item.kind} {item.of} is damaged in the spool ({error}): it was given up") from error
