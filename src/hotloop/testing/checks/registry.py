"""The laws of the Registry: what every adapter must do.

Each law takes an `Opener`: a function that opens one and the same registry, empty at first, each time it is
called (so that a law can close it and open it again). `check_registry` runs them all.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

import msgspec

from hotloop.errors import ModelError, NotFoundError
from hotloop.ports import Registry
from hotloop.testing.checks.raising import raises
from hotloop.types import Model

Opener: TypeAlias = Callable[[], Registry]
Law: TypeAlias = Callable[[Opener], None]


def check_registry(make: Callable[[], Opener]) -> None:
    """Hold a registry to all laws, each on its own: `make` gives an Opener of a new, empty registry."""
    for law in LAWS:
        law(make())


def model(version: int, head: bytes = b"head") -> Model:
    """A model to try a registry with."""
    return Model(
        version=version,
        parent=version - 1,
        tier="reflex",
        backbone="b" * 64,
        head=head,
        labels=("ok", "wörn"),
        recipe=f"law, seed {version}",
        learned_to=10 * version,
        at=1.5 * version,
    )


def an_empty_one_has_version_0(opened: Opener) -> None:
    """Before the first model `latest` is 0, the history is empty, and no version is found."""
    registry = opened()
    assert registry.latest() == 0, "an empty registry's latest version is 0"
    assert registry.history(5) == [], "an empty registry has no history"
    for version in (0, 1, -1, 2**63):
        _not_found(registry, version)
    registry.close()


def gives_back_what_was_added(opened: Opener) -> None:
    """A model comes back field by field, with its head's bytes as they were; versions may leave gaps."""
    registry = opened()
    models = [model(1, bytes(range(256))), model(2, b""), model(7, b"\0" * 10_000)]
    for one in models:
        registry.add(one)
        assert registry.latest() == one.version, "latest is the version just added"
    assert [registry.get(one.version) for one in models] == models, "get must return what was added"
    _not_found(registry, 3)
    registry.close()


def versions_rise(opened: Opener) -> None:
    """A version not above every other is refused, and what was published under it never changes."""
    registry = opened()
    registry.add(model(5, b"first"))
    for version in (5, 4, 0):
        again = model(version, b"second")
        assert raises(ModelError, registry.add, again), f"version {version} after 5 must be refused"
    assert registry.get(5) == model(5, b"first"), "what was published never changes"
    assert registry.latest() == 5, "a refused model leaves no trace"
    _not_found(registry, 4)
    registry.close()


def the_newest_come_first(opened: Opener) -> None:
    """`history` has the newest first and no more than asked for. A history may leave the heads out."""
    registry = opened()
    for version in range(1, 8):
        registry.add(model(version))
    cards = [msgspec.structs.replace(one, head=b"") for one in registry.history(3)]
    assert cards == [model(version, b"") for version in (7, 6, 5)], "the newest three, newest first"
    assert len(registry.history(100)) == 7, "no more than there are"
    assert registry.history(0) == [], "none if none is asked for"
    registry.close()


def it_outlives_a_restart(opened: Opener) -> None:
    """After closing and opening again everything is as it was, and versions go on rising."""
    registry = opened()
    registry.add(model(1))
    registry.add(model(2))
    registry.close()
    registry = opened()
    assert registry.latest() == 2, "latest must outlive a restart"
    assert registry.get(2) == model(2), "models, too"
    assert raises(ModelError, registry.add, model(2, b"x")), "what is there is refused after a restart"
    registry.add(model(3))
    assert [one.version for one in registry.history(9)] == [3, 2, 1], "the history goes on"
    registry.close()


def one_of_many_threads_gets_a_version(opened: Opener) -> None:
    """Of eight threads that add the same version at once, one succeeds; its model is what is there."""
    registry = opened()
    won: list[bytes] = []
    refused: list[int] = []
    together = threading.Barrier(8)

    def add(number: int) -> None:
        head = b"%d" % number
        together.wait()
        try:
            registry.add(model(1, head))
        except ModelError:
            refused.append(number)
        else:
            won.append(head)

    threads = [threading.Thread(target=add, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(won), len(refused)) == (1, 7), "one thread gets the version, the others ModelError"
    assert registry.get(1).head == won[0], "the model is that of the thread that got it"
    registry.close()


def _not_found(registry: Registry, version: int) -> None:
    """Assert that a version is not there."""
    assert raises(NotFoundError, registry.get, version), f"get({version}) must raise NotFoundError"


LAWS: tuple[Law, ...] = (
    an_empty_one_has_version_0,
    gives_back_what_was_added,
    versions_rise,
    the_newest_come_first,
    it_outlives_a_restart,
    one_of_many_threads_gets_a_version,
)
