"""Corner cases in recorded drives: how many of those planted are found in the first 1 % of frames, and what that costs.

    python -m bench.driving --data DIR [--seeds 5] [--segments 24] [--out out/bench]

DIR holds driving/ngsim-us101 (or $HOTLOOP_DATA). Cut-ins, hard brakes and crossings are planted by seeds in NGSIM snippets and in
synthetic traffic (60 s segments). Each ranker picks 1 % (2, 5 %) of all frames of a pool; a case is found if a picked frame lies in
it (half a second around it counts). Peers, in the same run: random frames, the least time to collision, the density of traffic; both
of them, like hotloop, pick at most one frame a second of a log. What hotloop knows it learned from other logs than it ranks (real
ones: two halves, each ranked by the other's). NGSIM has moments of its own that are as severe as what is planted: they take places
too, and nobody has said which of them count. Then predictor errors, times, growth, and arithmetic to 100 TB a day.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("OPENBLAS_NUM_THREADS", os.environ["OMP_NUM_THREADS"])

import numpy as np

from hotloop.config import LoopConfig, resolve
from hotloop.engine import Engine
from hotloop.loading import load_vertical
from hotloop.store.embedded import open_embedded
from hotloop.types import Floats, Payload
from hotloop.verticals.driving import motion
from hotloop.verticals.driving.ingest import read
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.mine import lesson, mine, mined
from hotloop.verticals.driving.pairs import pairs_of
from hotloop.verticals.driving.planted import PLANTABLE, Planted, plant
from hotloop.verticals.driving.rank import Candidate, value
from hotloop.verticals.driving.segment import pack
from hotloop.verticals.driving.table import believed
from hotloop.verticals.driving.tracks import Tracks, as_grid
from hotloop.verticals.driving.traffic import highway, street

SHARES = (0.01, 0.02, 0.05)
AROUND_S = 0.5
LIMITS = MineConfig()
RAW_TB_A_DRIVE_HOUR = 0.5  # assumed: 4 TB in a test car's day of 8 h (cameras, lidar, radar), as fleets report
DAY_S = 86_400.0


@dataclass(frozen=True)
class Log:
    """A log with cases planted in it."""

    tracks: Tracks
    truth: tuple[Planted, ...]


def by_cases(log: Log, knows: Knows | None) -> list[tuple[float, int]]:
    """hotloop: the value of each finding, at its peak."""
    return [(value(Candidate(one, log.tracks.source)), one.peak) for one in mine(log.tracks, knows, LIMITS)]


def by_severity(log: Log) -> list[tuple[float, int]]:
    """Mining without anything learned."""
    return [(one.severity, one.peak) for one in mine(log.tracks, None, LIMITS)]


def by_ttc(log: Log) -> list[tuple[float, int]]:
    """The least time to collision with whoever is ahead on one's course, frame by frame."""
    grid, first = as_grid(log.tracks), int(log.tracks.frame.min())
    length = np.array([one.length for one in log.tracks.actors])
    width = np.array([one.width for one in log.tracks.actors])
    found = []
    for k in range(grid.x.shape[1]):
        x, y, turn, v = grid.x[:, k], grid.y[:, k], grid.heading[:, k], grid.v[:, k]
        dx, dy = x[None] - x[:, None], y[None] - y[:, None]
        cos, sin = np.cos(turn)[:, None], np.sin(turn)[:, None]
        ahead, aside = dx * cos + dy * sin, np.abs(dy * cos - dx * sin)
        gap = ahead - (length[None] + length[:, None]) / 2
        closing_in = v[:, None] - v[None] * np.cos(turn[None] - turn[:, None])
        on = (aside < (width[None] + width[:, None]) / 2) & (gap > 0) & (closing_in > 0.1)
        least = np.min(np.where(on, gap / np.where(on, closing_in, 1.0), np.inf), initial=np.inf)
        found.append((-float(least), first + k))
    return found


def by_density(log: Log) -> list[tuple[float, int]]:
    """The most others within 30 m of anybody."""
    grid, first = as_grid(log.tracks), int(log.tracks.frame.min())
    found = []
    for k in range(grid.x.shape[1]):
        near = np.hypot(grid.x[:, k][None] - grid.x[:, k][:, None], grid.y[:, k][None] - grid.y[:, k][:, None]) < 30.0
        found.append((float(near.sum(axis=1).max(initial=0)), first + k))
    return found


def thinned(scored: Sequence[tuple[float, int]], pause: int) -> list[tuple[float, int]]:
    """The best first, none within `pause` frames of a better one."""
    kept: list[tuple[float, int]] = []
    for score, frame in sorted(scored, key=lambda one: (-one[0], one[1])):
        if all(abs(frame - other) >= pause for _, other in kept):
            kept.append((score, frame))
    return kept


