"""Tasks finished on maps of the League of Robot Runners: paths on learned times against shortest paths.

    python -m bench.lorr --data DIR [--agents 400 1200 1600] [--steps 400] [--seeds 3] [--map random] [--out out/bench]

DIR holds example_problems/. The same map, tasks, agents, delays and seeds for both; both move agents by the same rule (PIBT), and what
is learned is learned while it runs, from nothing, and counts from the first step. Agents beyond those of the file begin in cells that
are left. A move takes one step and nobody turns: figures are not those of the competition. An hour is 3,600 steps.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np

from hotloop.verticals.warehouse.grid import load, zones
from hotloop.verticals.warehouse.grid_floor import GridFloor, Nominal
from hotloop.verticals.warehouse.grid_times import LearnedTimes

HOUR = 3600
ZONES_MAX = 100  # four directions each: some hundreds of columns
FIRST_SEED = 1  # the settings were chosen on seed 0


def problem_file(data: Path, name: str) -> Path:
    """The problem of a map."""
    return next((data / "example_problems" / f"{name}.domain").glob("*.json"))


def main() -> None:
    """Run and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--agents", type=int, nargs="+", default=[400, 1200, 1600])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--map", default="random", help="random or warehouse")
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    problem = load(problem_file(given.data, given.map))
    squares = zones(problem.grid, ZONES_MAX)
    print(f"{given.map}: {problem.grid.count} free cells, {squares.count} zones of {squares.side} x {squares.side}; {given.steps} steps")
    table = []
    for agents in given.agents:
        ratios, later = [], []
        for seed in range(FIRST_SEED, FIRST_SEED + given.seeds):
            row: dict[str, float] = {"agents": agents, "seed": seed}
            for name, guide in (("shortest", Nominal(problem.grid)), ("learned", LearnedTimes(squares))):
                began = time.perf_counter()
                finished = GridFloor(problem, guide, seed, agents).run(given.steps)
                row[name] = finished[-1] * HOUR / given.steps
                row[f"{name}_later"] = (finished[-1] - finished[len(finished) // 2]) * 2 * HOUR / given.steps
                row[f"{name}_step_ms"] = 1e3 * (time.perf_counter() - began) / given.steps
            table.append(row)
            ratios.append(row["learned"] / row["shortest"])
            later.append(row["learned_later"] / row["shortest_later"])
            print(f"  {agents} agents, seed {seed}: {row['shortest']:.0f} tasks an hour on shortest paths, {row['learned']:.0f} on learned times; "
                  f"x {ratios[-1]:.3f} (second half {later[-1]:.3f}); {row['shortest_step_ms']:.0f}, {row['learned_step_ms']:.0f} ms a step", flush=True)  # fmt: skip
        print(f"{agents} agents: x {np.mean(ratios):.3f} (from {min(ratios):.3f} to {max(ratios):.3f}), second half x {np.mean(later):.3f}", flush=True)
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / f"lorr_{given.map}.json").write_text(json.dumps(table, indent=1))


if __name__ == "__main__":
    main()
