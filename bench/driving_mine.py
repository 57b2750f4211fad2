"""How fast mining and ranking are: a segment of 60 s, and how cost grows with vehicles and hours.

    python bench/driving_mine.py

One core: set OMP_NUM_THREADS=1. Cars in five lanes at a density that stays the same, 10 Hz, with everything that was
learned in use. Each figure is the best of three runs.
"""

from __future__ import annotations

import time

import numpy as np

from hotloop.testing.drives import traffic
from hotloop.verticals.driving.knows import Knows
from hotloop.verticals.driving.limits import MineConfig, RankConfig
from hotloop.verticals.driving.mine import lesson, mine, mined
from hotloop.verticals.driving.rank import Candidate, rank
from hotloop.verticals.driving.tracks import Tracks

LIMITS = MineConfig(headway_s_max=1.0)


def taught() -> Knows:
    """Knowledge of four logs."""
    knows = Knows.start()
    for seed in range(4):
        tracks = traffic(seed, 40, 200)
        knows.learn(lesson(tracks, mine(tracks, None, LIMITS), knows, LIMITS))
    return knows


def timed(tracks: Tracks, knows: Knows) -> tuple[float, int, int]:
    """Seconds to mine and rank, pairs within reach, findings."""
    best = np.inf
    for _ in range(3):
        begin = time.perf_counter()
        found = mined(tracks, knows, LIMITS)
        rank([Candidate(one, tracks.source, tracks.step_s) for one in found.findings], RankConfig())
        best = min(best, time.perf_counter() - begin)
    return best, found.pairs, len(found.findings)


def main() -> None:
    """Print a line a size."""
    knows = taught()
    print("vehicles  seconds of log  rows     pairs    findings  took s  frames/s  pairs/s  us a row")
    for vehicles, frames in ((25, 600), (50, 600), (100, 600), (200, 600), (50, 6000), (50, 36_000)):
        tracks = traffic(9, vehicles, frames)
        took, pairs, found = timed(tracks, knows)
        rows = len(tracks)
        print(
            f"{vehicles:8}  {frames / 10:14.0f}  {rows:7}  {pairs:8}  {found:7}  {took:6.2f}  {frames / took:8.0f}"
            f"  {pairs / took:9.0f}  {1e6 * took / rows:6.1f}"
        )


if __name__ == "__main__":
    main()
