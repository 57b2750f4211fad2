"""Reflex and refresh against joint training from scratch, on magnetic tiles.

    python -m bench.magnetic_tile_refresh --data DIR [--at 170 340] [--minutes 2] [--seeds 1] [--out out/bench]

DIR holds the MT_* folders (or $HOTLOOP_DATA/magnetic-tile). Seeded split, 70 % of each kind to learn from. One stream of
verdicts: the reflex on frozen EfficientNet-Lite0 (ImageNet); a refresh after each of --at verdicts and at the end, through
the real job folder and child process; after each, the reflex on the new features. Against it, joint training: the
same child, once, at the ImageNet weights ("scratch" as the field uses it for small sets), on all pieces at once, for as
many minutes as all refreshes together. The bar: within one point. Both heads after a refresh are told: learned from all
verified pieces, and only from those that the backbone was not trained on.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import msgspec
import numpy as np

from bench.magnetic_tile_reflex import accuracy, split
from bench.poison import lite0
from hotloop.config import LoopConfig
from hotloop.feedback import verdict
from hotloop.job import Job, JobExample, Role, blob_path, told, write_job
from hotloop.learn import Moments
from hotloop.loading import load_vertical
from hotloop.steps import held_out
from hotloop.types import Example, Observation, Payload, Prediction, Proposals, Rederivation, digest, rederived
from hotloop.verticals.inspection.labels import read_labels
from hotloop.verticals.inspection.pieces import Piece
from hotloop.verticals.inspection.whole import WholeImage

NONE = Proposals(0, 0, b"")


class Tiles:
    """The pieces, verified, and how a vertical answers them."""

    def __init__(self, data: Path) -> None:
        labels = read_labels(data)
        self.tables = {"inspection": {"task": "image", "labels": list(labels.labels), "start": str(lite0())}}
        self.pieces: Sequence[Piece] = labels.pieces
        self.bytes = [piece.image.read_bytes() for piece in labels.pieces]
        kinds = ["ok", *labels.labels]
        self.truth = np.array([kinds.index(p.truths[0].label if p.truths else "ok") for p in labels.pieces])

    def example(self, k: int, proposals: Proposals = NONE) -> Example:
        """A verified piece."""
        name = f"p{k}"
        seen = Observation(id=name, site="s", line="l", at=0.0, digest=digest(self.bytes[k]))
        made = Prediction(id=name, observation=seen, version=1, outputs=(), confidence=1.0, proposals=proposals)
        claims = [(truth.label, None) for truth in self.pieces[k].truths]
        return Example(made, (verdict(name, claims, "ann"),))

    def job(self, folder: Path, begun: WholeImage, chosen: Sequence[int], minutes: float, share: float) -> None:
        """Lay a job of these pieces; `share` of them judge and are not trained on."""
        (folder / "blobs").mkdir(parents=True)
        examples = []
        for k in range(len(self.bytes)):  # all are re-derived, so that the test can be judged on the same features
            name = digest(self.bytes[k])
            blob_path(folder, name).write_bytes(self.bytes[k])
            role: Role = "train" if k in set(chosen) and not held_out(name, share) else "judge"
            examples.append(JobExample(self.example(k), role))
        job = Job(tier="refresh", reason="bench", backbone=begun.backbone, tables=self.tables, base="", examples=tuple(examples),
                  trained_to=1, seed=0, minutes_max=minutes, threads=int(os.environ.get("HOTLOOP_THREADS", "1")))  # fmt: skip
        write_job(folder, job, begun.bundle())


def trained(tiles: Tiles, begun: WholeImage, chosen: Sequence[int], minutes: float, share: float) -> tuple[WholeImage, dict[str, Proposals], float]:  # fmt: skip
    """Train in the real child; the new vertical, what it proposes for every piece, and the seconds it took."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary) / "job"
        tiles.job(folder, begun, chosen, minutes, share)
        began_s = time.perf_counter()
        subprocess.run([sys.executable, "-m", "hotloop.verticals.inspection.refresh", str(folder)], check=False)
        if told(folder).state != "done":
            raise SystemExit(f"the child failed: {told(folder).text}")
        features = msgspec.msgpack.decode((folder / "features.msgpack").read_bytes(), type=Rederivation)
        after = begun.revived((folder / "result.bin").read_bytes())
        return after, features.proposals, time.perf_counter() - began_s


def judged(tiles: Tiles, after: WholeImage, seen: dict[str, Proposals], learned: Sequence[int], test: Sequence[int]) -> tuple[float, float]:  # fmt: skip
    """Accuracy and balanced accuracy on the test of the reflex that has learned these pieces."""
    start = after.start()
    moments = Moments(*start.weights.shape, 1.0, start.weights)
    rows = {k: after.teach(msgspec.structs.replace(e := tiles.example(k), prediction=rederived(e.prediction, seen[f"p{k}"])))
            for k in (*learned, *test)}  # fmt: skip
    for k in learned:
        moments.learn(rows[k])
    said = np.array([int((rows[k].x @ moments.weights()).argmax()) for k in test])
    return accuracy(said, tiles.truth[list(test)])


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) / "magnetic-tile" if home else None, required=not home)
    parser.add_argument("--at", type=int, nargs="+", default=[170, 340])
    parser.add_argument("--minutes", type=float, default=2.0)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--holdout", type=float, default=0.2)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    tiles = Tiles(given.data)
    rows = []
    for seed in range(given.seeds):
        train, test = split(tiles.truth, np.random.default_rng(seed))
        begun = load_vertical(LoopConfig(tables=tiles.tables))
        assert isinstance(begun, WholeImage)
        seen = {f"p{k}": begun.propose(Payload(tiles.bytes[k])) for k in range(len(tiles.bytes))}
        reflex = judged(tiles, begun, seen, list(train), list(test))
        print(
            f"seed {seed}: reflex alone, {len(train)} verdicts: {reflex[0]:.1%} (balanced {reflex[1]:.1%})", flush=True
        )
        now, spent = begun, 0.0
        for at in (*given.at, len(train)):
            chosen = [int(k) for k in train[:at]]
            now, seen, seconds = trained(tiles, now, chosen, given.minutes, given.holdout)
            spent += seconds
            unseen = [k for k in chosen if held_out(digest(tiles.bytes[k]), given.holdout)]
            both = {
                "all": judged(tiles, now, seen, chosen, list(test)),
                "unseen": judged(tiles, now, seen, unseen, list(test)),
            }
            rows.append({"seed": seed, "verdicts": at, "seconds": seconds, **{k: list(v) for k, v in both.items()}})
            print(f"seed {seed}: refreshed after {at} verdicts in {seconds:.0f} s: head from all {both['all'][0]:.1%} "
                  f"({both['all'][1]:.1%}), from the pieces not trained on {both['unseen'][0]:.1%}", flush=True)  # fmt: skip
        joint, seen, seconds = trained(tiles, begun, [int(k) for k in train], given.minutes * (len(given.at) + 1), 0.0)
        found = judged(tiles, joint, seen, [int(k) for k in train], list(test))
        rows.append({"seed": seed, "joint": list(found), "seconds": seconds, "reflex": list(reflex)})
        print(
            f"seed {seed}: joint training {seconds:.0f} s (refreshes {spent:.0f} s): {found[0]:.1%} ({found[1]:.1%})",
            flush=True,
        )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "magnetic_tile_refresh.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
