"""Releases as server-sent events: serialised once, newest only, no thread a line."""

from __future__ import annotations

import asyncio
import threading
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from hotloop.config import RolloutConfig
from hotloop.errors import OverloadError, StoreError
from hotloop.fleet import Fleet
from hotloop.hub.stream import KEEP_ALIVE, Broadcast, Follower, frame, send_stream
from hotloop.store.channel import LocalChannel
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Declined, Live, Model, Release


def publish(channel: Any, model: Model) -> None:
    """Release a model."""
    channel.publish(Release(version=model.version, parent=0, tier="reflex", digest="", learned_to=1), model)


def answering(good: list[bool]):
    """Says of a token whether it is good: as `good` has it when it is asked."""

    async def known() -> bool:
        return good[0]

    return known


def known(line: str, after: int) -> Follower:
    """One whose token stays good."""
    return Follower(line, after, answering([True]))


class Line:
    """One end of a stream: what was sent, and a way to go."""

    def __init__(self) -> None:
        self.sent: asyncio.Queue[bytes] = asyncio.Queue()
        self.gone = asyncio.Event()
        self.status = 0
        self.ended = False

    async def receive(self) -> Any:
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: Any) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            assert (b"content-type", b"text/event-stream") in message["headers"]
        elif message["more_body"]:
            self.sent.put_nowait(message["body"])
        else:
            self.ended = True

    async def version(self) -> int:
        """The version of the next event; keep-alives are passed over."""
        while True:
            data = await asyncio.wait_for(self.sent.get(), 5)
            if data != KEEP_ALIVE:
                return msgspec.json.decode(data.split(b"data: ")[1].strip(), type=Model).version


def test_a_frame_is_one_event(make: SimpleNamespace) -> None:
    """Id, name and one line of data, however the head's bytes are."""
    model = msgspec.structs.replace(make.model(7), head=bytes(range(256)))
    lines = frame(model).split(b"\n")
    assert lines[0] == b"id: 7"
    assert lines[1] == b"event: model"
    assert msgspec.json.decode(lines[2].removeprefix(b"data: "), type=Model) == model
    assert lines[3:] == [b"", b""]


def test_many_lines_get_the_newest_from_one_thread(make: SimpleNamespace) -> None:
    """Two hundred streams share one watcher; each gets the newest model, then each release."""

    async def run() -> None:
        channel = LocalChannel(make.model(3))
        broadcast = Broadcast(channel, 500)
        before = threading.active_count()
        lines = [Line() for _ in range(200)]
        who = known("line-1", 0)
        streams = [asyncio.create_task(send_stream(broadcast, who, 5.0, line.receive, line.send)) for line in lines]
        assert {await line.version() for line in lines} == {3}
        assert threading.active_count() <= before + 1
        await asyncio.to_thread(publish, channel, make.model(4))
        assert {await line.version() for line in lines} == {4}
        broadcast.close()
        channel.close()
        await asyncio.gather(*streams)
        assert all(line.ended for line in lines)
        assert len(broadcast) == 0

    asyncio.run(run())


def test_a_line_that_is_up_to_date_hears_that_the_hub_lives(make: SimpleNamespace) -> None:
    """With nothing newer there are keep-alive comments, and then the release."""

    async def run() -> None:
        channel = LocalChannel(make.model(3))
        broadcast, line = Broadcast(channel, 5), Line()
        stream = asyncio.create_task(send_stream(broadcast, known("line-1", 3), 0.01, line.receive, line.send))
        assert await asyncio.wait_for(line.sent.get(), 5) == KEEP_ALIVE
        publish(channel, make.model(4))
        assert await line.version() == 4
        line.gone.set()
        await asyncio.wait_for(stream, 5)
        assert len(broadcast) == 0
        broadcast.close()
        channel.close()

    asyncio.run(run())


def test_a_line_that_is_no_longer_known_hears_no_more(make: SimpleNamespace) -> None:
    """A device that was revoked while its stream was open hears nothing more once a keep-alive time is over."""

    async def run() -> None:
        channel = LocalChannel(make.model(3))
        broadcast, line, good = Broadcast(channel, 5), Line(), [True]
        follower = Follower("line-1", 0, answering(good))
        stream = asyncio.create_task(send_stream(broadcast, follower, 0.05, line.receive, line.send))
        assert await line.version() == 3
        good[0] = False
        await asyncio.sleep(0.06)
        publish(channel, make.model(4))
        await asyncio.wait_for(stream, 5)
        assert line.ended
        left = [line.sent.get_nowait() for _ in range(line.sent.qsize())]
        assert not [data for data in left if b"id: 4" in data]
        broadcast.close()
        channel.close()

    asyncio.run(run())


