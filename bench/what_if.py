"""What a slower loop costs: quality after equal boards when feedback comes at once, after 10 minutes, a day, a week.

    python -m bench.what_if --data DIR [--seeds 5] [--out out/bench]

DIR holds DeepPCB's `PCBData` (or $HOTLOOP_DATA/deeppcb). A simulated plant: two shifts of eight hours, five days a week, three
weeks, one board every so often; the products come one after the other, as the groups of trainval.txt do (their order is
seeded), so that each change of product is met with what is known by then. Cold start (no knowledge of defects, only of
where to look), reflex only, first 800 pairs; each board is judged as it comes, by the head that had learned what had
arrived by then. F by hundred boards, means over seeds with their range.
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

from bench.deeppcb_reflex import Seen, look
from hotloop.learn import Moments
from hotloop.types import Floats, Rows, digest
from hotloop.verticals.inspection.candidates import Expansion, assign, decide
from hotloop.verticals.inspection.detector import boards_files, load
from hotloop.verticals.inspection.labels import read_labels
from hotloop.verticals.inspection.score import hits

DELAYS_S = {"0 s": 0.0, "10 min": 600.0, "1 day": 86_400.0, "7 days": 604_800.0}
WEEKS, DAYS, HOURS = 3, 5, 16  # of work
WINDOW = 100


def calendar(count: int) -> Floats:
    """When each of so many boards comes: seconds since the first Monday at six, within shifts."""
    worked = np.arange(count) / count * WEEKS * DAYS * HOURS * 3600
    day, rest = np.divmod(worked, HOURS * 3600)
    week, weekday = np.divmod(day, DAYS)
    return np.asarray(week * 7 * 86_400 + weekday * 86_400 + rest)


def ordered(boards: list[Seen], groups: list[str], rng: np.random.Generator) -> list[Seen]:
    """Product after product, in a seeded order, and seeded within."""
    found = []
    for group in rng.permutation(sorted(set(groups))):
        own = [board for board, name in zip(boards, groups, strict=True) if name == group]
        found += [own[int(k)] for k in rng.permutation(len(own))]
    return found


def f_by_window(boards: list[Seen], expand: Expansion, thresholds: tuple[float, ...], delay_s: float, *, cold: bool) -> list[float]:  # fmt: skip
    """F of the answers of each WINDOW boards, each by what had arrived when it came."""
    at = calendar(len(boards))
    prior = np.zeros((expand.columns, len(expand.labels))) if cold else expand.prior()
    moments = Moments(expand.columns, len(expand.labels), 1.0, prior)
    learned, found, right, said, there = 0, [], 0, 0, 0
    for number, board in enumerate(boards):
        while learned < number and at[learned] + delay_s < at[number]:
            past = boards[learned]
            lesson = assign(past.regions, past.truths, len(expand.labels), complete=True)
            moments.apply([(1, Rows(expand(past.features[lesson.rows]), lesson.y, lesson.w))])
            learned += 1
        answer = decide(board.regions, expand(board.features) @ moments.weights(), thresholds)[1]
        right += int((hits(answer, board.truths) >= 0).sum())
        said += len(answer.labels)
        there += len(board.truths.labels)
        if (number + 1) % WINDOW == 0:
            found.append(2 * right / max(said + there, 1))
            right = said = there = 0
    return found


def plot(table: dict[str, list[list[float]]], path: Path) -> None:
    """F against boards, one line a delay, with the range over seeds."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    for name, curves in table.items():
        values = 100 * np.array(curves)
        x = WINDOW * np.arange(1, values.shape[1] + 1)
        axes.plot(x, values.mean(0), "o-", label=f"feedback after {name}")
        axes.fill_between(x, values.min(0), values.max(0), alpha=0.12)
    axes.set_xlabel("boards (three weeks of two shifts)")
    axes.set_ylabel("F of the last 100 boards, as answered, %")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120, bbox_inches="tight")


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) / "deeppcb" if home else None, required=not home)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--warm", action="store_true", help="begin at the start model's knowledge instead of none")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    files = boards_files()
    model, labels = load(*files), read_labels(given.data)
    seen = look(labels, model, Path(gettempdir()) / f"hotloop-deeppcb-{digest(b''.join(files))[:16]}.npz")[:800]
    groups = [piece.image.parent.parent.name for piece in labels.pieces[:800]]
    expand, thresholds = Expansion(model.description), model.description.thresholds
    table: dict[str, list[list[float]]] = {}
    for name, delay_s in DELAYS_S.items():
        table[name] = [
            f_by_window(
                ordered(seen, groups, np.random.default_rng(seed)), expand, thresholds, delay_s, cold=not given.warm
            )
            for seed in range(given.seeds)
        ]
        values = np.array(table[name])
        said = "  ".join(f"{100 * x:5.1f}" for x in values.mean(0))
        print(f"feedback after {name:7s}: F by hundred boards {said}; all {100 * values.mean():.1f} "
              f"({100 * values.mean(1).min():.1f} to {100 * values.mean(1).max():.1f}) %", flush=True)  # fmt: skip
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "what_if.json").write_text(json.dumps(table, indent=1))
    plot(table, given.out / "what_if.png")


if __name__ == "__main__":
    main()
