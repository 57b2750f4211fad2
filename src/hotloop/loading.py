"""Verticals are found by entry point (group `hotloop.verticals`): the core imports none of them."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points
from typing import cast

from hotloop.config import LoopConfig
from hotloop.errors import ConfigError
from hotloop.ports import Vertical

_GROUP = "hotloop.verticals"


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
