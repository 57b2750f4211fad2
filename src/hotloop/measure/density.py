"""Feedback density and cadence: how much of what is predicted gets verified, and how often models go out.

By the hub's clock. Rates are those of a sliding window; totals are since the first event.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hotloop.measure.verdicts import Verdict
from hotloop.types import Judgement, Live, Release, Tier

LINES_MAX: Final = 10_000  # lines counted one by one; the rest together as OTHER
OTHER: Final = "(other lines)"
HOUR_S: Final = 3600.0
DAY_S: Final = 86_400.0
PARTS: Final = 12  # the window slides by a twelfth of itself


class Rate:
    """How many events fell into the last `window_s` seconds, to a twelfth of the window, in 12 counters."""

    __slots__ = ("_counts", "_part", "_part_s")

    def __init__(self, window_s: float) -> None:
        self._part_s = window_s / PARTS
        self._counts = [0] * PARTS
        self._part = 0  # the newest part: seconds since 1970 / seconds a part

    def add(self, at: float) -> None:
        """Count an event. A clock that jumps back counts into the newest part."""
        self._slide(at)
        self._counts[self._part % PARTS] += 1

    def count(self, now: float) -> int:
        """Events in the window that ends at `now`."""
        self._slide(now)
        return sum(self._counts)

    def _slide(self, at: float) -> None:
        part = int(at // self._part_s)
        if part <= self._part:
            return
        for gone in range(max(self._part + 1, part - PARTS + 1), part + 1):
            self._counts[gone % PARTS] = 0
        self._part = part


class LineDensity(msgspec.Struct, frozen=True):
    """One line, or all: `verified` of its `predictions` have a verdict at least."""

    line: str
    predictions: int
    verified: int
    verdicts: int
    verified_share: float
    verdicts_last_hour: int
    verdicts_per_hour: float  # since its first event; the first hour counts as begun
    version: int  # live on the line; 0 where it has not said so


class Cadence(msgspec.Struct, frozen=True):
    """Releases, and what the gate did not let pass."""

    releases: dict[Tier, int]
    releases_last_day: int
    releases_per_day: float  # since the first release; the first day counts as begun
    refused: int
    held: int
    refused_verdicts: int  # held back from what was released


class _Counts:
    """One line's counters."""

    __slots__ = ("first_at", "last_hour", "predictions", "verdicts", "verified", "version")

    def __init__(self, at: float) -> None:
        self.first_at = at
        self.predictions = self.verified = self.verdicts = self.version = 0
        self.last_hour = Rate(HOUR_S)


class Density:
    """Counts by line, and releases by tier."""

    def __init__(self) -> None:
        self._lines: dict[str, _Counts] = {}
        self._last_at = 0.0
        self._tiers: dict[Tier, int] = {}
        self._versions = 0  # the highest version released: stages of one version are one release
        self._first_release_at = 0.0
        self._last_day = Rate(DAY_S)
        self._refused = 0
        self._held = 0
        self._refused_verdicts = 0

    def predicted(self, line: str, received_at: float) -> None:
        """A prediction of a line came in."""
        self._counts(line, received_at).predictions += 1

    def verdict(self, verdict: Verdict) -> None:
        """A verdict on a known prediction came in."""
        counts = self._counts(verdict.line, verdict.received_at)
        counts.verdicts += 1
        counts.verified += verdict.first
        counts.last_hour.add(verdict.received_at)

    def live(self, live: Live, received_at: float) -> None:
        """A line said what it answers with."""
        self._counts(live.line, received_at).version = live.version

    def released(self, release: Release, received_at: float) -> None:
        """A release went out; its later stages (canary, wave, everywhere) are not counted again."""
        if release.version <= self._versions:
            return
        self._versions = release.version
        self._tiers[release.tier] = self._tiers.get(release.tier, 0) + 1
        self._first_release_at = self._first_release_at or received_at
        self._last_at = max(self._last_at, received_at)
        self._last_day.add(received_at)

    def judged(self, judgement: Judgement) -> None:
        """The gate decided."""
        self._refused += judgement.decision == "refuse"
        self._held += judgement.decision == "hold"
        self._refused_verdicts += len(judgement.refused)

    def lines(self) -> tuple[LineDensity, ...]:
        """Every line by name, as of the last event."""
        return tuple(self._line(name, counts) for name, counts in sorted(self._lines.items()))

    def overall(self) -> LineDensity:
        """All lines as one; its version is the lowest that a line is live with."""
        counts = _Counts(min((line.first_at for line in self._lines.values()), default=0.0))
        last_hour = 0
        for line in self._lines.values():
            counts.predictions += line.predictions
            counts.verified += line.verified
            counts.verdicts += line.verdicts
            last_hour += line.last_hour.count(self._last_at)
        counts.version = min((line.version for line in self._lines.values() if line.version), default=0)
        return msgspec.structs.replace(self._line("all", counts), verdicts_last_hour=last_hour)

    def cadence(self) -> Cadence:
        """Releases by tier and by day, as of the last event."""
        count = sum(self._tiers.values())
        return Cadence(
            releases=dict(self._tiers),
            releases_last_day=self._last_day.count(self._last_at),
            releases_per_day=count / max((self._last_at - self._first_release_at) / DAY_S, 1.0),
            refused=self._refused,
            held=self._held,
            refused_verdicts=self._refused_verdicts,
        )

    def _counts(self, line: str, at: float) -> _Counts:
        self._last_at = max(self._last_at, at)
        counts = self._lines.get(line)
        if counts is None:
            name = line if len(self._lines) < LINES_MAX else OTHER
            counts = self._lines.setdefault(name, _Counts(at))
        return counts

    def _line(self, name: str, counts: _Counts) -> LineDensity:
        hours = max((self._last_at - counts.first_at) / HOUR_S, 1.0)
        return LineDensity(
            line=name,
            predictions=counts.predictions,
            verified=counts.verified,
            verdicts=counts.verdicts,
            verified_share=counts.verified / counts.predictions if counts.predictions else 0.0,
            verdicts_last_hour=counts.last_hour.count(self._last_at),
            verdicts_per_hour=counts.verdicts / hours,
            version=counts.version,
        )