def test_a_slow_line_skips_what_it_missed(make: SimpleNamespace) -> None:
    """A line that takes long gets the newest in one step, not each one."""

    async def run() -> None:
        channel = LocalChannel(make.model(1))
        broadcast, line = Broadcast(channel, 5), Line()
        slow = asyncio.Event()

        async def send(message: Any) -> None:
            await line.send(message)
            if b"id: 1\n" in message.get("body", b""):
                await slow.wait()

        stream = asyncio.create_task(send_stream(broadcast, known("line-1", 0), 5.0, line.receive, send))
        assert await line.version() == 1
        for version in range(2, 30):
            publish(channel, make.model(version))
        while broadcast.for_line("line-1")[0] < 29:
            await asyncio.to_thread(lambda: None)  # the watcher tells the loop, not us
        slow.set()
        assert await line.version() == 29
        broadcast.close()
        channel.close()
        await stream

    asyncio.run(run())


def test_a_line_that_takes_nothing_is_let_go(make: SimpleNamespace) -> None:
    """A stream that is stuck for two keep-alive times ends and gives its place back."""

    async def run() -> None:
        channel = LocalChannel(make.model(1))
        broadcast, line = Broadcast(channel, 1), Line()

        async def stuck(message: Any) -> None:
            await asyncio.Event().wait()

        await asyncio.wait_for(send_stream(broadcast, known("line-1", 0), 0.01, line.receive, stuck), 5)
        assert len(broadcast) == 0
        broadcast.close()
        channel.close()

    asyncio.run(run())


def test_streams_are_bounded(make: SimpleNamespace) -> None:
    """One more than `streams_max` is refused with a time to come back; a place that is left is free again."""

    async def run() -> None:
        channel = LocalChannel(make.model(1))
        broadcast = Broadcast(channel, 2)
        first, _ = broadcast.listen(), broadcast.listen()
        with pytest.raises(OverloadError, match="streams_max"):
            broadcast.listen()
        broadcast.leave(first)
        broadcast.listen()
        broadcast.close()
        with pytest.raises(OverloadError, match="stopping"):
            broadcast.listen()
        channel.close()

    asyncio.run(run())


def test_a_channel_that_fails_is_followed_again(make: SimpleNamespace, monkeypatch: Any) -> None:
    """An error of the channel is not the end of the releases."""
    monkeypatch.setattr("hotloop.hub.stream._WATCH_S", 0.01)

    class Failing(LocalChannel):
        failures = 2

        def follow(self, line: str, after: int, timeout_s: float) -> Model | None:
            if self.failures:
                self.failures -= 1
                raise StoreError("not now")
            return super().follow(line, after, timeout_s)

    async def run() -> None:
        channel, line = Failing(make.model(5)), Line()
        broadcast = Broadcast(channel, 5)
        stream = asyncio.create_task(send_stream(broadcast, known("line-1", 0), 5.0, line.receive, line.send))
        assert await line.version() == 5
        broadcast.close()
        channel.close()
        await stream

    asyncio.run(run())


def test_over_the_route_a_line_follows(app: Any, engine: Any, make: SimpleNamespace) -> None:
    """GET /v1/follow answers 200 with the model; a line without a name is refused before the stream begins."""

    async def run() -> None:
        line = Line()
        scope = make.scope("GET", "/v1/follow?line=line-1&after=0", "line", {})
        stream = asyncio.create_task(app(scope, line.receive, line.send))
        assert await line.version() == 1
        line.gone.set()
        await asyncio.wait_for(stream, 5)
        assert line.status == 200
        assert len(app.broadcast) == 0

    asyncio.run(run())
    call = make.caller(app)
    assert call("GET", "/v1/follow").status == 422
    assert call("GET", "/v1/follow?line=a/b").status == 422
    assert call("GET", "/v1/follow?line=a&after=-1").status == 422


def test_a_release_on_another_backbone_comes_to_the_wave_first(make: SimpleNamespace, monkeypatch: Any) -> None:
    """The canary gets it at once, the others once it is for all; what they may take meanwhile is signed before it."""
    monkeypatch.setattr("hotloop.hub.stream._WATCH_S", 0.01)
    made: list[int] = []

    def framed(model: Model) -> bytes:
        made.append(model.version)
        return frame(model)

    async def run() -> None:
        clock, channel = SimulatedClock(), LocalChannel(make.model(1))
        fleet = Fleet(RolloutConfig(wave_s=5.0), clock)
        fleet.released(make.model(1))
        for line in ("line-1", "line-2"):
            fleet.seen(line)
        other = msgspec.structs.replace(make.model(2), backbone="another")
        fleet.released(other)
        publish(channel, other)
        broadcast = Broadcast(channel, 5, framed, fleet, fleet.tick)
        first, second = Line(), Line()
        streams = [
            asyncio.create_task(send_stream(broadcast, known(name, 0), 5.0, line.receive, line.send))
            for name, line in (("line-1", first), ("line-2", second))
        ]
        assert await first.version() == 2
        assert await second.version() == 1
        assert made == [1, 2]
        fleet.acknowledged(Live(line="line-1", version=2))
        clock.advance(6.0)
        assert await second.version() == 2
        assert made == [1, 2]
        broadcast.close()
        channel.close()
        await asyncio.gather(*streams)

    asyncio.run(run())