def picked(pool: Sequence[Log], ranker: Callable[[Log], list[tuple[float, int]]], count: int) -> list[set[int]]:
    """The frames that a ranker picks of each log, `count` in all."""
    scored = [
        (score, k, frame)
        for k, log in enumerate(pool)
        for score, frame in thinned(ranker(log), max(1, round(1.0 / log.tracks.step_s)))
    ]
    found: list[set[int]] = [set() for _ in pool]
    for _, k, frame in sorted(scored, key=lambda one: (-one[0], one[1], one[2]))[:count]:
        found[k].add(frame)
    return found


def hits(pool: Sequence[Log], found: Sequence[set[int]]) -> dict[str, tuple[int, int]]:
    """By case: found, planted."""
    counted: dict[str, tuple[int, int]] = {}
    for log, frames in zip(pool, found, strict=True):
        around = round(AROUND_S / log.tracks.step_s)
        for one in log.truth:
            hit = any(one.first - around <= frame <= one.last + around for frame in frames)
            good, total = counted.get(one.case, (0, 0))
            counted[one.case] = (good + hit, total + 1)
    return counted


def random_recall(pool: Sequence[Log], count: int) -> float:
    """The expected recall of frames picked at random."""
    frames = sum(log.tracks.frames for log in pool)
    chances = []
    for log in pool:
        around = round(AROUND_S / log.tracks.step_s)
        chances += [1 - (1 - count / frames) ** (one.last - one.first + 1 + 2 * around) for one in log.truth]
    return float(np.mean(chances))


def recalls(pool: Sequence[Log], knows: Callable[[Log], Knows]) -> dict[str, object]:
    """Recall of each ranker at shares of the pool's frames; and of mining, whatever the place in the queue."""
    told: dict[str, object] = {"frames": sum(log.tracks.frames for log in pool)}
    told["planted"] = sum(len(log.truth) for log in pool)
    told["findings"] = sum(len(by_severity(log)) for log in pool)
    told["mined at all"] = recall_of(hits(pool, picked(pool, by_severity, 10**9)))
    for share in SHARES:
        told[f"{share:.0%}"] = _at(pool, knows, int(share * sum(log.tracks.frames for log in pool)))
    return told


def recall_of(counted: dict[str, tuple[int, int]]) -> float:
    """Over all cases."""
    return sum(good for good, _ in counted.values()) / max(1, sum(total for _, total in counted.values()))


def _at(pool: Sequence[Log], knows: Callable[[Log], Knows], count: int) -> dict[str, object]:
    """Recall of each ranker with so many frames picked."""
    told: dict[str, object] = {"picked": count, "random": random_recall(pool, count)}
    rankers: dict[str, Callable[[Log], list[tuple[float, int]]]] = {
        "hotloop": lambda log: by_cases(log, knows(log)), "severity alone": by_severity, "time to collision": by_ttc,
        "density": by_density,
    }  # fmt: skip
    for name, ranker in rankers.items():
        counted = hits(pool, picked(pool, ranker, count))
        told[name] = recall_of(counted)
        if name == "hotloop":
            told["hotloop by case"] = {case: f"{good} of {total}" for case, (good, total) in sorted(counted.items())}
    return told


