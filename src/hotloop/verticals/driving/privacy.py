"""What a log says about people can be made coarser before it is kept.

    grid_m      the whole log is shifted so that its anchor (the ego's first place; without an ego, the first place of
                whoever is in the first frame) lies on a grid of so many metres. A rigid shift: all distances, speeds
                and headings stay as they are, so that mining and simulating lose nothing. It protects where the drive
                began, to within half a cell each way, from who has the table alone. It does not protect from who lays
                the *shape* of a long path over a map: for that, cut the ends, or keep pieces that are short.
    drop_names  actors are numbered in the order in which they appear ("1", "2", ...; those of one frame by where they
                are), and the log's name becomes its digest's beginning. No key or salt is kept: nothing leads back
                from the table. It does not protect from who has the log itself: its digest stays, so that the log is
                known when it comes again and can be erased. Sizes are rounded to a tenth of a metre.
    cut_s       so much of the beginning and of the end of each log is dropped: homes and doors. It is of the *log*:
                where a trip comes in many logs, only the first and the last one need it.

Done at ingest, before anything is written; what was dropped cannot be had back from the table.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from hotloop.errors import ConfigError, InputError
from hotloop.verticals.driving.tracks import Actor, Tracks

GRID_MAX_M: Final = 100_000.0
CUT_MAX_S: Final = 3_600.0


@dataclass(frozen=True)
class Privacy:
    """What is done to each log; nothing by default. ConfigError for what cannot be."""

    grid_m: float = 0.0
    drop_names: bool = False
    cut_s: float = 0.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.grid_m <= GRID_MAX_M:
            raise ConfigError(f"grid_m is {self.grid_m}; 0 (not coarsened) to {GRID_MAX_M:g} m can be had")
        if not 0.0 <= self.cut_s <= CUT_MAX_S:
            raise ConfigError(f"cut_s is {self.cut_s}; 0 (nothing is cut) to {CUT_MAX_S:g} s can be had")

    def kept(self, tracks: Tracks) -> Tracks:
        """What may be kept of a log. InputError if nothing of it is left."""
        if self.cut_s:
            tracks = without_ends(tracks, self.cut_s)
        if self.grid_m:
            tracks = coarsened(tracks, self.grid_m)
        return nameless(tracks) if self.drop_names else tracks


def coarsened(tracks: Tracks, grid_m: float) -> Tracks:
    """The log shifted as one so that its anchor lies on the grid."""
    if not len(tracks):
        return tracks
    ego = np.array([one.ego for one in tracks.actors])[tracks.actor]
    at = np.where(ego, tracks.frame, np.iinfo(np.int64).max) if ego.any() else tracks.frame
    row = int(np.argmin(at))
    x, y = float(tracks.x[row]), float(tracks.y[row])
    to_x, to_y = grid_m * round(x / grid_m), grid_m * round(y / grid_m)
    # Around the anchor first: its own place comes out exactly on the grid.
    return replace(tracks, x=(tracks.x - x) + to_x, y=(tracks.y - y) + to_y)


def nameless(tracks: Tracks) -> Tracks:
    """Actors by number in order of appearance; those without a row are dropped; the log by its digest."""
    here, first = np.unique(tracks.actor, return_index=True)  # the first row of an actor is its first frame
    order = np.lexsort((tracks.y[first], tracks.x[first], tracks.frame[first]))
    place = np.zeros(len(tracks.actors), np.int64)
    place[here[order]] = np.arange(len(order))
    actors = tuple(_numbered(tracks.actors[old], number) for number, old in enumerate(here[order].tolist(), 1))
    actor = place[tracks.actor]
    rows = np.lexsort((tracks.frame, actor))
    columns = {name: getattr(tracks, name)[rows] for name in ("frame", "x", "y", "heading", "v", "a")}
    return replace(tracks, actors=actors, actor=actor[rows], **columns, source=f"log {tracks.digest[:12]}".strip())


def _numbered(one: Actor, number: int) -> Actor:
    length, width = (max(round(size, 1), 0.1) for size in (one.length, one.width))
    return Actor(str(number), one.kind, length, width, one.ego)


def without_ends(tracks: Tracks, cut_s: float) -> Tracks:
    """All but so many seconds of the beginning and of the end. InputError if nothing is left."""
    cut = int(np.ceil(cut_s / tracks.step_s - 1e-9))
    first, last = (int(tracks.frame.min()), int(tracks.frame.max())) if len(tracks) else (0, 0)
    out = tracks.between(first + cut, last - cut)
    if not len(out):
        raise InputError(
            f"{tracks.source}: it lasts {tracks.seconds:g} s; {cut_s:g} s at each end are not kept, nobody is between"
        )
    return out
