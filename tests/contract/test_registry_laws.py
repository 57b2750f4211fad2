"""The laws of the Registry: the embedded one and the twin keep them, and each finds one that breaks it."""

from __future__ import annotations

import msgspec
import pytest

from hotloop.errors import ModelError, NotFoundError
from hotloop.store.registry import SqliteRegistry
from hotloop.testing.checks import registry as laws
from hotloop.testing.memory_registry import MemoryRegistry


def names(law):
    return getattr(law, "__name__", None)


@pytest.mark.parametrize("law", laws.LAWS, ids=names)
def test_the_embedded_registry_keeps_the_law(law, tmp_path):
    """SqliteRegistry on a local file does what every Registry must."""
    law(lambda: SqliteRegistry(tmp_path / "registry.sqlite", 100))


@pytest.mark.parametrize("law", laws.LAWS, ids=names)
def test_the_twin_keeps_the_law(law):
    """MemoryRegistry does what every Registry must."""
    twin = MemoryRegistry()
    law(lambda: twin)


def test_check_registry_runs_every_law_on_a_registry_of_its_own():
    """`check_registry` asks for one new registry a law."""
    made = []

    def make():
        twin = MemoryRegistry()
        made.append(twin)
        return lambda: twin

    laws.check_registry(make)
    assert len(made) == len(laws.LAWS) == 6


class FromOne(MemoryRegistry):
    def latest(self):
        return max(self._models, default=1)


class CutHead(MemoryRegistry):
    def get(self, version):
        found = super().get(version)
        return msgspec.structs.replace(found, head=found.head[:1000])


class Overwrites(MemoryRegistry):
    def add(self, model):
        if model.version < self.latest():
            raise ModelError("too low")
        self._models[model.version] = model


class OldestFirst(MemoryRegistry):
    def history(self, limit):
        return list(self._models.values())[:limit]


class Forgets(MemoryRegistry):
    def close(self):
        self._models.clear()


class LastWins(MemoryRegistry):
    def add(self, model):
        self._models[model.version] = model


@pytest.mark.parametrize(
    ("law", "broken"),
    [
        (laws.an_empty_one_has_version_0, FromOne),
        (laws.gives_back_what_was_added, CutHead),
        (laws.versions_rise, Overwrites),
        (laws.the_newest_come_first, OldestFirst),
        (laws.it_outlives_a_restart, Forgets),
        (laws.one_of_many_threads_gets_a_version, LastWins),
    ],
    ids=names,
)
def test_the_law_finds_a_registry_that_breaks_it(law, broken):
    """A law that never fails is not known to work."""
    registry = broken()
    with pytest.raises((AssertionError, NotFoundError)):
        law(lambda: registry)
