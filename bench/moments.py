"""What one more verdict costs the reflex after 1 k to 1 M examples, against the bare rank-1 update of A⁻¹.

    python bench/moments.py [--examples 1000000] [--out out/moments.json]

The peer, in the same run: `P -= outer(P x, P x) / (1 + x P x)` in NumPy, which keeps neither the sums nor any
check. Ours keeps A, B and A⁻¹, checked. "verdict" is learn; "to head" adds the weights that follow (Cholesky
from the sums: the same bits on every path). Times are medians; one thread unless OMP_NUM_THREADS says other.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np

from hotloop.learn import Moments
from hotloop.types import Floats, Rows

COLUMNS, TARGETS = 512, 7
BLOCK = 5_000
SIZES = (1_000, 10_000, 100_000, 1_000_000)


def some_rows(rng: np.random.Generator, count: int) -> Rows:
    """Rows with features as a backbone gives them: correlated, not negative, unit length."""
    x = np.maximum(rng.standard_normal((count, COLUMNS), np.float32) + 0.5, 0).astype(np.float64)
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    return Rows(x, np.eye(TARGETS)[rng.integers(0, TARGETS, count)], np.ones(count))


def median_ms(act: Callable[[], object], repeats: int = 60) -> float:
    """The median time of `act`, after two calls to warm up."""
    times_s = []
    for _ in range(repeats + 2):
        start_s = time.perf_counter()
        act()
        times_s.append(time.perf_counter() - start_s)
    return float(np.median(times_s[2:]) * 1e3)


def bare_update(P: Floats, x: Floats) -> None:
    """The peer."""
    Px = P @ x
    P -= np.outer(Px, Px) / (1 + x @ Px)


def to_head(moments: Moments, rows: Rows) -> Floats:
    """A verdict and the head that follows."""
    moments.learn(rows)
    return moments.weights()


def one_more(moments: Moments, rng: np.random.Generator) -> dict[str, float]:
    """The cost of one more verdict now; the moments are left as they were but for rounding."""
    moments = moments.without(Moments(COLUMNS, TARGETS, 1.0))
    single, dozen = some_rows(rng, 1), some_rows(rng, 15)
    moments.leverage(single.x)  # A⁻¹ at hand, as in a running loop
    P = np.linalg.inv(np.eye(COLUMNS) + single.x.T @ single.x)
    bare_ms = median_ms(lambda: bare_update(P, single.x[0]))
    verdict_ms = median_ms(lambda: moments.learn(single))
    return {
        "bare_ms": bare_ms,
        "verdict_1_row_ms": verdict_ms,
        "ratio_to_bare": verdict_ms / bare_ms,
        "verdict_15_rows_ms": median_ms(lambda: moments.learn(dozen)),
        "unlearn_15_rows_ms": median_ms(lambda: moments.unlearn(dozen)),
        "to_head_1_row_ms": median_ms(lambda: to_head(moments, single)),
        "to_head_15_rows_ms": median_ms(lambda: to_head(moments, dozen)),
        "leverage_1_row_ms": median_ms(lambda: moments.leverage(single.x)),
        "state_kib": len(moments.to_bytes()) / 1024,
        "resident_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def grown(examples_max: int) -> list[dict[str, float]]:
    """One row of the table for each size, with what it took to learn up to there in blocks."""
    rng, moments, table = np.random.default_rng(0), Moments(COLUMNS, TARGETS, 1.0), []
    learning_s = 0.0
    for size in (size for size in SIZES if size <= examples_max):
        while moments.count < size:
            rows = some_rows(rng, min(BLOCK, size - moments.count))
            start_s = time.perf_counter()
            moments.learn(rows)
            learning_s += time.perf_counter() - start_s
        row = {"examples": float(size), "learning_s": learning_s, "rows_per_s": size / learning_s}
        table.append(row | one_more(moments, rng))
    return table


def rebuilt(count: int) -> dict[str, float]:
    """Rebuild from rows in verdicts of 15: its time, and how far it is from one batch and from a refit."""
    rows = some_rows(np.random.default_rng(1), count)
    stream, batch = Moments(COLUMNS, TARGETS, 1.0), Moments(COLUMNS, TARGETS, 1.0)
    start_s = time.perf_counter()
    for first in range(0, count, 15):
        stream.learn(Rows(*(part[first : first + 15] for part in (rows.x, rows.y, rows.w))))
    stream_s = time.perf_counter() - start_s
    batch.learn(rows)
    right = np.linalg.solve(np.eye(COLUMNS) + rows.x.T @ rows.x, rows.x.T @ rows.y)
    scale = np.abs(right).max()
    return {
        "rows": float(count),
        "stream_s": stream_s,
        "difference_to_batch": float(np.abs(stream.weights() - batch.weights()).max() / scale),
        "difference_to_refit": float(np.abs(stream.weights() - right).max() / scale),
    }


def show(table: list[dict[str, float]]) -> None:
    """Print rows of figures under their names."""
    for name in table[0]:
        print(f"{name:22}" + "".join(f"{row[name]:14.4g}" for row in table))
    print()


def main(arguments: list[str]) -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description="What one more verdict costs the reflex.")
    parser.add_argument("--examples", type=int, default=SIZES[-1], help="stop growing at this size")
    parser.add_argument("--out", type=Path, default=Path("out/moments.json"))
    chosen = parser.parse_args(arguments)
    sizes, rebuilds = grown(chosen.examples), [rebuilt(count) for count in (1_500, 6_000, 24_000)]
    print(f"d = {COLUMNS}, c = {TARGETS}, threads = {os.environ['OMP_NUM_THREADS']}\n")
    show(sizes)
    show(rebuilds)
    chosen.out.parent.mkdir(parents=True, exist_ok=True)
    figures = {"columns": COLUMNS, "targets": TARGETS, "sizes": sizes, "rebuilds": rebuilds}
    chosen.out.write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
