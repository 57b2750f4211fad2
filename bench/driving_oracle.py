"""Our measures beside those of commonroad-crime (Lin and Althoff 2023) on the same CommonRoad files.

    python -m venv crime && crime/bin/pip install commonroad-crime==0.4.5
    python bench/driving_oracle.py --python crime/bin/python --data FOLDER_OF_XML

The oracle runs in a Python of its own. It tells what it read, too, so both measure the same states. It works along
lanelets and needs a map; we do not. Where they differ by definition:
- HW: the oracle adds half a length to x *and* y before it projects; ours is bumper to bumper along the heading.
- TTC: the oracle's uses the acceleration as well, and speeds times the cosine of the lane's direction *on the map*,
  which is the speed along the lane only where the lane lies along x; ours is at constant velocity along the heading.
  It is compared where |a| <= 0.1, and below 10 s.
- The second table holds only pairs that both head along x within 10 degrees, where those two do not matter.
- THW: the oracle's is the recorded time to get there; ours gap / speed.
- DCE: the least recorded distance of the shapes from a frame on: the same definition as our gap.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

import numpy as np

from hotloop.verticals.driving import measures
from hotloop.verticals.driving.measures import Boxes

ORACLE = """
import io, json, sys, contextlib, logging, warnings
warnings.filterwarnings("ignore"); logging.disable(logging.CRITICAL)
from commonroad.common.file_reader import CommonRoadFileReader
from commonroad.scenario.obstacle import DynamicObstacle
from commonroad_crime.data_structure.configuration import CriMeConfiguration
from commonroad_crime.measure import TTC, THW, HW, ALongReq, DCE
out = []
def state(o, t):
    s, shape = o.state_at_time(t), o.obstacle_shape
    if s is None: return None
    l = getattr(shape, "length", 2 * getattr(shape, "radius", 0)); w = getattr(shape, "width", l)
    return [float(s.position[0]), float(s.position[1]), float(s.orientation), float(s.velocity), l, w, float(getattr(s, "acceleration", 0) or 0)]
with contextlib.redirect_stdout(io.StringIO()):
    scenario, _ = CommonRoadFileReader(sys.argv[1]).open(lanelet_assignment=True)
    moving = [o for o in scenario.dynamic_obstacles if hasattr(o.prediction, "trajectory")]
    for ego in moving[: int(sys.argv[2])]:
        try:
            config = CriMeConfiguration()
            config.update(sce=scenario, ego_id=ego.obstacle_id)
            tools = {m.__name__: m(config) for m in (TTC, THW, HW, ALongReq, DCE)}
        except Exception as error:
            out.append({"failed": type(error).__name__ + ": " + str(error)[:90]}); continue
        for other in moving:
            if other is ego: continue
            for t in range(ego.initial_state.time_step, ego.prediction.final_time_step, int(sys.argv[3])):
                a, b = state(ego, t), state(other, t)
                if a is None or b is None: continue
                row = {"t": t, "ego": ego.obstacle_id, "other": other.obstacle_id, "a": a, "b": b, "dt": scenario.dt}
                for name, tool in tools.items():
                    try: row[name] = float(tool.compute(other.obstacle_id, t, verbose=False))
                    except Exception as error: row[name] = None
                    if name == "DCE":
                        row["path"] = [(state(ego, k), state(other, k)) for k in range(t, ego.prediction.final_time_step) if state(other, k) and state(ego, k)]
                out.append(row)
print("JSON" + json.dumps(out))
"""


def asked(python: str, path: Path, egos: int, every: int) -> list[dict]:
    """What the oracle says of a file; nothing where it fails."""
    done = subprocess.run(
        [python, "-c", ORACLE, str(path), str(egos), str(every)], capture_output=True, text=True, timeout=120, check=False
    )
    line = next((line for line in done.stdout.splitlines() if line.startswith("JSON")), None)
    if line is None:
        print(f"{path.name}: the oracle failed: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)
        return []
    return json.loads(line[4:])


def boxes(states: list[list[float]]) -> Boxes:
    """States as rectangles."""
    columns = np.array(states).T
    return Boxes(*columns[:6], np.zeros(len(states)))


def ours(row: dict) -> dict[str, float]:
    """Our measures of the same two states."""
    a, b = boxes([row["a"]]), boxes([row["b"]])
    stand = measures.ahead(a, b)
    ttc = measures.along_s(stand.gap, stand.closing)
    path = [(one, two) for one, two in row.get("path", [])]
    least = measures.gap(boxes([p[0] for p in path]), boxes([p[1] for p in path])).min() if path else np.nan
    on_path = bool(stand.inside[0] and stand.gap[0] >= 0)
    return {
        "HW": float(stand.gap[0]) if on_path else np.inf,
        "TTC": float(ttc[0]) if on_path else np.inf,
        "THW": float(measures.headway_s(stand.gap, a.v)[0]) if on_path else np.inf,
        "ALongReq": -float(measures.required_braking(stand.closing, ttc)[0]) if on_path else 0.0,
        "DCE": float(least),
    }


def main() -> None:
    """Print how far both agree, measure by measure."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--python", required=True, help="the Python that has commonroad-crime")
    parser.add_argument("--data", type=Path, required=True, help="a folder of CommonRoad files")
    parser.add_argument("--egos", type=int, default=2)
    parser.add_argument("--every", type=int, default=10, help="frames")
    args = parser.parse_args()
    rows, failed = [], []
    for path in sorted(args.data.glob("*.xml")):
        found = asked(args.python, path, args.egos, args.every)
        failed += [f"{path.name}: {one['failed']}" for one in found if "failed" in one]
        rows += [one for one in found if "failed" not in one]
    print(f"{len(rows)} (ego, other, frame); the oracle could not do {len(failed)} egos")
    for one in failed:
        print("  ", one)
    pairs = [(row, ours(row)) for row in rows]
    compared(pairs)
    print("only those that head along x:")
    compared([one for one in pairs if all(np.cos(one[0][who][2]) > np.cos(np.radians(10)) for who in "ab")])


def compared(pairs: list[tuple[dict, dict[str, float]]]) -> None:
    """A table of how far both agree."""
    print("measure   both finite  within 10 % or 0.2  median |difference|  oracle alone finite  ours alone  oracle: no value")
    for name in ("HW", "TTC", "THW", "ALongReq", "DCE"):
        kept = [(r, o) for r, o in pairs if name != "TTC" or max(abs(r["a"][6]), abs(r["b"][6])) <= 0.1]
        theirs = np.array([np.nan if r[name] is None else r[name] for r, _ in kept], float)
        mine = np.array([o[name] for _, o in kept])
        both = np.isfinite(theirs) & np.isfinite(mine)
        if name == "TTC":
            both &= (theirs < 10) & (mine < 10)
        far = np.abs(theirs[both] - mine[both])
        near = (far <= np.maximum(0.2, 0.1 * np.abs(theirs[both]))).mean() if both.any() else np.nan
        alone = np.isfinite(theirs) & ~np.isfinite(mine), np.isinf(theirs) & np.isfinite(mine)
        print(
            f"{name:9} {both.sum():11}  {near:19.3f}  {np.median(far) if both.any() else np.nan:19.3f}  {alone[0].sum():19}"
            f"  {alone[1].sum():10}  {np.isnan(theirs).sum():16}"
        )


if __name__ == "__main__":
    main()