def test_a_wave_that_declines_is_told_once(make: SimpleNamespace, monkeypatch: Any) -> None:
    """So that the hub orders the way back; nobody else is offered it."""
    monkeypatch.setattr("hotloop.hub.stream._WATCH_S", 0.01)
    told: list[str] = []
    fleets: list[Fleet] = []
    heard = threading.Event()

    def go_on() -> None:
        step = fleets[0].tick()
        if step is not None and step.action == "roll back":
            told.append(step.reason)
            heard.set()

    async def run() -> None:
        channel = LocalChannel(make.model(1))
        fleet = Fleet(RolloutConfig(), SimulatedClock())
        fleet.released(make.model(1))
        for line in ("line-1", "line-2"):
            fleet.seen(line)
        other = msgspec.structs.replace(make.model(2), backbone="another")
        fleet.released(other)
        publish(channel, other)
        fleets.append(fleet)
        broadcast, line = Broadcast(channel, 5, frame, fleet, go_on), Line()
        stream = asyncio.create_task(send_stream(broadcast, known("line-1", 0), 5.0, line.receive, line.send))
        assert await line.version() == 2
        fleet.declined(Declined(line="line-1", version=2, stays=1, reason="it hung"))
        assert await asyncio.to_thread(heard.wait, 5.0)
        await asyncio.sleep(0.05)
        assert len(told) == 1
        assert "line-1: it hung" in told[0]
        broadcast.close()
        channel.close()
        await stream

    asyncio.run(run())


def test_a_pinned_line_is_offered_nothing_until_it_is_unpinned(make: SimpleNamespace, monkeypatch: Any) -> None:
    """Then the newest, in one step."""
    monkeypatch.setattr("hotloop.hub.stream._WATCH_S", 0.01)

    async def run() -> None:
        channel, fleet = LocalChannel(make.model(1)), Fleet(RolloutConfig(), SimulatedClock())
        fleet.released(make.model(1))
        fleet.pin("line-1", pinned=True)
        broadcast = Broadcast(channel, 5, frame, fleet, fleet.tick)
        pinned, free = Line(), Line()
        streams = [
            asyncio.create_task(send_stream(broadcast, known(name, 0), 5.0, line.receive, line.send))
            for name, line in (("line-1", pinned), ("line-2", free))
        ]
        for version in (2, 3):
            fleet.released(make.model(version))
            publish(channel, make.model(version))
            while await free.version() < version:
                pass
        assert broadcast.for_line("line-1") == (0, b"")
        fleet.pin("line-1", pinned=False)
        assert await pinned.version() == 3
        broadcast.close()
        channel.close()
        await asyncio.gather(*streams)

    asyncio.run(run())


def test_what_has_become_old_is_made_again(make: SimpleNamespace, monkeypatch: Any) -> None:
    """A signed release expires: a line that comes after a quiet week gets the same version, signed anew; the lines that
    have it get nothing.
    """
    monkeypatch.setattr("hotloop.hub.stream._WATCH_S", 0.01)
    made: list[int] = []

    again = threading.Event()

    def framed(model: Model) -> bytes:
        made.append(model.version)
        if len(made) == 3:
            again.set()
        return frame(model)

    async def run() -> None:
        channel, fleet = LocalChannel(make.model(1)), Fleet(RolloutConfig(), SimulatedClock())
        fleet.released(make.model(1))
        broadcast, line, late = Broadcast(channel, 5, framed, fleet, fleet.tick, fresh_s=0.05), Line(), Line()
        first = asyncio.create_task(send_stream(broadcast, known("line-1", 0), 5.0, line.receive, line.send))
        assert await line.version() == 1
        sent = line.sent.qsize()
        await asyncio.to_thread(again.wait, 5.0)
        second = asyncio.create_task(send_stream(broadcast, known("line-2", 0), 5.0, late.receive, late.send))
        assert await late.version() == 1
        assert set(made) == {1}
        assert line.sent.qsize() == sent
        broadcast.close()
        channel.close()
        await asyncio.gather(first, second)

    asyncio.run(run())
