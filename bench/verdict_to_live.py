"""Verdict-to-live: how long after a verdict is sent does the line answer with a model that has learned it?

Three processes as in a plant: the hub; a line host, which stands for 50 lines and answers with real features that a
real backbone made before; and a review desk, which sends each verdict in a request of its own. Everything but the
backbone's run is real: HTTP, the synced log, join, learn, gate, release, the event stream, the swap, the
acknowledgement. Time is taken from outside the hub, on one monotonic clock: from before the verdict's request until
the line host has swapped in a model whose `learned_to` covers it.

    python -m bench.verdict_to_live --seconds 600 --rate 139
    python -m bench.verdict_to_live --seconds 30 --ramp 139,200,300,400,600
"""

from __future__ import annotations

import os

# One thread for linear algebra in each process: theirs are small, and idle threads of a pool spin.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")

import argparse
import json
import multiprocessing as mp
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from hotloop.launch import start_hub

LINES = 50
BOARDS = 48
PIECES_A_REQUEST_S = 0.02
VERDICT_DELAY_S = 0.3


@dataclass(frozen=True)
class Hub:
    """Where the hub is, for its neighbours."""

    url: str
    tokens: dict[str, str]


def settings(folder: Path) -> Path:
    """A loop.toml with the defaults."""
    path = folder / "loop.toml"
    path.write_text('name = "bench"\n[hub]\nport = 0\n[store]\nfolder = "data"\n')
    return path


def material() -> list[tuple[Any, Any]]:
    """(proposals, truths) of drawn boards: the backbone runs here, before the clock starts."""
    from hotloop.config import LoopConfig
    from hotloop.loading import load_vertical
    from hotloop.verticals.inspection.plant import plant_boards

    vertical = load_vertical(LoopConfig())
    boards = plant_boards(1, 0)
    return [
        (vertical.propose(board.payload), board.truths) for board in (next(boards) for _ in range(BOARDS))
    ]


def line_host(
    hub: Hub, made: list[Any], rate: float, seconds: float, told: mp.Queue[Any], live: mp.Queue[Any]
) -> None:
    """50 lines on one device: predicts at `rate` in all, follows releases, acknowledges for each line."""
    from hotloop.adapters.hub_client import HubClient
    from hotloop.config import LoopConfig
    from hotloop.loading import load_vertical
    from hotloop.predict import Predictor
    from hotloop.types import Event, Live, Observation

    client = HubClient(hub.url, hub.tokens["line"])
    predictor = Predictor(load_vertical(LoopConfig()))
    stop = threading.Event()

    def follow() -> None:
        for model in client.follow("line-0", 0, stop):
            if predictor.install(model):
                live.put((model.learned_to, time.monotonic()))
                client.acknowledge(
                    [Live(line=f"line-{k}", version=model.version, at=time.time()) for k in range(LINES)]
                )

    threading.Thread(target=follow, daemon=True).start()
    random = np.random.default_rng(0)
    start = time.monotonic()
    sequence = int(time.time() * 1e6)
    sent = 0
    while (now := time.monotonic() - start) < seconds:
        events = []
        while sent < now * rate:
            proposals, truths = made[int(random.integers(len(made)))]
            sequence += 1
            sent += 1
            line = f"line-{sent % LINES}"
            seen = Observation(
                id=f"host:{sequence}", site="bench", line=line, at=time.time(), digest="0" * 64
            )
            prediction = predictor.answer(seen.id, seen, proposals, time.time())
            events.append(Event("host", sequence, prediction))
            told.put((time.monotonic() + VERDICT_DELAY_S, prediction.id, truths))
        for first in range(0, len(events), 200):
            client.send(events[first : first + 200])
        time.sleep(PIECES_A_REQUEST_S)
    told.put(None)
    time.sleep(2.0)
    stop.set()


def review_desk(hub: Hub, told: mp.Queue[Any], sent: mp.Queue[Any]) -> None:
    """One request a verdict, each a little after its prediction. Four people, four connections."""
    from hotloop.adapters.hub_client import HubClient
    from hotloop.feedback import verdict

    lock = threading.Lock()
    state = {"sequence": int(time.time() * 1e6)}

    def person(name: str) -> None:
        client = HubClient(hub.url, hub.tokens["operator"])
        while (item := told.get()) is not None:
            due, prediction, truths = item
            time.sleep(max(0.0, due - time.monotonic()))
            with lock:
                state["sequence"] += 1
                sequence = state["sequence"]
            given = verdict(prediction, [(t.label, t.region) for t in truths], name, time.time())
            began = time.monotonic()
            taken = client.feedback(given, "desk", sequence)
            sent.put((taken.offset, began, time.monotonic() - began))
        told.put(None)

    people = [threading.Thread(target=person, args=(f"reviewer-{k}",)) for k in range(4)]
    for one in people:
        one.start()
    for one in people:
        one.join()
    sent.put(None)


