"""Trip end to changed policy live, and the time of a decision, through the whole of hotloop on one core.

    python -m bench.warehouse_live [--seconds 60] [--orders-per-s 17.4] [--aisles 10 20 40] [--blocks 1 2 3 4 6] [--out out/bench]

A loop with its real log, lake and registry in this process. Requests come as they would at so many orders a second (seven orders and
twenty lines a batch), and the measured times of each trip come back later. Live: from the call that brings the times to the
release that has learned them. Then the same decision for 20 picks by number of aisles, and with ten aisles by number of blocks.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import threading
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

import hotloop
from hotloop.config import LoopConfig
from hotloop.types import Claim, Feedback, Payload, Prediction, Release
from hotloop.verticals.warehouse.task import vertical

ORDERS_A_BATCH, LINES = 7.0, 20


def request(rng: np.random.Generator, aisles: int, at: float, blocks: int = 1) -> Payload:
    """Twenty places."""
    picks = [[int(rng.integers(aisles)), round(float(rng.uniform(0, 30 * blocks)), 1)] for _ in range(LINES)]
    return Payload(json.dumps({"picks": picks, "at": at}).encode(), "application/json")


def told(prediction: Prediction, rng: np.random.Generator) -> Feedback:
    """The times came back."""
    claims = tuple(
        Claim(output=k, value=float(o.region[2] * rng.uniform(0.8, 1.6))) for k, o in enumerate(prediction.outputs) if o.region
    )
    return Feedback(prediction=prediction.id, reviewer="robot", claims=claims)


def live(seconds: float, per_s: float) -> dict[str, float]:
    """Decisions and trips at a rate, each trip followed until its release."""
    rng, folder = np.random.default_rng(0), Path(tempfile.mkdtemp(prefix="hotloop-warehouse-"))
    decisions: list[float] = []
    with hotloop.open(folder / "loop", vertical="warehouse", layout={"aisles": 10}) as loop:
        engine = loop.engine
        engine.start()
        waiting: list[Prediction] = []
        sent: list[tuple[int, float]] = []
        pause, began = ORDERS_A_BATCH / per_s, time.perf_counter()
        number = 0
        while (now := time.perf_counter()) - began < seconds:
            at = time.perf_counter()
            waiting.append(engine.observe(request(rng, 10, now), "robot"))
            decisions.append(time.perf_counter() - at)
            if len(waiting) > 20:
                receipt = engine.feedback(told(waiting.pop(0), rng))
                sent.append((receipt.offset, engine.clock.now()))
            number += 1
            threading.Event().wait(max(0.0, began + number * pause - time.perf_counter()))
        while engine.behind:
            time.sleep(0.01)
        releases = [record.event.body for record in engine._between(0, 10**9) if isinstance(record.event.body, Release)]  # noqa: SLF001
    took = [next(one.at for one in releases if one.learned_to >= offset) - at for offset, at in sent]
    return {"decisions": len(decisions), "decision_p50_ms": 1e3 * float(np.median(decisions)),
            "decision_p99_ms": 1e3 * float(np.quantile(decisions, 0.99)), "trips": len(took),
            "live_p50_ms": 1e3 * float(np.median(took)), "live_p99_ms": 1e3 * float(np.quantile(took, 0.99)),
            "busy": float(np.sum(decisions) / seconds)}  # fmt: skip


def decided(aisles: int, blocks: int = 1) -> dict[str, float]:
    """A decision for 20 picks without the store, and what it weighs."""
    rng = np.random.default_rng(0)
    task = vertical(LoopConfig(vertical="warehouse", tables={"warehouse": {"layout": {"aisles": aisles, "blocks": blocks}}}))
    head, took = task.start(), []
    for number in range(60):
        payload = request(rng, aisles, number, blocks)
        at = time.perf_counter()
        task.answer(task.propose(payload), head)
        took.append(time.perf_counter() - at)
    return {"aisles": aisles, "blocks": blocks, "p50_ms": 1e3 * float(np.median(took)), "p99_ms": 1e3 * float(np.quantile(took, 0.99)), "columns": task.columns}


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--orders-per-s", type=float, default=17.4)
    parser.add_argument("--aisles", type=int, nargs="+", default=[10, 20, 40])
    parser.add_argument("--blocks", type=int, nargs="+", default=[1, 2, 3, 4, 6])
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    found = {"live": live(given.seconds, given.orders_per_s), "aisles": [decided(one) for one in given.aisles],
             "blocks": [decided(10, one) for one in given.blocks]}  # fmt: skip
    print(json.dumps(found, indent=1))
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "warehouse_live.json").write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
