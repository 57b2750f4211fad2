"""The laws of the Channel: what every adapter must do. Each takes a function that makes a new channel.

Waiting is bounded by `WAIT_S`; an adapter that is right never waits that long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

from hotloop.errors import ModelError
from hotloop.ports import Channel
from hotloop.testing.checks.raising import raises
from hotloop.testing.checks.registry import model
from hotloop.types import Live, Release

Maker: TypeAlias = Callable[[], Channel]
Law: TypeAlias = Callable[[Maker], None]
WAIT_S = 10.0
FOLLOWERS = 200


def check_channel(make: Maker) -> None:
    """Hold a channel to all laws, each on a new one."""
    for law in LAWS:
        law(make)


def publish(channel: Channel, version: int) -> None:
    """Offer a model of that version."""
    offered = model(version)
    release = Release(version=version, parent=version - 1, tier="reflex", digest="d" * 64, learned_to=1)
    channel.publish(release, offered)


def a_line_gets_the_newest_in_one_step(make: Maker) -> None:
    """A line that was away gets the newest model, whole, and not each one that it missed."""
    channel = make()
    for version in (1, 2, 5):
        publish(channel, version)
    assert channel.follow("line-1", 0, WAIT_S) == model(5), "the newest, whole"
    assert channel.follow("line-2", 4, WAIT_S) == model(5), "for each line"
    channel.close()


def a_line_that_is_up_to_date_waits_in_vain(make: Maker) -> None:
    """With nothing above `after`, `follow` returns None after its time, also before the first release."""
    channel = make()
    assert channel.follow("line-1", 0, 0.0) is None, "nothing was published"
    publish(channel, 3)
    assert channel.follow("line-1", 3, 0.01) is None, "nothing above 3"
    assert channel.follow("line-1", 9, 0.01) is None, "a line ahead of the channel gets nothing older"
    channel.close()


def hundreds_wait_and_all_get_it(make: Maker) -> None:
    """Two hundred lines that wait each get the release as soon as there is one."""
    channel = make()
    publish(channel, 1)
    arrived = threading.Semaphore(0)

    def follow(number: int) -> int:
        arrived.release()
        found = channel.follow(f"line-{number}", 1, WAIT_S)
        return found.version if found else 0

    with ThreadPoolExecutor(FOLLOWERS) as pool:
        waiting = [pool.submit(follow, number) for number in range(FOLLOWERS)]
        for _ in range(FOLLOWERS):
            arrived.acquire()
        publish(channel, 2)
        assert {future.result() for future in waiting} == {2}, "every line gets version 2"
    channel.close()


def versions_rise(make: Maker) -> None:
    """A version not above the last one raises ModelError, and the lines keep getting the last one."""
    channel = make()
    publish(channel, 4)
    for version in (4, 3):
        assert raises(ModelError, publish, channel, version), f"version {version} after 4 is refused"
    assert channel.follow("line-1", 0, WAIT_S) == model(4), "a refused release changes nothing"
    publish(channel, 5)
    assert channel.follow("line-1", 4, WAIT_S) == model(5), "a higher one goes out"
    channel.close()


def the_last_word_of_a_line_counts(make: Maker) -> None:
    """`lines` has the version that each line acknowledged last, also when it reverted to an older one."""
    channel = make()
    assert dict(channel.lines()) == {}, "no line has acknowledged anything"
    for line, version in (("line-2", 1), ("line-1", 1), ("line-1", 2), ("line-2", 2), ("line-2", 1)):
        channel.acknowledge(Live(line=line, version=version))
    seen = channel.lines()
    assert dict(seen) == {"line-1": 2, "line-2": 1}, "the last acknowledgement of each line"
    channel.acknowledge(Live(line="line-3", version=9))
    assert dict(seen) == {"line-1": 2, "line-2": 1}, "what was returned does not change"
    channel.close()


def following_is_not_acknowledging(make: Maker) -> None:
    """A line that got a model has not said that it answers with it."""
    channel = make()
    publish(channel, 1)
    assert channel.follow("line-1", 0, WAIT_S) == model(1), "the line gets the model"
    assert dict(channel.lines()) == {}, "but it has not acknowledged it"
    channel.close()


def closing_ends_all_waiting(make: Maker) -> None:
    """`close` ends every `follow` that waits, at once, with None; so does following a closed channel."""
    channel = make()
    arrived = threading.Semaphore(0)

    def follow(number: int) -> bool:
        arrived.release()
        return channel.follow(f"line-{number}", 0, 1000 * WAIT_S) is None

    with ThreadPoolExecutor(20) as pool:
        waiting = [pool.submit(follow, number) for number in range(20)]
        for _ in range(20):
            arrived.acquire()
        channel.close()
        assert all(future.result(timeout=WAIT_S) for future in waiting), "closing ends the waiting with None"
    assert channel.follow("line-1", 0, 1000 * WAIT_S) is None, "a closed channel lets nobody wait"


LAWS: tuple[Law, ...] = (
    a_line_gets_the_newest_in_one_step,
    a_line_that_is_up_to_date_waits_in_vain,
    hundreds_wait_and_all_get_it,
    versions_rise,
    the_last_word_of_a_line_counts,
    following_is_not_acknowledging,
    closing_ends_all_waiting,
)