def real_pool(logs: Sequence[Tracks], seed: int) -> list[Log]:
    """NGSIM snippets, a case in every third of them: fewer than 1 % of their frames."""
    pool = []
    for number, tracks in enumerate(logs):
        if (number + seed) % 3 == 0:
            kind = PLANTABLE[(number // 3 + seed) % len(PLANTABLE)]
            pool.append(Log(*plant(tracks, 100 * seed + number, {kind: 1})))
        else:
            pool.append(Log(tracks, ()))
    return pool


def made_pool(count: int, seed: int) -> list[Log]:
    """Synthetic segments of 60 s, four cases in each."""
    pool = []
    for number in range(count):
        calm = (highway if number % 2 else street)(1000 * seed + number)
        pool.append(Log(*plant(calm, seed + number, dict.fromkeys(PLANTABLE, 1))))
    return pool


def known(logs: Sequence[Tracks]) -> Knows:
    """What driving teaches in which nothing was planted."""
    knows = Knows.start()
    for tracks in logs:
        knows.learn(lesson(tracks, mine(tracks, knows, LIMITS), knows, LIMITS))
    return knows


def predictor(pool: Sequence[Log], knows: Knows) -> dict[str, dict[str, float]]:
    """Mean error over 1, 2 and 3 s (m) of constant velocity and of the learned predictor, by slice."""
    errors: dict[str, list[Floats]] = {}
    for log in pool:
        table = believed(log.tracks, LIMITS)
        x, y = motion.features(table, pairs_of(table, LIMITS)), motion.residuals(table)
        both = np.stack([motion.errors(None, x, y), motion.errors(knows.motion, x, y)])
        common = np.ones(len(table), bool)
        for one in log.truth:
            mask = np.isin(table.actor, one.actors) & (table.frame >= one.first - 10) & (table.frame <= one.last)
            errors.setdefault(one.case, []).append(both[:, mask])
            common &= ~mask
        errors.setdefault("common", []).append(both[:, common])
    told = {}
    for name, parts in sorted(errors.items()):
        before, after = np.nanmean(np.concatenate(parts, axis=1), axis=1)
        told[name] = {"constant velocity": round(float(before), 3), "learned": round(float(after), 3)}
    return told


def best_of(times: int, call: Callable[[], object]) -> float:
    """The least wall-clock seconds of some calls."""
    spent = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        spent.append(time.perf_counter() - began)
    return min(spent)


def arrivals() -> dict[str, float]:
    """Seconds from a 60 s segment's arrival to its ranked queue, through the whole loop with its disk."""
    told = {}
    with tempfile.TemporaryDirectory() as folder:
        config = resolve(LoopConfig(vertical="driving"), Path(folder))
        with closing(Engine(config, load_vertical(config), open_embedded(config))) as engine:
            for name, make in (("highway, 40 cars", highway), ("street, 22 actors", street)):
                payloads = [Payload(pack(plant(make(k), k, dict.fromkeys(PLANTABLE, 1))[0])) for k in range(6)]
                spent = []
                for payload in payloads:
                    began = time.perf_counter()
                    said = engine.observe(payload, "car")
                    engine.vertical.ranked([("now", said.proposals)], engine.lineage.champion)
                    spent.append(time.perf_counter() - began)
                told[name] = round(max(spent), 3)
    return told


def growth() -> list[dict[str, float]]:
    """Mining of one core by number of vehicles (60 s) and by length (40 vehicles)."""
    told = []
    for vehicles, seconds in ((10, 60), (20, 60), (40, 60), (80, 60), (160, 60), (40, 120), (40, 240), (40, 480)):
        tracks = highway(3, vehicles, float(seconds))
        pairs = mined(tracks, None, LIMITS).pairs
        spent = best_of(2, lambda tracks=tracks: mine(tracks, None, LIMITS))
        told.append({
            "vehicles": vehicles, "seconds": seconds, "mining s": round(spent, 3),
            "frames a second": round(tracks.frames / spent), "pairs a second": round(pairs / spent),
            "bytes of tracks": len(pack(tracks)),
        })  # fmt: skip
    return told


def a_day(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Cores for 100 TB a day: of raw drives, and (an upper bound) of tracks alone."""
    usual = next(row for row in rows if row["vehicles"] == 40 and row["seconds"] == 60)
    hours = 100.0 / RAW_TB_A_DRIVE_HOUR
    segments = 100e12 / usual["bytes of tracks"]
    return {
        "assumed raw TB a drive hour": RAW_TB_A_DRIVE_HOUR,
        "drive hours a day": hours,
        "cores, 40 vehicles around": round(hours * 60 * usual["mining s"] / DAY_S, 3),
        "TB of tracks a day": round(hours * 60 * usual["bytes of tracks"] / 1e12, 4),
        "cores if all 100 TB were tracks": round(segments * usual["mining s"] / DAY_S, 1),
    }


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path(os.environ.get("HOTLOOP_DATA", "")))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--segments", type=int, default=24)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    paths = sorted((given.data / "driving" / "ngsim-us101").glob("*.csv.gz"))
    if not paths:
        parser.error(f"{given.data}/driving/ngsim-us101 holds no *.csv.gz: give --data DIR")
    logs = [read(path) for path in paths]
    calm = [(highway if k % 2 else street)(77_000 + k) for k in range(8)]
    halves, from_made = [known(logs[k::2]) for k in (0, 1)], known(calm)
    place = {tracks.source: k for k, tracks in enumerate(logs)}
    told: dict[str, object] = {"real": [], "made": []}
    for seed in range(1, given.seeds + 1):
        told["real"].append(recalls(real_pool(logs, seed), lambda log: halves[1 - place[log.tracks.source] % 2]))  # type: ignore[attr-defined]
        print("real", seed, json.dumps(told["real"][-1]), flush=True)  # type: ignore[index]
    for seed in range(1, 3):
        pool = made_pool(given.segments, seed)
        told["made"].append(recalls(pool, lambda _: from_made))  # type: ignore[attr-defined]
        print("made", seed, json.dumps(told["made"][-1]), flush=True)  # type: ignore[index]
    told["predictor error, m"] = predictor(pool, from_made)
    told["arrival to ranked queue, s"] = arrivals()
    told["growth"] = growth()
    told["100 TB a day"] = a_day(told["growth"])  # type: ignore[arg-type]
    for name in ("predictor error, m", "arrival to ranked queue, s", "growth", "100 TB a day"):
        print(name, json.dumps(told[name], indent=1), flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "driving.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
