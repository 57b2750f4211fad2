"""The golden set: pieces whose truth is sealed. They are never learned, nor is what nearly equals them; they judge.

Each keeps the loss that the head had on it when it first came: a candidate whose error on the set is above that floor by
more than `gate.golden_tolerance` is refused, so that slow creep, each step within the tolerance, ends here.

What counts as nearly equal is told by the proposals alone, so that it follows from the log: two pieces are near-duplicates
if most rows of each have a row of the other within a small relative distance. A photograph taken again, saved again or a
little lighter proposes the same things with nearly the same features; another piece does not (bench/gate.py).
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from hotloop.config import GateConfig
from hotloop.evidence import e_value_worse
from hotloop.gate.judge import Finding, judge
from hotloop.gate.recent import RecentPast
from hotloop.types import Floats, Head, Prediction, Proposals, Rows

NEAR = 0.35  # relative distance of two rows of features up to which they may be of one thing
SHARE = 0.7  # of the rows of each piece that must have such a row in the other
_SEALED_MAX = 10_000


class SealedPiece(msgspec.Struct, frozen=True):
    """A golden piece: its prediction as this backbone sees it, its truth as rows, and its floor."""

    prediction: str
    digest: str
    line: str
    site: str
    proposals: Proposals
    x: bytes
    y: bytes
    w: bytes
    floor: float


class SealedState(msgspec.Struct, frozen=True):
    """Sealed as a record."""

    pieces: list[SealedPiece]


class Sealed:
    """Golden pieces by prediction id."""

    def __init__(self, config: GateConfig) -> None:
        self._config = config
        self._pieces: dict[str, SealedPiece] = {}
        self._digests: dict[str, str] = {}
        self._rows = RecentPast(_SEALED_MAX)
        self._features: NDArray[np.float32] | None = None  # every row of all pieces, made when it is asked for
        self._owner = np.zeros(0, np.intp)
        self._sizes = np.zeros(0)

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, prediction: Prediction, rows: Rows, floor: float) -> None:
        """Seal a piece, or put its features anew. `rows`: what its truth would teach; `floor`: the first head's loss."""
        seen = prediction.observation
        self._pieces[prediction.id] = SealedPiece(
            prediction=prediction.id,
            digest=seen.digest,
            line=seen.line,
            site=seen.site,
            proposals=prediction.proposals,
            x=rows.x.astype("<f8").tobytes(),
            y=rows.y.astype("<f8").tobytes(),
            w=rows.w.astype("<f8").tobytes(),
            floor=floor,
        )
        self._digests[seen.digest] = prediction.id
        self._rows.add(prediction.id, rows, line=seen.line, site=seen.site)
        self._features = None

    def covers(self, digest: str, features: Floats) -> str:
        """Which golden piece this one is, or nearly is, and how: "" if none. `features` (n, f) of its proposals."""
        if digest in self._digests:
            return f"the same bytes as the golden piece {self._digests[digest]}"
        if not len(features) or not self._pieces:
            return ""
        table = self._table(features.shape[1])
        if not len(table):
            return ""
        near = _near(features.astype(np.float32), table)  # (n, m)
        forth = np.zeros((len(self._pieces), len(features)), bool)
        np.logical_or.at(forth, self._owner, near.T)
        back = np.bincount(self._owner, near.any(0), len(self._pieces)) / np.maximum(self._sizes, 1)
        alike = (forth.mean(1) >= SHARE) & (back >= SHARE) & (self._sizes > 0)
        if not alike.any():
            return ""
        return f"nearly the golden piece {list(self._pieces)[int(alike.argmax())]}"

    def floor(self, candidate: Head) -> Finding:
        """Whether a candidate is above the floor: no worse on the golden set than the first head, and in no part of it."""
        names = self._rows.names()
        losses = self._rows.losses(candidate)[0]
        floors = np.array([self._pieces[name].floor for name in names])
        if not np.isfinite(losses).all():
            return Finding("refuse", "it answers the golden pieces with numbers that are not finite", len(names), 1.0, np.inf)
        found = judge(floors, losses, self._config, self._rows.parts(candidate.labels))
        e_value = e_value_worse(losses - floors, self._config.golden_tolerance) if len(names) else 1.0
        mean = float((losses - floors).mean()) if len(names) else 0.0
        if e_value >= 1 / self._config.alpha or found.decision == "refuse":
            reason = (
                f"it is below the floor: on {len(names)} golden pieces its error is {abs(mean):.3f} "
                f"{'above' if mean > 0 else 'below'} the first model's (e-value {max(e_value, found.e_value):.3g})"
            )
            worst = found.reason if found.decision == "refuse" else ""
            return Finding("refuse", f"{reason}; {worst}" if worst else reason, len(names), mean, e_value, found.slices)
        return Finding("promote", f"above the floor on {len(names)} golden pieces", len(names), mean, e_value, found.slices)

    def state(self) -> SealedState:
        """What `restore` needs."""
        return SealedState(list(self._pieces.values()))

    def restore(self, state: SealedState) -> None:
        """Become what `state` was."""
        self.__init__(self._config)  # type: ignore[misc]
        for piece in state.pieces:
            w = np.frombuffer(piece.w, "<f8")
            x, y = (np.frombuffer(part, "<f8").reshape(len(w), -1) for part in (piece.x, piece.y))
            self._pieces[piece.prediction] = piece
            self._digests[piece.digest] = piece.prediction
            self._rows.add(piece.prediction, Rows(x, y, w), line=piece.line, site=piece.site)

    def _table(self, columns: int) -> NDArray[np.float32]:
        """All rows of all pieces (m, columns), with whose they are."""
        if self._features is None:
            parts = [_fitting(piece.proposals, columns) for piece in self._pieces.values()]
            self._features = np.concatenate([np.zeros((0, columns), np.float32), *parts])
            self._sizes = np.array([len(part) for part in parts], float)
            self._owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        return self._features if self._features.shape[1] == columns else np.zeros((0, columns), np.float32)


def _fitting(proposals: Proposals, columns: int) -> NDArray[np.float32]:
    """A piece's features; none if they are of another length than those asked for."""
    if proposals.columns != columns:
        return np.zeros((0, columns), np.float32)
    return proposals.array().astype(np.float32)


def _near(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which rows of a (n, f) and b (m, f) are within NEAR of each other, relative to their lengths: (n, m)."""
    lengths = (a * a).sum(1)[:, None], (b * b).sum(1)[None]
    squares = lengths[0] + lengths[1] - 2 * (a @ b.T)
    near: NDArray[np.bool_] = squares <= NEAR**2 * np.maximum((lengths[0] + lengths[1]) / 2, 1e-12)
    return near


def near_duplicates(one: Proposals, other: Proposals) -> bool:
    """Whether two pieces are near-duplicates, by the rule that `Sealed` goes by."""
    if not one.rows or not other.rows or one.columns != other.columns:
        return False
    near = _near(*(p.array().astype(np.float32) for p in (one, other)))
    return bool(near.any(1).mean() >= SHARE and near.any(0).mean() >= SHARE)


__all__: Sequence[str] = ("NEAR", "SHARE", "Sealed", "SealedState", "near_duplicates")
