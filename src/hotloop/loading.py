"""Verticals are found by entry point (group `hotloop.verticals`): the core imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from pathlib import Path
from typing import cast

from hotloop.config import LoopConfig
from hotloop.errors import ConfigError, ModelError
from hotloop.learn import Sums
from hotloop.learn.federation import merged, read
from hotloop.ports import Vertical

_GROUP = "hotloop.verticals"


def load_federated(config: LoopConfig, vertical: Vertical) -> Sums | None:
    """What other sites have learned (`[learn] federated`), at its weight; None if there is nothing.

    ConfigError if a file cannot be read; ModelError if one is no export, or was learned on another model.
    """
    if not config.learn.federated:
        return None
    exports = []
    for path in config.learn.federated:
        try:
            exports.append(read(Path(path).read_bytes()))
        except OSError as error:
            raise ConfigError(f"[learn] federated: {path} cannot be read ({error.strerror})") from error
    sums = merged(exports)
    first = exports[0]
    own = (vertical.backbone, vertical.recipe, vertical.start().labels)
    if (first.backbone, first.recipe, first.labels) != own:
        raise ModelError(
            f"site {first.site!r} learned on another model ({first.recipe}, backbone {first.backbone[:12] or 'none'}) "
            f"than this loop begins with ({vertical.recipe}, {vertical.backbone[:12] or 'none'}): "
            "its sums cannot be added"
        )
    sums.scale(config.learn.federated_weight)
    return sums


def load_vertical(config: LoopConfig) -> Vertical:
    """The vertical that `config` names, made with its settings. ConfigError names those that are installed."""
    found = entry_points(group=_GROUP, name=config.vertical)
    if not found:
        names = ", ".join(sorted({point.name for point in entry_points(group=_GROUP)})) or "none"
        raise ConfigError(f"no vertical {config.vertical!r} is installed; there are: {names}")
    if strange := set(config.tables) - {point.name for point in entry_points(group=_GROUP)}:
        raise ConfigError(f"[{min(strange)}] is no table of loop.toml, nor a vertical that is installed")
    make = cast("Callable[[LoopConfig], Vertical]", next(iter(found)).load())
    return make(config)
