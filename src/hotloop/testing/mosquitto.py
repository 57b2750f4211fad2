"""A real broker on a free port of this machine, for tests and benches: Eclipse mosquitto, as a process of its own.

    python -m hotloop.testing.mosquitto        says where it is; fetches it first, if it is nowhere

What is installed is used. Else Debian's package and the libraries that it lacks are put into the virtual environment
(`apt-get download`, `dpkg -x`): no root, and nothing outside that folder changes.
"""

from __future__ import annotations

import getpass
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from hotloop.errors import NotFoundError, ServiceError

MISSING = "mosquitto is needed: `make test` fetches it where there is apt; else install it (apt install mosquitto)"
_OWN = Path(sys.prefix) / "mosquitto"
_USUAL = "/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin"
_UP_S_MAX = 10.0
_LIBRARIES = ("libcjson1", "libdlt2", "libwrap0")  # where apt cannot say


def program() -> Path:
    """Where mosquitto is. NotFoundError."""
    found = shutil.which("mosquitto", path=f"{os.environ.get('PATH', '')}:{_USUAL}")
    own = _OWN / "usr/sbin/mosquitto"
    if found is None and not own.is_file():
        raise NotFoundError(MISSING)
    return Path(found or own)


def fetch() -> Path:
    """Put it into the virtual environment. NotFoundError, with what apt said."""
    if shutil.which("apt-get") is None or shutil.which("dpkg") is None:
        raise NotFoundError(f"there is no apt here. {MISSING}")
    with TemporaryDirectory() as place:
        said = _downloaded(place)
        if said:  # its lists may be old, or not there yet; bringing them up to date takes root
            _ran("apt-get", "update")
            said = _downloaded(place)
        if said:
            raise NotFoundError(f"{said}. {MISSING}")
        for package in Path(place).glob("*.deb"):
            if said := _ran("dpkg", "-x", str(package), str(_OWN)):
                raise NotFoundError(f"{said}. {MISSING}")
    return program()


def _downloaded(place: str) -> str:
    """Get the packages; "", or what is wrong."""
    asked = subprocess.run(
        ["apt-get", "install", "--simulate", "--no-install-recommends", "mosquitto"],  # noqa: S607
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lacking = [line.split()[1] for line in asked.stdout.splitlines() if line.startswith("Inst ")]
    return _ran("apt-get", "download", *(lacking or ("mosquitto", *_LIBRARIES)), folder=place)


def _ran(*command: str, folder: str | None = None) -> str:
    """Run a command; "", or the last that it said when it failed."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603
    return "" if done.returncode == 0 else (done.stderr.strip().splitlines() or ["it failed"])[-1]


class Mosquitto:
    """A broker that can be stopped, killed, and started again on the same port. It forgets what it kept."""

    def __init__(self, folder: Path, settings: Sequence[str] = (), packet_bytes_max: int = 8 * 2**20) -> None:
        """`settings` are more lines of mosquitto.conf. NotFoundError if it is nowhere."""
        self._program = program()
        with socket.create_server(("127.0.0.1", 0)) as taken:
            self.port = int(taken.getsockname()[1])
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        lines = [
            f"listener {self.port} 127.0.0.1", "allow_anonymous true", "persistence false", "set_tcp_nodelay true",
            f"max_packet_size {packet_bytes_max}", f"user {getpass.getuser()}", "log_type all", *settings,
        ]  # fmt: skip
        (folder / "mosquitto.conf").write_text("\n".join(lines) + "\n")

    @property
    def url(self) -> str:
        """Its address."""
        return f"mqtt://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        """Its log so far."""
        return (self._folder / "mosquitto.log").read_text(errors="replace")

    def heeds(self, client: str, times: int = 1) -> None:
        """Wait until it has noted what a client asked for. ServiceError if it does not."""
        ends_at = time.monotonic() + _UP_S_MAX
        while self.said.count(f"Sending SUBACK to {client}\n") < times:
            if time.monotonic() > ends_at:
                raise ServiceError(f"{client} never asked for anything: {self.said[-500:]}")
            time.sleep(0.005)

    def start(self) -> None:
        """Start, and wait until it answers. ServiceError if it does not."""
        libraries = ":".join(sorted({str(path.parent) for path in _OWN.rglob("*.so.*")}))
        environment = {**os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {})}
        with (self._folder / "mosquitto.log").open("ab") as log:
            command = [str(self._program), "-c", str(self._folder / "mosquitto.conf")]
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=environment)  # noqa: S603
        ends_at = time.monotonic() + _UP_S_MAX
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > ends_at:
                raise ServiceError(f"mosquitto did not start: {self.said[-500:]}")
            time.sleep(0.01)

    def stop(self, how: int = signal.SIGTERM) -> None:
        """End it by its number: SIGKILL is a crash."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(_UP_S_MAX)
            self._process = None

    def _answers(self) -> bool:
        try:
            socket.create_connection(("127.0.0.1", self.port), 0.2).close()
        except OSError:
            return False
        return True


def main() -> None:
    """Say where it is."""
    try:
        found = program()
    except NotFoundError:
        try:
            found = fetch()
        except NotFoundError as error:
            sys.stdout.write(f"{error}\n")
            return
    sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main()
