"""Rows of a measure that hold for a while become one episode: entered at a severity, left only well below it.

What comes in has passed the wider bound (`release`). An episode is a run of rows of one pair whose frames follow each
other within `join_s`, of which at least one passed the narrow bound. Its peak is its worst row.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.driving.measures import Flags
from hotloop.verticals.driving.tracks import Ints


@dataclass(frozen=True)
class Hits:
    """Rows of one case, (n,): who (subject first; -1: nobody), when, how bad, and whether it is past the narrow bound.

    row: of the table, for the subject; other: for the other one, -1 if there is none; value: the measure.
    """

    subject: Ints
    partner: Ints
    frame: Ints
    severity: Floats
    value: Floats
    past: Flags
    row: Ints
    other: Ints


@dataclass(frozen=True)
class Episode:
    """One case: frames, and the index among the hits of the worst row."""

    first: int
    peak: int
    last: int
    worst: int


def episodes(hits: Hits, join_frames: int) -> list[Episode]:
    """The episodes of the hits, in the order of (subject, partner, first frame)."""
    if not len(hits.frame):
        return []
    order = np.lexsort((hits.frame, hits.partner, hits.subject))
    subject, partner, frame = hits.subject[order], hits.partner[order], hits.frame[order]
    new = np.append(True, (np.diff(subject) != 0) | (np.diff(partner) != 0) | (np.diff(frame) > join_frames))
    begin = np.flatnonzero(new)
    end = np.append(begin[1:], len(order))
    counts = np.logical_or.reduceat(hits.past[order], begin)
    severity = np.where(hits.past[order], hits.severity[order], -1.0)
    best = np.maximum.reduceat(severity, begin)
    run = np.cumsum(new) - 1
    worst = np.flatnonzero(severity == best[run])
    runs, place = np.unique(run[worst], return_index=True)  # the first of equals
    worst = worst[place]
    return [
        Episode(int(frame[begin[k]]), int(frame[worst[k]]), int(frame[end[k] - 1]), int(order[worst[k]]))
        for k in runs[counts]
    ]
