"""What hostile reviewers do to a loop: none to five of ten, random or aimed, with no defence, the gate, trust and gate.

    python -m bench.poison --data DIR [--small] [--seeds 2] [--out out/bench]

DIR holds deeppcb/ and magnetic-tile/ (or $HOTLOOP_DATA). Real pieces through the real lineage (hotloop.testing.poison): DeepPCB
with the shipped start model (boards 1-600 are verified, 601-800 judge), magnetic tiles on frozen EfficientNet-Lite0
(70/30), every piece verified by one of ten reviewers, a tenth by two; a tenth of the work are golden pieces. Points are
percentage points of F1 on pieces that nobody verified. The peers are the columns: the same run with fewer defences.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Sequence
from pathlib import Path
from tempfile import gettempdir

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
from PIL import Image
from rich.progress import track

from bench.deeppcb_reflex import look
from bench.magnetic_tile_reflex import look as look_whole
from bench.magnetic_tile_reflex import split
from hotloop.config import LoopConfig
from hotloop.loading import load_vertical
from hotloop.ports import Vertical
from hotloop.testing.poison import Attack, Defence, Outcome, Piece, Plan, defended, poisoned
from hotloop.types import Proposals, digest
from hotloop.verticals.inspection.classifier import backbone, signature, start_bundle
from hotloop.verticals.inspection.detector import boards_files, load
from hotloop.verticals.inspection.labels import read_labels

Set = tuple[Vertical, LoopConfig, list[Piece], list[Piece]]


def boards(data: Path, count: int) -> Set:
    """DeepPCB: pieces to verify and pieces to judge on."""
    files = boards_files()
    cache = Path(gettempdir()) / f"hotloop-deeppcb-{digest(b''.join(files))[:16]}.npz"
    labels = read_labels(data / "deeppcb")
    seen = look(labels, load(*files), cache)[:800]
    config = LoopConfig()
    pieces = [
        Piece(
            Proposals(*one.features.shape, one.features.astype("<f2").tobytes(), tuple(map(tuple, one.regions.tolist()))),
            tuple((labels.labels[int(k)], tuple(r)) for k, r in zip(one.truths.labels, one.truths.regions.tolist(), strict=True)),
        )
        for one in seen
    ]  # fmt: skip
    return load_vertical(config), config, pieces[:600][:count], pieces[600:]


def lite0() -> Path:
    """EfficientNet-Lite0 with its ImageNet weights as ONNX, written once."""
    path = Path(gettempdir()) / "hotloop-lite0.onnx"
    if not path.exists():
        from hotloop.verticals.inspection.export import classifier_to_onnx

        path.write_bytes(classifier_to_onnx())
    return path


def tiles(data: Path, count: int) -> Set:
    """Magnetic tiles: pieces to verify and pieces to judge on."""
    cache = Path(gettempdir()) / "hotloop-tiles-lite0-signed.npz"
    labels = read_labels(data / "magnetic-tile")
    if not cache.exists():
        found = look_whole(labels, backbone(start_bundle(lite0())))
        pictures = [np.asarray(Image.open(piece.image).convert("RGB")) for piece in labels.pieces]
        np.savez(cache, *found, np.stack([np.frombuffer(signature(picture), np.uint8) for picture in pictures]))
    features, truth, signatures = np.load(cache).values()
    config = LoopConfig(tables={"inspection": {"task": "image", "labels": list(labels.labels), "start": str(lite0())}})
    pieces = [
        Piece(
            Proposals(1, len(row), row.astype("<f2").tobytes(), signature=bits.tobytes()),
            ((labels.labels[kind - 1], None),) if kind else (),
        )
        for row, kind, bits in zip(features, truth, signatures, strict=True)
    ]
    train, test = split(truth, np.random.default_rng(0))
    return load_vertical(config), config, [pieces[k] for k in train[:count]], [pieces[k] for k in test]


def cell(data: Set, hostile: int, attack: Attack, defence: Defence, seeds: Sequence[int]) -> dict[str, float]:
    """One cell of the table, over seeds: means, and the worst of the worst."""
    vertical, config, pieces, test = data
    runs: list[Outcome] = [
        poisoned(vertical, defended(config, defence), pieces, test, Plan(hostile=hostile, attack=attack, seed=seed))
        for seed in seeds
    ]
    return {
        "first": float(np.mean([run.first_all for run in runs])),
        "last": float(np.mean([run.last_all for run in runs])),
        "worst": min(run.worst for run in runs),
        "promoted": float(np.mean([run.promoted_share for run in runs])),
        "liars_found": float(np.mean([run.liars_found for run in runs])),
        "wrongly": float(np.sum([run.wrongly for run in runs])),
    }


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) if home else None, required=not home)
    parser.add_argument("--small", action="store_true", help="3 of 10 only, fewer pieces")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    count = 400 if given.small else 600
    sets = {"deeppcb": boards(given.data, count), "magnetic-tile": tiles(given.data, count)}
    rows = []
    levels = (0, 3) if given.small else (0, 1, 2, 3, 4, 5)
    todo = [(s, a, h, d) for s in sets for a in ("random", "aimed") for h in levels for d in ("none", "gate", "trust")
            if h or a == "random"]  # fmt: skip
    for name, attack, hostile, defence in track(todo, "poisoning"):
        found = cell(sets[name], hostile, attack, defence, range(given.seeds))  # type: ignore[arg-type]
        rows.append({"set": name, "attack": attack, "hostile": hostile, "defence": defence} | found)
        print(
            f"{name:14s} {attack:7s} {hostile} of 10  {defence:6s}  F1 {found['first']:6.1%} -> {found['last']:6.1%}  "
            f"worst class {100 * found['worst']:+6.1f}  honest learned {found['promoted']:6.1%}  "
            f"liars found {found['liars_found']:.1f}  wrongly {found['wrongly']:.0f}",
            flush=True,
        )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "poison.json").write_text(json.dumps(rows, indent=1))
    plot(rows, given.out / "poison.png")


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """The worst class's change against the number of liars."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(2, 2, figsize=(10, 7), sharex=True, sharey=True)
    for line, name in enumerate(("deeppcb", "magnetic-tile")):
        for column, attack in enumerate(("random", "aimed")):
            axes = panels[line][column]
            for defence in ("none", "gate", "trust"):
                points = [
                    (r["hostile"], 100 * float(str(r["worst"])))
                    for r in rows
                    if r["set"] == name and r["defence"] == defence and (r["attack"] == attack or not r["hostile"])
                ]
                axes.plot(*zip(*points, strict=True), "o-", label="trust + gate" if defence == "trust" else defence)
            axes.axhline(-15, color="grey", lw=0.8, ls="--")
            axes.set_title(f"{name}, {attack}")
            axes.grid(alpha=0.3)
    panels[0][0].legend()
    for axes in panels[1]:
        axes.set_xlabel("hostile reviewers of 10")
    for axes in panels[:, 0]:
        axes.set_ylabel("worst class, points of F1")
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
