"""The twin of the Lake: the whole port in memory, to test against and to read."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from hotloop.errors import InputError, NotFoundError
from hotloop.types import Embedding, Neighbour, digest


class MemoryLake:
    """A Lake that forgets when the process ends. Every version of the embeddings stays."""

    def __init__(self) -> None:
        self._blobs: dict[str, bytes] = {}
        self._rows: list[Embedding] = []
        self._ends = [0]  # how many rows there are as of each version
        self._lock = threading.Lock()

    def put(self, blobs: Sequence[bytes]) -> list[str]:
        """See Lake."""
        digests = [digest(blob) for blob in blobs]
        with self._lock:
            self._blobs.update(zip(digests, blobs, strict=True))
        return digests

    def get(self, digest: str) -> bytes:
        """See Lake."""
        try:
            return self._blobs[digest]
        except KeyError:
            raise NotFoundError(f"no image with digest {digest[:80]!r}") from None

    def embed(self, rows: Sequence[Embedding]) -> int:
        """See Lake. InputError if the vectors are not all of one length."""
        with self._lock:
            if len({len(row.vector) for row in [*self._rows[:1], *rows]}) > 1:
                raise InputError("the vectors of a lake have one length")
            self._rows += rows
            self._ends.append(len(self._rows))
            return len(self._ends) - 1

    def nearest(self, vector: Sequence[float], count: int, version: int | None = None) -> list[Neighbour]:
        """See Lake."""
        if version is not None and not 0 < version < len(self._ends):
            raise NotFoundError(f"no version {version} of the embeddings")
        rows = self._rows[: self._ends[-1 if version is None else version]]
        if rows and len(rows[0].vector) != len(vector):
            raise InputError("the vectors of a lake have one length")
        found = [
            Neighbour(row.prediction, row.digest, row.label, float(sum((a - b) ** 2 for a, b in pairs)))
            for row in rows
            for pairs in [zip(row.vector, vector, strict=True)]
        ]
        return sorted(found, key=lambda near: (near.distance, near.prediction, near.label))[: max(count, 0)]

    def close(self) -> None:
        """See Lake: nothing to release."""
