"""What mining believes of a log: rows in pieces of continuous movement, with what follows from them.

Not believed, and counted: tracks that are too short; a change of place that no speed explains (the track is cut
there: before and after are two pieces). Two that overlap when first seen together are left out by `pairs.py`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.driving.limits import MineConfig
from hotloop.verticals.driving.measures import BEND_MAX, Boxes, Flags, wrapped
from hotloop.verticals.driving.tracks import KINDS, Ints, Tracks

HALF_S: Final = 0.3  # jerk is a slope over twice this: shorter ones are the noise of the tracker
BRAKE_S: Final = 0.4  # acceleration is a slope over twice this: braking that lasts
COURSE_S: Final = 3.0  # the course is the chord from this long before to this long after
GAP_S: Final = 0.5  # frames may be missing for so long within a piece
NOISE_M: Final = 1.0  # by which a place may be off
BRAKING_MAX: Final = 13.0  # m/s2; no tyre holds more


@dataclass(frozen=True)
class Doubts:
    """What was not believed."""

    short: int = 0  # pieces of tracks that are too short
    jumps: int = 0  # places where a track was cut
    unphysical: int = 0  # rows that brake harder than any tyre holds
    overlapping: int = 0  # pairs that are in each other when first seen together


@dataclass(frozen=True)
class Table:
    """Rows (n,) sorted by (piece, frame). a, jerk: slopes of v; drift: m/s across the course."""

    piece: Ints
    actor: Ints
    frame: Ints
    kind: Ints  # index into KINDS
    box: Boxes
    a: Floats
    jerk: Floats
    drift: Floats
    step_s: float
    doubts: Doubts

    def __len__(self) -> int:
        """Rows."""
        return len(self.frame)

    @property
    def on_foot(self) -> Flags:
        """(n,): pedestrians."""
        walks: Flags = self.kind == KINDS.index("pedestrian")
        return walks


def believed(tracks: Tracks, limits: MineConfig) -> Table:
    """The rows of a log that mining believes."""
    cut, jumps = _cuts(tracks, limits)
    piece = np.cumsum(cut) - 1 if len(tracks) else np.zeros(0, np.int64)
    first = np.flatnonzero(cut)
    last = np.append(first[1:], len(tracks)) - 1 if len(first) else first
    long = (tracks.frame[last] - tracks.frame[first] + 1) * tracks.step_s >= limits.seconds_min - 1e-9
    long &= last > first
    keep = long[piece] if len(tracks) else np.zeros(0, bool)
    piece = (np.cumsum(long) - 1)[piece[keep]] if keep.any() else np.zeros(0, np.int64)
    return _derived(tracks, keep, piece, Doubts(short=int((~long).sum()), jumps=jumps))


def _cuts(tracks: Tracks, limits: MineConfig) -> tuple[Flags, int]:
    """(n,) where a piece begins, and how many of these are jumps."""
    if not len(tracks):
        return np.zeros(0, bool), 0
    new = np.append(True, np.diff(tracks.actor) != 0)
    seconds = np.append(1.0, np.diff(tracks.frame) * tracks.step_s)
    way = np.append(0.0, np.hypot(np.diff(tracks.x), np.diff(tracks.y)))
    rows, start = np.arange(len(tracks)), np.searchsorted(tracks.actor, tracks.actor, "left")
    end = np.searchsorted(tracks.actor, tracks.actor, "right") - 1
    # a log's speeds may come from its places: those next to a jump are as wrong as the jump
    before, after = np.maximum(rows - 3, start), np.minimum(rows + 2, end)
    v = np.abs(tracks.v)
    fastest = np.maximum(v[before], v[after]) + limits.jump_m_s2_max * np.maximum(3 * tracks.step_s, np.abs(seconds))
    jump = ~new & (way > fastest * seconds + NOISE_M)
    return new | jump | (~new & (seconds > GAP_S)), int(jump.sum())


def _derived(tracks: Tracks, keep: Flags, piece: Ints, doubts: Doubts) -> Table:
    actor, frame = tracks.actor[keep], tracks.frame[keep]
    x, y, heading, v = tracks.x[keep], tracks.y[keep], tracks.heading[keep], tracks.v[keep]
    length = np.array([one.length for one in tracks.actors])[actor]
    width = np.array([one.width for one in tracks.actors])[actor]
    kind = np.array([KINDS.index(one.kind) for one in tracks.actors], np.int64)[actor]
    about = _Window(piece, frame, HALF_S, tracks.step_s)
    a = _Window(piece, frame, BRAKE_S, tracks.step_s).slope(v)
    wild = a < -BRAKING_MAX
    half = _Window(piece, frame, 0.5, tracks.step_s)
    turn, moved = wrapped(heading[half.after] - heading[half.before]), half.seconds * np.maximum(np.abs(v), 2.0)
    bend: Floats = np.asarray(np.clip(turn / np.maximum(moved, tracks.step_s), -BEND_MAX, BEND_MAX), np.float64)
    wide = _Window(piece, frame, COURSE_S, tracks.step_s)
    wx, wy = x[wide.after] - x[wide.before], y[wide.after] - y[wide.before]
    drift = np.where(np.hypot(wx, wy) > 3.0, v * np.sin(heading - np.arctan2(wy, wx)), 0.0)
    doubts = Doubts(doubts.short, doubts.jumps, int(wild.sum()))
    box = Boxes(x, y, heading, v, length, width, bend)
    return Table(piece, actor, frame, kind, box, a, about.slope(about.slope(v)), drift, tracks.step_s, doubts)


class _Window:
    """For each row the rows about so many seconds before and after it, within its piece."""

    def __init__(self, piece: Ints, frame: Ints, half_s: float, step_s: float) -> None:
        rows, width = np.arange(len(piece)), max(1, round(half_s / step_s))
        first = np.searchsorted(piece, piece, "left")
        last = np.searchsorted(piece, piece, "right") - 1
        reach = np.minimum(width, np.minimum(rows - first, last - rows))  # even-sided, but at the ends
        ends = reach == 0
        self.before = np.where(ends, np.maximum(rows - width, first), rows - reach)
        self.after = np.where(ends, np.minimum(rows + width, last), rows + reach)
        self.seconds: Floats = np.asarray((frame[self.after] - frame[self.before]) * step_s, np.float64)

    def slope(self, values: Floats) -> Floats:
        """Change per second; 0 where the piece has one row."""
        change = values[self.after] - values[self.before]
        out: Floats = np.divide(change, self.seconds, out=np.zeros(len(change)), where=self.seconds > 0)
        return out
