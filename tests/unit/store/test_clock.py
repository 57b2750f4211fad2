"""The system's clock."""

from __future__ import annotations

import time

from hotloop.store.clock import SystemClock


def test_now_is_the_time_of_the_machine() -> None:
    """Wall time is that of the machine, in seconds since 1970."""
    before = time.time()
    assert before <= SystemClock().now() <= time.time()


def test_monotonic_never_goes_back() -> None:
    """Readings never fall."""
    clock = SystemClock()
    readings = [clock.monotonic() for _ in range(100)]
    assert readings == sorted(readings)


def test_sleep_waits_at_least_that_long() -> None:
    """A sleep takes its time, and none at all for 0 or less."""
    clock = SystemClock()
    start = clock.monotonic()
    clock.sleep(0.002)
    middle = clock.monotonic()
    clock.sleep(0)
    clock.sleep(-3600.0)
    assert middle - start >= 0.002
    assert clock.monotonic() - middle < 60
