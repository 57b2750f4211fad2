"""How many of the moments that commonroad-crime flags in CommonRoad files lie in the first 1 % of frames that are picked.

    python -m bench.driving_recall --oracle CRIME/bin/python --data FOLDER_OF_XML [--every 2] [--most 1500]

The oracle (see `driving_oracle`) flags a frame of two by: TTC < 1.5 s, THW < 0.5 s, ALongReq < -4 m/s2, or DCE = 0 within 1.5 s
(TTCE; DCE alone looks at all of the future, and would flag a log from its beginning for a crash at its end). Flagged frames of a pair
and a measure less than a second apart are one moment; it is found if a picked frame lies in it, half a second around it counts. In
files with many actors the oracle is asked of every few frames only (`--most`: it takes 0.1 s a question). Rankers are those of
`bench.driving`: at most one frame a second of a log each. "ideal" knows the flags and always takes the frame with most moments that
are not found yet (greedy): what so few frames can do. Two known faults of the oracle take part: its TTC has the speed along x where
it should have the speed along the lane, and frames in which it fails count as not flagged: so there is a second table, without logs
in which it cannot be asked of anybody (no two with a recorded trajectory).
"""

from __future__ import annotations

import argparse
import json
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from bench.driving import AROUND_S, LIMITS, SHARES, Log, by_cases, by_density, by_severity, by_ttc, known, picked
from hotloop.verticals.driving.ingest import read
from hotloop.verticals.driving.mine import mine

MEASURES = ("TTC", "THW", "ALongReq", "DCE")
JOIN_S = 1.0
TIMEOUT_S = 600.0  # of the oracle, a file
ORACLE = """
import contextlib, io, json, logging, math, sys, warnings
warnings.filterwarnings("ignore"); logging.disable(logging.CRITICAL)
from commonroad.common.file_reader import CommonRoadFileReader
from commonroad_crime.data_structure.configuration import CriMeConfiguration
from commonroad_crime.measure import TTC, THW, ALongReq, DCE
flags, failed, asked, every = [], {}, 0, int(sys.argv[2])
with contextlib.redirect_stdout(io.StringIO()):
    scenario, _ = CommonRoadFileReader(sys.argv[1]).open(lanelet_assignment=True)
    moving = [o for o in scenario.dynamic_obstacles if hasattr(o.prediction, "trajectory")]
    near = []
    for ego in moving:
        for other in moving:
            for t in range(ego.initial_state.time_step, ego.prediction.final_time_step):
                a, b = ego.state_at_time(t), other.state_at_time(t)
                if other is not ego and a is not None and b is not None and math.dist(a.position, b.position) <= 40:
                    near.append((ego, other, t))
    while sum(t % every == 0 for _, _, t in near) > int(sys.argv[3]): every += 1
    tools = {}
    for ego, other, t in near:
        if t % every: continue
        if ego not in tools:
            try:
                config = CriMeConfiguration()
                config.update(sce=scenario, ego_id=ego.obstacle_id)
                tools = {ego: {m.__name__: m(config) for m in (TTC, THW, ALongReq, DCE)}}
            except Exception as error:
                failed[type(error).__name__] = failed.get(type(error).__name__, 0) + 1
                tools = {ego: {}}
        asked += bool(tools[ego])
        for name, tool in tools[ego].items():
            try: value = float(tool.compute(other.obstacle_id, t, verbose=False))
            except Exception as error: failed[name] = failed.get(name, 0) + 1; continue
            bad = {"TTC": value < 1.5, "THW": value < 0.5, "ALongReq": value < -4, "DCE": False}[name]
            if name == "DCE": bad = value == 0 and (tool.time_dce - t) * scenario.dt <= 1.5
            if bad: flags.append([name, ego.obstacle_id, other.obstacle_id, t])
print("JSON" + json.dumps({"flags": flags, "failed": failed, "asked": asked, "every": every}))
"""


@dataclass(frozen=True)
class Flagged:
    """A moment of a log that the oracle flags."""

    log: int
    measure: str
    first: int
    last: int


def asked(python: str, path: Path, every: int, most: int) -> dict:
    """What the oracle flags in a file: {"flags": [[measure, ego, other, frame]], "failed", "asked": pairs and frames, "every"}."""
    call = [python, "-c", ORACLE, str(path), str(every), str(most)]
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    except subprocess.TimeoutExpired:
        return {"flags": [], "failed": {f"not done in {TIMEOUT_S:g} s": 1}, "asked": 0, "every": every}
    line = next((line for line in done.stdout.splitlines() if line.startswith("JSON")), None)
    return json.loads(line[4:]) if line else {"flags": [], "failed": {done.stderr[-90:]: 1}, "asked": 0, "every": every}


def moments(log: int, flags: Sequence[Sequence], step_s: float, every: int) -> list[Flagged]:
    """Flagged frames as moments: what lies less than a second apart, or in frames that were asked about one after the other."""
    join = max(JOIN_S, every * step_s + 1e-9)
    frames: dict[tuple, list[int]] = {}
    for name, ego, other, t in flags:
        frames.setdefault((name, min(ego, other), max(ego, other)), []).append(t)
    found = []
    for (name, *_), times in sorted(frames.items()):
        at = np.unique(times)
        parts = np.split(at, np.flatnonzero(np.diff(at) * step_s > join) + 1)
        found += [Flagged(log, name, int(part[0]), int(part[-1])) for part in parts]
    return found


