"""Releases to the lines as server-sent events: one thread watches the channel, every stream shares its bytes.

A line needs no thread here. A slow line skips what it missed: each stream is sent the newest model only.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from hotloop.errors import HotloopError, OverloadError
from hotloop.fleet import Fleet
from hotloop.ports import Channel
from hotloop.types import Model

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

_Offer: TypeAlias = tuple[int, bytes]  # a version, and its event
_Lines: TypeAlias = frozenset[str]
Tap: TypeAlias = Callable[[_Offer, _Offer, _Lines, _Lines], None]  # newest, settled, who tries it, who is pinned

KEEP_ALIVE = b": the hub lives\n\n"
_WATCH_S = 1.0  # how long the watcher waits at once
_PAUSE_S = 0.01  # between two waits that found nothing: a closed channel answers at once
_log = logging.getLogger(__name__)


def frame(model: Model) -> bytes:
    """A model as one server-sent event."""
    return b"id: %d\nevent: model\ndata: %b\n\n" % (model.version, msgspec.json.encode(model))


def carried(offer: _Offer) -> _Offer:
    """An offer with what its event carries, without the event around it."""
    version, event = offer
    return version, event.partition(b"data: ")[2][:-2]


class Listener:
    """One open stream: `changed` is set when there is something newer, or when it should end."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.ended = False

    def end(self) -> None:
        """Let the stream end."""
        self.ended = True
        self.changed.set()


