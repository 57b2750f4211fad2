"""A broker between hub and line: releases by MQTT against the hub's own stream, and what publishing adds to an answer.

    python -m bench.mqtt [--verdicts 300] [--out out/bench]

`hotloop up`, `hotloop edge` and mosquitto as three processes on loopback. Times are the hub's, from the log: from the
receipt of a verdict, and of the release that learned it, to that of the line's acknowledgement. Added to an answer: the
call that hands it over, in the thread that predicts, with the broker there and with it away.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import closing, suppress
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console

from bench.edge_live import SETTINGS, free_port, passages, stream
from hotloop.adapters.mqtt_line import MqttLine
from hotloop.adapters.pushed_hub import Releases
from hotloop.agent import Agent, Place
from hotloop.config import load
from hotloop.errors import HubUnreachableError
from hotloop.launch import start_hub
from hotloop.loading import load_vertical
from hotloop.offline import log_path
from hotloop.store.clock import SystemClock
from hotloop.store.reader import LogReader
from hotloop.testing.mosquitto import Mosquitto
from hotloop.types import Live, Payload, Release

out = Console()


def released(folder: Path) -> np.ndarray:
    """Milliseconds from each release in the log to the acknowledgement of that very version."""
    with closing(LogReader(log_path(load(folder / "loop.toml")))) as log:
        records = list(log.records())
    lives = {r.event.body.version: r.received_at for r in records if isinstance(r.event.body, Live)}
    at = [(r.event.body.version, r.received_at) for r in records if isinstance(r.event.body, Release)]
    return np.array([1e3 * (lives[version] - when) for version, when in at if version in lives])


def one_line(verdicts: int, broker: str) -> dict[str, object]:
    """A hub and a line as processes, with or without a broker."""
    folder = Path(tempfile.mkdtemp(prefix="hotloop-mqtt-"))
    port = free_port()
    table = f'[mqtt]\nurl = "{broker}"\n' if broker else ""
    (folder / "loop.toml").write_text(SETTINGS.format(hub=free_port(), edge=port) + table)
    hub = start_hub(folder / "loop.toml")
    environment = {**os.environ, "HOTLOOP_TOKEN": hub.tokens["line"], "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "hotloop", "edge", "loop.toml", "--hub", hub.url, "--line", "line-1"]
    edge = subprocess.Popen(command, cwd=folder, env=environment)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as local:
        while True:
            with suppress(httpx.TransportError):
                local.post("/predict", content=json.dumps([0.0] * 64)).raise_for_status()
                break
            time.sleep(0.01)
        time.sleep(2.0)
        stream(hub, local, verdicts, 0.05)
        time.sleep(2.0)
        health = local.get("/healthz").json()
    edge.terminate()
    edge.wait(20)
    hub.stop()
    whole = 1e3 * passages(folder, 1).ravel()
    whole, own = whole[~np.isnan(whole)], released(folder)
    return {
        "ways": (health["mqtt"] or {}).get("releases"), "releases": len(own),
        "verdict_to_live_ms": [round(float(np.percentile(whole, q)), 1) for q in (50, 99)],
        "release_to_acknowledged_ms": [round(float(np.percentile(own, q)), 1) for q in (50, 99)],
    }  # fmt: skip


class Nowhere:
    """No hub."""

    def send(self, *_: object) -> None:
        """It is away."""
        raise HubUnreachableError("there is none")

    put_blobs = follow = follow_signed = acknowledge = get_blob = send


def added(broker: str) -> dict[str, float]:
    """Microseconds that handing an answer over takes, in the thread that predicts; and the whole of an answer."""
    folder = Path(tempfile.mkdtemp(prefix="hotloop-mqtt-"))
    (folder / "loop.toml").write_text(SETTINGS.format(hub=1, edge=1) + f'[mqtt]\nurl = "{broker}"\n')
    config = load(folder / "loop.toml")
    nowhere: object = Nowhere()
    agent = Agent(Place("s", "line-1"), load_vertical(config), nowhere, SystemClock())  # type: ignore[arg-type]
    side = MqttLine(config, agent, Releases(nowhere, "line-1"))  # type: ignore[arg-type]
    side.start()
    time.sleep(1.0)
    payload = Payload(json.dumps([0.1] * 64).encode())
    seconds: tuple[list[float], list[float]] = ([], [])
    for _ in range(2000):
        began = time.perf_counter()
        prediction = agent.sense(payload)
        said = time.perf_counter()
        side.answered(prediction)
        seconds[0].append(said - began)
        seconds[1].append(time.perf_counter() - said)
        time.sleep(0.002)
    state = side.state()
    side.close()
    found = {f"handed_over_us_p{q}": round(1e6 * float(np.percentile(seconds[1], q)), 1) for q in (50, 99)}
    return {**found, "answer_us_p50": round(1e6 * float(np.median(seconds[0])), 1), "published": state.published}


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    broker = Mosquitto(Path(tempfile.mkdtemp(prefix="hotloop-broker-")))
    broker.start()
    found = {"added": added(broker.url), "added, broker away": added("mqtt://127.0.0.1:9")}
    found |= {"stream": one_line(given.verdicts, ""), "broker": one_line(given.verdicts, broker.url)}  # type: ignore[dict-item]
    broker.stop()
    for name, row in found.items():
        out.print(name, row, highlight=False)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "mqtt.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
