"""Ingest as a process that is killed anywhere: what was said to be in is in, and a later run ends as one alone."""

from __future__ import annotations

import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from hotloop.types import digest
from hotloop.verticals.driving import segment
from hotloop.verticals.driving.ingest import Settings, main
from hotloop.verticals.driving.lake import TrackLake
from hotloop.verticals.driving.privacy import Privacy

LOGS = 24
PRIVACY = Privacy(grid_m=10.0, drop_names=True)
PROGRAM = """
import sys
from pathlib import Path
from hotloop.verticals.driving.ingest import Settings, main
from hotloop.verticals.driving.privacy import Privacy
say = lambda words: print(words, flush=True)
sys.exit(main([Path(sys.argv[1])], Path(sys.argv[2]), Settings(privacy=Privacy(grid_m=10.0, drop_names=True)), say))
"""


@pytest.fixture(scope="module")
def logs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Logs of a few hundred rows, each another one."""
    folder = tmp_path_factory.mktemp("logs")
    for number in range(LOGS):
        rows = [f"plate {number},{number + step * 0.7},{number},{step / 10}" for step in range(300)]
        (folder / f"{number:02d}.csv").write_text("id,x,y,step\n" + "\n".join(rows) + "\n")
    return folder


@pytest.fixture(scope="module")
def whole(logs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What a run without a stop keeps: by digest, packed."""
    folder = tmp_path_factory.mktemp("whole")
    assert main([logs], folder, Settings(privacy=PRIVACY)) == 0
    return kept(folder)


def kept(folder: Path) -> dict[str, bytes]:
    """All logs of a table, packed, and no row that is of none of them."""
    lake = TrackLake(folder)
    found = {one: segment.pack(lake.read(one)) for one in lake.known()}
    rows = 0 if lake._table.dataset is None else lake._table.dataset.count_rows()
    assert rows == sum(len(segment.unpack(data)) for data in found.values())
    return found


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_killed_anywhere_it_goes_on_as_if_nothing_had_been(
    logs: Path, whole: dict[str, bytes], tmp_path: Path, seed: int
) -> None:
    """Kill -9 after some logs and some milliseconds: all that was acknowledged is there to the bit; then the rest."""
    rng = random.Random(seed)
    names = {digest(path.read_bytes()): path.name for path in logs.iterdir()}
    command = [sys.executable, "-c", PROGRAM, str(logs), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        said = [process.stdout.readline() for _ in range(rng.randrange(1, LOGS - 4))]
        time.sleep(rng.uniform(0.0, 0.02))
        process.kill()
        said += process.stdout.readlines()
    after = kept(tmp_path)
    acknowledged = {name for name in names.values() for line in said if f"/{name}: 300 rows" in line}
    there = {names[one] for one in after}
    assert acknowledged <= there
    assert len(there) <= len(acknowledged) + 1, "one that was in, and not yet said"
    assert all(whole[one] == data for one, data in after.items())
    told: list[str] = []
    assert main([logs], tmp_path, Settings(privacy=PRIVACY), told.append) == 0
    assert kept(tmp_path) == whole
    assert told[-1].startswith(f"{LOGS - len(there)} logs ingested")
    assert f"{len(there)} known already, 0 refused" in told[-1]


def test_what_was_dropped_is_nowhere_on_the_disk_of_a_table_that_was_killed(logs: Path, tmp_path: Path) -> None:
    """A name of the logs is in no file of the table, half-written ones included; nor is what was erased afterwards."""
    command = [sys.executable, "-c", PROGRAM, str(logs), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for _ in range(7):
            process.stdout.readline()
        process.kill()
    holding = lambda words: [one for one in tmp_path.rglob("*") if one.is_file() and words in one.read_bytes()]
    assert holding(b"plate ") == []
    lake = TrackLake(tmp_path)
    gone = min(lake.known())
    assert holding(gone.encode())
    assert lake.erase(gone) == 300
    assert holding(gone.encode()) == []
    assert holding(f"log {gone[:12]}".encode()) == []
    assert TrackLake(tmp_path).known() == lake.known()
