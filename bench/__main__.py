"""Run every bench, one after the other: `python -m bench` (some two hours); results in out/bench/."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

QUICK = (
    ["-m", "bench.moments"],
    ["-m", "bench.log"],
    ["-m", "bench.rollback"],
    ["-m", "bench.canary"],
    ["-m", "bench.warehouse"],
    ["-m", "bench.warehouse_live"],
    ["-m", "bench.driving_planner"],
    ["-m", "bench.verdict_to_live", "--seconds", "60"],
    ["-m", "bench.edge_live"],
    ["-m", "bench.fleet"],
    ["-m", "bench.mqtt"],
    ["-m", "bench.verdict_to_live", "--seconds", "20", "--ramp", "139,200,300,400", "--out", "out/bench/ramp"],
)
WITH_DATA = (
    ("deeppcb", "bench.deeppcb_reflex"),
    ("magnetic-tile", "bench.magnetic_tile_reflex"),
    ("deeppcb", "bench.leave_one_group_out"),
    ("deeppcb", "bench.what_if"),
    ("deeppcb", "bench.brought"),
    ("deeppcb", "bench.deeppcb_refresh"),
    ("deeppcb", "bench.deeppcb_full"),
    ("magnetic-tile", "bench.magnetic_tile_refresh"),
    ("warehouse/lorr-start-kit", "bench.lorr"),
)
WITH_BOTH = ("bench.driving", "bench.runtimes", "bench.gate", "bench.poison", "bench.review_order")


def main() -> int:
    """Run them; the exit code is the number of those that failed."""
    commands = [list(command) for command in QUICK]
    data = Path(os.environ.get("HOTLOOP_DATA", ""))
    for folder, module in WITH_DATA:
        if os.environ.get("HOTLOOP_DATA") and (data / folder).is_dir():
            commands.append(["-m", module, "--data", str(data / folder)])
        else:
            print(f"{module} is left out: set HOTLOOP_DATA to a folder that holds {folder}/")
    if os.environ.get("HOTLOOP_DATA"):
        commands += [["-m", module, "--data", str(data)] for module in WITH_BOTH]
    failed = 0
    for command in commands:
        print(f"\n== python {' '.join(command)}", flush=True)
        failed += subprocess.run([sys.executable, *command], check=False).returncode != 0
    return failed


if __name__ == "__main__":
    sys.exit(main())
