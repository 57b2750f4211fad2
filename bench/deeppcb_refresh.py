"""From a weak start model to a good one in half an hour, with verdicts only: reflex and refresh together, on DeepPCB.

    python -m bench.deeppcb_refresh --data DIR [--minutes 30] [--start MODEL.onnx] [--out out/bench]

DIR holds DeepPCB's `PCBData` (or $HOTLOOP_DATA/deeppcb). The start model has seen drawn boards only, and briefly: without
--start one is trained for --start-steps steps and cached. The real engine runs on its embedded stores; the first 800 pairs of
trainval.txt come in a seeded order, one every --every seconds, each predicted, then verified as a whole; the reflex
learns at once, refreshes run in child processes when --examples new boards are there, and once more when the stream
has ended. The last 200 pairs are never shown; each released backbone is judged on them afterwards, from the log's own
models. Beside it the same stream with its feedback a week late (what a weekly batch would have known: nothing).
A hit is an overlap above 0.33 with the same label. Writes deeppcb_refresh.json and .png.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np
from rich.console import Console

from hotloop.config import LoopConfig, RefreshConfig, StoreConfig
from hotloop.engine import Engine
from hotloop.feedback import verdict
from hotloop.loading import load_vertical
from hotloop.measure import count
from hotloop.measure.tally import Tally
from hotloop.ports import Vertical
from hotloop.predict import unpack_head
from hotloop.recovery import records_of
from hotloop.store.embedded import open_embedded
from hotloop.types import Candidate, Command, Example, Feedback, Head, Judgement, Payload, Prediction, Release
from hotloop.verticals.inspection.labels import read_labels
from hotloop.verticals.inspection.pieces import Piece
from hotloop.verticals.inspection.plant import Sensed, sensed
from hotloop.verticals.inspection.score import Boxes, Quality, measure, truths_of
from hotloop.verticals.inspection.train import main as train

TEST_BOARDS = 200
_AFTER_S = 60.0  # that a refresh takes besides its training
FLOOR = 0.02  # answers down to here count for the mean average precision
out = Console()


def weak_start(steps: int) -> Path:
    """A start model that has seen little: drawn boards, for so many steps."""
    path = Path(gettempdir()) / f"hotloop-weak-{steps}.onnx"
    if not path.exists():
        out.print(f"training a weak start model for {steps} steps")
        train([str(path), "--steps", str(steps)])
    return path


def judged(vertical: Vertical, head: Head, pieces: list[Piece]) -> tuple[Quality, list[tuple[float, float, float]]]:
    """Quality on pieces at the head's own thresholds, and the whole curve: (threshold, precision, recall)."""
    answers = []
    floor = Head(head.labels, head.weights, (FLOOR,) * len(head.labels))
    for piece in pieces:
        said = vertical.answer(vertical.propose(sensed(piece).payload), floor)
        boxes = truths_of([o.region or () for o in said], [head.labels.index(o.label) for o in said])
        truths = truths_of([t.region or () for t in piece.truths], [head.labels.index(t.label) for t in piece.truths])
        answers.append((Boxes(boxes.regions, boxes.labels, np.array([o.score for o in said])), truths))
    curve = []
    for step in np.arange(0.1, 0.98, 0.02):
        at = measure(answers, (float(step),) * len(head.labels))
        curve.append((round(float(step), 2), at.precision, at.recall))
    return measure(answers, head.thresholds), curve


def stream(engine: Engine, pieces: list[Piece], given: argparse.Namespace) -> list[dict[str, float]]:
    """Show and verify the pieces at the pace given, then wait for the last refresh; prequential tallies by hundred."""
    began, rows, window = time.monotonic(), [], Tally()
    order = np.random.default_rng(given.seed).permutation(len(pieces))
    for number, index in enumerate(order, 1):
        time.sleep(max(0.0, began + (number - 1) * given.every - time.monotonic()))
        piece: Sensed = sensed(pieces[int(index)])
        prediction = engine.observe(Payload(piece.payload.data, reference=piece.payload.reference), "line-1")
        given_verdict = verdict(prediction.id, [(t.label, t.region) for t in piece.truths], "ann", time.time())
        engine.feedback(given_verdict)
        example = example_of(prediction, given_verdict)
        window.add(count(engine.vertical.outcomes(prediction.outputs, example)))
        if number % 100 == 0:
            minute = (time.monotonic() - began) / 60
            rows.append({"boards": number, "minute": minute, "precision": window.precision, "recall": window.recall})
            out.print(f"{number:4d} boards, minute {minute:4.1f}: precision {window.precision:.1%}, "
                      f"recall {window.recall:.1%}; {engine.refresher.words}", highlight=False)  # fmt: skip
            window = Tally()
    last = engine.model.version
    end = began + given.minutes * 60
    while end - time.monotonic() > 60 * given.refresh_minutes + _AFTER_S:
        finish(engine, end)
    out.print(
        f"minute {(time.monotonic() - began) / 60:.1f}: version {engine.model.version} (at the stream's end {last})"
    )
    return rows


def finish(engine: Engine, end: float) -> None:
    """One more refresh on everything."""
    while engine.refresher.running and time.monotonic() < end:
        time.sleep(1.0)
    engine.command(Command(order="refresh", by="bench", reason="the stream has ended"))
    time.sleep(3.0)
    while (engine.refresher.running or engine.behind) and time.monotonic() < end:
        time.sleep(1.0)
    time.sleep(2.0)


