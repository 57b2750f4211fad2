"""Verticals by entry point."""

from __future__ import annotations

from importlib.metadata import EntryPoint, EntryPoints

import pytest

from hotloop import loading
from hotloop.config import LoopConfig
from hotloop.errors import ConfigError
from hotloop.loading import load_vertical
from hotloop.verticals.vectors import Vectors


def test_a_vertical_is_found_by_its_name():
    """The installed one is made with the loop's settings."""
    found = load_vertical(LoopConfig(vertical="vectors", tables={"vectors": dict(labels=("ok", "worn"), columns=2)}))
    assert isinstance(found, Vectors)
    assert found.start().labels == ("ok", "worn")


def test_an_unknown_vertical_names_those_there_are():
    """A typo is answered with the choice."""
    with pytest.raises(ConfigError, match=r"'vektors'.*inspection, vectors"):
        load_vertical(LoopConfig(vertical="vektors"))


def test_without_any_vertical_it_says_none(monkeypatch):
    """A broken installation does not end in a traceback either."""
    monkeypatch.setattr(loading, "entry_points", lambda **_: EntryPoints())
    with pytest.raises(ConfigError, match="there are: none"):
        load_vertical(LoopConfig())


def test_settings_that_a_vertical_refuses_pass_through():
    """Its own ConfigError says what is wrong."""
    with pytest.raises(ConfigError, match="labels"):
        load_vertical(LoopConfig(vertical="vectors"))


def test_a_vertical_may_come_from_any_package(monkeypatch):
    """The core knows only the group's name: whoever installs one can use it."""
    own = EntryPoint("vectors", "hotloop.verticals.vectors:vertical", "hotloop.verticals")
    monkeypatch.setattr(
        loading, "entry_points", lambda group, name=None: EntryPoints([own] if name in (None, "vectors") else [])
    )
    assert load_vertical(LoopConfig(vertical="vectors", tables={"vectors": dict(labels=("a", "b"))}))


def test_a_table_of_nobody_is_named():
    """A typing error in a table's name does not pass as a vertical's settings."""
    with pytest.raises(ConfigError, match="gaet"):
        load_vertical(LoopConfig(tables={"gaet": {}}))
