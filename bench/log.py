"""The log: durable events a second and the wait of one append, beside a plain file with one fsync an event.

python -m bench.log
"""

from __future__ import annotations

import json
import os
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from hotloop.config import StoreConfig
from hotloop.store.log import SqliteLog
from hotloop.types import Event, Notice

EVENT_BYTES = 1000
SECONDS = 4.0


def appended(threads: int, folder: Path) -> tuple[float, list[float]]:
    """Threads that append one event after the other: events a second, and each wait in ms."""
    log = SqliteLog(folder / f"log-{threads}.sqlite", StoreConfig())
    waits: list[float] = []
    end = time.monotonic() + SECONDS

    def sender(number: int) -> None:
        sequence = 0
        while time.monotonic() < end:
            sequence += 1
            event = Event(f"device-{number}", sequence, Notice(subject="bench", text="x" * EVENT_BYTES))
            began = time.perf_counter()
            log.append([event])
            waits.append(1000 * (time.perf_counter() - began))

    senders = [threading.Thread(target=sender, args=(number,)) for number in range(threads)]
    for one in senders:
        one.start()
    for one in senders:
        one.join()
    log.close()
    return len(waits) / SECONDS, waits


def synced(folder: Path) -> tuple[float, list[float]]:
    """The peer: a file, one write and one fsync an event."""
    waits = []
    with (folder / "plain").open("wb", buffering=0) as file:
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            began = time.perf_counter()
            file.write(b"x" * EVENT_BYTES)
            os.fsync(file.fileno())
            waits.append(1000 * (time.perf_counter() - began))
    return len(waits) / SECONDS, waits


def main() -> None:
    """Measure and print, each as a ratio to the plain file of the same run."""
    results = {}
    with tempfile.TemporaryDirectory(prefix="hotloop-bench-", dir=".") as name:
        folder = Path(name)
        runs = {"plain file, fsync each": synced(folder)}
        runs.update({f"log, {threads} senders": appended(threads, folder) for threads in (1, 8, 50)})
    base = runs["plain file, fsync each"][0]
    table = Table("", "events/s", "x plain file", "p50 ms", "p99 ms", title=f"durable events of {EVENT_BYTES} bytes")
    for name, (rate, waits) in runs.items():
        p50, p99 = np.percentile(waits, [50, 99])
        results[name] = {"events_s": rate, "p50_ms": p50, "p99_ms": p99}
        table.add_row(name, f"{rate:.0f}", f"{rate / base:.2f}", f"{p50:.2f}", f"{p99:.2f}")
    Console().print(table)
    Path("out/bench").mkdir(parents=True, exist_ok=True)
    Path("out/bench/log.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
