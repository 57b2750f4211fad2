"""Verdict at the hub to live at the edge, acknowledged, across real processes, with signing and verification on.

    python -m bench.edge_live [--verdicts 300] [--agents 50] [--out out/bench]

One line: `hotloop up` and `hotloop edge` as two processes. Many: the hub, and one process with so many agents, each
with its own spool, slots, check of releases and stream. Times are the hub's, from the log: from a verdict's receipt to
the receipt of a line's acknowledgement of a version that has learned it. And what the agent adds to an answer, against
the bare call in the same run; what a release weighs; from the start of the process to the first answer.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import closing, suppress
from pathlib import Path

import httpx
import numpy as np
from PIL import Image
from rich.console import Console
from rich.progress import track

from hotloop.adapters.hub_client import HubClient
from hotloop.adapters.release_check import ReleaseCheck
from hotloop.adapters.signed_hub import SignedHub
from hotloop.agent import Agent, Place
from hotloop.config import LoopConfig, load
from hotloop.edge.device import Device
from hotloop.errors import HubUnreachableError
from hotloop.launch import RunningHub, start_hub
from hotloop.loading import load_vertical
from hotloop.offline import log_path
from hotloop.sense.images import decode_image
from hotloop.store.clock import SystemClock
from hotloop.store.reader import LogReader
from hotloop.store.slots import Slots
from hotloop.store.spool import DiskSpool
from hotloop.types import Feedback, Live, Payload, Release

out = Console()
SETTINGS = """
name = "edge-bench"
vertical = "vectors"
[vectors]
labels = ["ok", "worn"]
columns = 64
projected = 448
[hub]
port = {hub}
streams_max = 4096
[edge]
port = {edge}
"""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


def agents(folder: Path, url: str, token: str, count: int) -> None:
    """So many agents in this process, until it is told to stop."""
    config, clock, stop = load(folder / "loop.toml"), SystemClock(), threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    root = HubClient(url, token).release_file("1.root.json")
    made = []
    for number in range(count):
        own, client = folder / f"agent-{number}", HubClient(url, token)
        hub = SignedHub(client, ReleaseCheck(own / "releases", root, client.release_file))
        device = Device(config, Slots(own / "slots.sqlite"), clock)
        spool = DiskSpool(own / "spool.sqlite", config.edge, clock)
        agent = Agent(Place(config.site, f"line-{number + 2}"), load_vertical(config), hub, clock, spool, device)
        agent.start()
        made.append(agent)
    (folder / "agents.ready").touch()
    stop.wait()
    os._exit(0)


def passages(folder: Path, lines: int) -> np.ndarray:
    """Seconds from each verdict to each line's acknowledgement of a version that has learned it: (verdicts, lines)."""
    with closing(LogReader(log_path(load(folder / "loop.toml")))) as log:
        records = list(log.records())
    verdicts = [r for r in records if isinstance(r.event.body, Feedback)]
    learned = [(r.event.body.learned_to, r.event.body.version) for r in records if isinstance(r.event.body, Release)]
    lives: dict[str, list[tuple[int, float]]] = {}
    for record in records:
        if isinstance(record.event.body, Live):
            lives.setdefault(record.event.body.line, []).append((record.event.body.version, record.received_at))
    found = []
    for verdict in verdicts:
        version = next((v for upto, v in learned if upto >= verdict.offset), None)
        if version is None:
            continue
        times = [next((at for v, at in said if v >= version), np.nan) - verdict.received_at for said in lives.values()]
        found.append((times + [np.nan] * lines)[:lines])
    return np.array(found)


def stream(hub: RunningHub, edge: httpx.Client, verdicts: int, pause_s: float) -> None:
    """Predict at the edge, verify at the hub."""
    rng, truth = np.random.default_rng(0), np.random.default_rng(1).normal(size=64)
    headers = {"authorization": f"Bearer {hub.tokens['operator']}"}
    with httpx.Client(base_url=hub.url, headers=headers, trust_env=False, timeout=20) as operator:
        for _ in track(range(verdicts), "verdicts", console=out):
            x = rng.normal(size=64)
            said = edge.post("/predict", content=json.dumps(list(x))).json()
            time.sleep(pause_s)
            claims = [{"label": "worn" if x @ truth > 0 else "ok"}]
            operator.post("/v1/feedback", json={"prediction": said["prediction"], "reviewer": "ann", "claims": claims})
            time.sleep(pause_s)


