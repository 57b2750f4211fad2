"""The hub and its disk, as real processes and files: full, owned by another, or of a newer hotloop."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import apsw
import httpx
import msgspec
import pytest

from hotloop.adapters.hub_client import HubClient
from hotloop.errors import DiskFullError
from hotloop.hub.auth import open_credentials
from hotloop.testing.hub_process import settings
from hotloop.types import Event, Notice

FILE_BYTES_MAX = 2 * 2**20


@contextmanager
def hub(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str, str]]:
    """A hub process: itself, its URL, and the token of the lines."""
    command = [sys.executable, "-m", "hotloop.testing.hub_process", "--folder", str(folder)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            said = process.stdout.readline().split()
            assert said, process.stderr.read()
            token = next(c.token for c in open_credentials(folder) if c.role == "line")
            yield process, said[2], token
        finally:
            process.terminate()
            process.wait(20)


def notices(first: int, count: int, size: int) -> list[Event]:
    """Events of about `size` bytes."""
    return [Event("line-1", first + n, Notice(subject="s", text="x" * size)) for n in range(count)]


def fill(client: HubClient) -> int:
    """Send until the disk is full; how many events were acknowledged."""
    acknowledged = 0
    while acknowledged < 10_000:
        try:
            acknowledged += len(client.send(notices(acknowledged + 1, 50, 3500)))
        except DiskFullError:
            return acknowledged
    pytest.fail("the disk did not become full")


def test_a_full_disk_is_507_and_recovers_without_a_restart(tmp_path: Path) -> None:
    """TRUST 4: at its limit the hub answers 507 and says so in /healthz; with room it goes on, and nothing is lost."""
    with hub(tmp_path) as (process, url, token):
        client = HubClient(url, token, deadline_s=0.2)
        _, hard = resource.prlimit(process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (FILE_BYTES_MAX, hard))
        acknowledged = fill(client)
        assert acknowledged > 0
        with httpx.Client(base_url=url, trust_env=False) as plain:
            body = msgspec.msgpack.encode(notices(acknowledged + 1, 50, 3500))
            headers = {"authorization": f"Bearer {token}", "content-type": "application/msgpack"}
            answer = plain.post("/v1/events", content=body, headers=headers)
            assert (answer.status_code, answer.headers["retry-after"]) == (507, "5")
            assert "DiskFullError" in plain.get("/healthz").json()["detail"]
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (hard, hard))
            assert plain.post("/v1/events", content=body, headers=headers).status_code == 200
            assert plain.get("/healthz").json()["status"] == "ok"
            admin = next(c.token for c in open_credentials(tmp_path) if c.role == "admin")
            found, after, end = set(), 0, False
            while not end:
                target = f"/v1/log?after={after}&limit=1000"
                page = plain.get(target, headers={"authorization": f"Bearer {admin}"}).json()
                found |= {r["sequence"] for r in page["records"] if r["device"] == "line-1"}
                after, end = page["next"], page["end"]
        client.close()
    assert found == set(range(1, acknowledged + 51))


def refused(folder: Path) -> str:
    """What a hub that does not start says."""
    command = [sys.executable, "-m", "hotloop.testing.hub_process", "--folder", str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode != 0
    return done.stderr


def test_a_second_hub_on_the_same_store_is_refused(tmp_path: Path) -> None:
    """Two hubs cannot write one log: the second says whose it is and ends."""
    with hub(tmp_path):
        assert "StoreBusyError" in refused(tmp_path)


def test_a_log_of_a_newer_hotloop_is_not_touched(tmp_path: Path) -> None:
    """A hub that is older than its log refuses to start, by name, and changes nothing in the file."""
    with hub(tmp_path):
        pass
    path = Path(settings(tmp_path, 0).store.folder) / "log.sqlite"
    connection = apsw.Connection(str(path))
    connection.execute("PRAGMA user_version = 9999")
    connection.execute("UPDATE meta SET value = '9999' WHERE name = 'format'")
    connection.close()
    before = path.read_bytes()
    assert "NewerFormatError" in refused(tmp_path)
    assert path.read_bytes() == before
