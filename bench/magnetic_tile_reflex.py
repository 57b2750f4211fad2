"""Whole images, one verdict at a time, on magnetic tiles: accuracy against the number of verdicts.

    python bench/magnetic_tile_reflex.py --data DIR [--backbone LITE0.onnx] [--out out]

DIR holds the MT_* folders (or $HOTLOOP_DATA/magnetic-tile). LITE0.onnx is written by `python -m
hotloop.verticals.inspection.export lite0 LITE0.onnx`; without it the shipped backbone is used. Seeded split, 70 % of
each kind to learn from. Beside the reflex, on the same features: a batch ridge regression refitted from scratch (which
must give the same head, to 1e-8), scikit-learn's LogisticRegression, and always saying the most frequent kind.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
from PIL import Image
from rich.progress import track

from hotloop.errors import ModelError
from hotloop.learn.moments import Moments
from hotloop.types import Floats, Rows
from hotloop.verticals.inspection.classifier import Backbone, backbone, expand, start_bundle
from hotloop.verticals.inspection.labels import LabelSet, read_labels

TRAIN_SHARE = 0.7
STEPS = (10, 25, 50, 100, 200, 300, 400)
RIDGE = 1.0
EQUAL = 1e-8


def look(labels: LabelSet, network: Backbone) -> tuple[np.ndarray, np.ndarray]:
    """Features (n, f) and kinds (n,) of all pieces; kind 0 is good."""
    kinds = ("good", *labels.labels)
    features, truth = [], []
    for piece in track(labels.pieces, "looking"):
        features.append(network.features(np.asarray(Image.open(piece.image).convert("RGB"))))
        truth.append(kinds.index(piece.truths[0].label if piece.truths else "good"))
    return np.stack(features), np.array(truth)


def split(truth: np.ndarray, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Indices to learn from, in the order in which they are verified, and to test on."""
    parts = [rng.permutation(np.flatnonzero(truth == kind)) for kind in np.unique(truth)]
    cuts = [round(TRAIN_SHARE * len(part)) for part in parts]
    train = rng.permutation(np.concatenate([part[:cut] for part, cut in zip(parts, cuts, strict=True)]))
    return train, np.concatenate([part[cut:] for part, cut in zip(parts, cuts, strict=True)])


def accuracy(said: np.ndarray, truth: np.ndarray) -> tuple[float, float]:
    """The share that is right, and the mean of that share over kinds."""
    right = said == truth
    return float(right.mean()), float(np.mean([right[truth == kind].mean() for kind in np.unique(truth)]))


def batch(x: Floats, y: Floats) -> Floats:
    """Ridge regression from scratch: the peer that must give the same head."""
    return np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ y)


def regression(x: Floats, truth: np.ndarray, test: Floats) -> np.ndarray:
    """What scikit-learn's logistic regression says, on standardised features."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    if len(np.unique(truth)) < 2:
        return np.full(len(test), truth[0])
    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=300)).fit(x, truth).predict(test)


def run(x: Floats, truth: np.ndarray, seed: int) -> list[dict[str, float]]:
    """One row a number of verdicts. ModelError if the reflex and the batch differ."""
    train, test = split(truth, np.random.default_rng(seed))
    y = np.eye(int(truth.max()) + 1)[truth]
    moments = Moments(x.shape[1], y.shape[1], RIDGE, np.zeros((x.shape[1], y.shape[1])))
    table, learn_s = [], 0.0
    for number, index in enumerate(train, 1):
        start_s = time.perf_counter()
        moments.apply([(1, Rows(x[index : index + 1], y[index : index + 1], np.ones(1)))])
        learn_s += time.perf_counter() - start_s
        if number not in STEPS and number != len(train):
            continue
        seen, weights = train[:number], moments.weights()
        again = batch(x[seen], y[seen])
        gap = float(np.abs(weights - again).max() / np.abs(again).max())
        if gap > EQUAL:
            raise ModelError(f"After {number} verdicts the reflex and the batch differ by {gap:.1e}, over {EQUAL:.0e}.")
        ours = accuracy((x[test] @ weights).argmax(1), truth[test])
        logistic = accuracy(regression(x[seen], truth[seen], x[test]), truth[test])
        most = accuracy(np.full(len(test), np.bincount(truth[seen]).argmax()), truth[test])
        table.append(
            {"verdicts": number, "accuracy": ours[0], "balanced": ours[1], "logistic": logistic[0],
             "logistic_balanced": logistic[1], "majority": most[0], "gap": gap, "learn_ms": learn_s / number * 1e3}
        )  # fmt: skip
        print(
            f"{number:4d} verdicts  reflex {ours[0]:6.1%} (balanced {ours[1]:6.1%})  logistic {logistic[0]:6.1%} "
            f"({logistic[1]:6.1%})  majority {most[0]:6.1%}  |reflex - batch| {gap:.0e}  "
            f"{learn_s / number * 1e3:.1f} ms a verdict",
            flush=True,
        )
    return table


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    default = Path(home) / "magnetic-tile" if home else None
    parser.add_argument("--data", type=Path, default=default, required=not home)
    parser.add_argument("--backbone", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    features, truth = look(read_labels(given.data), backbone(start_bundle(given.backbone)))
    table = run(expand(features), truth, given.seed)
    given.out.mkdir(parents=True, exist_ok=True)
    name = "lite0" if given.backbone else "shipped"
    (given.out / f"magnetic_tile_reflex_{name}.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