def example_of(prediction: Prediction, feedback: Feedback) -> Example:
    """A prediction with one word on it."""
    return Example(prediction, (feedback,))


def refreshes(engine: Engine) -> list[dict[str, object]]:
    """Every candidate, what the gate said of it, and when it was released."""
    rows: list[dict[str, object]] = []
    for record in records_of(engine.log, 0):
        body = record.event.body
        if isinstance(body, Candidate):
            rows.append({"tier": body.tier, "reason": body.reason, "trained_s": body.seconds, "pieces": body.count,
                         "handed_in_at": record.received_at})  # fmt: skip
        elif isinstance(body, Judgement) and body.tier in ("refresh", "consolidate") and rows:
            rows[-1] |= {"decision": body.decision, "why": body.reason}
        elif isinstance(body, Release) and body.tier in ("refresh", "consolidate") and rows:
            rows[-1] |= {
                "version": body.version,
                "released_s": record.received_at - float(str(rows[-1]["handed_in_at"])),
            }
    return rows


def late(engine: Engine, config: LoopConfig) -> Tally:
    """The stream as a weekly batch would have answered it: by the start model."""
    vertical, tally = load_vertical(config), Tally()
    head = vertical.start()
    for record in records_of(engine.log, 0):
        body = record.event.body
        if isinstance(body, Prediction) and engine.lineage.now.lessons.backbone_of(body) == vertical.backbone:
            words = [r.event.body for r in engine.log.about(body.id)][1:]
            if words:
                tally.add(count(vertical.outcomes(vertical.answer(body.proposals, head), example_of(body, words[0]))))
    return tally


def main() -> None:
    """Run, judge, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    home = os.environ.get("HOTLOOP_DATA")
    parser.add_argument("--data", type=Path, default=Path(home) / "deeppcb" if home else None, required=not home)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--every", type=float, default=0.5, help="seconds between two boards")
    parser.add_argument("--examples", type=int, default=120, help="new boards that call for a refresh")
    parser.add_argument("--refresh-minutes", type=float, default=6.2)
    parser.add_argument("--start", type=Path)
    parser.add_argument("--start-steps", type=int, default=900)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tune", action="store_true", help="judge on the last 200 of the first 800 instead")
    given = parser.parse_args()
    start = (given.start or weak_start(given.start_steps)).resolve()
    pieces = list(read_labels(given.data).pieces)
    shown, test = pieces[:-TEST_BOARDS], pieces[-TEST_BOARDS:]
    if given.tune:
        shown, test = shown[:-TEST_BOARDS], shown[-TEST_BOARDS:]
    with TemporaryDirectory() as folder:
        config = LoopConfig(
            tables={"inspection": {"start": str(start)}},
            store=StoreConfig(folder=folder),
            base=folder,
            refresh=RefreshConfig(
                automatic=True,
                examples_min=given.examples,
                pause_s=20.0,
                minutes_max=given.refresh_minutes,
                holdout_share=0.1,
                threads=2,
            ),
        )
        engine = Engine(config, load_vertical(config), open_embedded(config))
        first = engine.model
        engine.start()
        rows = stream(engine, shown, given)
        before, _ = judged(load_vertical(config), unpack_head(first.head), test)
        after, curve = judged(engine.vertical, unpack_head(engine.model.head), test)
        table = refreshes(engine)
        weekly = late(engine, config)
        engine.close()
    best = max((row for row in curve if row[2] >= 0.97), key=lambda row: row[1], default=(0.0, 0.0, 0.0))
    for name, found in (("start model", before), ("after the run", after)):
        out.print(f"{name}: precision {found.precision:.1%} recall {found.recall:.1%} F {found.f:.1%} "
                  f"mAP {found.mean_average_precision:.1%}", highlight=False)  # fmt: skip
    out.print(f"highest precision at recall >= 97 %: {best[1]:.1%} (threshold {best[0]})", highlight=False)
    out.print(f"a weekly batch on the same stream: precision {weekly.precision:.1%}, recall {weekly.recall:.1%}")
    for row in table:
        out.print(row)
    given.out.mkdir(parents=True, exist_ok=True)
    result = {"before": asdict(before), "after": asdict(after), "curve": curve, "stream": rows, "refreshes": table,
              "weekly": {"precision": weekly.precision, "recall": weekly.recall}}  # fmt: skip
    (given.out / "deeppcb_refresh.json").write_text(json.dumps(result, indent=1))
    plot(rows, curve, given.out / "deeppcb_refresh.png")


def plot(rows: list[dict[str, float]], curve: list[tuple[float, float, float]], path: Path) -> None:
    """The stream as it went, and precision against recall on boards never shown."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    for key in ("precision", "recall"):
        left.plot([row["minute"] for row in rows], [100 * row[key] for row in rows], "o-", label=key)
    left.set_xlabel("minutes")
    left.set_ylabel("% of the last 100 boards, as answered")
    left.legend()
    right.plot([100 * row[2] for row in curve], [100 * row[1] for row in curve], ".-")
    right.set_xlabel("recall, % on 200 boards never shown")
    right.set_ylabel("precision, %")
    for axes in (left, right):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=120, bbox_inches="tight")


if __name__ == "__main__":
    main()
