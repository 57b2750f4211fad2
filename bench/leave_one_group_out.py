"""A product never seen: DeepPCB's board groups as sites, each left out by subtraction, then met with 25 boards.

    python -m bench.leave_one_group_out --data DIR [--boards 25] [--seeds 3] [--out out/bench]

DIR holds DeepPCB's `PCBData` (or $HOTLOOP_DATA/deeppcb). Shipped start model, reflex only. For each group with enough boards:
the start model; the head of all other groups (the whole moments less the group's: checked against a refit, <= 1e-8); the
same after verdicts on 25 boards of the group; the group's 25 boards alone; and what `hotloop.generalise.choose` takes. Judged
on the group's other boards. Federation: the groups' exports merged equal learning everything in one place.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path
from tempfile import gettempdir

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np

from bench.deeppcb_reflex import Seen, look, quality
from hotloop.errors import ModelError
from hotloop.learn import Moments, Sums
from hotloop.learn.federation import export, merged, read
from hotloop.site_heads import choose
from hotloop.types import Head, Rows, digest
from hotloop.verticals.inspection.candidates import Expansion, assign
from hotloop.verticals.inspection.detector import boards_files, load
from hotloop.verticals.inspection.labels import read_labels

EQUAL = 1e-8
RIDGE = 1.0


def rows_of(board: Seen, expand: Expansion) -> Rows:
    """What a verified board teaches."""
    lesson = assign(board.regions, board.truths, len(expand.labels), complete=True)
    return Rows(expand(board.features[lesson.rows]), lesson.y, lesson.w)


def summed(boards: list[Seen], expand: Expansion) -> Sums:
    """What boards add up to."""
    total = Sums(expand.columns, len(expand.labels))
    for board in boards:
        total.add(rows_of(board, expand))
    return total


def head(expand: Expansion, *sums: Sums) -> Moments:
    """Moments that have learned these sums."""
    moments = Moments(expand.columns, len(expand.labels), RIDGE, expand.prior())
    for one in sums:
        moments.merge(one)
    return moments


def checked(by_subtraction: Moments, refit: Moments) -> float:
    """The largest relative difference; ModelError if it is over EQUAL."""
    gap = float(np.abs(by_subtraction.weights() - refit.weights()).max() / np.abs(refit.weights()).max())
    if gap > EQUAL:
        raise ModelError(f"leaving a group out by subtraction differs from a refit by {gap:.1e}")
    return gap


def one_group(
    name: str,
    groups: dict[str, list[Seen]],
    expand: Expansion,
    thresholds: tuple[float, ...],
    given: argparse.Namespace,
) -> list[dict[str, object]]:
    """The rows of the table for one group: means over seeds."""
    parts = {group: summed(boards, expand) for group, boards in groups.items()}
    whole = Sums(expand.columns, len(expand.labels))
    for part in parts.values():
        whole.merge(part)
    others = [part for group, part in parts.items() if group != name]
    gap = checked(head(expand, whole).without(parts[name]), head(expand, *others))
    rest = whole.twin()
    rest.merge(parts[name], -1)
    found: dict[str, list[object]] = {}
    shares = []
    for seed in range(given.seeds):
        order = np.random.default_rng(seed).permutation(len(groups[name]))
        shown = [groups[name][int(k)] for k in order[: given.boards]]
        test = [groups[name][int(k)] for k in order[given.boards :]]
        own = summed(shown, expand)
        alone = head(expand, own)
        pieces = [rows_of(board, expand) for board in shown]
        choice = choose(alone, rest, pieces, Head(expand.labels, expand.prior(), thresholds), 0.05)
        shares.append(choice.share)
        part = rest.twin()
        part.scale(choice.share)
        heads = {"start model": expand.prior(), "never saw it": head(expand, rest).weights(),
                 f"and {given.boards} boards of it": head(expand, rest, own).weights(),
                 f"its {given.boards} boards alone": alone.weights(), "chosen": head(expand, part, own).weights()}  # fmt: skip
        for what, weights in heads.items():
            found.setdefault(what, []).append(quality(test, expand, weights, thresholds))
    table: list[dict[str, object]] = []
    for what, qualities in found.items():
        means = {
            key: float(np.mean([getattr(q, key) for q in qualities]))
            for key in ("precision", "recall", "f", "mean_average_precision")
        }
        spread = float(np.std([q.f for q in qualities]))
        table.append({"group": name, "head": what, "spread_f": spread, "gap": gap} | means)
        print(f"{name:11s} {what:22s} precision {means['precision']:6.1%}  recall {means['recall']:6.1%}  F {means['f']:6.1%} "
              f"(+-{spread:.1%})  mAP {means['mean_average_precision']:6.1%}", flush=True)  # fmt: skip
    print(f"{name:11s} chosen shares of the others' weight: {shares}; subtraction against refit {gap:.0e}")
    return table


def federated(groups: dict[str, list[Seen]], expand: Expansion, backbone: str) -> float:
    """How far the merged exports of the groups are from learning all boards in one place, relative."""
    exports, shown = [], []
    for name, boards in groups.items():
        try:
            data = export(
                summed(boards, expand), site=name, backbone=backbone, recipe="bench", labels=tuple(expand.labels)
            )
        except ModelError as error:  # fewer rows than columns: it may not give its sums away
            print(error)
            continue
        exports.append(read(data))
        shown += boards
    union = summed(shown, expand)
    print(f"federation: {len(exports)} of {len(groups)} groups export their sums")
    return checked(head(expand, merged(exports)), head(expand, union))


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) / "deeppcb" if home else None, required=not home)
    parser.add_argument("--boards", type=int, default=25)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    files = boards_files()
    model = load(*files)
    labels = read_labels(given.data)
    seen = look(labels, model, Path(gettempdir()) / f"hotloop-deeppcb-{digest(b''.join(files))[:16]}.npz")
    groups: dict[str, list[Seen]] = {}
    for piece, board in zip(labels.pieces, seen, strict=True):
        groups.setdefault(piece.image.parent.parent.name, []).append(board)
    expand, thresholds = Expansion(model.description), model.description.thresholds
    table = [row for name in groups if len(groups[name]) > given.boards + 10
             for row in one_group(name, groups, expand, thresholds, given)]  # fmt: skip
    gap = federated(groups, expand, digest(files[0]))
    print(f"merged exports against learning the same boards in one place: {gap:.0e}")
    for what in dict.fromkeys(str(row["head"]) for row in table):
        own = [row for row in table if row["head"] == what]
        print(
            f"mean over groups, {what:22s} precision {np.mean([r['precision'] for r in own]):6.1%}  F {np.mean([r['f'] for r in own]):6.1%}"
        )
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "leave_one_group_out.json").write_text(json.dumps({"rows": table, "federation": gap}, indent=1))


if __name__ == "__main__":
    main()
