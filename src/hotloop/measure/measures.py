"""All measures of a loop in one place: fed record by record, read at any time."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from hotloop.measure.audited import Audited, AuditSummary
from hotloop.measure.ceiling import Ceiling, ceiling, ceilings
from hotloop.measure.density import Cadence, Density, LineDensity
from hotloop.measure.parts import Parts
from hotloop.measure.quality import ALPHA, Quality, QualitySummary
from hotloop.measure.tally import count
from hotloop.measure.tti import Improvement, Improvements
from hotloop.measure.verdicts import Verdict, Verdicts
from hotloop.measure.waterfall import Passage, Waterfall, WaterfallSummary
from hotloop.types import Asked, Example, Feedback, Judgement, Live, Outcome, Prediction, Record, Release


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Every number of a loop, as of one offset of its log; `msgspec.json.encode` makes it JSON.

    Times are the hub's. `lost`: feedbacks never paired with a prediction, because one of the two had to be
    forgotten; `early`: predictions that feedback has come for, but that have not come themselves.
    """

    loop: str
    offset: int
    began_at: float
    at: float
    alpha: float
    overall: LineDensity
    lines: tuple[LineDensity, ...]
    cadence: Cadence
    waterfall: WaterfallSummary
    quality: QualitySummary
    improvements: tuple[Improvement, ...]
    ceiling: str  # a notice in words, or ""
    ceilings: tuple[Ceiling, ...]  # parts on which more verdicts do not help, and what would
    audit: AuditSummary
    early: int
    lost: int


class Measures:
    """Takes every record of the log in order, and every judged example; tells all figures of it.

    Not thread-safe: whoever feeds it from one thread and reads it from another holds one lock for both.
    Memory is bounded by the `*_MAX` of this package's modules; a record takes some microseconds, a report
    some ten milliseconds.
    """

    def __init__(self) -> None:
        self._offset = 0
        self._began_at = 0.0
        self._at = 0.0
        self._verdicts = Verdicts()
        self._waterfall = Waterfall()
        self._density = Density()
        self._quality = Quality()
        self._improvements = Improvements()
        self.audited = Audited()
        self._parts = Parts()

    def add(self, record: Record) -> list[Passage]:
        """Take a record; gives the verdicts that it brought to their line, each with all its times."""
        body, at = record.event.body, record.received_at
        self._offset, self._at = record.offset, at
        self._began_at = self._began_at or at
        if isinstance(body, Prediction):
            self._density.predicted(body.observation.line, at)
            self.audited.predicted(flagged=bool(body.outputs))
            for verdict in self._verdicts.predicted(body, record.offset):
                self._told(verdict)
        elif isinstance(body, Feedback):
            told = self._verdicts.told(body, record.offset, at)
            if told is not None:
                self._told(told)
        elif isinstance(body, Release):
            self._density.released(body, at)
            if body.tier in ("refresh", "consolidate"):
                self._parts.refreshed()
            self._improvements.released(body)
            return self._waterfall.released(body)
        elif isinstance(body, Live):
            self._density.live(body, at)
            self._improvements.live(body.version, at)
            return self._waterfall.live(body, at)
        elif isinstance(body, Asked):
            self.audited.asked(body.prediction, body.propensity)
        elif isinstance(body, Judgement):
            self._density.judged(body)
            self._waterfall.judged(body)
        return []

    def judged(self, example: Example, outcomes: Sequence[Outcome], record: Record) -> None:
        """Take how an example turned out by the feedback in `record`: outcomes of what was said at the time.

        Call it for every change of an example, also where a later word only corrects an earlier one.
        """
        if self._quality.add(example, outcomes, record.received_at):
            tally, prediction = count(outcomes), example.prediction
            self._improvements.judged(prediction.version, tally.score, record.received_at)
            self._parts.judged(example, outcomes)
            self.audited.judged(prediction.id, tally.hits, tally.missed, flagged=bool(prediction.outputs))

    def stalled(self, examples: int) -> str:
        """Why more verdicts of the same kind do not help, by the newest `examples`; "" where they do, or who knows."""
        scores = self._quality.scores()[-examples:]
        return ceiling(scores) if len(scores) >= examples else ""

    def report(self, loop: str, alpha: float = ALPHA) -> Report:
        """All figures of the loop so named, as of the last record, with bands at `alpha`."""
        return Report(
            loop=loop,
            offset=self._offset,
            began_at=self._began_at,
            at=self._at,
            alpha=alpha,
            overall=self._density.overall(),
            lines=self._density.lines(),
            cadence=self._density.cadence(),
            waterfall=self._waterfall.summary(),
            quality=self._quality.summary(alpha),
            improvements=self._improvements.summary(),
            ceiling=ceiling(self._quality.scores(), alpha),
            ceilings=ceilings(self._parts.parts(), alpha),
            audit=self.audited.summary(),
            early=self._verdicts.early,
            lost=self._verdicts.lost,
        )

    def _told(self, verdict: Verdict) -> None:
        self._density.verdict(verdict)
        self._waterfall.verdict(verdict)
