"""The gate in figures: near-duplicates caught, honest candidates promoted, sabotaged ones not, and what a judgement costs.

    python -m bench.gate [--data DIR] [--out out/bench]

DIR holds deeppcb/ and magnetic-tile/ (or $HOTLOOP_DATA; without it the first table is left out). Near-duplicates: real pictures saved
as JPEG, made lighter by 3 grey levels, shifted by a pixel, with noise, against all pairs of distinct ones. Candidates: heads
on simulated rows, refitted with a few more true verdicts (3 % wrong), or broken on purpose. The peer in the same run: a flat
threshold on the difference of means, the usual "new model must not be worse".
"""

from __future__ import annotations

import argparse
import io
import json
import os
import time
from itertools import combinations
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
from PIL import Image

from hotloop.config import GateConfig
from hotloop.gate import judge
from hotloop.gate.sealed import near_duplicates
from hotloop.testing.candidates import SABOTAGES, Bench
from hotloop.types import Proposals
from hotloop.verticals.inspection.classifier import signature
from hotloop.verticals.inspection.detector import boards_model
from hotloop.verticals.inspection.labels import read_labels

CHANGES = ("JPEG", "3 levels lighter", "1 px shifted", "noise")
CONFIG = GateConfig()


def changed(picture: np.ndarray, how: str, rng: np.random.Generator) -> np.ndarray:
    """The same thing, sensed again."""
    if how == "JPEG":
        buffer = io.BytesIO()
        Image.fromarray(picture).save(buffer, "JPEG", quality=85)
        return np.asarray(Image.open(buffer).convert("RGB" if picture.ndim == 3 else "L"))
    if how == "3 levels lighter":
        return (picture.astype(int) + 3).clip(0, 255).astype(np.uint8)
    if how == "1 px shifted":
        return np.roll(picture, (1, 1), (0, 1))
    return (picture + rng.normal(0, 3, picture.shape)).clip(0, 255).astype(np.uint8)


def near(data: Path) -> dict[str, dict[str, float]]:
    """Shares of changed copies caught, and of distinct pairs wrongly caught."""
    rng, table = np.random.default_rng(0), {}
    model = boards_model()

    def board(image: np.ndarray, template: np.ndarray) -> Proposals:
        found = model.candidates(image, template)
        return Proposals(len(found.regions), 1, b"\0\0" * len(found.regions), tuple(map(tuple, found.regions.tolist())))

    def tile(image: np.ndarray, _: object) -> Proposals:
        return Proposals(1, 1, b"\0\0", signature=signature(image))

    for name, see, step, mode in (("deeppcb", board, 5, "L"), ("magnetic-tile", tile, 1, "RGB")):
        pieces = read_labels(data / name).pieces[:800][::step]
        pictures = [np.asarray(Image.open(piece.image).convert(mode)) for piece in pieces]
        templates = [
            np.asarray(Image.open(piece.template).convert(mode)) if piece.template else None for piece in pieces
        ]
        seen = [see(*pair) for pair in zip(pictures, templates, strict=True)]
        row = {how: float(np.mean([near_duplicates(one, see(changed(picture, how, rng), template))
               for one, picture, template in zip(seen, pictures, templates, strict=True)])) for how in CHANGES}  # fmt: skip
        row["caught"] = float(np.mean(list(row.values())))
        row["distinct"] = float(np.mean([near_duplicates(a, b) for a, b in combinations(seen[:250], 2)]))
        table[name] = row
        print(f"{name}: " + ", ".join(f"{key} {value:.1%}" for key, value in row.items() if key != "distinct")
              + f"; of distinct pairs {row['distinct']:.2%}", flush=True)  # fmt: skip
    return table


def candidates(count: int) -> dict[str, float]:
    """Shares promoted, by ours and by the flat threshold."""
    bench, honest, flat = Bench(0), 0, 0
    for _ in range(count):
        champion, challenger, parts = bench.honest()
        honest += judge(champion, challenger, CONFIG, parts).decision == "promote"
        flat += challenger.mean() <= champion.mean()
    bad = bad_flat = tried = 0
    for name in SABOTAGES:
        for _ in range(count // len(SABOTAGES)):
            champion, challenger, parts = bench.sabotaged(name)
            tried += 1
            bad += judge(champion, challenger, CONFIG, parts).decision == "promote"
            bad_flat += bool(np.isfinite(challenger).all() and challenger.mean() <= champion.mean() + CONFIG.tolerance)
    began_s = time.perf_counter()
    for _ in range(200):
        judge(champion, np.nan_to_num(challenger), CONFIG, parts)
    each_ms = (time.perf_counter() - began_s) / 200 * 1e3
    found = {"honest": honest / count, "honest_flat": flat / count, "sabotaged": bad, "sabotaged_flat": bad_flat, "tried": tried,
             "judgement_ms": each_ms}  # fmt: skip
    print(f"honest candidates promoted {found['honest']:.1%} (flat threshold {found['honest_flat']:.1%}); sabotaged {bad} of {tried} "
          f"(flat threshold with the same tolerance {bad_flat}); a judgement of {len(champion)} pieces in {len(parts.names)} parts "
          f"{each_ms:.2f} ms", flush=True)  # fmt: skip
    return found


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) if home else None)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    result: dict[str, object] = {"candidates": candidates(500)}
    if given.data is not None:
        result["near"] = near(given.data)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "gate.json").write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
