"""TRUST 2: the real hub is killed -9 again and again while lines send; 0 events lost, 0 doubled.

kill -9 tests the recovery code and the senders; that the log syncs is tested with the simulated disk (TRUST 1).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec
import pytest

from hotloop.adapters.hub_client import HubClient
from hotloop.config import StoreConfig
from hotloop.hub.auth import open_credentials
from hotloop.hub.server import take_port
from hotloop.store.log import SqliteLog
from hotloop.testing.hub_process import settings
from hotloop.types import Claim, Event, Feedback, Observation, Output, Prediction, Proposals, digest

LINES = 4
BATCH = 20


class Tally(msgspec.Struct):
    """What was acknowledged, and what is in the log."""

    acknowledged: dict[tuple[str, int], int]
    kills: int
    lost: int
    doubled: int
    moved: int
    count: int


def events_of(line: str, count: int) -> list[Event]:
    """Predictions of a line, each followed by its verdict."""
    made: list[Event] = []
    for number in range(1, count + 1, 2):
        key = f"{line}:{number}"
        seen = Observation(id=key, site="site-1", line=line, at=1.0, digest=digest(key.encode()))
        label = "ok" if number % 4 == 1 else "worn"
        features = Proposals(1, 2, b"\x00\x3c\x00\x40" if label == "ok" else b"\x00\x40\x00\x3c")
        said = Prediction(
            id=key, observation=seen, version=1, outputs=(Output("ok", 0.5),), confidence=0.5, proposals=features
        )
        made.append(Event(line, number, said))
        made.append(Event(line, number + 1, Feedback(prediction=key, reviewer="ann", claims=(Claim(0, label),))))
    return made


@contextmanager
def respawning(folder: Path, port: int) -> Iterator[subprocess.Popen[str]]:
    """Hubs that come back after each kill."""
    command = [sys.executable, "-m", "hotloop.testing.hub_process", "--folder", str(folder), "--port", str(port)]
    with subprocess.Popen([*command, "--respawn"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.stdin.close()
            process.wait(30)


def free_port(folder: Path) -> int:
    """A port that was free a moment ago."""
    with take_port(settings(folder, 0).hub) as taken:
        return taken.getsockname()[1]


def kill_again_and_again(folder: Path, kills: int, events: int) -> Tally:
    """Lines send `events` in all while the hub is killed `kills` times; then the log is read as it is."""
    port = free_port(folder)
    acknowledged: dict[tuple[str, int], int] = {}
    killed = 0
    chance = random.Random(2)
    with respawning(folder, port) as process:
        _, pid, url = process.stdout.readline().split()
        token = next(c.token for c in open_credentials(folder) if c.role == "line")
        # A line's batches wait for their share of the kills, so that sending goes on until the last one.
        allowed = threading.Semaphore(0)

        def line(number: int) -> None:
            client = HubClient(url, token, deadline_s=60.0, pause_s_max=0.3)
            mine = events_of(f"line-{number}", events // LINES)
            for start in range(0, len(mine), BATCH):
                allowed.acquire()
                batch = mine[start : start + BATCH]
                for event, offset in zip(batch, client.send(batch), strict=True):
                    acknowledged[event.device, event.sequence] = offset
            client.close()

        threads = [threading.Thread(target=line, args=(n,)) for n in range(LINES)]
        for thread in threads:
            thread.start()
        batches = LINES * -(-(events // LINES) // BATCH)
        for kill in range(kills):
            allowed.release(batches * (kill + 1) // kills - batches * kill // kills)
            time.sleep(chance.uniform(0.0, 0.04))  # where in its work the hub is hit
            os.kill(int(pid), signal.SIGKILL)
            killed += 1
            _, pid, _ = process.stdout.readline().split()
        for thread in threads:
            thread.join(120)
        os.kill(int(pid), signal.SIGKILL)
    return counted(folder, acknowledged, killed)


def counted(folder: Path, acknowledged: dict[tuple[str, int], int], kills: int) -> Tally:
    """Hold what was acknowledged against what the log has."""
    log = SqliteLog(folder / "log.sqlite", StoreConfig())
    found: dict[tuple[str, int], list[int]] = {}
    bodies: Counter[bytes] = Counter()
    after = 0
    while records := log.read(after, 1000):
        after = records[-1].offset
        for record in records:
            if record.event.device.startswith("line-"):
                found.setdefault((record.event.device, record.event.sequence), []).append(record.offset)
                bodies[msgspec.msgpack.encode(record.event.body)] += 1
    log.close()
    return Tally(
        acknowledged=acknowledged,
        kills=kills,
        lost=sum(key not in found for key in acknowledged),
        doubled=sum(count - 1 for count in bodies.values()),
        moved=sum(offset not in found.get(key, ()) for key, offset in acknowledged.items()),
        count=len(found),
    )


def check(folder: Path, kills: int, events: int) -> None:
    """The law, at a size."""
    tally = kill_again_and_again(folder, kills, events)
    assert tally.kills == kills
    assert len(tally.acknowledged) == events, "every sender came through"
    assert (tally.lost, tally.doubled, tally.moved) == (0, 0, 0)
    assert tally.count == events


def test_25_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """25 kill -9 during 4,000 events of 4 lines: each acknowledged event is in the log once, at its offset."""
    check(tmp_path, kills=25, events=4_000)


@pytest.mark.full
def test_1000_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    """1,000 kill -9 during 200,000 events: 0 lost, 0 doubled."""
    check(tmp_path, kills=1_000, events=200_000)
