"""The learner's state as a file: whole or not there."""

from __future__ import annotations

import os

import pytest

from hotloop.errors import StoreError
from hotloop.store.snapshots import FileSnapshots


@pytest.fixture
def path(tmp_path):
    return tmp_path / "snapshot.msgpack"


def test_there_is_none_at_first(path):
    """No file, no state."""
    assert FileSnapshots(path).load() is None


def test_the_last_one_saved_is_loaded(path):
    """Also by the next process; nothing else is left in the folder."""
    FileSnapshots(path).save(b"one")
    FileSnapshots(path).save(b"two" * 1000)
    assert FileSnapshots(path).load() == b"two" * 1000
    assert [found.name for found in path.parent.iterdir()] == ["snapshot.msgpack"]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_cut_while_it_is_written_leaves_the_last_one(path, monkeypatch, step):
    """Whatever fails, the old state is whole, and no half of the new one stays."""
    snapshots = FileSnapshots(path)
    snapshots.save(b"one")

    def failing(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (type(path), "replace")), failing)
    with pytest.raises(StoreError, match=r"No space left.*goes on without"):
        snapshots.save(b"two")
    monkeypatch.undo()
    assert snapshots.load() == b"one"
    assert [found.name for found in path.parent.iterdir()] == ["snapshot.msgpack"]


def test_it_is_synced_before_it_takes_the_place(path, monkeypatch):
    """A power cut after the rename must find the bytes."""
    steps = []
    sync, replace = os.fsync, type(path).replace
    monkeypatch.setattr(os, "fsync", lambda number: (steps.append("sync"), sync(number))[1])
    monkeypatch.setattr(type(path), "replace", lambda *given: (steps.append("rename"), replace(*given))[1])
    FileSnapshots(path).save(b"one")
    assert steps == ["sync", "rename"]


def test_one_that_cannot_be_read_is_an_error_with_its_path(path):
    """A folder in its place, say."""
    path.mkdir()
    with pytest.raises(StoreError, match=r"snapshot.msgpack cannot be read"):
        FileSnapshots(path).load()


def test_a_folder_that_is_gone_is_an_error(tmp_path):
    """Saving says what was not replaced."""
    with pytest.raises(StoreError, match="was not replaced"):
        FileSnapshots(tmp_path / "gone" / "snapshot.msgpack").save(b"one")
