"""What a process must know again: durable in groups, whole or not at all, whatever fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading

import apsw
import pytest

from hotloop.errors import CorruptError, DiskFullError, NewerFormatError, StoreBusyError, StoreError
from hotloop.store.records import DiskRecords


@pytest.fixture
def records(tmp_path):
    found = DiskRecords(tmp_path / "own/records.sqlite")
    yield found
    found.close()


def again(records, tmp_path):
    """What another process would find."""
    records.close()
    records.__init__(tmp_path / "own/records.sqlite")
    return records.read()


def test_what_was_committed_is_there_again(records, tmp_path):
    """The newest bytes of each name; what was taken away is not."""
    records.put({"a": b"1", "b": b"2", "c": b""})
    records.commit()
    records.put({"a": b"3", "b": None, "d": None})
    records.commit()
    assert records.read() == {"a": b"3", "c": b""}
    assert again(records, tmp_path) == {"a": b"3", "c": b""}


def test_what_was_not_committed_is_not(records, tmp_path):
    """Putting alone writes nothing."""
    records.put({"a": b"1"})
    assert records.read() == {}
    assert again(records, tmp_path) == {}


def test_one_process_owns_the_file(records, tmp_path):
    """The second one is told so."""
    records.put({"a": b"1"})
    records.commit()
    with pytest.raises(StoreBusyError, match="in use by another process"):
        DiskRecords(tmp_path / "own/records.sqlite")


def test_a_file_that_cannot_be_read_is_named(tmp_path):
    """Damaged, or of a newer hotloop: nothing is touched."""
    (tmp_path / "bad").write_bytes(b"no database at all, but long enough to be looked at" * 20)
    with pytest.raises(CorruptError, match="bad is damaged"):
        DiskRecords(tmp_path / "bad")
    newer = apsw.Connection(str(tmp_path / "newer"))
    newer.pragma("user_version", 99)
    newer.close()
    with pytest.raises(NewerFormatError):
        DiskRecords(tmp_path / "newer")


def test_what_a_full_disk_did_not_take_goes_with_the_next_commit(records, monkeypatch):
    """In the order in which it was put: what came later stands."""
    real, fails = records._write, [apsw.FullError("full"), apsw.IOError("broken")]

    def write(name, data):
        if fails:
            raise fails.pop(0)
        real(name, data)

    monkeypatch.setattr(records, "_write", write)
    records.put({"a": b"1", "b": b"1"})
    with pytest.raises(DiskFullError):
        records.commit()
    records.put({"b": b"2"})
    with pytest.raises(StoreError):
        records.commit()
    assert records.read() == {}
    records.commit()
    assert records.read() == {"a": b"1", "b": b"2"}


def test_many_threads_share_commits_and_each_finds_its_own(records):
    """When commit returns, what that thread put is durable."""
    wrong = []

    def one(number):
        for turn in range(20):
            records.put({f"{number}": str(turn).encode(), f"{number}/{turn}": b"x"})
            records.commit()
            if records.read().get(f"{number}/{turn}") != b"x":
                wrong.append((number, turn))

    threads = [threading.Thread(target=one, args=(number,)) for number in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert len(records.read()) == 5 * 21


WRITER = """
import sys
from hotloop.store.records import DiskRecords
records = DiskRecords(sys.argv[1])
for number in range(100_000):
    records.put({"one": str(number).encode(), "other": str(number).encode()})
    records.commit()
    print(number, flush=True)
"""


def test_killed_in_the_middle_a_group_is_whole(tmp_path):
    """By kill -9 while it writes: both names have the same number, and none that was acknowledged is lost."""
    path = tmp_path / "records.sqlite"
    process = subprocess.Popen([sys.executable, "-c", WRITER, str(path)], stdout=subprocess.PIPE, env=os.environ)
    said = [process.stdout.readline() for _ in range(50)]
    process.send_signal(signal.SIGKILL)
    said += process.stdout.readlines()
    process.wait()
    process.stdout.close()
    records = DiskRecords(path)
    found = records.read()
    records.close()
    assert found["one"] == found["other"]
    assert int(found["one"]) >= int([line for line in said if line.endswith(b"\n")][-1])
