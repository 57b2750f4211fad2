"""The rule planner tuned on mined scenes, judged on recordings that nothing was mined from.

    python -m bench.driving_planner [--data DIR] [--recordings 40] [--rounds 12] [--out out/bench]

Two sources, each tuned and judged on its own. Synthetic: highways and streets with corner cases planted by a seed. Real (`--data`:
a folder with ngsim-us101/*.csv.gz): whatever mining finds. Each mined scene comes as recorded and perturbed; common scenes are drawn
from the same recordings where nothing was found. Half of the recordings are tuned on; the others are for the judgement alone.
Bar: interventions (collision, or braking harder than 6 m/s2) -40 % or better there, no common slice worse, and the gate promotes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import msgspec
import numpy as np

from hotloop.config import GateConfig
from hotloop.errors import InputError
from hotloop.verticals.driving import perturb, planted, traffic
from hotloop.verticals.driving.engines import Replay
from hotloop.verticals.driving.finding import Finding
from hotloop.verticals.driving.ingest import read
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.mine import mine
from hotloop.verticals.driving.planner import PlannerConfig
from hotloop.verticals.driving.regression import interventions
from hotloop.verticals.driving.scenario import COMMON, Scenario, from_finding, from_moment
from hotloop.verticals.driving.tracks import Tracks
from hotloop.verticals.driving.tuning import Effort, split, trial, tuned

PER_CASE = 2  # findings of a case that one recording gives: the most severe
COMMON_EACH = 6  # common scenes of a recording


def synthetic(count: int) -> Iterator[tuple[Tracks, list[Finding]]]:
    """Recordings with planted cases, and the findings that they are."""
    for seed in range(count):
        tracks = traffic.highway(seed, seconds=60.0) if seed % 2 == 0 else traffic.street(seed, seconds=60.0)
        wanted = {"cut-in": 3, "hard braking": 3} if seed % 2 == 0 else {"crossing": 2, "pedestrian crossing": 2, "hard braking": 2}
        tracks, truth = planted.plant(tracks, seed, wanted)
        found = [Finding(t.case, 1.0, 0.0, "", t.actors[::-1], t.first, t.peak, t.last, "") for t in truth]
        yield tracks, found


def real(folder: Path, count: int) -> Iterator[tuple[Tracks, list[Finding]]]:
    """Recordings of NGSIM, and what mining finds."""
    for path in sorted(folder.glob("ngsim-us101/*.csv.gz"))[:count]:
        tracks = read(path)
        yield tracks, mine(tracks, None, MineConfig())


def scenes(tracks: Tracks, findings: Sequence[Finding], seed: int) -> list[Scenario]:
    """Of one recording: the mined ones, recorded and perturbed, and common ones."""
    out: list[Scenario] = []
    taken: dict[str, int] = {}
    for one in sorted(findings, key=lambda found: (-found.severity, found.first)):
        if taken.get(one.case, 0) >= PER_CASE:
            continue
        taken[one.case] = taken.get(one.case, 0) + 1
        try:
            scene = from_finding(tracks, one)
        except InputError:
            continue  # the subject is hardly in the log, or stands
        out += [scene, *(changed for _, changed in perturb.draw(scene, seed, 2))]
    busy = {actor for one in findings for actor in one.actors}
    rng = np.random.default_rng(seed)
    calm = [k for k in range(len(tracks.actors)) if k not in busy and tracks.actors[k].kind in ("car", "truck", "bus")]
    drawn = 0
    for actor in rng.permutation(calm).tolist():
        frames = tracks.frame[tracks.rows_of(actor)]
        if drawn < COMMON_EACH and len(frames) * tracks.step_s > 3:
            try:
                out.append(from_moment(tracks, actor, int(rng.choice(frames[5:-15]))))
                drawn += 1
            except InputError:
                continue
    return out


def told(name: str, recordings: Iterator[tuple[Tracks, list[Finding]]], rounds: int) -> dict[str, object]:
    """Tune, judge, print."""
    everything = [one for seed, (tracks, found) in enumerate(recordings) for one in scenes(tracks, found, seed)]
    train, held = split(everything)
    print(f"{name}: {len(everything)} scenes", flush=True)
    engine, champion, config = Replay(), PlannerConfig(), GateConfig()
    began = time.perf_counter()
    best = tuned(train, engine, champion, Effort(rounds=rounds))
    took = time.perf_counter() - began
    judged = trial(held, engine, (champion, best.config), config)
    before, after = interventions(held, judged.champion), interventions(held, judged.candidate)
    print(f"\n{name}: {len(train)} scenes to tune on, {len(held)} held out; {best.tried} parameter sets in {took:.0f} s "
          f"({best.tried * sum(s.frames for s in train) / took:,.0f} scenario-steps/s)")
    print(f"  cost on the tuned-on scenes {best.cost_before:.4f} -> {best.cost:.4f}; {msgspec.to_builtins(best.config)}")
    print(f"  {'held-out slice':22} scenes  interventions  mean loss difference (gate)")
    gate = {one.name: one.difference for one in judged.finding.slices}
    for case in sorted(before):
        print(f"  {case:22} {before[case][1]:6}  {before[case][0]:5} -> {after[case][0]:<5}  {gate.get(f'case:{case}', float('nan')):+.4f}")
    progress = [float(np.mean([r.progress for s, r in zip(held, runs, strict=True) if s.case == COMMON])) for runs in (judged.champion, judged.candidate)]
    print(f"  interventions {-100 * judged.reduction():+.1f} % (bar: -40 %); progress on common scenes {progress[0]:.3f} -> {progress[1]:.3f}")
    print(f"  gate: {judged.finding.decision}: {judged.finding.reason}")
    return {
        "tuned_on": len(train), "held_out": len(held), "before": before, "after": after, "change": -judged.reduction(), "seconds": took,
        "config": msgspec.to_builtins(best.config), "progress_common": progress, "gate": {k: v for k, v in asdict(judged.finding).items() if k != "slices"},
    }  # fmt: skip


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--recordings", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--only", choices=("synthetic", "real"))
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    results = {}
    if given.only != "real":
        results["synthetic"] = told("synthetic", synthetic(given.recordings), given.rounds)
    if given.data and given.only != "synthetic":
        results["real"] = told("real (NGSIM US-101)", real(given.data, given.recordings), given.rounds)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "driving_planner.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
