"""The laws of the Spool: the one on disk and the one in memory keep them, and each finds one that breaks it."""

from __future__ import annotations

import pytest

from hotloop.store.spool import DiskSpool, MemorySpool
from hotloop.testing.checks import spool as laws


def names(law):
    return getattr(law, "__name__", None)


def in_memory(kind=MemorySpool):
    """An opener of one spool in memory: its limits and its clock are those of the first opening."""
    made = []

    def opened(config, clock):
        if not made:
            made.append(kind(config, clock))
        return made[0]

    return opened


@pytest.mark.parametrize("law", laws.LAWS, ids=names)
def test_the_spool_on_disk_keeps_the_law(law, tmp_path):
    """DiskSpool on a local file does what every Spool must."""
    law(lambda config, clock: DiskSpool(tmp_path / "spool.sqlite", config, clock))


@pytest.mark.parametrize("law", laws.LAWS, ids=names)
def test_the_spool_in_memory_keeps_the_law(law):
    """MemorySpool does what every Spool must."""
    law(in_memory())


def test_check_spool_runs_every_law_on_a_spool_of_its_own():
    """`check_spool` asks for one new spool a law."""
    made = []

    def make():
        made.append(in_memory())
        return made[-1]

    laws.check_spool(make)
    assert len(made) == len(laws.LAWS) == 7


class NewestFirst(MemorySpool):
    def waiting(self, what, limit):
        return super().waiting(what, limit)[::-1]


class Doubles(MemorySpool):
    def _keep(self, item):
        self._digests.clear()
        super()._keep(item)


class AnyKind(MemorySpool):
    def put(self, items, lost):
        super().put([laws.Spooled("unflagged", one.of, one.at, one.data) for one in items], lost)


class Deaf(MemorySpool):
    def _keep(self, item):
        if item.kind == "verdict":
            item = laws.Spooled("verdict", "somebody", item.at, item.data)
        super()._keep(item)


class Ageless(MemorySpool):
    def _drop(self, items, why):
        if why == "full":
            super()._drop(items, why)


class Forgets(MemorySpool):
    def close(self):
        self._items.clear()


class Miscounts(MemorySpool):
    def _drop(self, items, why):
        items = list(items)
        super()._drop(items, why)
        self._dropped.clear()


@pytest.mark.parametrize(
    ("law", "broken"),
    [
        (laws.gives_back_what_was_put, NewestFirst),
        (laws.a_payload_is_kept_once, Doubles),
        (laws.the_cheapest_goes_first, AnyKind),
        (laws.a_verdict_keeps_what_it_is_about, Deaf),
        (laws.what_is_too_old_goes, Ageless),
        (laws.it_outlives_a_restart, Forgets),
        (laws.nothing_goes_uncounted, Miscounts),
    ],
    ids=names,
)
def test_the_law_finds_a_spool_that_breaks_it(law, broken):
    """A law that never fails is not known to work."""
    with pytest.raises(AssertionError):
        law(in_memory(broken))
