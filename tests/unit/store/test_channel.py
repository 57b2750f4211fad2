"""The embedded channel: where it begins, what it refuses, who is told, and in what order."""

from __future__ import annotations

import threading

import pytest

from hotloop.errors import ModelError
from hotloop.store.channel import LocalChannel
from hotloop.store.registry import SqliteRegistry
from hotloop.testing.checks.channel import publish
from hotloop.testing.checks.registry import model
from hotloop.types import Live, Release


def test_a_restart_begins_from_the_registrys_latest(tmp_path):
    """Made with the newest model, it offers that at once, and only higher versions after it."""
    registry = SqliteRegistry(tmp_path / "registry.sqlite", 5)
    registry.add(model(7))
    channel = LocalChannel(registry.get(registry.latest()))
    assert channel.follow("line-1", 6, 0.0) == model(7)
    with pytest.raises(ModelError, match="not above 7"):
        publish(channel, 7)
    publish(channel, 8)
    assert channel.follow("line-1", 7, 0.0) == model(8)
    registry.close()


def test_a_release_is_of_its_model():
    """A release of one version with the model of another is refused, and nothing is offered."""
    channel = LocalChannel()
    release = Release(version=2, parent=1, tier="reflex", digest="", learned_to=0)
    with pytest.raises(ModelError, match="its own model"):
        channel.publish(release, model(3))
    assert channel.follow("line-1", 0, 0.0) is None


def test_the_lines_remembered_are_bounded(monkeypatch):
    """Of too many, the one that has been silent for longest is forgotten."""
    monkeypatch.setattr("hotloop.store.channel._LINES_MAX", 2)
    channel = LocalChannel()
    for line in ("a", "b", "a", "c"):
        channel.acknowledge(Live(line=line, version=1))
    assert dict(channel.lines()) == {"a": 1, "c": 1}


def test_lines_come_sorted_and_cannot_be_changed():
    """`lines` is a picture of the moment, by name."""
    channel = LocalChannel()
    for line in ("b", "c", "a"):
        channel.acknowledge(Live(line=line, version=1))
    lines = channel.lines()
    assert list(lines) == ["a", "b", "c"]
    with pytest.raises(TypeError):
        lines["d"] = 1


def test_a_closed_channel_can_still_be_read():
    """After close, who answers with what is still known, and acknowledgements under way are taken."""
    channel = LocalChannel()
    publish(channel, 1)
    channel.close()
    channel.close()
    channel.acknowledge(Live(line="line-1", version=1))
    assert dict(channel.lines()) == {"line-1": 1}
    assert channel.follow("line-1", 0, 100.0) is None


@pytest.mark.parametrize("timeout_s", [0.0, -1.0, 0.001])
def test_no_time_means_no_waiting(timeout_s):
    """With no time to wait the answer comes at once: the newest, or None."""
    channel = LocalChannel()
    assert channel.follow("line-1", 0, timeout_s) is None
    publish(channel, 1)
    assert channel.follow("line-1", 0, timeout_s) == model(1)


def test_a_waiting_line_skips_what_came_in_between():
    """Woken by a burst, a line gets a version of it and then the newest: never an older one after a newer."""
    channel = LocalChannel()
    got = []
    ready = threading.Event()

    def follow():
        after = 0
        ready.set()
        while after < 50:
            found = channel.follow("line-1", after, 10.0)
            got.append(found.version)
            after = found.version

    line = threading.Thread(target=follow)
    line.start()
    assert ready.wait(10)
    for version in range(1, 51):
        publish(channel, version)
    line.join()
    assert got == sorted(set(got))
    assert got[-1] == 50


def test_a_release_for_another_line_does_not_wake_in_vain():
    """A follower that is ahead goes on waiting through releases that are not above its own."""
    channel = LocalChannel()
    publish(channel, 1)
    result = []
    line = threading.Thread(target=lambda: result.append(channel.follow("line-1", 5, 10.0)))
    line.start()
    for version in (2, 3, 4, 5, 6):
        publish(channel, version)
    line.join()
    assert result == [model(6)]
