"""The embedded default: every port on one folder of one box."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from hotloop.config import LoopConfig
from hotloop.errors import StoreError
from hotloop.ports import Clock, Ports
from hotloop.store.channel import LocalChannel
from hotloop.store.clock import SystemClock
from hotloop.store.lake import LanceLake
from hotloop.store.log import SqliteLog
from hotloop.store.registry import SqliteRegistry
from hotloop.store.snapshots import FileSnapshots


def open_embedded(config: LoopConfig, clock: Clock | None = None) -> Ports:
    """Open, or make, the stores of `config.store.folder`. StoreError if it cannot be written or is in use."""
    clock = clock or SystemClock()
    folder = Path(config.store.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{folder} cannot be made: {error}. Give [store] folder another place.") from error
    with ExitStack() as opened:  # what was opened is closed again if the next one cannot be
        log = SqliteLog(folder / "log.sqlite", config.store, clock=clock)
        opened.callback(log.close)
        lake = LanceLake(folder / "lake", config.store)
        opened.callback(lake.close)
        registry = SqliteRegistry(folder / "registry.sqlite", config.rollout.retained_models)
        opened.pop_all()
    return Ports(
        log=log,
        lake=lake,
        registry=registry,
        channel=LocalChannel(),
        clock=clock,
        snapshots=FileSnapshots(folder / "snapshot.msgpack"),
    )
