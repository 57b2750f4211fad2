"""The learner's state as one file, replaced in one step."""

from __future__ import annotations

import os
from pathlib import Path

from hotloop.errors import StoreError


class FileSnapshots:
    """Port Snapshots on a file. A cut while it is written leaves the last one whole."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def load(self) -> bytes | None:
        """The newest state, or None if there is none."""
        try:
            return self._path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self._path} cannot be read: {error}") from error

    def save(self, state: bytes) -> None:
        """Write beside, sync, then rename over the last one."""
        beside = self._path.with_suffix(".new")
        try:
            with beside.open("wb") as file:
                file.write(state)
                file.flush()
                os.fsync(file.fileno())
            beside.replace(self._path)
        except OSError as error:
            beside.unlink(missing_ok=True)
            raise StoreError(
                f"{self._path} was not replaced: {error}. The loop goes on without it."
            ) from error