class Broadcast:
    """The newest model, serialised once, for every stream. Used from the event loop's thread only."""

    def __init__(
        self,
        channel: Channel,
        streams_max: int,
        framed: Callable[[Model], bytes] = frame,
        fleet: Fleet | None = None,
        go_on: Callable[[], None] = lambda: None,
        fresh_s: float = math.inf,
    ) -> None:
        """`framed` makes the event of a model; called in a thread, once a model, and again after `fresh_s`: what is
        signed expires. `fleet` says which line may take which; `go_on` is called now and then: a rollout goes on.
        """
        self._channel = channel
        self._framed = framed
        self._fleet, self._go_on, self._generation = fleet, go_on, -1
        self._streams_max = streams_max
        self._listeners: set[Listener] = set()
        self._watcher: threading.Thread | None = None
        self._stop = threading.Event()
        self._newest: _Offer = (0, b"")
        self._settled: _Offer = (0, b"")  # what every line may take
        self._tap: Tap | None = None
        self._fresh_s = fresh_s
        self._framed_s = self._settled_s = time.monotonic()  # when the two events were made
        self._model: Model | None = None  # the newest

    def for_line(self, line: str) -> _Offer:
        """The newest version that a line may take, and its event."""
        if self._fleet is not None and line in self._fleet.pinned():
            return 0, b""
        return self._newest if self._fleet is None or self._fleet.may(line) else self._settled

    def __len__(self) -> int:
        return len(self._listeners)

    def listen(self) -> Listener:
        """A new stream. OverloadError when there are `streams_max` already, or the hub stops."""
        if self._stop.is_set():
            raise OverloadError("the hub is stopping: connect again shortly", retry_after_s=2.0)
        if len(self._listeners) >= self._streams_max:
            raise OverloadError(
                f"{self._streams_max} lines follow already (`hub.streams_max`): raise it, or add a hub",
                retry_after_s=5.0,
            )
        self._start()
        listener = Listener()
        self._listeners.add(listener)
        return listener

    def tap(self, told: Tap) -> None:
        """Tell somebody in this process too, in the watcher's thread, from now on. They must not wait."""
        self._tap = told
        self._start()

    def _start(self) -> None:
        """Watch, if nobody does yet."""
        if self._watcher is None:
            loop = asyncio.get_running_loop()
            self._watcher = threading.Thread(target=self._watch, args=(loop,), name="hub-releases", daemon=True)
            self._watcher.start()

    def leave(self, listener: Listener) -> None:
        """A stream has ended."""
        self._listeners.discard(listener)

    def close(self) -> None:
        """End every stream and the watcher."""
        self._stop.set()
        for listener in self._listeners:
            listener.end()

    def _offer(self, newest: _Offer, settled: _Offer) -> None:
        """What has changed, told to every stream."""
        self._newest, self._settled = newest, settled
        for listener in self._listeners:
            listener.changed.set()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Follow the channel as one line would, in a thread of its own, until closed."""
        newest = settled = (0, b"")
        while not self._stop.is_set():
            try:
                model = self._channel.follow("hub", newest[0], _WATCH_S)
                self._go_on()
                # a line that comes now must not get what has expired
                if time.monotonic() - self._settled_s > self._fresh_s:
                    model, settled = model or self._model, (0, b"")
                elif model is None and time.monotonic() - self._framed_s > self._fresh_s:
                    model = self._model
                if not self._changed() and model is None:
                    self._stop.wait(_PAUSE_S)
                    continue
                newest, settled = self._events(model, newest, settled)
            except HotloopError as error:
                _log.warning("the channel cannot be followed, lines get no releases until it can: %s", error)
                self._stop.wait(_WATCH_S)
                continue
            if self._tap is not None:
                trying = frozenset() if self._fleet is None else self._fleet.trying()
                pinned = frozenset() if self._fleet is None else self._fleet.pinned()
                self._tap(carried(newest), carried(settled), trying, pinned)
            try:
                loop.call_soon_threadsafe(self._offer, newest, settled)
            except RuntimeError:  # the loop is closed: nobody listens any more
                return

    def _events(self, model: Model | None, newest: _Offer, settled: _Offer) -> tuple[_Offer, _Offer]:
        """The events of the newest model and of the one that every line may take, where `model` is new.

        The settled one's is made first: signed metadata rises in the order in which it is made.
        """
        final = model if self._fleet is None else self._fleet.settled() or model
        if model is not None:
            if final is not None and final.version not in (model.version, settled[0]):
                settled, self._settled_s = (final.version, self._framed(final)), time.monotonic()
            newest = (model.version, self._framed(model))
            self._model, self._framed_s = model, time.monotonic()
        if final is None or final.version == newest[0]:
            settled, self._settled_s = newest, self._framed_s
        return newest, settled

    def _changed(self) -> bool:
        """Whether other lines than before may take something."""
        before, self._generation = self._generation, 0 if self._fleet is None else self._fleet.generation
        return before != self._generation


@dataclass(frozen=True)
class Follower:
    """A line, the version that it has, and whether its token is still good: a device may be revoked meanwhile."""

    line: str
    after: int
    known: Callable[[], Awaitable[bool]]


async def send_stream(broadcast: Broadcast, follower: Follower, alive_s: float, receive: Receive, send: Send) -> None:
    """Send a follower the models above what it has, until the line goes, is no longer known, or the hub stops.

    A line that takes nothing for two keep-alive times is let go: it will come back. Whether it is known is asked once
    in a keep-alive time, not for each model: that is a look at the disk.
    """
    line, after, asked_s = follower.line, follower.after, time.monotonic()
    listener = broadcast.listen()
    gone = asyncio.ensure_future(_disconnected(receive, listener))
    try:
        async with asyncio.timeout(2 * alive_s):
            await send(_START)
        while not listener.ended:
            data = KEEP_ALIVE
            if time.monotonic() - asked_s >= alive_s:
                asked_s = time.monotonic()
                if not await follower.known():
                    break
            version, event = broadcast.for_line(line)
            if version > after:
                after, data = version, event
            elif await _changed(listener, alive_s):
                continue
            async with asyncio.timeout(2 * alive_s):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})
    except TimeoutError:
        _log.info("a line took nothing for %.0f s: its stream is closed", 2 * alive_s)
    finally:
        gone.cancel()
        broadcast.leave(listener)


_START: Message = {
    "type": "http.response.start",
    "status": 200,
    "headers": [
        (b"content-type", b"text/event-stream"),
        (b"cache-control", b"no-store"),
        (b"x-accel-buffering", b"no"),
    ],
}


async def _changed(listener: Listener, alive_s: float) -> bool:
    """Wait for something newer; False after `alive_s` without."""
    try:
        async with asyncio.timeout(alive_s):
            await listener.changed.wait()
    except TimeoutError:
        return False
    listener.changed.clear()
    return True


async def _disconnected(receive: Receive, listener: Listener) -> None:
    """End the listener when its line has gone."""
    while (await receive())["type"] != "http.disconnect":
        pass
    listener.end()
