"""The laws of the Lake: the embedded one and the twin keep them, and each law finds a lake that breaks it."""

from __future__ import annotations

import pytest

from hotloop.config import StoreConfig
from hotloop.errors import NotFoundError
from hotloop.store.lake import LanceLake
from hotloop.testing.checks import lake as laws
from hotloop.testing.memory_lake import MemoryLake
from hotloop.types import Embedding


def names(law):
    return getattr(law, "__name__", None)


@pytest.mark.parametrize("law", laws.LAWS, ids=names)
def test_the_embedded_lake_keeps_the_law(law, tmp_path):
    """LanceLake on a local folder does what every Lake must."""
    law(lambda: LanceLake(tmp_path / "lake", StoreConfig()))


@pytest.mark.parametrize("law", laws.LAWS, ids=names)
def test_the_twin_keeps_the_law(law):
    """MemoryLake does what every Lake must."""
    twin = MemoryLake()
    law(lambda: twin)


def test_check_lake_runs_every_law_on_a_lake_of_its_own():
    """`check_lake` asks for one new lake a law."""
    made = []

    def make():
        twin = MemoryLake()
        made.append(twin)
        return lambda: twin

    laws.check_lake(make)
    assert len(made) == len(laws.LAWS) == 8


class Unordered(MemoryLake):
    def put(self, blobs):
        return sorted(super().put(blobs))


class FirstOnly(MemoryLake):
    def put(self, blobs):
        return super().put(list(dict.fromkeys(blobs)))


class Empty(MemoryLake):
    def get(self, digest):
        try:
            return super().get(digest)
        except NotFoundError:
            return b""


class Raced(MemoryLake):
    def get(self, digest):
        blob = super().get(digest)
        return b"shared-0" if blob.startswith(b"shared") else blob


class Rough(MemoryLake):
    def nearest(self, vector, count, version=None):
        return super().nearest([round(number) for number in vector], count, version)


class Present(MemoryLake):
    def nearest(self, vector, count, version=None):
        return super().nearest(vector, count)


class Partial(MemoryLake):
    def embed(self, rows):
        try:
            return super().embed(rows)
        except laws.InputError:
            super().embed(rows[:1])
            raise


class Forgetful(MemoryLake):
    def close(self):
        self._blobs.clear()


@pytest.mark.parametrize(
    ("law", "broken"),
    [
        (laws.gives_back_what_was_put, Unordered),
        (laws.the_same_bytes_have_one_digest, FirstOnly),
        (laws.what_is_unknown_is_not_found, Empty),
        (laws.puts_from_many_threads_all_arrive, Raced),
        (laws.it_outlives_a_restart, Forgetful),
        (laws.the_nearest_come_first, Rough),
        (laws.an_old_version_stays_as_it_was, Present),
        (laws.vectors_are_of_one_length, Partial),
    ],
    ids=names,
)
def test_the_law_finds_a_lake_that_breaks_it(law, broken):
    """A law that never fails is not known to work."""
    lake = broken()
    with pytest.raises((AssertionError, ValueError, NotFoundError)):
        law(lambda: lake)


def test_an_embedding_without_a_vector_is_refused(tmp_path):
    """A vector of no numbers fixes no length: both lakes treat it as an error or as nothing to search."""
    lake = LanceLake(tmp_path / "lake", StoreConfig())
    with pytest.raises(laws.InputError):
        lake.embed([Embedding("p", "", "", ())])
    with pytest.raises(laws.InputError, match="fix the length"):
        lake.embed([])
    lake.close()
