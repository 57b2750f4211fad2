"""The simulated clock moves only when it is told to."""

from __future__ import annotations

import math

import pytest

from hotloop.errors import InputError
from hotloop.testing.clock import SimulatedClock


def test_it_stands_still() -> None:
    """Nobody moves it, so it says the same for ever."""
    clock = SimulatedClock(now=100.0, monotonic=5.0)
    assert [clock.now(), clock.monotonic(), clock.now()] == [100.0, 5.0, 100.0]


def test_advance_moves_both_readings() -> None:
    """Time that passes is seen on both."""
    clock = SimulatedClock(now=100.0, monotonic=5.0)
    clock.advance(2.5)
    clock.advance(0)
    assert (clock.now(), clock.monotonic()) == (102.5, 7.5)


def test_sleep_is_over_at_once() -> None:
    """A day of sleep takes no time, and a negative one is none."""
    clock = SimulatedClock(now=0.0)
    clock.sleep(86_400.0)
    clock.sleep(-1.0)
    assert (clock.now(), clock.monotonic()) == (86_400.0, 86_400.0)


def test_a_jump_moves_wall_time_only() -> None:
    """Setting the clock, on or back, leaves monotonic time as it is."""
    clock = SimulatedClock(now=100.0)
    clock.jump(-60.0)
    clock.jump(10.0)
    assert (clock.now(), clock.monotonic()) == (50.0, 0.0)


@pytest.mark.parametrize("seconds", [-0.001, -math.inf, math.nan])
def test_time_does_not_pass_backwards(seconds: float) -> None:
    """`advance` refuses what is not 0 or more, and says what to use instead."""
    clock = SimulatedClock(now=1.0)
    with pytest.raises(InputError, match="jump"):
        clock.advance(seconds)
    assert (clock.now(), clock.monotonic()) == (1.0, 0.0)
