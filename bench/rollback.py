"""The watch after a release: how often it errs in 100,000 pieces, and how many verified pieces it needs to find harm.

    python -m bench.rollback [--runs 300] [--out out/bench]

Seeded simulation of losses of 0 or 1. (a) False rollbacks: both models err alike (2 % and 5 %, independently, and with
errors mostly in common); the share of runs of 100,000 pieces with an alarm, ever, with a 95 % Clopper-Pearson band. (b) Pieces to
the alarm when the error rises from 2 to 4, 2 to 10 and 5 to 10 %: median and 90th percentile, paired with independent errors,
paired where all former errors stay (nested), and unpaired (the former rate is known from 2,000 pieces). Peers in the
same run: a two-proportion z-test at 5 % looked at after every piece; the z-test with its sample size fixed beforehand (power 90 %,
which has to know the rise in advance); Wald's SPRT that knows both rates.
"""

from __future__ import annotations

import argparse
import json
import math
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
from scipy import stats

from hotloop.evidence import RunningDifference
from hotloop.rollout.watch import BETS
from hotloop.types import Floats

ALPHA = 0.05
PIECES = 100_000
RISES = ((0.02, 0.04), (0.02, 0.10), (0.05, 0.10))
BLOCK = 4000
KNOWN = 2000  # pieces that the unpaired test knows of before


def pairs(rng: np.random.Generator, count: int, before: float, now: float, how: str) -> Floats:
    """Differences of losses (now less before), (count,)."""
    one = rng.random(count)
    former = one < before
    if how == "nested":
        return np.asarray((one < now).astype(float) - former)
    if how == "common":  # nine tenths of the errors are of both
        both = rng.random(count) < 0.9
        return np.where(both, (one < now).astype(float) - former, (rng.random(count) < now).astype(float) - former)
    return np.asarray((rng.random(count) < now).astype(float) - former)


def first_alarm(count: int, draw: Callable[[int], Floats]) -> int | None:
    """The piece at which the watch raises its alarm; None within `count`. The Watch's arithmetic, in blocks."""
    log, limit = np.zeros(len(BETS)), -math.log(ALPHA)
    for done in range(0, count, BLOCK):
        path = log + np.cumsum(np.log1p(np.outer(draw(min(BLOCK, count - done)), BETS)), axis=0)
        mixed = np.logaddexp.reduce(path, axis=1) - math.log(len(BETS))
        over = np.flatnonzero(mixed >= limit)
        if len(over):
            return done + int(over[0]) + 1
        log = path[-1]
    return None


def z_alarm(d_now: Floats, d_before: Floats) -> bool:
    """Whether a one-sided two-proportion z-test at 5 %, looked at after every piece from the 30th on, ever says worse."""
    n = np.arange(1, len(d_now) + 1)
    p1, p0 = np.cumsum(d_now) / n, np.cumsum(d_before) / n
    pooled = (p1 + p0) / 2
    spread = np.sqrt(np.maximum(2 * pooled * (1 - pooled), 1e-12) / n)
    return bool(((p1 - p0) / spread > stats.norm.ppf(1 - ALPHA))[30:].any())


