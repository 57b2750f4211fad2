"""Time-to-Improvement: from a release going live until it is proven that quality is better than it was.

Quality is one score in [0, 1] an example (Jaccard: hits among all that was said or was there). "Then" are the
examples judged just before the release went live; "now" those that the release, or a later one, answered.
It is proven when the confidence sequence of their difference excludes 0 (wrong, ever, with chance ALPHA for
each release); until then the answer is "not yet", with the interval. In a reflex loop nearly every verdict
makes a release: only milestones are followed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from typing import Final, Literal

import msgspec

from hotloop.evidence import RunningDifference
from hotloop.types import Release, Tier

ALPHA: Final = 0.05
THEN_EXAMPLES_MAX: Final = 200  # examples that "then" is measured on
THEN_EXAMPLES_MIN: Final = 20  # fewer say too little about "then" to compare with: no milestone
NOW_EXAMPLES_MAX: Final = 2000  # a milestone without proof by then is closed
OPEN_MAX: Final = 3  # milestones followed at once
CLOSED_MAX: Final = 64  # newest settled ones kept
BLOCK_EXAMPLES: Final = 16  # scores set aside until they are weighed together, which is quicker
GRID_POINTS: Final = 199  # scores are weighed to 0.005
TIERS_MAX: Final = 1000  # releases whose tier is remembered until they go live

Finding = Literal["better", "worse", "not yet"]


class Improvement(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a release. `seconds` and `examples` are its TTI where `finding` is not "not yet"."""

    version: int
    tier: Tier
    live_at: float
    finding: Finding
    seconds: float | None
    examples: int | None
    then: float
    now: float
    then_examples: int
    now_examples: int
    lower: float  # of (now - then)
    upper: float

    def words(self) -> str:
        """The finding in a sentence."""
        band = f"{self.lower:+.2f} to {self.upper:+.2f}, from {self.then:.2f} to {self.now:.2f}"
        what = f"release {self.version} ({self.tier})"
        if self.finding == "not yet":
            return f"{what}: no difference proven after {self.now_examples} verified examples ({band})"
        after = f"{self.seconds:.1f} s, {self.examples} verified examples"
        return f"{what}: {self.finding} after {after} ({band})"


class _Milestone:
    """A release whose effect is being measured."""

    def __init__(self, version: int, tier: Tier, live_at: float, then: list[float]) -> None:
        self.version = version
        self.tier = tier
        self.live_at = live_at
        self.then = sum(then) / len(then)
        self.then_examples = len(then)
        self.sum = 0.0
        self.count = 0
        self.finding: Finding = "not yet"
        self.seconds: float | None = None
        self.examples: int | None = None
        self.bounds = (-1.0, 1.0)
        self._difference = RunningDifference(then, ALPHA, GRID_POINTS)
        self._aside: list[tuple[float, float]] = []

    def add(self, score: float, at: float) -> None:
        """An example that the release, or a later one, answered."""
        self._aside.append((score, at))
        if len(self._aside) >= BLOCK_EXAMPLES:
            self.weigh()

    def weigh(self) -> None:
        """Look at the examples set aside, and find the first after which there is a proof."""
        proof = self._difference.first_proof([score for score, _ in self._aside])
        for score, _ in self._aside:
            self.sum += score
        self.bounds = self._difference.interval()
        if proof is not None:
            self.finding = "better" if self.bounds[0] > 0 else "worse"
            self.seconds = self._aside[proof][1] - self.live_at
            self.examples = self.count + proof + 1
        self.count += len(self._aside)
        self._aside.clear()

    @property
    def settled(self) -> bool:
        """Whether there is nothing more to find out."""
        return self.finding != "not yet" or self.count >= NOW_EXAMPLES_MAX

    def improvement(self) -> Improvement:
        """What is known now."""
        return Improvement(
            version=self.version,
            tier=self.tier,
            live_at=self.live_at,
            finding=self.finding,
            seconds=self.seconds,
            examples=self.examples,
            then=self.then,
            now=self.sum / self.count if self.count else self.then,
            then_examples=self.then_examples,
            now_examples=self.count,
            lower=self.bounds[0],
            upper=self.bounds[1],
        )


class Improvements:
    """Opens milestones as releases go live, and settles them as examples are judged.

    A milestone is every refresh, consolidation or rollback, and a reflex release where no other is open.
    Times are the hub's.
    """

    def __init__(self) -> None:
        self._tiers: OrderedDict[int, Tier] = OrderedDict()
        self._newest = 0  # the highest version that any line is live with
        self._scores: deque[float] = deque(maxlen=THEN_EXAMPLES_MAX)
        self._open: list[_Milestone] = []
        self._closed: deque[Improvement] = deque(maxlen=CLOSED_MAX)

    def released(self, release: Release) -> None:
        """Remember what made a version."""
        self._tiers[release.version] = release.tier
        if len(self._tiers) > TIERS_MAX:
            self._tiers.popitem(last=False)

    def live(self, version: int, at: float) -> None:
        """A line answers with a version: the first that does may make it a milestone."""
        if version <= self._newest:
            return
        self._newest = version
        tier = self._tiers.get(version, "reflex")
        if (tier == "reflex" and self._open) or len(self._scores) < THEN_EXAMPLES_MIN:
            return
        self._open.append(_Milestone(version, tier, at, list(self._scores)))
        if len(self._open) > OPEN_MAX:
            oldest = self._open.pop(0)
            oldest.weigh()
            self._closed.append(oldest.improvement())

    def judged(self, version: int, score: float, at: float) -> None:
        """An example that `version` answered was verified at `at`, with this score."""
        for milestone in self._open:
            if version >= milestone.version:
                milestone.add(score, at)
        self._scores.append(score)
        if any(milestone.settled for milestone in self._open):
            self._settle()

    def summary(self) -> tuple[Improvement, ...]:
        """Every milestone, oldest release first. Weighs what was set aside."""
        for milestone in self._open:
            milestone.weigh()
        self._settle()
        found = [*self._closed, *(milestone.improvement() for milestone in self._open)]
        return tuple(sorted(found, key=lambda improvement: improvement.version))

    def _settle(self) -> None:
        self._closed.extend(milestone.improvement() for milestone in self._open if milestone.settled)
        self._open = [milestone for milestone in self._open if not milestone.settled]
