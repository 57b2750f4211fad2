"""Quality: precision, recall and F1 of what the lines were told, each with a band that holds at every look.

Measured forward: an example is judged on what its model said before its verdict was learned. A later word on
the same example replaces the earlier one. Bands are Robbins' mixture (`hotloop.evidence`) and take outcomes
as independent; several on one piece often are not, so tests (`tti`, `ceiling`) use one score an example.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Sequence
from itertools import islice
from typing import Final, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from hotloop.evidence import share_intervals
from hotloop.measure.curve import WINDOW_EXAMPLES, Curve, Span
from hotloop.measure.tally import Tally, count
from hotloop.types import Example, Outcome

ALPHA: Final = 0.05  # chance that a band misses the truth, ever
REMEMBERED_MAX: Final = 20_000  # examples whose outcomes a later word can still replace
RECENT_EXAMPLES: Final = 500  # "now"
SCORES_MAX: Final = 1000  # newest examples kept one by one
LINES_MAX: Final = 10_000  # more lines, labels are counted together as OTHER
LABELS_MAX: Final = 1000
VERSIONS_MAX: Final = 256  # newest versions kept one by one
HOURS_MAX: Final = 168  # newest hours kept one by one
OTHER: Final = "(others)"

Counts: TypeAlias = NDArray[np.int64]


class Band(msgspec.Struct, frozen=True):
    """A share with its anytime-valid band; `value` is None where nothing has been seen."""

    value: float | None
    lower: float
    upper: float


class Score(msgspec.Struct, frozen=True):
    """Quality of what `key` names (a line, a label, a version, an hour), with the counts behind it."""

    key: str
    tally: Tally
    precision: Band
    recall: Band
    f1: Band


class CurvePoint(msgspec.Struct, frozen=True):
    """Quality over the newest examples, after `examples` of them, `minutes` after the first."""

    examples: int
    minutes: float
    version: int
    score: Score


class QualitySummary(msgspec.Struct, frozen=True):
    """Everything about quality now. Hours are keyed by their beginning, in seconds since 1970."""

    examples: int
    overall: Score
    recent: Score  # the newest RECENT_EXAMPLES
    first: Score  # the first full window of the curve: where it began
    lines: tuple[Score, ...]
    labels: tuple[Score, ...]
    versions: tuple[Score, ...]
    hours: tuple[Score, ...]
    curve_began_at: float  # the hub's time at the first example
    curve: tuple[CurvePoint, ...]


class _Judged:
    """What has been counted for an example, so that it can be taken back."""

    __slots__ = ("hour", "line", "ordinal", "outcomes", "tally", "version")

    def __init__(self, example: Example, outcomes: Sequence[Outcome], hour: int) -> None:
        self.line = example.prediction.observation.line
        self.version = example.prediction.version
        self.hour = hour
        self.outcomes = tuple(outcomes)
        self.tally = count(outcomes)
        self.ordinal = 0


class Quality:
    """Counts outcomes by line, label, version and hour, and keeps the learning curve."""

    def __init__(self) -> None:
        self.examples = 0
        self.overall = Tally()
        self._lines: dict[str, Tally] = {}
        self._labels: dict[str, Tally] = {}
        self._versions: OrderedDict[int, Tally] = OrderedDict()
        self._hours: OrderedDict[int, Tally] = OrderedDict()
        self._remembered: OrderedDict[str, _Judged] = OrderedDict()
        self._newest: deque[Tally] = deque(maxlen=SCORES_MAX)
        self._curve = Curve()

    def add(self, example: Example, outcomes: Sequence[Outcome], at: float) -> bool:
        """Count an example's outcomes, or replace those it had; `at` is the hub's time.

        True where the example is new. Without outcomes there is nothing to say of it: it is not counted.
        """
        if not outcomes:
            return False
        judged = _Judged(example, outcomes, int(at // 3600))
        earlier = self._remembered.get(example.prediction.id)
        if earlier is not None:
            self._replace(example.prediction.id, earlier, judged)
            return False
        judged.ordinal = self.examples
        self.examples += 1
        self._remembered[example.prediction.id] = judged
        if len(self._remembered) > REMEMBERED_MAX:
            self._remembered.popitem(last=False)
        self._newest.append(judged.tally)
        self._curve.add(judged.tally, judged.version, at)
        self._count(judged)
        return True

    def scores(self) -> list[float]:
        """One score in [0, 1] for each of the newest examples, oldest first (see `Tally.score`)."""
        return [tally.score for tally in self._newest]

    def summary(self, alpha: float = ALPHA) -> QualitySummary:
        """All tables with bands at `alpha`."""
        recent = Tally()
        for tally in islice(reversed(self._newest), RECENT_EXAMPLES):
            recent.add(tally)
        spans = self._curve.spans()
        began = min(WINDOW_EXAMPLES, self.examples)
        first = next((span.tally for span in spans if span.examples >= began), Tally())
        wholes = scores([("overall", self.overall), ("recent", recent), ("first", first)], alpha)
        return QualitySummary(
            examples=self.examples,
            overall=wholes[0],
            recent=wholes[1],
            first=wholes[2],
            lines=scores(sorted(self._lines.items()), alpha),
            labels=scores(sorted(self._labels.items()), alpha),
            versions=scores([(str(key), tally) for key, tally in sorted(self._versions.items())], alpha),
            hours=scores([(str(key * 3600), tally) for key, tally in sorted(self._hours.items())], alpha),
            curve_began_at=self._curve.began_at,
            curve=_points(spans, self._curve.began_at, alpha),
        )

    def _replace(self, prediction: str, earlier: _Judged, judged: _Judged) -> None:
        """Take back what was counted for an example, then count it anew in its old place."""
        judged.ordinal, judged.hour = earlier.ordinal, earlier.hour
        self._remembered[prediction] = judged
        self._count(earlier, -1)
        self._count(judged)
        self._curve.replace(judged.ordinal, earlier.tally, judged.tally)
        back = self.examples - judged.ordinal
        if back <= len(self._newest):
            self._newest[-back] = judged.tally

    def _count(self, judged: _Judged, sign: int = 1) -> None:
        tally = judged.tally
        self.overall.add(tally, sign)
        _of(self._lines, judged.line, LINES_MAX).add(tally, sign)
        _newest(self._versions, judged.version, VERSIONS_MAX).add(tally, sign)
        _newest(self._hours, judged.hour, HOURS_MAX).add(tally, sign)
        for outcome in judged.outcomes:
            if not outcome.label:  # nothing there and nothing said: no label's business
                continue
            _of(self._labels, outcome.label, LABELS_MAX).count(outcome.kind, sign)


def scores(tallies: Sequence[tuple[str, Tally]], alpha: float) -> tuple[Score, ...]:
    """The scores of named tallies, with bands, computed together."""
    hits = np.array([tally.hits for _, tally in tallies], dtype=np.int64)
    wrong = np.array([tally.false_alarms for _, tally in tallies], dtype=np.int64)
    missed = np.array([tally.missed for _, tally in tallies], dtype=np.int64)
    totals = [hits + wrong, hits + missed, hits + wrong + missed]
    precision, recall, jaccard = (_bands(hits, total, alpha) for total in totals)
    rows = zip(tallies, precision, recall, jaccard, strict=True)
    return tuple(Score(name, tally.copy(), p, r, _f1(j)) for (name, tally), p, r, j in rows)


def _bands(hits: Counts, totals: Counts, alpha: float) -> list[Band]:
    lower, upper = share_intervals(hits, totals, alpha)
    rows = zip(hits.tolist(), totals.tolist(), lower.tolist(), upper.tolist(), strict=True)
    return [Band(h / n if n else None, low, high) for h, n, low, high in rows]


def _f1(jaccard: Band) -> Band:
    """F1 is 2 J / (1 + J), which rises with J = hits / (hits + false alarms + missed): so do its bounds."""
    value = jaccard.value
    return Band(
        None if value is None else 2 * value / (1 + value),
        2 * jaccard.lower / (1 + jaccard.lower),
        2 * jaccard.upper / (1 + jaccard.upper),
    )


def _points(spans: Sequence[Span], began_at: float, alpha: float) -> tuple[CurvePoint, ...]:
    named = [(str(span.examples), span.tally) for span in spans]
    rows = zip(spans, scores(named, alpha), strict=True)
    return tuple(CurvePoint(s.examples, (s.at - began_at) / 60, s.version, score) for s, score in rows)


def _of(table: dict[str, Tally], key: str, most: int) -> Tally:
    """The tally of a key, made where there is room for one more; else the tally of all others."""
    tally = table.get(key)
    if tally is None:
        tally = table.setdefault(key if len(table) < most else OTHER, Tally())
    return tally


def _newest(table: OrderedDict[int, Tally], key: int, most: int) -> Tally:
    """The tally of a key that mostly rises; the oldest one is let go to make room."""
    tally = table.get(key)
    if tally is None:
        tally = table[key] = Tally()
        if len(table) > most:
            table.popitem(last=False)
    return tally
