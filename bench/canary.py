"""A worse backbone on a canary of a tenth of the lines: verified pieces, and seconds, until it is rolled back.

    python -m bench.canary [--runs 200] [--out out/bench]

Seeded simulation of pieces that the new and the former backbone each get right or wrong, as in bench/rollback.py; the
product's own `Watch` (alpha 0.05). 139 pieces/s in the plant, 13.9 of them on the canary. Three ways, in the same run:

    raw       canary's error against the other lines', each on its own pieces: a confidence sequence of the difference of
              means, with the control's rate known from 50,000 pieces
    paired    every verified piece is answered by both: what hotloop does with what is verified anyway
    steered   the hub lets both answer unverified pieces of the canary, and asks for a verdict where they differ: where
              they agree the losses are equal, whatever the truth (`Refresher.tell_apart`)

(a) 2 -> 4 % and 2 -> 10 %, errors of both independent, or nine tenths in common. (b) Nothing has changed: the share of runs
of 100,000 pieces that are rolled back, ever, with a 95 % Clopper-Pearson band.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
from rich.progress import track

from bench.rollback import ALPHA, BLOCK, PIECES, band, pairs
from hotloop.evidence import RunningDifference
from hotloop.rollout.watch import BETS
from hotloop.types import Floats

CANARY_PER_S = 13.9
LOOKED_PER_S = 12.0  # unverified pieces that the hub lets a former backbone answer (refresher._COMPARED_MAX in half a second)
RISES = ((0.02, 0.04), (0.02, 0.10))
LIMIT = 50_000


def alarm(differences: Floats) -> int | None:
    """The piece (1, 2, ...) at which the watch raises its alarm: its own arithmetic, in blocks."""
    log, limit = np.zeros(len(BETS)), -math.log(ALPHA)
    for done in range(0, len(differences), BLOCK):
        path = log + np.cumsum(np.log1p(np.outer(differences[done : done + BLOCK], BETS)), axis=0)
        over = np.flatnonzero(np.logaddexp.reduce(path, axis=1) - math.log(len(BETS)) >= limit)
        if len(over):
            return done + int(over[0]) + 1
        log = path[-1]
    return None


def raw(rng: np.random.Generator, before: float, now: float) -> float:
    """Verified pieces on the canary, where the control's rate is known from as many as can be wished for."""
    test = RunningDifference((rng.random(LIMIT) < before).astype(float), ALPHA, 199)
    for done in range(0, LIMIT, 200):
        first = test.first_proof((rng.random(200) < now).astype(float))
        if first is not None:
            return done + first + 1.0
    return float(LIMIT)


def rise(before: float, now: float, how: str, runs: int) -> dict[str, object]:
    """(a), one row."""
    rng = np.random.default_rng((int(1000 * now), len(how)))
    pieces, verdicts = [], []
    for _ in track(range(runs), f"{before:.0%} -> {now:.0%}, {how}"):
        differences = pairs(rng, LIMIT, before, now, how)
        at = alarm(differences) or LIMIT
        pieces.append(at)
        verdicts.append(int((differences[:at] != 0).sum()))
    p50, p90 = np.median(pieces), np.quantile(pieces, 0.9)
    v50, v90 = np.median(verdicts), np.quantile(verdicts, 0.9)
    found = {"from": before, "to": now, "errors": how, "paired_p50": p50, "paired_p90": p90, "steered_p50": v50, "steered_p90": v90,
             "steered_s": p50 / min(CANARY_PER_S, LOOKED_PER_S)}  # fmt: skip
    print(f"{before:.0%} -> {now:.0%}, errors {how:11s}: paired {p50:.0f} verified pieces (p90 {p90:.0f}); steered {v50:.0f} verdicts "
          f"({v90:.0f}) among as many canary pieces, in {found['steered_s']:.0f} s at {LOOKED_PER_S:.0f} looked at a second", flush=True)  # fmt: skip
    return found


def unchanged(rate: float, how: str, runs: int) -> dict[str, object]:
    """(b), one row."""
    rng = np.random.default_rng((7, int(1000 * rate), len(how)))
    ever = sum(alarm(pairs(rng, PIECES, rate, rate, how)) is not None for _ in track(range(runs), f"no change, {how}"))
    low, high = band(ever, runs)
    print(f"no change, error {rate:.0%}, {how}: {ever} of {runs} runs rolled back = {ever / runs:.1%} ({low:.1%} to {high:.1%})", flush=True)
    return {"error": rate, "errors": how, "runs": runs, "false": ever / runs, "low": low, "high": high}


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=200)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    rows = [rise(before, now, how, given.runs) for before, now in RISES for how in ("independent", "common")]
    for before, now in RISES:
        rng = np.random.default_rng((9, int(1000 * now)))
        found = float(np.median([raw(rng, before, now) for _ in track(range(max(5, given.runs // 20)), "raw rates")]))
        rows.append({"from": before, "to": now, "raw_p50": found, "raw_s": found / CANARY_PER_S})
        print(f"{before:.0%} -> {now:.0%}, raw rates: {found:.0f} verified canary pieces", flush=True)
    false = [unchanged(0.02, how, given.runs) for how in ("independent", "common")]
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "canary.json").write_text(json.dumps({"rises": rows, "unchanged": false}, indent=1))


if __name__ == "__main__":
    main()
