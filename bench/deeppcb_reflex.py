"""How far verdicts alone take the start model on real boards: DeepPCB, the reflex only, the backbone frozen.

    python bench/deeppcb_reflex.py --data DIR [--out out] [--boards 25 100 400 800] [--start MODEL.onnx]

DIR holds DeepPCB's `PCBData` (or $HOTLOOP_DATA/deeppcb). The start model has seen drawn boards only. The last 200 pairs
of trainval.txt are the test and teach nothing; the others are verified in a seeded, shuffled order, a whole board
a verdict (its true boxes are named, so what was missed and what was a false alarm is known). A hit is an overlap above
0.33 with the same label. Candidates are cached in --cache: detection is frozen, so each board is looked at once.
Prints a table with the start model, the peer, as its first row; writes deeppcb_reflex.json and .png.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import gettempdir

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
from PIL import Image
from rich.progress import track

from hotloop.learn.moments import Moments
from hotloop.types import Floats, Rows, digest
from hotloop.verticals.inspection.candidates import Expansion, assign, decide
from hotloop.verticals.inspection.detector import Candidates, StartModel, boards_files, load
from hotloop.verticals.inspection.labels import LabelSet, read_labels
from hotloop.verticals.inspection.score import Boxes, Quality, measure, truths_of

TEST_BOARDS = 200
FLOOR = 0.02  # answers down to here count for the mean average precision


@dataclass(frozen=True)
class Seen:
    """A board as the detector saw it, and its truth."""

    regions: Floats
    features: np.ndarray
    truths: Boxes


def look(labels: LabelSet, model: StartModel, cache: Path) -> list[Seen]:
    """Every board's candidates, from the cache where they are there."""
    if cache.exists():
        stored = np.load(cache)
        ends = np.cumsum(stored["counts"])[:-1]
        found = list(zip(np.split(stored["regions"], ends), np.split(stored["features"], ends), strict=True))
    else:
        seen = [_candidates(model, piece.image, piece.template) for piece in track(labels.pieces, "detecting")]
        found = [(one.regions, one.features) for one in seen]
        np.savez(
            cache,
            counts=[len(regions) for regions, _ in found],
            regions=np.concatenate([regions for regions, _ in found]),
            features=np.concatenate([features for _, features in found]),
        )
    truths = [
        truths_of([t.region or () for t in piece.truths], [labels.labels.index(t.label) for t in piece.truths])
        for piece in labels.pieces
    ]
    return [Seen(regions, features, truth) for (regions, features), truth in zip(found, truths, strict=True)]


def _candidates(model: StartModel, image: Path, template: Path | None) -> Candidates:
    pictures = [np.asarray(Image.open(path).convert("L")) for path in (image, template) if path is not None]
    return model.candidates(*pictures)


def quality(boards: list[Seen], expand: Expansion, weights: Floats, thresholds: tuple[float, ...]) -> Quality:
    """How good the head's answers are on `boards`."""
    floor = (FLOOR,) * len(thresholds)
    answers = [decide(board.regions, expand(board.features) @ weights, floor)[1] for board in boards]
    return measure([(said, board.truths) for said, board in zip(answers, boards, strict=True)], thresholds)


def run(train: list[Seen], test: list[Seen], model: StartModel, given: argparse.Namespace) -> list[dict[str, object]]:
    """One row a number of verified boards."""
    expand = Expansion(model.description, given.seed)
    labels, thresholds = len(expand.labels), model.description.thresholds
    moments = Moments(expand.columns, labels, given.ridge, expand.prior())
    order = np.random.default_rng(given.seed).permutation(len(train))
    table: list[dict[str, object]] = []
    done, learn_s = 0, 0.0
    for count in (0, *sorted(given.boards)):
        for index in order[done:count]:
            board = train[index]
            start_s = time.perf_counter()
            lesson = assign(board.regions, board.truths, labels, complete=True)
            moments.apply([(1, Rows(expand(board.features[lesson.rows]), lesson.y, lesson.w))])
            learn_s += time.perf_counter() - start_s
        done = max(done, min(count, len(train)))
        found = quality(test, expand, moments.weights(), thresholds)
        learned_ms = learn_s / done * 1e3 if done else 0.0
        table.append({"boards": done, "verdict_ms": round(learned_ms, 2)} | asdict(found))
        print(
            f"{done:5d} boards  precision {found.precision:6.1%}  recall {found.recall:6.1%}  F {found.f:6.1%}  "
            f"mAP {found.mean_average_precision:6.1%}  {learned_ms:5.1f} ms a verdict",
            flush=True,
        )
    return table


def plot(table: list[dict[str, object]], path: Path) -> None:
    """F and mAP over verified boards."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4))
    for key, name in (("f", "F"), ("mean_average_precision", "mAP")):
        axes.plot([row["boards"] for row in table], [100 * float(str(row[key])) for row in table], "o-", label=name)
    axes.set_xlabel("verified boards (reflex only)")
    axes.set_ylabel("% on 200 boards never learned")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) / "deeppcb" if home else None, required=not home)
    parser.add_argument("--out", type=Path, default=Path("out"))
    parser.add_argument("--boards", type=int, nargs="+", default=[25, 100, 400, 800])
    parser.add_argument("--start", type=Path, help="another start model than the shipped one")
    parser.add_argument("--cache", type=Path, default=Path(gettempdir()))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--ridge", type=float, default=1.0)
    parser.add_argument("--tune", action="store_true", help="test on the last 200 of the training boards instead")
    given = parser.parse_args()
    files = (given.start.read_bytes(), given.start.with_suffix(".json").read_bytes()) if given.start else boards_files()
    model = load(*files)
    key = digest(b"".join(files))[:16]
    cache = given.cache / f"hotloop-deeppcb-{key}.npz"
    boards = look(read_labels(given.data), model, cache)
    train, test = boards[:-TEST_BOARDS], boards[-TEST_BOARDS:]
    if given.tune:
        train, test = train[:-TEST_BOARDS], train[-TEST_BOARDS:]
    table = run(train, test, model, given)
    given.out.mkdir(parents=True, exist_ok=True)
    result = {"test_boards": len(test), "seed": given.seed, "ridge": given.ridge, "rows": table}
    (given.out / "deeppcb_reflex.json").write_text(json.dumps(result, indent=1))
    plot(table, given.out / "deeppcb_reflex.png")


if __name__ == "__main__":
    main()
