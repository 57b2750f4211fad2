"""A rollback to 1,000 connected lines: how long until each has it, signed and checked.

    python -m bench.fleet [--lines 1000] [--rounds 5] [--out out/bench]

The hub is a process; the lines are streams in another, each with its own check of releases, whose turns share one core.
Time is from before the order until a line has checked the release that it brought.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console

from hotloop.adapters.hub_client import HubClient
from hotloop.launch import start_hub
from hotloop.testing.online_fleet import Lines
from hotloop.types import Command

out = Console()
SETTINGS = """
name = "fleet-bench"
vertical = "vectors"
[vectors]
labels = ["ok", "worn"]
columns = 64
projected = 448
[hub]
port = 0
streams_max = 4096
"""


def main() -> None:
    """Run, print, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("out/bench"))
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="hotloop-fleet-"))
    (folder / "loop.toml").write_text(SETTINGS)
    hub = start_hub(folder / "loop.toml")
    engineer, operator = HubClient(hub.url, hub.tokens["engineer"]), hub.tokens["operator"]
    rng = np.random.default_rng(0)
    with httpx.Client(base_url=hub.url, headers={"authorization": f"Bearer {operator}"}, trust_env=False) as ask:
        for _ in range(30):  # something to go back from
            said = ask.post("/v1/observations?line=own", json=list(rng.normal(size=64))).json()
            word = {"prediction": said["id"], "reviewer": "ann", "claims": [{"label": "worn"}]}
            ask.post("/v1/feedback", json=word).raise_for_status()
        lines = Lines(hub.url, hub.tokens["line"], given.lines, folder / "lines")
        while len(lines.arrived) < given.lines:
            time.sleep(0.2)
        rows = []
        for number in range(given.rounds):
            time.sleep(2.0)
            lines.arrived.clear()
            began = time.monotonic()
            engineer.order(Command(order="rollback", by="bench", reason="bench", version=3 + number))
            while len(lines.arrived) < given.lines and time.monotonic() - began < 60.0:
                time.sleep(0.02)
            seconds = sorted(at - began for _, at in lines.arrived)
            seconds += [float("inf")] * (given.lines - len(seconds))
            rows.append({"p50_s": seconds[len(seconds) // 2], "p99_s": seconds[int(0.99 * len(seconds))], "last_s": seconds[-1]})
            out.print(number, {key: round(value, 2) for key, value in rows[-1].items()}, highlight=False)
    hub.stop()
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / "fleet.json").write_text(json.dumps(rows, indent=1))


if __name__ == "__main__":
    main()
