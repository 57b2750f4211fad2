"""The learning curve in bounded memory: buckets of examples that merge in pairs when there are too many."""

from __future__ import annotations

from typing import Final

import msgspec

from hotloop.measure.tally import Tally

BUCKETS_MAX: Final = 256
WINDOW_EXAMPLES: Final = 100  # a point sums up at least this many examples, where there are as many


class Span(msgspec.Struct):
    """A run of examples: its tally, and where it ends (`examples` judged by then, at `at`, by `version`)."""

    examples: int
    at: float
    version: int
    tally: Tally


class Curve:
    """Takes judged examples one by one; gives the curve of their newest window.

    A bucket holds 1 example at first, then 2, 4, ...: the curve keeps between 128 and 256 points for ever.
    """

    def __init__(self) -> None:
        self.began_at = 0.0
        self._examples = 0
        self._bucket_examples = 1
        self._buckets: list[Span] = []

    def add(self, tally: Tally, version: int, at: float) -> None:
        """The next example, judged at `at` (the hub's clock)."""
        if not self._examples:
            self.began_at = at
        if self._examples // self._bucket_examples == len(self._buckets):
            if len(self._buckets) == BUCKETS_MAX:
                self._merge()
            self._buckets.append(Span(0, at, version, Tally()))
        self._examples += 1
        last = self._buckets[-1]
        last.examples, last.at, last.version = self._examples, at, version
        last.tally.add(tally)

    def replace(self, ordinal: int, before: Tally, after: Tally) -> None:
        """Correct the example with this ordinal (0 is the first)."""
        tally = self._buckets[ordinal // self._bucket_examples].tally
        tally.add(before, -1)
        tally.add(after)

    def spans(self) -> list[Span]:
        """One span for each bucket's end, with the tally of the window before it. The last is up to date."""
        width = -(-WINDOW_EXAMPLES // self._bucket_examples)
        window = Tally()
        spans = []
        for i, bucket in enumerate(self._buckets):
            window.add(bucket.tally)
            if i >= width:
                window.add(self._buckets[i - width].tally, -1)
            spans.append(Span(bucket.examples, bucket.at, bucket.version, window.copy()))
        return spans

    def _merge(self) -> None:
        """Half as many buckets, each of twice as many examples."""
        pairs = zip(self._buckets[::2], self._buckets[1::2], strict=True)
        merged = []
        for one, two in pairs:
            two.tally.add(one.tally)
            merged.append(two)
        self._buckets = merged
        self._bucket_examples *= 2