def found_by(frames: Sequence[set[int]], flagged: Sequence[Flagged], pool: Sequence[Log]) -> dict[str, tuple[int, int]]:
    """By measure: found, flagged."""
    told = dict.fromkeys(MEASURES, (0, 0))
    for one in flagged:
        around = round(AROUND_S / pool[one.log].tracks.step_s)
        hit = any(one.first - around <= frame <= one.last + around for frame in frames[one.log])
        good, total = told[one.measure]
        told[one.measure] = (good + hit, total + 1)
    return told


def ideal(count: int, flagged: Sequence[Flagged], pool: Sequence[Log]) -> list[set[int]]:
    """The frames that a greedy picker takes who knows the flags."""
    places = [(k, frame) for k, log in enumerate(pool) for frame in np.unique(log.tracks.frame).tolist()]
    around = [round(AROUND_S / log.tracks.step_s) for log in pool]
    holds = np.array([
        [m.log == k and m.first - around[k] <= frame <= m.last + around[k] for m in flagged] for k, frame in places
    ])  # fmt: skip
    frames: list[set[int]] = [set() for _ in pool]
    for _ in range(count):
        best = int(holds.sum(axis=1).argmax())
        frames[places[best][0]].add(places[best][1])
        holds = holds & ~holds[best]
    return frames


def at_random(count: int, flagged: Sequence[Flagged], pool: Sequence[Log]) -> float:
    """The expected recall of frames picked at random."""
    frames = sum(log.tracks.frames for log in pool)
    chances = []
    for one in flagged:
        tracks, around = pool[one.log].tracks, round(AROUND_S / pool[one.log].tracks.step_s)
        first, last = int(tracks.frame.min()), int(tracks.frame.max())
        wide = min(one.last + around, last) - max(one.first - around, first) + 1
        chances.append(1 - (1 - count / frames) ** wide)
    return float(np.mean(chances))


def compared(pool: Sequence[Log], flagged: Sequence[Flagged]) -> dict[str, object]:
    """Recall of each ranker at shares of the frames. What hotloop knows of a log it learned from the other half of them."""
    halves = [known([log.tracks for log in pool[k::2]]) for k in (0, 1)]
    place = {id(log): k for k, log in enumerate(pool)}
    rankers: dict[str, Callable[[Log], list[tuple[float, int]]]] = {
        "hotloop": lambda log: by_cases(log, halves[1 - place[id(log)] % 2]), "severity alone": by_severity,
        "time to collision": by_ttc, "density": by_density,
    }  # fmt: skip
    total = sum(log.tracks.frames for log in pool)
    told: dict[str, object] = {"frames": total, "moments": len(flagged)}
    told["mined at all"] = found_by([mined_frames(log) for log in pool], flagged, pool)
    for share in SHARES:
        count = max(1, int(share * total))
        row: dict[str, object] = {"picked": count, "random": round(at_random(count, flagged, pool), 3)}
        for name, ranker in rankers.items():
            row[name] = told_of(found_by(picked(pool, ranker, count), flagged, pool))
        row["ideal"] = told_of(found_by(ideal(count, flagged, pool), flagged, pool))
        told[f"{share:.0%}"] = row
    return told


def mined_frames(log: Log) -> set[int]:
    """All frames of a log that lie in a finding."""
    return {frame for one in mine(log.tracks, None, LIMITS) for frame in range(one.first, one.last + 1)}


def told_of(counted: dict[str, tuple[int, int]]) -> dict[str, object]:
    """Recall over all measures, and each."""
    good, total = (sum(one[k] for one in counted.values()) for k in (0, 1))
    return {"recall": round(good / max(1, total), 3)} | {name: f"{a} of {b}" for name, (a, b) in counted.items()}


def main() -> None:
    """Ask, compare, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--oracle", required=True, help="the Python that has commonroad-crime")
    parser.add_argument("--data", type=Path, required=True, help="a folder of CommonRoad files")
    parser.add_argument("--every", type=int, default=2, help="frames, at which the oracle is asked")
    parser.add_argument("--most", type=int, default=1500, help="pairs and frames of a file that the oracle is asked about")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    kept = given.out / f"driving_oracle_{given.every}_{given.most}.json"
    given.out.mkdir(parents=True, exist_ok=True)
    said = json.loads(kept.read_text()) if kept.exists() else {}
    pool, flagged = [], []
    for path in sorted(given.data.glob("*.xml")):
        if path.name not in said:
            said[path.name] = asked(given.oracle, path, given.every, given.most)
            kept.write_text(json.dumps(said))
        pool.append(Log(read(path), ()))
        one = said[path.name]
        own = moments(len(pool) - 1, one["flags"], pool[-1].tracks.step_s, one["every"])
        flagged += own
        print(f"{path.name:44} {one['asked']:5} asked, every {one['every']}  {len(own):3} moments  failed: {one['failed']}", flush=True)
    told = {"all logs": compared(pool, flagged)}
    answered = [k for k, log in enumerate(pool) if said[log.tracks.source]["asked"]]
    place = {k: number for number, k in enumerate(answered)}
    fewer = [replace(one, log=place[one.log]) for one in flagged]
    told["logs of which the oracle can say something"] = compared([pool[k] for k in answered], fewer)
    print(json.dumps(told, indent=1))
    (given.out / "driving_recall.json").write_text(json.dumps(told, indent=1), encoding="utf-8")


if __name__ == "__main__":
    main()