def false_alarms(runs: int) -> list[dict[str, object]]:
    """(a), with the z-test as the peer."""
    rows: list[dict[str, object]] = []
    for rate in (0.02, 0.05):
        for how in ("independent", "common"):
            rng = np.random.default_rng((1, int(rate * 100)))
            ever = sum(
                first_alarm(PIECES, partial(pairs, rng, before=rate, now=rate, how=how)) is not None
                for _ in range(runs)
            )
            low, high = band(ever, runs)
            few = max(20, runs // 10)
            peer = sum(z_alarm(*(rng.random((2, PIECES)) < rate).astype(float)) for _ in range(few)) / few
            rows.append(
                {"error": rate, "pairs": how, "runs": runs, "false": ever / runs, "low": low, "high": high, "z": peer}
            )
            print(f"no change, error {rate:.0%}, {how:11s}: {ever} of {runs} runs of {PIECES} pieces rolled back = "
                  f"{ever / runs:.1%} (95 % band {low:.1%} to {high:.1%}); z-test looked at each piece: {peer:.0%}", flush=True)  # fmt: skip
    return rows


def band(hits: int, total: int) -> tuple[float, float]:
    """Clopper-Pearson, 95 %."""
    low = stats.beta.ppf(0.025, hits, total - hits + 1) if hits else 0.0
    high = stats.beta.ppf(0.975, hits + 1, total - hits) if hits < total else 1.0
    return float(low), float(high)


def needed(runs: int) -> list[dict[str, object]]:
    """(b), with the peers."""
    rows: list[dict[str, object]] = []
    for before, now in RISES:
        row: dict[str, object] = {"from": before, "to": now}
        for how in ("independent", "nested"):
            rng = np.random.default_rng((2, int(now * 100)))
            at = [first_alarm(50_000, partial(pairs, rng, before=before, now=now, how=how)) for _ in range(runs)]
            found = np.array([np.inf if one is None else one for one in at])
            row |= {f"{how}_p50": float(np.median(found)), f"{how}_p90": float(np.quantile(found, 0.9))}
        row |= {"unpaired_p50": unpaired(before, now, max(10, runs // 10)), **peers(before, now, runs)}
        rows.append(row)
        print(f"{before:.0%} -> {now:.0%}: paired {row['independent_p50']:.0f} (p90 {row['independent_p90']:.0f}), errors that "
              f"stay in common {row['nested_p50']:.0f} ({row['nested_p90']:.0f}), unpaired {row['unpaired_p50']:.0f}; fixed-n z-test "
              f"{row['fixed']:.0f}, SPRT that knows both {row['sprt_p50']:.0f}", flush=True)  # fmt: skip
    return rows


def unpaired(before: float, now: float, runs: int) -> float:
    """The median over runs of the pieces that a confidence sequence of the difference of means needs."""
    rng, found = np.random.default_rng((3, int(now * 100))), []
    for _ in range(runs):
        test = RunningDifference((rng.random(KNOWN) < before).astype(float), ALPHA, 199)
        at = float("inf")
        for done in range(0, 6000, 200):
            first = test.first_proof((rng.random(200) < now).astype(float))
            if first is not None:
                at = done + first + 1.0
                break
        found.append(at)
    return float(np.median(found))


def peers(before: float, now: float, runs: int) -> dict[str, float]:
    """The sample size of a z-test at 5 % and power 90 %, and Wald's SPRT (errors 5 and 10 %) on the present model alone."""
    mean = (before + now) / 2
    za, zb = stats.norm.ppf(1 - ALPHA), stats.norm.ppf(0.9)
    spread = za * math.sqrt(2 * mean * (1 - mean)) + zb * math.sqrt(before * (1 - before) + now * (1 - now))
    rng = np.random.default_rng((4, int(now * 100)))
    wins = rng.random((runs, 5000)) < now
    steps = np.where(wins, math.log(now / before), math.log((1 - now) / (1 - before)))
    path = np.cumsum(steps, axis=1)
    over = path >= math.log(0.9 / ALPHA)
    at = np.where(over.any(1), over.argmax(1) + 1, np.inf)
    return {"fixed": math.ceil(spread**2 / (now - before) ** 2), "sprt_p50": float(np.median(at))}


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Pieces needed, ours beside the peers."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(7, 4))
    names = (("independent_p50", "watch, paired"), ("nested_p50", "watch, errors in common"), ("unpaired_p50", "unpaired"),
             ("fixed", "z-test, n fixed beforehand"), ("sprt_p50", "SPRT, knows both rates"))  # fmt: skip
    for place, (key, name) in enumerate(names):
        axes.bar(np.arange(len(rows)) + 0.16 * place, [_drawn(row[key]) for row in rows], 0.15, label=name)
    axes.set_xticks(np.arange(len(rows)) + 0.32, [f"{row['from']:.0%} to {row['to']:.0%}" for row in rows])
    axes.set_yscale("log")
    axes.set_ylabel("verified pieces to the alarm (median)")
    axes.legend(fontsize=8)
    figure.savefig(path, dpi=120, bbox_inches="tight")


def _drawn(value: object) -> float:
    """A bar's height; none where it was never found."""
    found = float(str(value))
    return found if math.isfinite(found) else 0.0


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=300)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    result = {"false_alarms": false_alarms(given.runs), "needed": needed(given.runs)}
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "rollback.json").write_text(json.dumps(result, indent=1))
    plot(result["needed"], given.out / "rollback.png")


if __name__ == "__main__":
    main()
