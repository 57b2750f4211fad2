"""The one table that every log becomes: who was where, when. Its rows lie actor by actor, frame by frame.

Frame: one plane, x and y in metres (right-handed: heading 0 is along x, counter-clockwise positive, rad); v is the
speed along the heading in m/s, a its rate of change in m/s2; a place is the middle of the actor's rectangle. Time is
frame x step_s since the beginning of the log. Numbers that a log does not have are NaN, never 0.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from hotloop.errors import InputError
from hotloop.types import Floats

Ints: TypeAlias = NDArray[np.int64]
Kind: TypeAlias = Literal[
    "car", "truck", "bus", "motorcycle", "bicycle", "pedestrian", "train", "static", "unknown"
]  # fmt: skip
KINDS: Final = get_args(Kind)
Told: TypeAlias = Literal["disengagement", "take-over"]  # what a log itself says of a moment

ROWS_MAX: Final = 5_000_000  # of one table: some 8 hours of 17 actors at 10 Hz
FRAME_MAX: Final = 2**31 - 1
ACTORS_MAX: Final = 1_000_000
_REACH_M: Final = 1e7
_SPEED_MAX: Final = 200.0


@dataclass(frozen=True)
class Actor:
    """Who: its name in the log, what it is, its size in m; `ego`: it carried the recorder."""

    name: str
    kind: Kind
    length: float
    width: float
    ego: bool = False


@dataclass(frozen=True)
class Moment:
    """A frame of which the log itself says something."""

    frame: int
    what: Told


@dataclass(frozen=True)
class Tracks:
    """A log, or a part of one. Rows (n,) sorted by (actor, frame), each pair once.

    actor   index into `actors`        frame   >= 0, time is frame x step_s
    x, y    m      heading  rad        v  m/s      a  m/s2, NaN where the log has none
    source: the log's name; digest: of its bytes; region: where it may be kept and trained on ("" anywhere).
    """

    actors: tuple[Actor, ...]
    actor: Ints
    frame: Ints
    x: Floats
    y: Floats
    heading: Floats
    v: Floats
    a: Floats
    step_s: float
    source: str = ""
    digest: str = ""
    region: str = ""
    moments: tuple[Moment, ...] = ()

    def __len__(self) -> int:
        """Rows."""
        return len(self.frame)

    @property
    def frames(self) -> int:
        """Frames from the first to the last one, both included; 0 for an empty table."""
        return int(self.frame.max() - self.frame.min()) + 1 if len(self) else 0

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return self.frames * self.step_s

    def check(self) -> Tracks:
        """Itself, if it is what it says. InputError by the first thing that is not."""
        columns = (self.actor, self.frame, self.x, self.y, self.heading, self.v, self.a)
        if len({len(column) for column in columns}) != 1:
            raise InputError(f"{self.source}: columns of different lengths {[len(column) for column in columns]}")
        if len(self) > ROWS_MAX:
            raise InputError(f"{self.source}: {len(self)} rows; a table has at most {ROWS_MAX}: cut the log into parts")
        if not (0.001 <= self.step_s <= 10.0):
            raise InputError(f"{self.source}: a step of {self.step_s} s; 0.001 to 10 s are taken")
        if len(self) and not (self.actor.min() >= 0 and self.actor.max() < len(self.actors)):
            raise InputError(f"{self.source}: a row of actor {int(self.actor.max())} of {len(self.actors)}")
        told = np.array([one.frame for one in self.moments] or [0], dtype=object)  # of any size until it is looked at
        for first, last in ((self.frame.min(), self.frame.max()) if len(self) else (0, 0), (told.min(), told.max())):
            if first < 0 or last > FRAME_MAX:
                raise InputError(f"{self.source}: frames {first} to {last}; frames are 0 to {FRAME_MAX}")
        if len(self.actors) > ACTORS_MAX:
            raise InputError(f"{self.source}: {len(self.actors)} actors; a table has at most {ACTORS_MAX}")
        key = self.actor * (int(self.frame.max()) + 1 if len(self) else 1) + self.frame
        if (np.diff(key) <= 0).any():
            row = int(np.flatnonzero(np.diff(key) <= 0)[0]) + 1
            name = self.actors[int(self.actor[row])].name
            raise InputError(f"{self.source}: actor {name!r} has frame {int(self.frame[row])} twice or out of order")
        self._check_numbers()
        return self

    def _check_numbers(self) -> None:
        for name, column, limit in (
            ("x", self.x, _REACH_M), ("y", self.y, _REACH_M), ("heading", self.heading, 1e4), ("v", self.v, _SPEED_MAX),
        ):  # fmt: skip
            bad = ~(np.abs(column) <= limit)  # NaN is not, either
            if bad.any():
                row = int(np.flatnonzero(bad)[0])
                name_of = self.actors[int(self.actor[row])].name
                raise InputError(
                    f"{self.source}: {name} of actor {name_of!r} in frame {int(self.frame[row])} is {column[row]}; "
                    f"finite numbers within ±{limit:g} are taken"
                )
        if np.isinf(self.a).any():
            raise InputError(f"{self.source}: an a that is infinite; m/s2 are taken, NaN where the log has none")
        for one in self.actors:
            if not (0.0 < one.length <= 100.0 and 0.0 < one.width <= 100.0) or one.kind not in KINDS:
                raise InputError(f"{self.source}: actor {one.name!r} ({one.kind}) is {one.length} x {one.width} m")

    def rows_of(self, actor: int) -> slice:
        """The rows of an actor."""
        low, high = np.searchsorted(self.actor, (actor, actor + 1))
        return slice(int(low), int(high))

    def between(self, first: int, last: int) -> Tracks:
        """The frames from `first` to `last`, both included; actors keep their index and frames their number."""
        keep = (self.frame >= first) & (self.frame <= last)
        return self._kept(keep, tuple(one for one in self.moments if first <= one.frame <= last))

    def only(self, actors: Sequence[int]) -> Tracks:
        """These actors' rows; actors keep their index."""
        return self._kept(np.isin(self.actor, np.asarray(actors, np.int64)), self.moments)

    def _kept(self, keep: NDArray[np.bool_], moments: tuple[Moment, ...]) -> Tracks:
        return replace(
            self, actor=self.actor[keep], frame=self.frame[keep], x=self.x[keep], y=self.y[keep],
            heading=self.heading[keep], v=self.v[keep], a=self.a[keep], moments=moments,
        )  # fmt: skip


@dataclass(frozen=True)
class Grid:
    """Tracks as arrays (actors, frames): NaN where an actor is not there. `first`: the frame of column 0."""

    first: int
    x: Floats
    y: Floats
    heading: Floats
    v: Floats
    a: Floats


def as_grid(tracks: Tracks) -> Grid:
    """The table as arrays; `a` is derived from v (central differences) where the log has none."""
    count, first = len(tracks.actors), int(tracks.frame.min()) if len(tracks) else 0
    column = tracks.frame - first

    def laid(values: Floats) -> Floats:
        out = np.full((count, tracks.frames), np.nan)
        out[tracks.actor, column] = values
        return out

    v, a = laid(tracks.v), laid(tracks.a)
    if a.shape[1] > 1:
        slope = np.full_like(v, np.nan)
        slope[:, 1:-1] = (v[:, 2:] - v[:, :-2]) / (2 * tracks.step_s)
        slope[:, 0], slope[:, -1] = (v[:, 1] - v[:, 0]) / tracks.step_s, (v[:, -1] - v[:, -2]) / tracks.step_s
        a = np.where(np.isnan(a), slope, a)
    return Grid(first, laid(tracks.x), laid(tracks.y), laid(tracks.heading), v, a)
