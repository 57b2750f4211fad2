"""Which backbone for the detector: size, time a board, and what an equal, small training time makes of it.

    nice python bench/backbones.py [--seconds 150] [--out out] [--only compact mobilenet_v3_small]

Each backbone is trained from nothing on drawn boards for as many steps as fit into --seconds here (the same patches in
the same order), exported, timed on one thread of ONNX Runtime on a 640 x 640 board with its template, and scored on 60
drawn boards that no training saw. The default is chosen by this table; the peers are the other rows.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from hotloop.predict.runtimes import open_network
from hotloop.verticals.inspection.candidates import decide
from hotloop.verticals.inspection.detector import Description, StartModel
from hotloop.verticals.inspection.export import detector_to_onnx
from hotloop.verticals.inspection.nets import BACKBONES
from hotloop.verticals.inspection.score import Boxes, measure, truths_of
from hotloop.verticals.inspection.train import BoardSource, Patch, Recipe, best_threshold, board_checks, fit

CHECKS = 60
REPEATS = 15


def steps_for(name: str, source: BoardSource, seconds: float) -> int:
    """How many steps fit: three are timed, after one to warm up."""
    marks: list[float] = []
    fit(source, Recipe(backbone=name, steps=4), report=lambda _step, _loss: marks.append(time.perf_counter()))
    return max(10, round(seconds / float(np.median(np.diff(marks)))))


def board_ms(onnx: bytes) -> float:
    """The least time that the network takes for one board, on one thread: load adds to a time, never takes off."""
    session = open_network({"onnx": onnx})
    planes = np.random.default_rng(0).choice([-1.0, 1.0], (1, 2, 640, 640)).astype(np.float32)
    times_s = []
    for _ in range(REPEATS + 2):
        start_s = time.perf_counter()
        session(planes)
        times_s.append(time.perf_counter() - start_s)
    return min(times_s[2:]) * 1e3


def answers(model: StartModel, checks: list[Patch]) -> list[tuple[Boxes, Boxes]]:
    """The start model's own answers on drawn boards, with the truths."""
    floor = (0.02,) * len(model.description.labels)
    given = []
    for patch in checks:
        found = model.candidates(patch.planes[0], patch.planes[1])
        given.append((decide(found.regions, found.scores, floor)[1], truths_of(patch.boxes, patch.classes)))
    return given


def row(name: str, seconds: float, checks: list[Patch]) -> dict[str, object]:
    """One backbone's figures."""
    steps = steps_for(name, BoardSource(0, kept=8), seconds)
    source = BoardSource(0)
    recipe = replace(Recipe(), backbone=name, steps=steps)
    start_s = time.perf_counter()
    detector = fit(source, recipe)
    trained_s = time.perf_counter() - start_s
    onnx = detector_to_onnx(detector, source.inputs)
    half = len(checks) // 2  # thresholds on one half, quality on the other
    labels = len(source.labels)
    model = StartModel(open_network({"onnx": onnx}), Description(source.labels, "grey+template", (0.5,) * labels))
    limit = best_threshold(answers(model, checks[:half]), labels)
    found = measure(answers(model, checks[half:]), (limit,) * labels)
    return {
        "backbone": name,
        "parameters": sum(p.numel() for part in (detector.neck, detector.class_branch, detector.box_branch,
                                                 detector.class_head, detector.box_head) for p in part.parameters())
        + sum(p.numel() for key, p in detector.backbone.named_parameters() if "classifier" not in key
              and not key.startswith(("_fc", "_conv_head", "_bn1"))),
        "onnx_bytes": len(onnx),
        "board_ms": round(board_ms(onnx), 1),
        "steps": steps,
        "trained_s": round(trained_s),
        "f": found.f,
        "mean_average_precision": found.mean_average_precision,
    }  # fmt: skip


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=150.0, help="training time of each")
    parser.add_argument("--only", nargs="+", choices=list(BACKBONES), default=list(BACKBONES))
    parser.add_argument("--out", type=Path, default=Path("out"))
    given = parser.parse_args()
    print(f"{torch.get_num_threads()} threads for training, 1 for the times")
    checks = board_checks(0, CHECKS)
    table = []
    for name in given.only:
        table.append(row(name, given.seconds, checks))
        one = table[-1]
        print(
            f"{name:20s} {one['parameters']:>9,} parameters  {one['board_ms']:6.1f} ms a board  "
            f"{one['steps']:5d} steps in {one['trained_s']} s  F {one['f']:6.1%}  "
            f"mAP {one['mean_average_precision']:6.1%}",
            flush=True,
        )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "backbones.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
