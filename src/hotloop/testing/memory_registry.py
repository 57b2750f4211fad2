"""The twin of the Registry: the whole port in memory, to test against and to read."""

from __future__ import annotations

import threading

from hotloop.errors import ModelError, NotFoundError
from hotloop.types import Model


class MemoryRegistry:
    """A Registry that forgets when the process ends, and keeps every head till then."""

    def __init__(self) -> None:
        self._models: dict[int, Model] = {}
        self._lock = threading.Lock()

    def add(self, model: Model) -> None:
        """See Registry."""
        with self._lock:
            if model.version <= self.latest():
                raise ModelError(f"model version {model.version} is not above {self.latest()}")
            self._models[model.version] = model

    def get(self, version: int) -> Model:
        """See Registry."""
        try:
            return self._models[version]
        except KeyError:
            raise NotFoundError(f"no model version {version}") from None

    def latest(self) -> int:
        """See Registry."""
        return max(self._models, default=0)

    def history(self, limit: int) -> list[Model]:
        """See Registry."""
        return list(reversed(self._models.values()))[: max(limit, 0)]

    def close(self) -> None:
        """See Registry: nothing to release."""
