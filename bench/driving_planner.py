"""The rule planner tuned on mined scenes, judged once on recordings that nothing was mined from.

    python -m bench.driving_planner [--data DIR] [--recordings 64] [--only synthetic|real] [--held SETTINGS]

Two sources, each tuned and judged on its own. Synthetic: highways and streets with corner cases planted by a seed. Real (`--data`:
a folder with ngsim-us101/*.csv.gz): whatever mining finds. Each mined scene comes as recorded and perturbed; common scenes are of
the same recordings, where nothing was found. Recordings that share a vehicle are on one side (`verticals/driving/sides.py`).

Without --held, settings are tried on one part of the tuning side and chosen by another; what is held out is not looked at.
With it, what was chosen is tuned on the whole tuning side, and judged on what is held out.
Bar: interventions (collision, or braking harder than 6 m/s2) -40 % or better there, no common slice worse, and the gate promotes.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import msgspec
import numpy as np

from hotloop.config import GateConfig
from hotloop.errors import InputError
from hotloop.verticals.driving import perturb, planted, sides, traffic
from hotloop.verticals.driving.engines import Replay
from hotloop.verticals.driving.finding import Finding
from hotloop.verticals.driving.ingest import read
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.mine import mine
from hotloop.verticals.driving.planner import PlannerConfig
from hotloop.verticals.driving.regression import interventions
from hotloop.verticals.driving.scenario import AFTER_S, BEFORE_S, COMMON, Scenario, from_finding, from_moment
from hotloop.verticals.driving.tracks import Tracks
from hotloop.verticals.driving.tuning import Cost, Effort, Trial, Tuned, Weights, trial, tuned

PER_CASE = 2  # findings of a case that one recording gives: the most severe
COMMON_EACH = 14  # common scenes of a recording
VARIED = 2  # perturbations of a mined scene
FIRST_SEED = 9000  # of the synthetic recordings
CHOICES = {f"strain {strain:g}, seed {seed}": (Weights(strain), seed) for strain in (0.0, 0.3) for seed in (1, 2)}
Drive = tuple[Tracks, list[Finding]]


def synthetic(seeds: Sequence[int]) -> Iterator[Drive]:
    """Recordings with planted cases, and the findings that they are."""
    for seed in seeds:
        tracks = traffic.highway(seed, seconds=60.0) if seed % 2 == 0 else traffic.street(seed, seconds=60.0)
        wanted = {"cut-in": 3, "hard braking": 3} if seed % 2 == 0 else {"crossing": 2, "pedestrian crossing": 2, "hard braking": 2}
        tracks, truth = planted.plant(tracks, seed, wanted)
        found = [Finding(t.case, 1.0, 0.0, "", t.actors[::-1], t.first, t.peak, t.last, "") for t in truth]
        yield tracks, found


def real(tracks: Sequence[Tracks]) -> Iterator[Drive]:
    """Recordings of NGSIM, and what mining finds; of a cut-in, who has to cope is seated."""
    for one in tracks:
        found = mine(one, None, MineConfig())
        yield one, [replace(f, actors=f.actors[::-1]) if f.case == "cut-in" and len(f.actors) == 2 else f for f in found]


def scenes(tracks: Tracks, findings: Sequence[Finding], seed: int) -> list[Scenario]:
    """Of one recording: the mined ones, recorded and perturbed by the seed, and common ones."""
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
        out += [scene, *(changed for _, changed in perturb.draw(scene, seed, VARIED))]
    return out + commons(tracks, findings, seed)


def commons(tracks: Tracks, findings: Sequence[Finding], seed: int) -> list[Scenario]:
    """Drives in which nothing was found of who is seated: at most one of each vehicle."""
    rng = np.random.default_rng([seed, 3])
    before, after = round(BEFORE_S / tracks.step_s), round(AFTER_S / tracks.step_s)
    cars = [k for k, actor in enumerate(tracks.actors) if actor.kind in ("car", "truck", "bus")]
    out: list[Scenario] = []
    for actor in rng.permutation(cars).tolist():
        frames = tracks.frame[tracks.rows_of(actor)]
        calm = np.ones(len(frames), bool)
        for one in findings:
            if actor in one.actors:
                calm &= (frames + after < one.first) | (frames - before > one.last)
        calm[:5] = calm[max(len(frames) - 15, 0) :] = False
        if len(out) == COMMON_EACH or not calm.any():
            continue
        try:
            out.append(from_moment(tracks, actor, int(rng.choice(frames[calm]))))
        except InputError:
            continue
    return out


class Source:
    """Recordings by name, and which side each is on; scenes are made when they are asked for."""

    def __init__(self, name: str, drives: dict[str, Tracks] | dict[str, int], links: sides.Shared) -> None:
        """`drives`: tracks, or seeds of synthetic ones, by name."""
        self.name, self._drives, self.sides = name, drives, sides.sides(links)
        self.groups = [len(group) for group in sides.groups(links)]

    def scenes(self, names: Collection[str], seed: int) -> list[Scenario]:
        """Of these recordings; seed: of their perturbations."""
        chosen = [self._drives[one] for one in names]
        seeds = [one for one in chosen if isinstance(one, int)]
        drives = synthetic(seeds) if seeds else real([one for one in chosen if isinstance(one, Tracks)])
        return [one for k, (tracks, found) in enumerate(drives) for one in scenes(tracks, found, seed + k)]


def of_seeds(count: int) -> Source:
    """Synthetic recordings: each is a group of its own (names of vehicles mean nothing outside of it)."""
    drives = {f"{'street' if seed % 2 else 'highway'} {seed}": seed for seed in range(FIRST_SEED, FIRST_SEED + count)}
    pairs = {name: f"pair {seed // 2}" for name, seed in drives.items()}  # a highway and a street to each side
    return Source("synthetic", drives, {name: {other for other in drives if pairs[other] == pairs[name]} - {name} for name in drives})


def of_files(folder: Path) -> Source:
    """NGSIM's snippets: those that share vehicles are one group."""
    tracks = [read(path) for path in sorted(folder.glob("ngsim-us101/*.csv.gz"))]
    return Source("real (NGSIM US-101)", {one.source: one for one in tracks}, sides.shared(tracks))


