"""Durations, summed up in bounded memory: counts in logarithmic buckets, any quantile right to 1 %.

This is DDSketch (Masson, Rim, Lee: "DDSketch: a fast and fully-mergeable quantile sketch with relative-error
guarantees", VLDB 2019). Negative durations, which skewed clocks cause, are kept like the others and counted.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec

ERROR_MAX: Final = 0.01  # relative error of a quantile
LEAST_S: Final = 1e-6  # shorter is 0
MOST_S: Final = 1e10  # longer (317 years) is this

_GAMMA: Final = (1.0 + ERROR_MAX) / (1.0 - ERROR_MAX)
_LOG_GAMMA: Final = math.log(_GAMMA)


class Spread(msgspec.Struct, frozen=True):
    """How durations are spread, in seconds. All 0 where `count` is 0.

    `negative` of them ended before they began (two clocks differ): they are in the quantiles as they are.
    `unreadable` were no numbers and are in nothing else.
    """

    count: int
    negative: int
    unreadable: int
    p50_s: float
    p95_s: float
    p99_s: float
    least_s: float
    most_s: float


class Durations:
    """Takes durations, tells their quantiles. At most 3,700 counters, however many there were."""

    def __init__(self) -> None:
        self.count = 0
        self.negative = 0
        self.unreadable = 0
        self.least_s = math.inf
        self.most_s = -math.inf
        self._buckets: dict[int, int] = {}

    def add(self, duration_s: float) -> None:
        """Take one duration."""
        if not math.isfinite(duration_s):
            self.unreadable += 1
            return
        size = min(abs(duration_s), MOST_S)
        key = 0 if size < LEAST_S else 1 + math.ceil(math.log(size / LEAST_S) / _LOG_GAMMA)
        if duration_s < 0:
            key = -key
            self.negative += 1
        self._buckets[key] = self._buckets.get(key, 0) + 1
        self.count += 1
        self.least_s = min(self.least_s, duration_s)
        self.most_s = max(self.most_s, duration_s)

    def quantile(self, share: float) -> float:
        """The duration that `share` (0 to 1) of all do not exceed, to 1 %; 0 where there are none."""
        rank = share * (self.count - 1)
        passed = 0
        for key in sorted(self._buckets):
            passed += self._buckets[key]
            if passed > rank:
                return min(max(_middle(key), self.least_s), self.most_s)
        return 0.0

    def spread(self) -> Spread:
        """The summary now."""
        ends = (self.least_s, self.most_s) if self.count else (0.0, 0.0)
        quantiles = (self.quantile(0.5), self.quantile(0.95), self.quantile(0.99))
        return Spread(self.count, self.negative, self.unreadable, *quantiles, *ends)


def _middle(key: int) -> float:
    """The value that is within ERROR_MAX of every duration of a bucket."""
    if key == 0:
        return 0.0
    size = LEAST_S * 2.0 * _GAMMA ** (abs(key) - 1) / (_GAMMA + 1.0)
    return math.copysign(size, key)
