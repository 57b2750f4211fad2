"""Start a hub as a process of its own: `hotloop up` with a file that says when it is up."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import msgspec

from hotloop.errors import ServiceError
from hotloop.hub.auth import open_credentials

_UP_S_MAX = 60.0
_STOP_S_MAX = 30.0


class Ready(msgspec.Struct, frozen=True):
    """What a hub says when it is up."""

    url: str
    folder: str  # where its credentials are


@dataclass(frozen=True)
class RunningHub:
    """A hub in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    tokens: dict[str, str]  # by role

    def stop(self) -> None:
        """Ask it to stop; kill it if it does not."""
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.wait(_STOP_S_MAX)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


def start_hub(settings: Path) -> RunningHub:
    """`hotloop up SETTINGS`; returns when it answers. Its output goes to hub.log beside the settings.

    ServiceError, with what it said, if it ends or takes over a minute.
    """
    ready = settings.with_name("hub.ready")
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "hotloop.cli", "up", str(settings), "--ready", str(ready)]
    said = settings.with_name("hub.log")
    # One thread for linear algebra: the hub's matrices are small, and its neighbours need the processors.
    environment = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", **os.environ}
    with said.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT, env=environment)  # noqa: S603
    deadline = time.monotonic() + _UP_S_MAX
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            process.wait()
            raise ServiceError(f"the hub did not come up: {said.read_text(errors='replace')[-2000:]}")
        time.sleep(0.05)
    told = msgspec.json.decode(ready.read_bytes(), type=Ready)
    tokens: dict[str, str] = {credential.role: credential.token for credential in open_credentials(Path(told.folder))}
    return RunningHub(process, told.url, tokens)


def say_ready(path: Path, url: str, folder: str) -> None:
    """Write the file that `start_hub` waits for, in one step."""
    beside = path.with_name(path.name + ".part")
    beside.write_bytes(msgspec.json.encode(Ready(url, folder)))
    beside.replace(path)