def choose(source: Source, seconds: float) -> str:
    """The settings that cost least on the part of the tuning side that is chosen by."""
    fit, by = source.scenes(source.sides.fit, 100_000), source.scenes(source.sides.choose, 200_000)
    print(f"\n{source.name}: settings tried on {said(fit)}, chosen by {said(by)}; {len(source.sides.dropped)} recordings dropped meanwhile")
    engine, champion = Replay(), PlannerConfig()
    costs = {}
    for name, (weights, seed) in CHOICES.items():
        best = tuned(fit, engine, champion, effort(seed, seconds / len(CHOICES)), weights)
        cost = Cost(by, engine, champion)
        costs[name] = cost(best.config)
        judged = trial(by, engine, (champion, best.config), GateConfig())
        print(f"  {name:20} {best.tried:4} sets  cost {cost.before:.4f} -> {costs[name]:.4f}  {counted(by, judged)}", flush=True)
    return min(costs, key=lambda name: costs[name])


def effort(seed: int, seconds: float) -> Effort:
    """Until the time is up."""
    return Effort(rounds=10_000, candidates=10, seed=seed, screened=400, seconds=seconds)


def judge(source: Source, choice: str, seconds: float) -> dict[str, object]:
    """Tune on the whole tuning side as chosen, and judge once on what is held out."""
    engine, champion = Replay(), PlannerConfig()
    train = source.scenes(source.sides.tune, 300_000)
    weights, seed = CHOICES[choice]
    best = tuned(train, engine, champion, effort(seed, seconds), weights)
    print(f"\n{source.name}: groups of {source.groups} recordings; tuned ({choice}) on {said(train)}; {best.tried} parameter sets in {seconds:g} s")
    on_train = trial(train, engine, (champion, best.config), GateConfig())
    print(f"  cost {best.cost_before:.4f} -> {best.cost:.4f}; {counted(train, on_train)}; {msgspec.to_builtins(best.config)}")
    held = source.scenes(source.sides.held, 400_000)
    began = time.perf_counter()
    judged = trial(held, Replay(), (champion, best.config), GateConfig())
    print(f"  held out: {said(held)}, {2 * sum(s.frames for s in held) / (time.perf_counter() - began):,.0f} scenario-steps/s")
    return told(held, judged, best)


def told(held: Sequence[Scenario], judged: Trial, best: Tuned) -> dict[str, object]:
    """Print and return what was found."""
    before, after = interventions(held, judged.champion), interventions(held, judged.candidate)
    gate = {one.name: one for one in judged.finding.slices}
    print(f"  {'held-out slice':22} scenes  interventions  mean loss difference, e-value (gate)")
    for case in sorted(before):
        part = gate.get(f"case:{case}")
        words = f"{part.difference:+.4f} {part.e_value:8.3g}" if part else "too few"
        print(f"  {case:22} {before[case][1]:6}  {before[case][0]:5} -> {after[case][0]:<5}  {words}")
    progress = [float(np.mean([r.progress for s, r in zip(held, runs, strict=True) if s.case == COMMON])) for runs in (judged.champion, judged.candidate)]
    low, high = judged.interval()
    print(f"  {counted(held, judged)}: {-100 * judged.reduction():+.1f} % (95 % interval by recording {-100 * high:+.1f} to {-100 * low:+.1f} %; bar: -40 %)")
    print(f"  progress on common scenes {progress[0]:.3f} -> {progress[1]:.3f}")
    print(f"  gate: {judged.finding.decision}: {judged.finding.reason}")
    return {
        "held_out": len(held), "before": before, "after": after, "change": -judged.reduction(), "interval": (-high, -low), "tried": best.tried,
        "config": msgspec.to_builtins(best.config), "progress_common": progress, "gate": {k: v for k, v in asdict(judged.finding).items() if k != "slices"},
    }  # fmt: skip


def said(of: Sequence[Scenario]) -> str:
    """How many of what."""
    common = sum(one.case == COMMON for one in of)
    return f"{len({sides.recording_of(one.name) for one in of})} recordings, {len(of) - common} mined and {common} common scenes"


def counted(of: Sequence[Scenario], judged: Trial) -> str:
    """Interventions before and after: all, and common ones."""
    sums = [(sum(bad for bad, _ in one.values()), one.get(COMMON, (0, 0))[0]) for one in (interventions(of, judged.champion), interventions(of, judged.candidate))]
    return f"interventions {sums[0][0]} -> {sums[1][0]}, of these common {sums[0][1]} -> {sums[1][1]}"


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--recordings", type=int, default=64, help="synthetic ones")
    parser.add_argument("--seconds", type=float, default=100.0, help="of the search")
    parser.add_argument("--only", choices=("synthetic", "real"))
    parser.add_argument("--held", choices=tuple(CHOICES), help="judge on what is held out, tuned as was chosen")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    results: dict[str, object] = {}
    sources = ([] if given.only == "real" else [of_seeds(given.recordings)]) + ([of_files(given.data)] if given.data and given.only != "synthetic" else [])
    for source in sources:
        if given.held:
            results[source.name] = judge(source, given.held, given.seconds)
        else:
            print(f"  chosen: {choose(source, given.seconds)}")
    given.out.mkdir(parents=True, exist_ok=True)
    if results:
        (given.out / f"driving_planner_{given.only or 'all'}.json").write_text(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
