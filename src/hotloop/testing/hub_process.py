"""The real hub as a process to be killed: `python -m hotloop.testing.hub_process --folder F --port P [--respawn]`.

The log, the registry and the snapshots are the real ones on disk; the lake is in memory, and the vertical is
plain vectors of two columns, so that a start is quick. With `--respawn` the modules are loaded once and each hub is
forked from there: it is a process of its own, that a `kill -9` ends wherever it is, and the next one starts
at once, until this process's standard input is closed. Each start writes one line: `ready PID URL`.
"""

from __future__ import annotations

import argparse
import os
import select
import signal
import sys
from contextlib import closing
from pathlib import Path

from hotloop.config import HubConfig, LoopConfig, StoreConfig
from hotloop.engine import Engine
from hotloop.hub.server import serve
from hotloop.loading import load_vertical
from hotloop.ports import Ports
from hotloop.store.channel import LocalChannel
from hotloop.store.clock import SystemClock
from hotloop.store.log import SqliteLog
from hotloop.store.registry import SqliteRegistry
from hotloop.store.snapshots import FileSnapshots
from hotloop.testing.memory_lake import MemoryLake

LABELS = ("ok", "worn")


def settings(folder: Path, port: int) -> LoopConfig:
    """The settings that the process runs with."""
    return LoopConfig(
        vertical="vectors",
        tables={"vectors": {"labels": LABELS, "columns": 2}},
        hub=HubConfig(port=port),
        store=StoreConfig(folder=str(folder)),
    )


def run(folder: Path, port: int) -> None:
    """One hub, until it is told to stop or killed."""
    config = settings(folder, port)
    folder.mkdir(parents=True, exist_ok=True)
    clock = SystemClock()
    ports = Ports(
        log=SqliteLog(folder / "log.sqlite", config.store, clock),
        lake=MemoryLake(),
        registry=SqliteRegistry(folder / "registry.sqlite", config.rollout.retained_models),
        channel=LocalChannel(),
        clock=clock,
        snapshots=FileSnapshots(folder / "snapshot.msgpack"),
    )
    with closing(Engine(config, load_vertical(config), ports)) as engine:
        engine.start()
        serve(engine, config, _say_ready)


def respawn(folder: Path, port: int) -> None:
    """A hub after each one that dies, until standard input is closed."""
    while True:
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            run(folder, port)
            os._exit(0)
        handle = os.pidfd_open(child)
        ended, _, _ = select.select([handle, sys.stdin], [], [])
        if handle not in ended:
            os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        os.close(handle)
        if sys.stdin in ended:
            return


def _say_ready(url: str) -> None:
    sys.stdout.write(f"ready {os.getpid()} {url}\n")
    sys.stdout.flush()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="hotloop.testing.hub_process")
    parser.add_argument("--folder", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--respawn", action="store_true")
    given = parser.parse_args()
    (respawn if given.respawn else run)(given.folder, given.port)


if __name__ == "__main__":
    main()
