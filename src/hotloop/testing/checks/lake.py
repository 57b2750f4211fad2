"""The laws of the Lake: what every adapter must do.

Each law takes an `Opener`: a function that opens one and the same lake, empty at first, each time it is
called (so that a law can close it and open it again). `check_lake` runs them all.
"""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from typing import TypeAlias

from hotloop.errors import InputError, NotFoundError
from hotloop.ports import Lake
from hotloop.testing.checks.raising import raises
from hotloop.types import Embedding, digest

Opener: TypeAlias = Callable[[], Lake]
Law: TypeAlias = Callable[[Opener], None]


def check_lake(make: Callable[[], Opener]) -> None:
    """Hold a lake to all laws, each on its own: `make` gives an Opener of a new, empty lake."""
    for law in LAWS:
        law(make())


def gives_back_what_was_put(opened: Opener) -> None:
    """Bytes of any size come back by the digest of their content, in the order in which they were put."""
    lake = opened()
    blobs = [b"", b"\0", b"piece", bytes(range(256)) * 40, random.Random(1).randbytes(100_000)]
    digests = lake.put(blobs)
    assert digests == [digest(blob) for blob in blobs], "the digests come in the order of the blobs"
    assert [lake.get(name) for name in digests] == blobs, "get must return the bytes that were put"
    assert lake.put([]) == [], "putting nothing returns nothing"
    lake.close()


def the_same_bytes_have_one_digest(opened: Opener) -> None:
    """The same bytes twice in a call, or in two calls, are one image."""
    lake = opened()
    first = lake.put([b"one", b"two", b"one"])
    assert first == [digest(b"one"), digest(b"two"), digest(b"one")], "a repeated blob has its digest, too"
    assert lake.put([b"two"]) == [first[1]], "bytes that are here already have the digest they had"
    assert lake.get(first[0]) == b"one", "a repeated blob can be read"
    lake.close()


def what_is_unknown_is_not_found(opened: Opener) -> None:
    """A digest that was never put, or text that is none, raises NotFoundError, and nothing else happens."""
    lake = opened()
    (here,) = lake.put([b"here"])
    foreign = ("", "' OR '1'='1", "../" + here, here.upper(), here + "\n", "\0", "é" * 64)
    for name in (digest(b"never"), *foreign):
        assert raises(NotFoundError, lake.get, name), f"get({name!r}) must raise NotFoundError"
    assert lake.get(here) == b"here", "what is here is still here"
    lake.close()


def puts_from_many_threads_all_arrive(opened: Opener) -> None:
    """Eight threads put at once, some of them the same: when their calls return, everything can be read."""
    lake = opened()
    lost: list[bytes] = []

    def put(number: int) -> None:
        for turn in range(4):
            blobs = [f"{number}-{turn}".encode(), f"shared-{turn}".encode()]
            found = [lake.get(name) for name in lake.put(blobs)]
            lost.extend(blob for blob, other in zip(blobs, found, strict=True) if blob != other)
        done.append(number)

    done: list[int] = []
    threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(done) == list(range(8)), "no thread may fail"
    assert lost == [], "what put has returned can be read at once"
    lake.close()


def it_outlives_a_restart(opened: Opener) -> None:
    """What was acknowledged is there after closing and opening again: bytes, embeddings, versions."""
    lake = opened()
    (name,) = lake.put([b"kept"])
    version = lake.embed([Embedding("p", name, "ok", (1.0, 2.0))])
    lake.close()
    lake = opened()
    assert lake.get(name) == b"kept", "bytes must outlive a restart"
    assert [near.prediction for near in lake.nearest((1.0, 2.0), 5, version)] == ["p"], "embeddings, too"
    assert lake.embed([Embedding("q", name, "ok", (1.0, 3.0))]) > version, "versions go on rising"
    lake.close()


def the_nearest_come_first(opened: Opener) -> None:
    """`nearest` is exact: the smallest squared Euclidean distances, in order, whole rows, at most `count`."""
    lake = opened()
    seeded = random.Random(2)
    vectors = [tuple(float(seeded.randrange(-9, 9)) for _ in range(6)) for _ in range(60)]
    rows = [Embedding(f"p{i}", digest(bytes([i])), f"label {i % 3}", vectors[i]) for i in range(60)]
    lake.embed(rows[:25])
    lake.embed(rows[25:])
    asked = (0.5, 0.0, -1.0, 2.0, 0.0, 1.0)
    wanted = sorted(sum((a - b) ** 2 for a, b in zip(row.vector, asked, strict=True)) for row in rows)
    found = lake.nearest(asked, 7)
    assert [near.distance for near in found] == wanted[:7], "the seven smallest squared distances, in order"
    by_name = {row.prediction: row for row in rows}
    for near in found:
        row = by_name[near.prediction]
        assert (near.digest, near.label) == (row.digest, row.label), "a neighbour carries its row's fields"
    assert len(lake.nearest(asked, 1000)) == 60, "no more than there are"
    assert lake.nearest(asked, 0) == [], "none if none is asked for"
    lake.close()


def an_old_version_stays_as_it_was(opened: Opener) -> None:
    """Versions rise by each call, and `nearest` as of a version does not see what came later."""
    lake = opened()
    versions = [lake.embed([Embedding(f"p{i}", "", "", (float(i),))]) for i in range(4)]
    assert versions == sorted(set(versions)), "versions rise by each call"
    for i, version in enumerate(versions):
        found = [near.prediction for near in lake.nearest((0.0,), 10, version)]
        assert found == [f"p{k}" for k in range(i + 1)], "as of a version, only what was there then"
    never = versions[-1] + 1000
    assert raises(NotFoundError, lake.nearest, (0.0,), 1, never), "a version that never was is not found"
    lake.close()


def vectors_are_of_one_length(opened: Opener) -> None:
    """A vector of another length raises InputError, asked for or added, and changes nothing."""
    lake = opened()
    assert lake.nearest((1.0, 2.0, 3.0), 3) == [], "an empty lake has no neighbours"
    lake.embed([Embedding("p", "", "", (1.0, 2.0))])
    mixed = [Embedding("q", "", "", (1.0, 2.0)), Embedding("r", "", "", (1.0,))]
    assert raises(InputError, lake.embed, mixed), "a vector of another length must raise InputError"
    assert raises(InputError, lake.nearest, (1.0,), 1), "so must asking with one"
    left = [near.prediction for near in lake.nearest((1.0, 2.0), 9)]
    assert left == ["p"], "a refused call changes nothing"
    lake.close()


LAWS: tuple[Law, ...] = (
    gives_back_what_was_put,
    the_same_bytes_have_one_digest,
    what_is_unknown_is_not_found,
    puts_from_many_threads_all_arrive,
    it_outlives_a_restart,
    the_nearest_come_first,
    an_old_version_stays_as_it_was,
    vectors_are_of_one_length,
)
