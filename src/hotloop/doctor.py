"""Is this machine, and this loop.toml, fit to run? Each finding says what was found and what to do about it."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import apsw
import onnxruntime

from hotloop.adapters.camera import Camera
from hotloop.adapters.mqtt import address_of, library
from hotloop.config import LoopConfig, load
from hotloop.errors import HotloopError
from hotloop.hub.server import take_port
from hotloop.loading import load_vertical
from hotloop.ports import Exportable
from hotloop.types import RunsOn

_SQLITE_LEAST = (3, 51, 3)  # earlier ones can corrupt a WAL that two connections checkpoint at once
_SYNC_S_MAX = 0.05
_CLOCK_LEAST = 1_700_000_000  # a clock before 2023 was never set


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at."""

    state: Literal["good", "warning", "bad"]
    what: str
    found: str
    mend: str = ""


def examine(path: Path | None) -> Iterator[Finding]:
    """Everything about the machine; and about the loop of `path`, if one is given."""
    yield _python()
    yield _sqlite()
    yield _runtime()
    yield _clock()
    if path is None:
        return
    try:
        config = load(path)
    except HotloopError as error:
        yield Finding("bad", str(path), str(error), "correct it, or write a new one: hotloop init")
        return
    yield Finding("good", str(path), f"loop {config.name}, vertical {config.vertical}, site {config.site}")
    checks: list[Callable[[LoopConfig], Finding]] = [_folder, _space, _sync, _port, _watched, _camera, _broker]
    for check in [*checks, _vertical]:
        yield check(config)


def _python() -> Finding:
    found = f"Python {sys.version.split()[0]}, hotloop {version('hotloop')}, {os.cpu_count()} processors"
    return Finding("good", "Python", found)


def _sqlite() -> Finding:
    found = apsw.sqlite_lib_version()
    if tuple(int(part) for part in found.split(".")) < _SQLITE_LEAST:
        return Finding("bad", "SQLite", found, "a crash can corrupt its log: pip install -U apsw")
    return Finding("good", "SQLite", found)


def _runtime() -> Finding:
    providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    return Finding("good", "ONNX Runtime", f"{onnxruntime.__version__}: {', '.join(providers)}")


def _clock() -> Finding:
    now = time.time()
    shown = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(now))
    if now < _CLOCK_LEAST:
        return Finding("warning", "clock", shown, "it was never set: times in reports will be wrong; order will not")
    return Finding("good", "clock", shown)


def _folder(config: LoopConfig) -> Finding:
    folder = Path(config.store.folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(b"x")
    except OSError as error:
        return Finding("bad", "store", f"{folder}: {error.strerror}", "give [store] folder a place that can be written")
    return Finding("good", "store", str(folder))


def _space(config: LoopConfig) -> Finding:
    folder = _existing(Path(config.store.folder))
    free = shutil.disk_usage(folder).free
    found = f"{free / 2**30:.1f} GiB free"
    if free < config.store.free_bytes_min:
        return Finding("bad", "disk", found, "new images are refused: make room, or lower [store] free_bytes_min")
    if free < 16 * config.store.free_bytes_min:
        return Finding("warning", "disk", found, "little room: a line of 10,000 images an hour takes some 2 GB a day")
    return Finding("good", "disk", found)


def _sync(config: LoopConfig) -> Finding:
    """How long a sync takes here: it is what a verdict waits for before it is acknowledged."""
    folder = _existing(Path(config.store.folder))
    try:
        median = _sync_s(folder)
    except OSError as error:
        return Finding("bad", "disk speed", f"{folder}: {error.strerror}", "give [store] folder another place")
    found = f"{1000 * median:.1f} ms a sync"
    if median > _SYNC_S_MAX:
        return Finding("warning", "disk speed", found, "verdicts are acknowledged this late: use an SSD")
    return Finding("good", "disk speed", found)


def _sync_s(folder: Path) -> float:
    """The median of 20 small synced writes, in seconds."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(20):
            start = time.perf_counter()
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - start)
    return sorted(took)[len(took) // 2]


def _port(config: LoopConfig) -> Finding:
    place = f"{config.hub.host}:{config.hub.port}"
    try:
        take_port(config.hub).close()
    except HotloopError as error:
        return Finding("bad", "port", f"{place}: {error}", "stop what listens there, or set [hub] port and host")
    return Finding("good", "port", f"{place} is free")


def _watched(config: LoopConfig) -> Finding:
    if not config.sense.folder:
        return Finding("good", "watched folder", "none: images come by HTTP")
    if not Path(config.sense.folder).is_dir():
        return Finding("bad", "watched folder", f"{config.sense.folder} is not there", "make it, or set [sense] folder")
    return Finding("good", "watched folder", config.sense.folder)


def _camera(config: LoopConfig) -> Finding:
    if not config.sense.camera:
        return Finding("good", "camera", "none")
    try:
        source = Camera(config.sense, lambda _: None).state().source
    except HotloopError as error:
        return Finding("bad", "camera", str(error), "correct [sense] camera")
    return Finding("good", "camera", f"{source}, on a line's computer (hotloop edge)")


def _broker(config: LoopConfig) -> Finding:
    if not config.mqtt.url:
        return Finding("good", "broker", "none")
    try:
        library("client")
        address = address_of(config.mqtt)
        socket.create_connection((address.host, address.port), 2.0).close()
    except HotloopError as error:
        return Finding("bad", "broker", str(error), "correct [mqtt]")
    except OSError as error:
        return Finding("warning", "broker", f"{config.mqtt.url}: {error}", "until it is there, lines follow the hub")
    return Finding("good", "broker", f"{address} answers")


def _vertical(config: LoopConfig) -> Finding:
    start = time.perf_counter()
    try:
        vertical = load_vertical(config)
    except HotloopError as error:
        return Finding("bad", config.vertical, str(error), "correct its settings")
    head = vertical.start()
    found = (
        f"{len(head.labels)} labels, {head.weights.shape[0]} features, loaded in {time.perf_counter() - start:.1f} s"
    )
    runtime = vertical.runtime if isinstance(vertical, Exportable) else RunsOn()
    if runtime.passed_over:
        return Finding("warning", config.vertical, f"{found}, {runtime}", "hotloop bench-edge says what there is")
    return Finding("good", config.vertical, f"{found}, {runtime}" if runtime.runtime else found)


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    while not folder.is_dir():
        folder = folder.parent
    return folder
