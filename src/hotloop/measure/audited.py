"""Recall without bias: from the pieces that nobody flagged and that were drawn for a human all the same.

Reviewed are mostly flagged pieces, so recall on reviewed pieces says nothing of defects on pieces that passed: it is
too high. The audit sample is drawn from the unflagged with a known chance p. So the misses per unflagged piece are
the mean over the sample (each stands for 1 / p pieces; Horvitz & Thompson 1952), with a confidence sequence by
betting that holds at every look; their number among all unflagged pieces follows.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

import msgspec

from hotloop.evidence import RunningInterval

ALPHA: Final = 0.05
MISSES_MAX: Final = 4  # on one unflagged piece; more count as so many (the band needs a bound)
REMEMBERED_MAX: Final = 20_000  # audited predictions whose verdicts are awaited


class AuditSummary(msgspec.Struct, frozen=True):
    """Recall over all pieces, by the audit, with its band; and on reviewed pieces alone, which is biased.

    `recall` is None while no audited piece has been verified.
    """

    unflagged: int  # pieces that nobody flagged
    asked: int  # of these, drawn for a human
    audited: int  # of these, verified
    misses: int  # found on them
    recall: float | None
    lower: float
    upper: float
    reviewed: float | None  # recall on what was reviewed anyway


class Audited:
    """Counts pieces, flagged or not, and what the verified ones turned out to be."""

    def __init__(self) -> None:
        self._flagged = 0
        self._unflagged = 0
        self._asked: OrderedDict[str, float] = OrderedDict()
        self._draws = 0
        self._hits = 0
        self._missed = 0  # on flagged pieces
        self._reviewed = 0  # flagged pieces that were verified
        self._audited = 0
        self._misses = 0
        self._share = RunningInterval(ALPHA)

    def predicted(self, *, flagged: bool) -> None:
        """A piece came down the line."""
        if flagged:
            self._flagged += 1
        else:
            self._unflagged += 1

    def asked(self, prediction: str, propensity: float) -> None:
        """An unflagged piece was drawn."""
        self._draws += 1
        self._asked[prediction] = propensity
        if len(self._asked) > REMEMBERED_MAX:
            self._asked.popitem(last=False)

    def propensity(self, prediction: str) -> float | None:
        """The chance with which an unflagged piece was drawn; None if it was not."""
        return self._asked.get(prediction)

    def judged(self, prediction: str, hits: int, missed: int, *, flagged: bool) -> None:
        """A piece was verified for the first time. An unflagged one that was not drawn came by another way: not
        counted.
        """
        if flagged:
            self._reviewed += 1
            self._hits += hits
            self._missed += missed
        elif prediction in self._asked:
            self._audited += 1
            self._misses += missed
            self._share.add(min(missed, MISSES_MAX) / MISSES_MAX)

    def summary(self) -> AuditSummary:
        """Recall now."""
        found = self._hits + self._missed
        naive = self._hits / found if found else None
        recall, lower, upper = None, 0.0, 1.0
        if self._audited:
            # what was reviewed of the flagged stands for all of them; the unflagged are brought to the same scale
            scale = self._unflagged * (self._reviewed / self._flagged if self._flagged else 1.0)
            low, high = (MISSES_MAX * bound * scale for bound in self._share.interval())
            recall = _share(self._hits, found + self._misses / self._audited * scale)
            lower, upper = _share(self._hits, found + high), _share(self._hits, found + low)
        return AuditSummary(self._unflagged, self._draws, self._audited, self._misses, recall, lower, upper, naive)


def _share(hits: float, total: float) -> float:
    return hits / total if total else 1.0
