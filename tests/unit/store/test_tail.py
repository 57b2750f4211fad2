"""The tail file: two slots in turn, so that a torn or rotten one leaves the other."""

from __future__ import annotations

from pathlib import Path

import apsw
import pytest

from hotloop.store.tail import Tail, TailFile


def opened(path: Path) -> TailFile:
    """The tail of a log."""
    return TailFile(str(path / "log"))


def test_a_new_one_says_nothing(tmp_path: Path) -> None:
    """Before the first commit there is no tail; its room is taken already."""
    file = opened(tmp_path)
    assert file.read() is None
    file.close()
    assert (tmp_path / "log-tail").stat().st_size == 1024


def test_it_says_what_was_written_last(tmp_path: Path) -> None:
    """The newest of many is read, also after opening it again, and writing goes on in turn."""
    for start in (1, 4):
        file = opened(tmp_path)
        file.read()
        for offset in range(start, start + 3):
            file.write(offset, bytes([offset]) * 32)
            assert file.read() == Tail(offset, bytes([offset]) * 32)
        file.close()
    file = opened(tmp_path)
    assert file.read() == Tail(6, bytes([6]) * 32)
    file.close()


@pytest.mark.parametrize("slot", [0, 1])
def test_one_rotten_slot_leaves_the_other(tmp_path: Path, slot: int) -> None:
    """The one that is whole is believed, and the rotten one counted."""
    file = opened(tmp_path)
    file.write(1, b"a" * 32)
    file.write(2, b"b" * 32)
    file.close()
    data = bytearray((tmp_path / "log-tail").read_bytes())
    data[slot * 512 + 20] ^= 4
    (tmp_path / "log-tail").write_bytes(data)
    file = opened(tmp_path)
    assert file.read() == (Tail(2, b"b" * 32, damaged=1), Tail(1, b"a" * 32, damaged=1))[slot]
    file.write(3, b"c" * 32)  # over the rotten one
    assert file.read() == Tail(3, b"c" * 32)
    file.close()


def test_two_rotten_slots_are_not_taken_for_a_new_file(tmp_path: Path) -> None:
    """Nothing is known then, but that is said."""
    (tmp_path / "log-tail").write_bytes(b"\1" * 1024)
    file = opened(tmp_path)
    assert file.read() == Tail(0, b"", damaged=2)
    file.close()


def test_reading_only_changes_and_makes_nothing(tmp_path: Path) -> None:
    """`verify` opens it so: a missing one stays missing."""
    with pytest.raises(apsw.CantOpenError):
        TailFile(str(tmp_path / "log"), readonly=True)
    assert list(tmp_path.iterdir()) == []
