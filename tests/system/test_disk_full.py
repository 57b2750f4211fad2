"""TRUST 4, the log's side: a full or failing disk at 500 odd limits loses nothing, and the log goes on by itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from hotloop.testing.full_disk import FullDiskReport, check_failing_calls

CALLS = 420
FILES = 80
FULL_FACTOR = 5

# SQLite does without some calls that fail (it stays in its old journal mode, and the log notices that);
# Python then reports the error that SQLite did not pass on.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


def limited_child(folder: Path, limits: int, seed: int) -> FullDiskReport:
    """The check with RLIMIT_FSIZE, in a process of its own."""
    command = [sys.executable, "-m", "hotloop.testing.full_disk", str(folder), str(limits), str(seed)]
    done = subprocess.run(command, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()
    return msgspec.json.decode(done.stdout, type=FullDiskReport)


def test_failing_calls_lose_nothing() -> None:
    """The n-th write or sync fails with ENOSPC or EIO, once or for a while; all is there once and in order."""
    report = check_failing_calls(CALLS, seed=4)
    assert report.limits == CALLS
    assert report.full > CALLS / 4
    assert report.refused > report.full


def test_files_that_cannot_grow_lose_nothing(tmp_path: Path) -> None:
    """Real files stop at odd sizes: DiskFullError, and after making room the same log goes on."""
    report = limited_child(tmp_path, FILES, seed=4)
    assert report.limits == FILES
    assert report.refused > FILES / 4


@pytest.mark.full
def test_more_limits_lose_nothing(tmp_path: Path) -> None:
    """The whole row."""
    assert check_failing_calls(CALLS * FULL_FACTOR, seed=40).full > CALLS
    assert limited_child(tmp_path, FILES * FULL_FACTOR, seed=40).refused > FILES
