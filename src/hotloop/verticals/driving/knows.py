"""What was learned, as one bundle of bytes: how actors move, how wrong that usually is, which scenes and cases occur.

All of it adds up: moments and counts. A `Lesson` is what one log adds; it can be taken out again, and two bundles can
be merged (of the same start: what both began with counts twice otherwise, so merge lessons rather than bundles).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import msgspec
import numpy as np

from hotloop.errors import ModelError, NewerFormatError
from hotloop.learn.moments import Moments
from hotloop.types import UNREADABLE, Floats, Rows, digest
from hotloop.verticals.driving.finding import CASES
from hotloop.verticals.driving.motion import EDGES, FEATURES, SPEEDS, TARGETS
from hotloop.verticals.driving.scene import SCENE
from hotloop.verticals.driving.tracks import Ints

FORMAT: Final = 1
RIDGE: Final = 1.0
CALM_MIN: Final = 2_000  # errors counted before any moment is called a surprise
SCENES_MIN: Final = 500  # scenes seen before any is called novel
_BINS: Final = (len(SPEEDS) + 1, len(EDGES) + 1)


class _Frozen(msgspec.Struct, frozen=True):
    format: int
    motion: bytes
    scenes: bytes
    calm: bytes  # int64
    cases: bytes  # int64
    windows: int
    digest: str = ""

    def named(self) -> str:
        """The digest of all but itself."""
        return digest(msgspec.msgpack.encode(msgspec.structs.replace(self, digest="")))


class _Version(msgspec.Struct, frozen=True):
    format: int


@dataclass(frozen=True)
class Lesson:
    """What one log adds: rows of motion, rows of scenes, counts of calm errors, windows with each case."""

    motion: Rows
    scenes: Rows
    calm: Ints
    cases: Ints
    windows: int


def _counts() -> Ints:
    return np.zeros(_BINS, np.int64)


@dataclass
class Knows:
    """What was learned. One thread at a time writes to it."""

    motion: Moments = field(default_factory=lambda: Moments(len(FEATURES), TARGETS, RIDGE))
    scenes: Moments = field(default_factory=lambda: Moments(len(SCENE) + 1, 1, RIDGE))
    calm: Ints = field(default_factory=_counts)
    cases: Ints = field(default_factory=lambda: np.zeros(len(CASES), np.int64))
    windows: int = 0

    @classmethod
    def start(cls) -> Knows:
        """Nothing learned yet: constant velocity, no surprise, nothing novel."""
        return cls()

    def learn(self, lesson: Lesson) -> None:
        """Add what a log taught. ModelError, and nothing learned, if it is not of this form."""
        self._change(lesson, 1)

    def unlearn(self, lesson: Lesson) -> None:
        """Take it out again. ModelError, and nothing changed, if it cannot have been learned."""
        if self.windows < lesson.windows or (self.calm < lesson.calm).any() or (self.cases < lesson.cases).any():
            raise ModelError("what is to be unlearned was never learned here: its counts are larger than ours")
        self._change(lesson, -1)

    def _change(self, lesson: Lesson, sign: int) -> None:
        if lesson.calm.shape != _BINS or len(lesson.cases) != len(CASES):
            raise ModelError(f"a lesson counts errors in {lesson.calm.shape} bins, not {_BINS}: make it anew")
        motion, scenes = _twin(self.motion), _twin(self.scenes)
        for moments, rows in ((motion, lesson.motion), (scenes, lesson.scenes)):
            (moments.learn if sign > 0 else moments.unlearn)(rows)
        self.motion, self.scenes = motion, scenes
        self.calm = self.calm + sign * lesson.calm
        self.cases = self.cases + sign * lesson.cases
        self.windows += sign * lesson.windows

    def merge(self, other: Knows) -> None:
        """Add all that another one learned."""
        self.motion.merge(other.motion)
        self.scenes.merge(other.scenes)
        self.calm, self.cases = self.calm + other.calm, self.cases + other.cases
        self.windows += other.windows

    @property
    def calibrated(self) -> bool:
        """Whether enough calm moments were seen to call one a surprise."""
        return int(self.calm.sum()) >= CALM_MIN

    @property
    def acquainted(self) -> bool:
        """Whether enough scenes were seen to call one novel."""
        return self.scenes.count >= SCENES_MIN

    def rarity(self) -> Floats:
        """(cases,): 1 - share of windows that hold such a case; 0 where nothing was learned."""
        if not self.windows:
            return np.zeros(len(CASES))
        out: Floats = 1.0 - np.minimum(self.cases / self.windows, 1.0)
        return out

    def to_bytes(self) -> bytes:
        """Itself as canonical bytes: equal knowledge, equal bytes."""
        frozen = _Frozen(
            FORMAT, self.motion.to_bytes(), self.scenes.to_bytes(), self.calm.astype("<i8").tobytes(),
            self.cases.astype("<i8").tobytes(), self.windows,
        )  # fmt: skip
        return msgspec.msgpack.encode(msgspec.structs.replace(frozen, digest=frozen.named()))

    @classmethod
    def from_bytes(cls, data: bytes) -> Knows:
        """What `to_bytes` wrote. ModelError, NewerFormatError."""
        try:
            if (found := msgspec.msgpack.decode(data, type=_Version).format) > FORMAT:
                raise NewerFormatError(f"what was learned of driving: format {found} is newer than {FORMAT}")
            frozen = msgspec.msgpack.decode(data, type=_Frozen)
        except UNREADABLE as error:
            raise ModelError(f"what was learned of driving cannot be read ({error}): use another copy") from error
        if frozen.digest != frozen.named():
            raise ModelError("what was learned of driving is not what was written (digest): use another copy")
        motion, scenes = Moments.from_bytes(frozen.motion), Moments.from_bytes(frozen.scenes)
        wanted = (len(FEATURES), TARGETS, len(SCENE) + 1, 8 * _BINS[0] * _BINS[1], 8 * len(CASES))
        sums = motion.sums
        if (sums.columns, sums.targets, scenes.sums.columns, len(frozen.calm), len(frozen.cases)) != wanted:
            raise ModelError("what was learned of driving has other features than this hotloop: learn it anew")
        calm = np.frombuffer(frozen.calm, "<i8").reshape(_BINS).astype(np.int64)
        return cls(motion, scenes, calm, np.frombuffer(frozen.cases, "<i8").astype(np.int64), frozen.windows)


def _twin(moments: Moments) -> Moments:
    twin = Moments(moments.sums.columns, moments.sums.targets, moments.ridge, moments.prior)
    twin.sums = moments.sums.twin()
    twin._derived_from_nothing()  # noqa: SLF001 - the sums are the truth, all else is derived from them
    return twin
