"""A clock that moves only when it is told to, so that a day of waiting takes no time."""

from __future__ import annotations

import threading

from hotloop.errors import InputError


class SimulatedClock:
    """Port `Clock` for tests. `sleep` moves the clock on at once instead of waiting; may be shared by threads."""

    def __init__(self, now: float = 1_700_000_000.0, monotonic: float = 0.0) -> None:
        self._now = now
        self._monotonic = monotonic
        self._lock = threading.Lock()

    def now(self) -> float:
        """Simulated seconds since 1970 UTC."""
        with self._lock:
            return self._now

    def monotonic(self) -> float:
        """Simulated seconds from some start; a `jump` leaves them as they are."""
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Advance by `seconds`, or not at all for 0 or less."""
        if seconds > 0:
            self.advance(seconds)

    def advance(self, seconds: float) -> None:
        """Let time pass: both readings move by `seconds` >= 0. InputError if it would go back."""
        if not seconds >= 0:
            raise InputError(f"time cannot pass by {seconds} s: give 0 or more, or use `jump` to set the time back")
        with self._lock:
            self._now += seconds
            self._monotonic += seconds

    def jump(self, seconds: float) -> None:
        """Set the wall time on (or back, below 0), as an operator or NTP does; monotonic time does not notice."""
        with self._lock:
            self._now += seconds