def drain(queue: mp.Queue[Any], into: list[Any]) -> None:
    """Read a queue until its end is said."""
    while (item := queue.get()) is not None:
        into.append(item)


def measure(rate: float, seconds: float, made: list[Any]) -> dict[str, float]:
    """One run at one rate; the figures."""
    context = mp.get_context("spawn")
    with tempfile.TemporaryDirectory(prefix="hotloop-bench-") as name:
        running = start_hub(settings(Path(name)))
        hub = Hub(running.url, running.tokens)
        told, live, sent = context.Queue(), context.Queue(), context.Queue()
        host = context.Process(target=line_host, args=(hub, made, rate, seconds, told, live))
        desk = context.Process(target=review_desk, args=(hub, told, sent))
        verdicts: list[tuple[int, float, float]] = []
        swaps: list[tuple[int, float]] = []
        readers = [
            threading.Thread(target=drain, args=pair, daemon=True)
            for pair in ((sent, verdicts), (live, swaps))
        ]
        try:
            for one in (*readers, host, desk):
                one.start()
            readers[0].join()
            host.join()
            live.put(None)
            readers[1].join()
            peak = _peak_mib(running.process.pid)
            stages = _stages(hub)
        finally:
            running.stop()
        print(f"{rate:g}/s, stages p50/p99 ms:", "  ".join(f"{name} {p50:.0f}/{p99:.0f}" for name, p50, p99 in stages))
        return {"rate": rate, **_figures(verdicts, swaps, seconds), "hub_peak_mib": peak}


def _stages(hub: Hub) -> list[tuple[str, float, float]]:
    """The hub's own waterfall: each stage with its p50 and p99 in ms."""
    headers = {"authorization": f"Bearer {hub.tokens['engineer']}"}
    report = httpx.get(f"{hub.url}/v1/report", headers=headers, trust_env=False, timeout=60).json()
    spreads = [(stage["name"], stage["spread"]) for stage in report["waterfall"]["stages"]]
    spreads.append(("verdict to live", report["waterfall"]["verdict_to_live"]))
    return [(name, 1000 * spread["p50_s"], 1000 * spread["p99_s"]) for name, spread in spreads]


def _peak_mib(pid: int) -> float:
    line = next(x for x in Path(f"/proc/{pid}/status").read_text().splitlines() if x.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def _figures(verdicts: list[Any], swaps: list[Any], seconds: float) -> dict[str, float]:
    covered = np.array([s[0] for s in swaps] or [0])
    when = np.array([s[1] for s in swaps] or [0.0])
    latencies = []
    lost = 0
    for offset, began, _ in verdicts:
        place = int(np.searchsorted(covered, offset))
        if place == len(covered):
            lost += 1
        else:
            latencies.append(1000 * (when[place] - began))
    spread = np.percentile(latencies or [np.nan], [50, 95, 99, 100])
    answered = np.percentile([1000 * v[2] for v in verdicts] or [np.nan], [50, 99])
    return {
        "verdicts": len(verdicts),
        "verdicts_s": len(verdicts) / seconds,
        "releases": len(swaps),
        "p50_ms": spread[0],
        "p95_ms": spread[1],
        "p99_ms": spread[2],
        "max_ms": spread[3],
        "never_live": lost,
        "acknowledged_p50_ms": answered[0],
        "acknowledged_p99_ms": answered[1],
    }


def main() -> None:
    """Run and print."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rate", type=float, default=139.0)
    parser.add_argument("--ramp", default="")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    made = material()
    rates = [float(r) for r in given.ramp.split(",")] if given.ramp else [given.rate]
    table = Table(title="verdict-to-live, hub, lines and review desk as processes")
    results = []
    for rate in rates:
        result = measure(rate, given.seconds, made)
        results.append(result)
        if not table.columns:
            for column in result:
                table.add_column(column)
        table.add_row(*(f"{value:.4g}" for value in result.values()))
    Console(width=170).print(table)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "verdict_to_live.json").write_text(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
