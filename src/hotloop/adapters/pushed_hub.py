"""Releases by a broker while it is there, else by the hub's own stream: they are checked alike.

The broker is not trusted. What it gives may be forged, older, or nothing at all: a release counts once it is in order,
and one that is not lets the line listen to the hub's stream too, until the broker gives a true one again. Every few
minutes it looks at the stream in any case: nobody can hold a line back for longer.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Final, Literal, TypeAlias

from hotloop.adapters.hub_client import HubClient
from hotloop.adapters.release_check import ReleaseCheck
from hotloop.adapters.signed_hub import SignedHub
from hotloop.errors import HotloopError
from hotloop.store.signing import SignedRelease
from hotloop.types import Model

Way: TypeAlias = Literal["settled", "line", "stream"]

_GRACE_S: Final = 1.0  # that the broker has at the start before the stream is opened
_GATHER_S: Final = 0.05  # after subscribing: what is kept on two topics comes as two messages, and is one step
_RETRY_S: Final = 0.5
_PEEK_S: Final = 300.0  # so often the stream is looked at although the broker is there: it may hold something back ...
_PEEK_FOR_S: Final = 2.0  # ... for so long


class Releases:
    """The newest release of each way, until it was taken or refused. Nothing older is kept.

    `arrived` and `reachable` are for the thread that listens to the broker; `next`, `took` and `refuse` for the one
    that follows releases.
    """

    def __init__(self, client: HubClient, line: str) -> None:
        """`client` opens the hub's stream for `line` while the broker is away."""
        self._client, self._line = client, line
        self._came = threading.Condition()  # its lock may be taken again by who has it
        self._newest: dict[Way, SignedRelease] = {}
        self._there = self._doubted = self._peeking = self._aside = self._closed = False
        self._quiet = threading.Event()  # the stream is not wanted
        self._after = 0
        self._by: Way | None = None  # the way of what was given last
        self._gather_s = 0.0
        self._failed: HotloopError | None = None
        self.taken: Counter[str] = Counter()  # releases that were believed, by the way they came
        self._reader = threading.Thread(target=self._read_stream, name="hotloop-stream", daemon=True)

    def start(self) -> None:
        """Begin to listen to the stream when the broker is away."""
        self._reader.start()

    def arrived(self, way: Way, release: SignedRelease | None) -> None:
        """A release came; None: there is none that way any more."""
        with self._came:
            if release is None:
                self._newest.pop(way, None)
            else:
                self._newest[way] = release
                self._came.notify_all()

    def reachable(self, *, now: bool) -> None:
        """Whether the broker is there and the hub puts its releases there."""
        with self._came:
            self._there = now
            self._decide()

    def aside(self, *, now: bool) -> None:
        """Whether this line is to take nothing from the broker: the stream says what is for it."""
        with self._came:
            self._aside = now
            self._decide()

    def gather(self) -> None:
        """What is kept at the broker is about to come: wait for all of it."""
        with self._came:
            self._gather_s, self._aside = time.monotonic() + _GATHER_S, False

    def doubt(self) -> None:
        """What came by the broker is not in order: listen to the stream as well."""
        with self._came:
            self._doubted = True
            self._decide()

    def next(self, after: int) -> SignedRelease | None:
        """The newest release that says it is above `after`: waits for one; None once closed. It stays until it is
        refused, or something newer was taken. HotloopError: why the hub's stream cannot be had.
        """
        with self._came:
            self._after = after
            while not self._closed:
                if self._failed is not None:
                    failed, self._failed = self._failed, None
                    raise failed
                way, found = self._best()
                wait_s = self._gather_s - time.monotonic()
                if found is not None and found.version > after and wait_s <= 0:
                    self._by = way
                    return found
                self._came.wait(wait_s if wait_s > 0 else None)
            return None

    def took(self, release: SignedRelease) -> None:
        """What `next` gave last was believed."""
        with self._came:
            streamed = self._by == "stream"
            self._after = max(self._after, release.version)
            self.taken["stream" if streamed else "mqtt"] += 1
            self._doubted = streamed and (self._doubted or self._peeking)  # the broker had not given it
            self._decide()

    def refuse(self, release: SignedRelease) -> None:
        """It was not: it must hide no other."""
        with self._came:
            if self._by is not None and self._newest.get(self._by) is release:
                del self._newest[self._by]
            if self._by != "stream":
                self._doubted = True
                self._decide()

    def close(self) -> None:
        """End every `next` that waits, and the stream."""
        with self._came:
            self._closed = True
            self._quiet.set()
            self._came.notify_all()

    def _best(self) -> tuple[Way, SignedRelease] | tuple[None, None]:
        """The newest of all that may be taken."""
        ways = [one for one in self._newest.items() if one[0] == "stream" or not self._aside]
        return max(ways, key=lambda one: one[1].version) if ways else (None, None)

    def _decide(self) -> None:
        """Listen to the stream, or not."""
        if self._there and not (self._doubted or self._peeking or self._aside):
            self._quiet.set()
        elif not self._closed:
            self._quiet.clear()
        self._came.notify_all()

    def _peek(self, *, now: bool) -> None:
        with self._came:
            self._peeking = now
            self._decide()

    def _read_stream(self) -> None:
        """Follow the hub's stream whenever it is wanted, until closed."""
        with self._came:
            self._came.wait_for(lambda: self._there or self._closed, _GRACE_S)
        while True:
            with self._came:
                if not self._came.wait_for(lambda: self._closed or not self._quiet.is_set(), _PEEK_S):
                    self._peek(now=True)
                    timer = threading.Timer(_PEEK_FOR_S, self._peek, kwargs={"now": False})
                    timer.daemon = True
                    timer.start()
                if self._closed:
                    return
                after = self._after
            try:
                for release in self._client.follow_signed(self._line, after, self._quiet):
                    self.arrived("stream", release)
            except HotloopError as error:
                with self._came:
                    self._failed = error
                    self._came.notify_all()
                    self._came.wait_for(lambda: self._closed, _RETRY_S)


class PushedHub(SignedHub):
    """What the agent needs of its hub, with releases that may come by a broker. All else is the hub's own HTTP."""

    def __init__(self, client: HubClient, check: ReleaseCheck, releases: Releases) -> None:
        super().__init__(client, check)
        self._releases = releases

    def follow(self, line: str, after: int) -> Iterator[Model]:  # noqa: ARG002  (the releases are this line's)
        """Each newer model whose release is in order; the others are told and passed over."""
        while (release := self._releases.next(after)) is not None:
            model = self._believed(release)
            if model is None:
                self._releases.refuse(release)
            else:
                self._releases.took(release)
                after = model.version
                yield model
