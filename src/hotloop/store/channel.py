"""The embedded Channel: lines in the same process, or behind the hub, wait on one condition.

It holds one release, the newest; so it needs no disk and no bound: after a restart it begins from the
registry's latest. It is its own twin, the one that tests run on: nothing simpler could take its place.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from types import MappingProxyType

from hotloop.errors import ModelError
from hotloop.types import Live, Model, Release

_LINES_MAX = 10_000  # whose versions are remembered; a company has half as many


class LocalChannel:
    """The port Channel in one process. `newest` is the model to begin with: the registry's latest, if any."""

    def __init__(self, newest: Model | None = None) -> None:
        self._newest = newest
        self._live: dict[str, Live] = {}
        self._closed = False
        self._changed = threading.Condition()

    def publish(self, release: Release, model: Model) -> None:
        """See Channel. ModelError also if the release is of another model."""
        if release.version != model.version:
            raise ModelError(
                f"release {release.version} came with model {model.version}: publish it with its own model"
            )
        with self._changed:
            last = self._newest.version if self._newest else 0
            if model.version <= last:
                raise ModelError(
                    f"version {model.version} is not above {last}, the last one: to go back, publish the "
                    "old model under a new version (hotloop rollback)"
                )
            self._newest = model
            self._changed.notify_all()

    def follow(self, line: str, after: int, timeout_s: float) -> Model | None:  # noqa: ARG002  (all get the same)
        """See Channel. None at once when it is closed."""
        ends_at = time.monotonic() + timeout_s
        with self._changed:
            while not self._closed:
                if self._newest is not None and self._newest.version > after:
                    return self._newest
                left_s = ends_at - time.monotonic()
                if left_s <= 0:
                    return None
                self._changed.wait(left_s)
        return None

    def acknowledge(self, live: Live) -> None:
        """See Channel. The last word of a line counts, also when it went back to an older version."""
        with self._changed:
            self._live.pop(live.line, None)
            self._live[live.line] = live
            if len(self._live) > _LINES_MAX:  # the line that has been silent for longest
                del self._live[next(iter(self._live))]

    def lines(self) -> Mapping[str, int]:
        """See Channel."""
        with self._changed:
            return MappingProxyType({line: live.version for line, live in sorted(self._live.items())})

    def close(self) -> None:
        """See Channel. What was offered and acknowledged can still be read."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
