"""Labels to start from go through the loop like anything else, once each.

Each piece is predicted and then verified by the reviewer "labels", so that what was learned from it can be traced,
judged and unlearned like any verdict.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import closing
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import msgspec

from hotloop.config import LoopConfig
from hotloop.engine import Engine
from hotloop.errors import ConfigError
from hotloop.loading import load_vertical
from hotloop.store.embedded import open_embedded
from hotloop.types import Claim, Feedback, Payload, Prediction, digest

REVIEWER = "labels"
_TURN_EVERY = 16  # pieces between two turns of the loop

Tracked = Callable[[Any, str, int], Iterable[Any]]


@runtime_checkable
class Labelled(Protocol):
    """A vertical that has labels to start from."""

    def labelled(self) -> list[Callable[[], tuple[Payload, tuple[Claim, ...]]]]:
        """The pieces, each read when it is called: its payload, and all that is there."""
        ...


def import_labels(engine: Engine, tracked: Tracked) -> int:
    """Learn the pieces that the vertical has labels for and the log has not; how many were new."""
    if not isinstance(engine.vertical, Labelled):
        return 0
    pieces = engine.vertical.labelled()
    count = 0
    for read in tracked(pieces, "learning the labels to start from", len(pieces)):
        payload, claims = read()
        count += _learned(engine, payload, claims)
        if count % _TURN_EVERY == 0:
            engine.turn()
    engine.catch_up()
    return count


def import_golden(config: LoopConfig, folder: Path, tracked: Tracked) -> int:
    """Seal the labelled pieces of a folder; how many were new. ConfigError if the vertical reads no labels.

    StoreBusyError while the loop's hub is running.
    """
    if not isinstance(load_vertical(config), Labelled):
        raise ConfigError(f"the vertical {config.vertical!r} reads no labelled folders: give golden verdicts by HTTP")
    tables = {name: dict(table) for name, table in config.tables.items()}
    tables.setdefault(config.vertical, {})["labelled"] = str(folder.resolve())
    source = load_vertical(msgspec.structs.replace(config, tables=tables))
    assert isinstance(source, Labelled), "the same vertical, with a folder"
    pieces = source.labelled()
    with closing(Engine(config, load_vertical(config), open_embedded(config))) as engine:
        count = 0
        for read in tracked(pieces, "sealing golden pieces", len(pieces)):
            payload, claims = read()
            count += _learned(engine, payload, claims, config.trust.golden)
        engine.catch_up()
    return count


def _learned(engine: Engine, payload: Payload, claims: tuple[Claim, ...], reviewer: str = REVIEWER) -> int:
    """Predict and verify one piece under keys made of its content; 0 if the log has it."""
    sequence = 2 * int(digest(payload.data)[:14], 16)
    name = f"{reviewer}:{sequence}"
    known = [type(record.event.body) for record in engine.log.about(name)]
    if Feedback in known:
        return 0
    if Prediction not in known:  # it is there already if the last start was cut between the two
        engine.observe(payload, reviewer, key=(reviewer, sequence))
    given = Feedback(prediction=name, reviewer=reviewer, claims=claims, at=engine.clock.now())
    engine.feedback(given, reviewer, sequence + 1)
    return 1
