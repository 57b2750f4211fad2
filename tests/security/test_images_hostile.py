"""Row 20 of the trust list: malformed images and bombs crash nothing, take at most 1 s and 256 MB each.

They are decoded in a child process whose address space is bounded, so that a decoder that runs away is seen
as an image "out of memory", a crash as the death of the child, and a hang as its time limit.
"""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

CHILD = Path(__file__).with_name("hostile_images.py")
CPU_S_MAX = 1.0


def decode_in_child(first: int, count: int, timeout_s: float) -> dict[str, Any]:
    """What became of the hostile images `first` to `first + count - 1`; the seeds are printed for a rerun."""
    print(f"hostile images {first} to {first + count - 1}: python {CHILD.name} {first} {count}")
    done = subprocess.run(
        [sys.executable, str(CHILD), str(first), str(count)],
        capture_output=True,
        timeout=timeout_s,
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    assert done.stderr == b"", "a stranger's image writes to our standard error"
    report: dict[str, Any] = json.loads(done.stdout)
    print(report["tally"])
    return report


def held(report: dict[str, Any], count: int) -> None:
    """Assert the row's figures on a report, and that the images were of both sorts."""
    assert report["count"] == count
    assert report["bad"] == []
    assert all(case["cpu_s"] <= CPU_S_MAX for case in report["slowest"]), report["slowest"]
    assert report["tally"]["decoded"] > count / 20
    assert report["tally"]["unreadable"] > count / 4
    assert report["tally"]["too"] > count / 50


def test_hostile_images_crash_nothing() -> None:
    """680 malformed images and bombs of all kinds are decoded or refused by name, within the limits."""
    held(decode_in_child(0, 680, timeout_s=60), 680)


@pytest.mark.full
def test_ten_thousand_hostile_images_crash_nothing() -> None:
    """10,000 more from a seed never seen before do not either."""
    first = secrets.randbelow(10**9)
    held(decode_in_child(first, 10_000, timeout_s=300), 10_000)
