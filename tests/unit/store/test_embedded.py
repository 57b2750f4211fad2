"""Every port on one folder: made, kept, owned by one, and let go of whole."""

from __future__ import annotations

import pytest

from hotloop.config import LoopConfig, StoreConfig
from hotloop.errors import StoreBusyError, StoreError
from hotloop.store import embedded
from hotloop.store.clock import SystemClock
from hotloop.store.embedded import open_embedded
from hotloop.testing.clock import SimulatedClock
from hotloop.types import Event, Model, Notice


@pytest.fixture
def config(tmp_path):
    return LoopConfig(store=StoreConfig(folder=str(tmp_path / "deep" / "data"), free_bytes_min=1))


def closed(ports):
    for port in (ports.channel, ports.lake, ports.registry, ports.log):
        port.close()


def test_the_folder_is_made_and_everything_in_it_is_kept(config):
    """Log, lake, registry and snapshot are there after a restart."""
    model = Model(version=1, parent=0, tier="start", backbone="", head=b"h", labels=("a",), recipe="r")
    ports = open_embedded(config)
    ports.log.append([Event("hub", 1, Notice(subject="s", text="t"))])
    (name,) = ports.lake.put([b"image"])
    ports.registry.add(model)
    ports.snapshots.save(b"state")
    closed(ports)
    ports = open_embedded(config)
    assert ports.log.last() == 1
    assert ports.lake.get(name) == b"image"
    assert ports.registry.get(1).head == b"h"
    assert ports.snapshots.load() == b"state"
    closed(ports)


def test_the_clock_is_the_systems_unless_given(config):
    """A given one is the log's too."""
    clock = SimulatedClock(5000.0)
    ports = open_embedded(config, clock)
    ports.log.append([Event("hub", 1, Notice(subject="s", text="t"))])
    assert ports.clock is clock
    assert ports.log.read(0, 1)[0].received_at == 5000.0
    closed(ports)
    ports = open_embedded(config)
    assert isinstance(ports.clock, SystemClock)
    closed(ports)


def test_a_second_owner_is_refused_and_the_first_goes_on(config):
    """One process writes a store."""
    ports = open_embedded(config)
    with pytest.raises(StoreBusyError):
        open_embedded(config)
    assert ports.log.append([Event("hub", 1, Notice(subject="s", text="t"))]) == [1]
    closed(ports)


@pytest.mark.parametrize("broken", ["LanceLake", "SqliteRegistry"])
def test_what_was_opened_is_let_go_of_if_the_next_one_cannot_be(config, monkeypatch, broken):
    """The log is not left owned: mended, the same process opens them all."""

    def failing(*_):
        raise StoreError("broken")

    monkeypatch.setattr(embedded, broken, failing)
    with pytest.raises(StoreError, match="broken"):
        open_embedded(config)
    monkeypatch.undo()
    closed(open_embedded(config))


def test_a_place_that_cannot_be_a_folder_is_named(tmp_path):
    """A file in its way, say; and which setting to change."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match=r"cannot be made.*\[store\] folder"):
        open_embedded(LoopConfig(store=StoreConfig(folder=str(tmp_path / "file" / "data"))))
