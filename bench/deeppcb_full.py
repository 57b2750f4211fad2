"""All that the labels can teach: the detector trained on DeepPCB's first 800 pairs, judged on the last 200.

    python -m bench.deeppcb_full --data DIR [--steps 9000] [--rate 0.0025] [--drawn 0.2] [--every 3000] [--out out/bench]

DIR holds DeepPCB's `PCBData` (or $HOTLOOP_DATA/deeppcb). Begins at the shipped start model, mixes drawn boards in, and prints the
curve: mAP, the best F over thresholds, and the highest precision at a recall of at least 97 %, after every --every
steps (the running mean of the weights, as it would be served). --train and --test choose other pairs (0:600, 600:800).
A GPU is used if there is one. The peer is the first line: the start model.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hotloop.predict.runtimes import open_network
from hotloop.verticals.inspection.candidates import decide
from hotloop.verticals.inspection.detector import COLD_SCORE_MIN, Description, StartModel, boards_files
from hotloop.verticals.inspection.export import detector_to_onnx
from hotloop.verticals.inspection.labels import read_labels
from hotloop.verticals.inspection.nets import Detector
from hotloop.verticals.inspection.score import measure, truths_of
from hotloop.verticals.inspection.train import (
    BoardSource,
    Patch,
    Recipe,
    Tuning,
    aim,
    begun,
    disturb,
    piece_patches,
    shuffled,
)

RECALL = 0.97


class Mixed:
    """Real pieces, and a share of drawn boards."""

    inputs = 2

    def __init__(self, pieces: list[Patch], labels: tuple[str, ...], drawn: float) -> None:
        self.labels, self._pieces, self._share = labels, pieces, drawn
        self._drawn = BoardSource(1, kept=120, per_patch=1 / 24)

    def patch(self, rng: np.random.Generator, side_px: int) -> Patch:
        """One patch."""
        if rng.random() < self._share:
            return self._drawn.patch(rng, side_px)
        return disturb(shuffled(aim(self._pieces[int(rng.integers(len(self._pieces)))], rng, side_px), rng), rng)


def judged(detector: Detector, tests: list[Patch], labels: tuple[str, ...]) -> dict[str, float]:
    """Quality on pairs that were not trained on."""
    onnx = detector_to_onnx(copy.deepcopy(detector).cpu().eval(), 2)
    model = StartModel(open_network({"onnx": onnx}), Description(labels, "grey+template", (0.5,) * len(labels)))
    answers = []
    for patch in tests:
        found = model.candidates(patch.planes[0], patch.planes[1], COLD_SCORE_MIN)
        said = decide(found.regions, found.scores, (0.05,) * len(labels))[1]
        answers.append((said, truths_of(patch.boxes, patch.classes)))
    curve = [measure(answers, (float(limit),) * len(labels)) for limit in np.arange(0.1, 0.95, 0.02)]
    best = max(curve, key=lambda one: one.f)
    high = max((one.precision for one in curve if one.recall >= RECALL), default=0.0)
    return {"mean_average_precision": best.mean_average_precision, "f": best.f, "precision": best.precision,
            "recall": best.recall, "precision_at_recall": high}  # fmt: skip


def main() -> None:
    """Train, judge on the way, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) / "deeppcb" if home else None, required=not home)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--every", type=int, default=3000)
    parser.add_argument("--rate", type=float, default=2.5e-3)
    parser.add_argument("--drawn", type=float, default=0.2, help="share of drawn boards")
    parser.add_argument("--train", default="0:800")
    parser.add_argument("--test", default="800:1000")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    labels = read_labels(given.data)
    train, test = (
        piece_patches(replace(labels, pieces=labels.pieces[slice(*map(int, part.split(":")))]))
        for part in (given.train, given.test)
    )
    source = Mixed(train, labels.labels, given.drawn)
    recipe = Recipe(steps=given.steps, rate=given.rate, seed=1)
    detector = begun(source, recipe, boards_files()[0])
    rows: list[dict[str, float]] = []

    def show(step: int, at: Detector) -> None:
        rows.append({"steps": step, "seconds": round(time.perf_counter() - began_s)} | judged(at, test, labels.labels))
        row = rows[-1]
        print(f"{step:6d} steps, {row['seconds']:5.0f} s: mAP {row['mean_average_precision']:.2%}  F {row['f']:.2%}  precision at "
              f"recall >= 97 %: {row['precision_at_recall']:.2%}", flush=True)  # fmt: skip

    began_s = time.perf_counter()
    show(0, detector)
    tuning, rng = Tuning(detector, recipe), np.random.default_rng((recipe.seed, 2))
    for step in range(given.steps):
        tuning.step(step, source, rng)
        if (step + 1) % given.every == 0 or step + 1 == given.steps:
            served = copy.deepcopy(tuning.detector)
            served.load_state_dict(tuning.kept)
            show(step + 1, served)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "deeppcb_full.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
