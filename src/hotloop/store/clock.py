"""The system's clock behind the port `Clock`."""

from __future__ import annotations

import time


class SystemClock:
    """Time as this machine tells it. May be shared by threads."""

    def now(self) -> float:
        """Seconds since 1970 UTC; jumps when the machine's time is set."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds from some start; never goes back."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; not at all for 0 or less."""
        if seconds > 0:
            time.sleep(seconds)
