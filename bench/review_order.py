"""Verdicts saved by asking for the right pieces first: review order against random order, on magnetic tiles and boards.

    python -m bench.review_order --data DIR [--seeds 6] [--out out/bench]

DIR holds magnetic-tile/ and deeppcb/ (or $HOTLOOP_DATA). Frozen features (EfficientNet-Lite0; the shipped detector), the
reflex alone. From a pool of unverified pieces the next to verify is the one with the highest value (`feedback/queue.py`:
uncertainty and leverage), one of them alone, or a random one. Told: verdicts until accuracy (tiles) or F (boards) on
pieces never verified first reaches, and for three checks keeps, a level; means over seeds with their range. Then what
conformal lets pass without a human at 1 and 2 % error, and what really passed and was wrong.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np

from bench.poison import boards, tiles
from hotloop.config import LoopConfig
from hotloop.feedback import Passes, verdict
from hotloop.feedback.queue import uncertainty, value
from hotloop.learn import Moments
from hotloop.loading import load_vertical
from hotloop.ports import Vertical
from hotloop.testing.poison import Piece
from hotloop.types import Example, Floats, Observation, Prediction, Rows

ORDERS = ("random", "uncertainty", "leverage", "both")
STEP = 10  # verdicts between two checks
KEPT = 3  # checks for which a level must hold


def taught(vertical: Vertical, piece: Piece, name: str = "p") -> Rows:
    """What a true verdict on a piece teaches."""
    seen = Observation(id=name, site="s", line="l", at=0.0, digest="0" * 64)
    made = Prediction(id=name, observation=seen, version=1, outputs=(), confidence=1.0, proposals=piece.proposals)
    return vertical.teach(Example(made, (verdict(name, piece.truths, "ann"),)))


def worth(how: str, moments: Moments, rows: Sequence[Rows], thresholds: tuple[float, ...]) -> Floats:
    """What a verdict on each piece is worth now, by one order."""
    stacked = np.concatenate([one.x for one in rows])
    scores, leverages = stacked @ moments.weights(), moments.leverage(stacked)
    ends = np.cumsum([len(one.x) for one in rows])[:-1]
    parts = list(zip(np.split(scores, ends), np.split(leverages, ends), strict=True))
    doubt = np.array([uncertainty(score, thresholds) for score, _ in parts])
    novelty = np.array([h.max(initial=0.0) for _, h in parts])
    return {"uncertainty": doubt, "leverage": novelty, "both": value(doubt, novelty)}[how]


def curve(
    vertical: Vertical, pool: Sequence[Rows], quality: Callable[[Floats], float], how: str, seed: int
) -> list[float]:
    """Quality after every STEP verdicts, in one order."""
    rng, start = np.random.default_rng(seed), vertical.start()
    moments = Moments(*start.weights.shape, 1.0, start.weights)
    left, found = list(rng.permutation(len(pool))), [quality(moments.weights())]
    while left:
        if how == "random" or moments.count == 0:
            chosen = left[:STEP]
        else:
            values = worth(how, moments, [pool[k] for k in left], start.thresholds)
            chosen = [left[k] for k in np.argsort(-values, kind="stable")[:STEP]]
        for k in chosen:
            left.remove(k)
            moments.learn(pool[k])
        found.append(quality(moments.weights()))
    return found


def needed(found: list[float], level: float) -> float:
    """Verdicts until a level is reached and kept for KEPT checks; infinite if it is not."""
    good = np.array(found) >= level
    for at in range(len(good) - KEPT + 1):
        if good[at : at + KEPT].all():
            return at * STEP
    return float("inf")


def accuracy(rows: Sequence[Rows]) -> Callable[[Floats], float]:
    """Of whole pieces: the share whose best kind is the true one."""
    x, y = np.concatenate([one.x for one in rows]), np.concatenate([one.y for one in rows])
    return lambda weights: float(((x @ weights).argmax(1) == y.argmax(1)).mean())


def rows_f(rows: Sequence[Rows], thresholds: tuple[float, ...]) -> Callable[[Floats], float]:
    """Of candidates: F1 of those said against those that are there."""
    x, y = np.concatenate([one.x for one in rows]), np.concatenate([one.y for one in rows])

    def found(weights: Floats) -> float:
        scores = x @ weights
        best, there = scores.argmax(1), y.max(1) >= 0.5
        said = scores.max(1) >= np.array(thresholds)[best]
        hit = said & there & (best == y.argmax(1))
        return float(2 * hit.sum() / max(said.sum() + there.sum(), 1))

    return found


def passing(pool: Sequence[Rows], test: Sequence[Rows], error: float, vertical: Vertical) -> dict[str, float]:
    """Conformal: half of the pool is learned, half calibrates; the share of the test that passes, and that is wrong."""
    start = vertical.start()
    moments = Moments(*start.weights.shape, 1.0, start.weights)
    for rows in pool[::2]:
        moments.learn(rows)
    passes, weights = Passes(error), moments.weights()

    def looked(rows: Rows) -> tuple[float, bool]:
        scores = rows.x @ weights
        return uncertainty(scores, start.thresholds), bool((scores.argmax(1) != rows.y.argmax(1)).any())

    for rows in pool[1::2]:
        doubt, wrong = looked(rows)
        passes.add(doubt, wrong=wrong)
    limit = passes.threshold()
    found = [looked(rows) for rows in test]
    passed = [wrong for doubt, wrong in found if limit is not None and doubt <= limit]
    return {"error": error, "passed": len(passed) / len(test), "wrong": sum(passed) / len(test)}


def saving(ordered: float, drawn: float) -> str:
    """What the order saves against pieces drawn by chance, in words."""
    return f"saved {1 - ordered / drawn:.0%}" if np.isfinite(drawn) else "by chance: not within the set"


def run(name: str, vertical: Vertical, pool: list[Rows], quality: Callable[[Floats], float], given: argparse.Namespace) -> dict[str, object]:  # fmt: skip
    """All orders over seeds; the levels are shares of what everything verified comes to."""
    curves = {how: [curve(vertical, pool, quality, how, seed) for seed in range(given.seeds)] for how in ORDERS}
    final = float(np.mean([one[-1] for one in curves["random"]]))
    table: dict[str, object] = {"final": final}
    for level in (final - 0.06, final - 0.03, final - 0.01):
        row = {}
        for how in ORDERS:
            at = [needed(one, level) for one in curves[how]]
            row[how] = {"median": float(np.median(at)), "low": float(np.min(at)), "high": float(np.max(at))}
        table[f"{level:.3f}"] = row
        said = "  ".join(f"{how} {one['median']:.0f} ({one['low']:.0f}-{one['high']:.0f})" for how, one in row.items())
        print(f"{name}: {level:.1%} after  {said} verdicts; {saving(row['both']['median'], row['random']['median'])}")
    table["curves"] = {how: np.mean(found, 0).round(4).tolist() for how, found in curves.items()}
    return table


def plot(tables: dict[str, dict[str, object]], path: Path) -> None:
    """Quality against verdicts, one panel a set."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(1, len(tables), figsize=(11, 4))
    for axes, (name, table) in zip(panels, tables.items(), strict=True):
        for how, found in table["curves"].items():  # type: ignore[attr-defined]
            axes.plot(np.arange(len(found)) * STEP, 100 * np.array(found), label=how)
        axes.set_title(name)
        axes.set_xlabel("verdicts")
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("% on pieces never verified (accuracy; F of candidates)")
    panels[0].legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) if home else None, required=not home)
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    vertical, _, pieces, test = tiles(given.data, 10_000)
    pool, held = ([taught(vertical, piece) for piece in part] for part in (pieces, test))
    tables = {"magnetic tiles": run("magnetic tiles", vertical, pool, accuracy(held), given)}
    for error in (0.01, 0.02, 0.05):
        found = passing(pool, held, error, vertical)
        tables["magnetic tiles"][f"passes_{error}"] = found
        print(
            f"conformal at {error:.0%}: {found['passed']:.1%} of tiles pass without a human, {found['wrong']:.2%} of all pass and are wrong"
        )
    warm, _, pieces, test = boards(given.data, 600)
    cold = LoopConfig(tables={"inspection": {"start": "none", "labels": list(warm.start().labels)}})
    detection = load_vertical(cold)  # with the start model's knowledge random order is good from the first verdict on
    pool, held = ([taught(detection, piece) for piece in part] for part in (pieces, test))
    tables["boards"] = run("boards", detection, pool, rows_f(held, detection.start().thresholds), given)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "review_order.json").write_text(json.dumps(tables, indent=1))
    plot(tables, given.out / "review_order.png")


if __name__ == "__main__":
    main()
