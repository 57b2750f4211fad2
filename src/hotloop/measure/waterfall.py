"""The stage waterfall: where the time goes between what was sensed and the line that has learned from it.

    observed > predicted > verdict > received > joined > learned > gated > released > live

`observed`, `predicted` and `verdict` are said by the devices' clocks; the rest by the hub's, `live` being
when the line's own acknowledgement reached it. A stage is named by the moment that ends it.
"""

from __future__ import annotations

from collections import deque
from typing import Final

import msgspec

from hotloop.measure.durations import Durations, Spread
from hotloop.measure.verdicts import Verdict
from hotloop.types import Judgement, Live, Release

MOMENTS: Final = (
    "observed",
    "predicted",
    "verdict",
    "received",
    "joined",
    "learned",
    "gated",
    "released",
    "live",
)
UNLEARNED_MAX: Final = 50_000  # verdicts that wait for a release that learned them
UNDELIVERED_MAX: Final = 50_000  # verdicts whose release waits for its line to be live
PASSAGES_MAX: Final = 256  # finished verdicts kept whole, to be looked at one by one
LINES_MAX: Final = 10_000  # lines whose live version is remembered


class Passage(msgspec.Struct, frozen=True):
    """One verdict's way to the line. `moments` are the times of MOMENTS; 0 where one was not said."""

    prediction: str
    line: str
    offset: int
    version: int  # the release that brought it
    moments: tuple[float, ...]

    @property
    def verdict_to_live_s(self) -> float:
        """Seconds from the hub receiving the verdict to its hearing that it is live: one clock."""
        return self.moments[8] - self.moments[3]


class Stage(msgspec.Struct, frozen=True):
    """The time spent to reach the moment `name` from the one before."""

    name: str
    spread: Spread


class WaterfallSummary(msgspec.Struct, frozen=True):
    """All stages, the two totals, and what is under way."""

    stages: tuple[Stage, ...]
    pipeline: Spread  # prediction to live: crosses from the device's clock to the hub's
    verdict_to_live: Spread  # received to live: the hub's clock alone
    unlearned: int  # verdicts that no release has learned yet
    undelivered: int  # learned and released, but not live on their line yet
    refused: int  # held back by the gate: no release has learned them
    dropped: int  # given up, because more were under way than are remembered
    latest: tuple[Passage, ...]  # newest last


class Waterfall:
    """Follows each verdict to the first release that learned it and is live on its line."""

    def __init__(self) -> None:
        self.dropped = 0
        self.refused = 0
        self._held_back: set[int] = set()  # offsets, until a release passes them
        self._unlearned: deque[Verdict] = deque()
        self._undelivered: dict[str, deque[tuple[Verdict, Release]]] = {}
        self._undelivered_count = 0
        self._live: dict[str, tuple[int, float]] = {}
        self._stages = [Durations() for _ in MOMENTS[1:]]
        self._pipeline = Durations()
        self._verdict_to_live = Durations()
        self._latest: deque[Passage] = deque(maxlen=PASSAGES_MAX)

    def verdict(self, verdict: Verdict) -> None:
        """A verdict begins its way. Offsets rise from call to call."""
        self._unlearned.append(verdict)
        if len(self._unlearned) > UNLEARNED_MAX:
            self._unlearned.popleft()
            self.dropped += 1

    def judged(self, judgement: Judgement) -> None:
        """The gate held back some feedback: the next release passes it without having learned it.

        Should it be taken in later, its way is not followed.
        """
        if len(self._held_back) + len(judgement.refused) <= UNLEARNED_MAX:
            self._held_back.update(judgement.refused)

    def released(self, release: Release) -> list[Passage]:
        """A release takes along what it has learned; gives what is live already (its line was quicker)."""
        if release.stage == "rolled back":
            return []
        finished = []
        while self._unlearned and self._unlearned[0].offset <= release.learned_to:
            verdict = self._unlearned.popleft()
            if verdict.offset in self._held_back:
                self._held_back.discard(verdict.offset)
                self.refused += 1
                continue
            version, at = self._live.get(verdict.line, (0, 0.0))
            if version >= release.version:
                finished.append(self._finish(verdict, release, at))
            else:
                self._wait(verdict, release)
        return finished

    def live(self, live: Live, received_at: float) -> list[Passage]:
        """A line answers with a version: whatever waited for it, or for an older one, has arrived."""
        known = self._live.get(live.line)
        if known is None and len(self._live) >= LINES_MAX:
            return []
        if known is None or known[0] < live.version:
            self._live[live.line] = (live.version, received_at)
        waiting = self._undelivered.get(live.line)
        finished = []
        while waiting and waiting[0][1].version <= live.version:
            verdict, release = waiting.popleft()
            self._undelivered_count -= 1
            finished.append(self._finish(verdict, release, received_at))
        if waiting is not None and not waiting:
            del self._undelivered[live.line]
        return finished

    def summary(self) -> WaterfallSummary:
        """The spreads of all finished verdicts, and what is under way."""
        names = zip(MOMENTS[1:], self._stages, strict=True)
        return WaterfallSummary(
            stages=tuple(Stage(name, durations.spread()) for name, durations in names),
            pipeline=self._pipeline.spread(),
            verdict_to_live=self._verdict_to_live.spread(),
            unlearned=len(self._unlearned),
            undelivered=self._undelivered_count,
            refused=self.refused,
            dropped=self.dropped,
            latest=tuple(self._latest),
        )

    def _wait(self, verdict: Verdict, release: Release) -> None:
        waiting = self._undelivered.setdefault(verdict.line, deque())
        waiting.append((verdict, release))
        if self._undelivered_count >= UNDELIVERED_MAX:
            waiting.popleft()  # of the same line: a line that is away for good cannot push out the others
            self.dropped += 1
        else:
            self._undelivered_count += 1

    def _finish(self, verdict: Verdict, release: Release, live_at: float) -> Passage:
        passage = Passage(
            verdict.prediction,
            verdict.line,
            verdict.offset,
            release.version,
            (
                verdict.observed_at,
                verdict.predicted_at,
                verdict.given_at,
                verdict.received_at,
                release.joined_at,
                release.learned_at,
                release.gated_at,
                release.at,
                live_at,
            ),
        )
        before = passage.moments[0]
        for durations, moment in zip(self._stages, passage.moments[1:], strict=True):
            if before and moment:  # 0 is "not said": there is no duration then
                durations.add(moment - before)
            before = moment
        if verdict.predicted_at:
            self._pipeline.add(live_at - verdict.predicted_at)
        self._verdict_to_live.add(passage.verdict_to_live_s)
        self._latest.append(passage)
        return passage