def run(verdicts: int, others: int) -> dict[str, float]:
    """One line as a process, and `others` agents beside it."""
    folder = Path(tempfile.mkdtemp(prefix="hotloop-edge-"))
    port = free_port()
    (folder / "loop.toml").write_text(SETTINGS.format(hub=free_port(), edge=port))
    hub = start_hub(folder / "loop.toml")
    began = time.monotonic()
    environment = {**os.environ, "HOTLOOP_TOKEN": hub.tokens["line"], "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}
    edge = subprocess.Popen(
        [sys.executable, "-m", "hotloop", "edge", "loop.toml", "--hub", hub.url, "--line", "line-1"], cwd=folder, env=environment
    )
    crowd = None
    if others:
        command = [sys.executable, "-m", "bench.edge_live", "--host", str(folder), "--url", hub.url, "--agents", str(others)]
        crowd = subprocess.Popen(command, env=environment)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", trust_env=False, timeout=20) as local:
        while True:
            with suppress(httpx.TransportError):
                local.post("/predict", content=json.dumps([0.0] * 64)).raise_for_status()
                break
            time.sleep(0.01)
        first = time.monotonic() - began
        while others and not (folder / "agents.ready").exists():
            time.sleep(0.1)
        time.sleep(2.0)
        stream(hub, local, verdicts, 0.05 if others == 0 else 0.2)
        time.sleep(3.0)
        memory = int(Path(f"/proc/{edge.pid}/statm").read_text().split()[1]) * resource.getpagesize() / 2**20
    for process in (edge, crowd):
        if process is not None:
            process.terminate()
            process.wait(20)
    hub.stop()
    seconds = passages(folder, others + 1)
    missed = int(np.isnan(seconds).sum())
    values = seconds[~np.isnan(seconds)]
    return {
        "lines": others + 1, "passages": len(values), "never": missed, "p50_ms": 1e3 * float(np.percentile(values, 50)),
        "p99_ms": 1e3 * float(np.percentile(values, 99)), "first_answer_s": first, "memory_mib": memory,
    }  # fmt: skip


class Nowhere:
    """No hub."""

    def send(self, *_: object) -> None:
        """It is away."""
        raise HubUnreachableError("there is none")

    put_blobs = follow = acknowledge = get_blob = send


def added(size_px: int = 0) -> dict[str, float]:
    """What the agent adds to an answer, in turns: against the bare call of the runtime on an array, and against decoding,
    that call and the head. Of the shipped detector on a board of 640 px; with `size_px`, of EfficientNet-Lite0 on a picture.
    """
    from hotloop.verticals.inspection.plant import plant_boards

    folder, clock = Path(tempfile.mkdtemp(prefix="hotloop-edge-")), SystemClock()
    board = next(plant_boards(3, 0)).payload
    payload, config = Payload(board.data, board.media_type, board.reference), LoopConfig()
    if size_px:
        payload, config = picture(size_px, folder)
    vertical = load_vertical(config)
    device = Device(config, Slots(folder / "slots.sqlite"), clock)
    spool = DiskSpool(folder / "spool.sqlite", config.edge, clock)
    agent = Agent(Place("s", "line-1"), vertical, Nowhere(), clock, spool, device)  # type: ignore[arg-type]
    agent.start()
    head = vertical.start()
    model = vertical._backbone if size_px else vertical._model  # type: ignore[attr-defined]  # noqa: SLF001
    seen = model.inputs(decode_image(payload.data)) if size_px else model.inputs(*vertical.pictures(payload))  # type: ignore[attr-defined]
    calls = (
        lambda: model.network(seen), lambda: vertical.answer(vertical.propose(payload), head), lambda: agent.sense(payload)
    )  # fmt: skip
    seconds: tuple[list[float], ...] = ([], [], [])
    for number in range(300):
        for which in (0, 1, 2) if number % 2 else (2, 1, 0):  # who is first has the cold caches
            at = time.perf_counter()
            calls[which]()
            seconds[which].append(time.perf_counter() - at)
    runtime, answer, whole = (np.array(one) for one in seconds)
    return {"runtime_ms": 1e3 * float(np.median(runtime)), "answer_ms": 1e3 * float(np.median(answer)),
            "agent_ms": 1e3 * float(np.median(whole)), "agent_to_runtime": float(np.median(whole / runtime)),
            "agent_to_answer": float(np.median(whole / answer))}  # fmt: skip


def picture(size_px: int, folder: Path) -> tuple[Payload, LoopConfig]:
    """A picture of noise as JPEG, and a loop that classifies it with EfficientNet-Lite0."""
    from hotloop.verticals.inspection.export import classifier_to_onnx

    (folder / "lite0.onnx").write_bytes(classifier_to_onnx())
    noise = np.random.default_rng(0).integers(0, 255, (size_px // 8, size_px // 8, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(noise).resize((size_px, size_px)).save(buffer, "JPEG", quality=90)
    tables = {"inspection": {"task": "image", "labels": ["crack"], "start": str(folder / "lite0.onnx")}}
    return Payload(buffer.getvalue(), "image/jpeg"), LoopConfig(tables=tables)


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--verdicts", type=int, default=300)
    parser.add_argument("--agents", type=int, default=50)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--host", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.host:
        agents(given.host, given.url, os.environ["HOTLOOP_TOKEN"], given.agents)
        return
    found = {"added": added(), "added at 224 px": added(224), "one": run(given.verdicts, 0), "many": run(given.verdicts, given.agents)}
    for name, row in found.items():
        out.print(name, {key: round(value, 2) for key, value in row.items()}, highlight=False)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "edge_live.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
