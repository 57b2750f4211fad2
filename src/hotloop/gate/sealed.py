"""The golden set: pieces whose truth is sealed. They are never learned, nor is what nearly equals them; they judge.

Each keeps the loss that the head had on it when it first came: a candidate whose error on the set is above that floor
by more than `gate.golden_tolerance` is refused, so that slow creep, each step within the tolerance, ends here.

What counts as nearly equal is told by what was proposed, so that it follows from the log. With regions: most of each
piece's are also the other's, place by place. Without: the signatures (a perceptual hash) differ in few bits. A
photograph taken again, saved again or a little lighter is caught; another piece, of the same product too, is not
(bench/gate.py has the rates).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from hotloop.config import GateConfig
from hotloop.evidence import e_value_worse
from hotloop.gate.judge import Finding, judge
from hotloop.gate.recent import RecentPast
from hotloop.gate.slices import with_labels
from hotloop.types import Floats, Head, Prediction, Proposals, Rows

OVERLAP = 0.5  # from here on two regions are of one thing (intersection over union)
SHARE = 0.5  # of the regions of each piece that must be the other's too
REGIONS_LEAST = 2  # with fewer, chance does it
BITS = 24 / 256  # share of the signature's bits that may differ
_SEALED_MAX = 10_000


class SealedPiece(msgspec.Struct, frozen=True):
    """A golden piece: its prediction as this backbone sees it, its truth as rows, and its floor."""

    prediction: str
    digest: str
    line: str
    site: str
    proposals: Proposals
    columns: int
    targets: int
    x: bytes
    y: bytes
    w: bytes
    floor: float
    floors: tuple[float, ...]  # by label; NaN where the label is neither there nor was said


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
        self._table: _Table | None = None  # every region of all pieces, made when it is asked for

    def __len__(self) -> int:
        return len(self._pieces)

    def add(self, prediction: Prediction, rows: Rows, floor: float, floors: tuple[float, ...]) -> None:
        """Seal a piece, or put its features anew. `rows`: what its truth would teach; `floor`, `floors`: the first
        head's loss, and by label (`gate/loss.py`).
        """
        seen = prediction.observation
        self._pieces[prediction.id] = SealedPiece(
            prediction=prediction.id,
            digest=seen.digest,
            line=seen.line,
            site=seen.site,
            proposals=prediction.proposals,
            columns=rows.x.shape[1],
            targets=rows.y.shape[1],
            x=rows.x.astype("<f8").tobytes(),
            y=rows.y.astype("<f8").tobytes(),
            w=rows.w.astype("<f8").tobytes(),
            floor=floor,
            floors=floors,
        )
        self._digests[seen.digest] = prediction.id
        self._rows.add(prediction.id, rows, line=seen.line, site=seen.site)
        self._table = None

    def holds(self, name: str) -> bool:
        """Whether a prediction is of a golden piece."""
        return name in self._pieces

    def drop(self, name: str) -> None:
        """Break the seal of a piece, if it has one: its truth does not count any more."""
        piece = self._pieces.pop(name, None)
        if piece is None:
            return
        self._digests = {one.digest: one.prediction for one in self._pieces.values()}
        self._rows.drop(name)
        self._table = None

    def among(self, names: Sequence[str], prediction: Prediction) -> bool:
        """Whether a piece is, or nearly is, one of these golden pieces."""
        digest = prediction.observation.digest
        pieces = [self._pieces[name] for name in names if name in self._pieces]
        return any(one.digest == digest or near_duplicates(prediction.proposals, one.proposals) for one in pieces)

    def covers(self, digest: str, proposals: Proposals) -> str:
        """Which golden piece this one is, or nearly is, and how: "" if none."""
        if digest in self._digests:
            return f"the same bytes as the golden piece {self._digests[digest]}"
        if not self._pieces:
            return ""
        if self._table is None:
            self._table = _table([piece.proposals for piece in self._pieces.values()])
        alike = _alike(proposals, self._table)
        return f"nearly the golden piece {list(self._pieces)[int(alike.argmax())]}" if alike.any() else ""

    def floor(self, candidate: Head) -> Finding:
        """Whether a candidate is above the floor: no worse on the golden set than the first head, and in no part of
        it.
        """
        names = self._rows.names()
        if not names:
            return Finding("promote", "there is no golden piece", 0, 0.0, 1.0)
        with np.errstate(invalid="ignore"):
            losses = self._rows.losses(candidate)[0]
        floors = np.array([self._pieces[name].floor for name in names])
        if not np.isfinite(losses).all():
            return Finding(
                "refuse", "it answers the golden pieces with numbers that are not finite", len(names), 1.0, np.inf
            )
        by_label = np.array([self._pieces[name].floors for name in names]).reshape(len(names), -1).T
        now = self._rows.by_label(candidate)
        parts = with_labels(self._rows.parts(candidate.labels), candidate.labels, by_label, now)
        found = judge(floors, losses, self._config, parts)
        e_value = e_value_worse(losses - floors, self._config.golden_tolerance)
        mean = float((losses - floors).mean())
        if e_value >= 1 / self._config.alpha or found.decision == "refuse":
            reason = (
                f"it is below the floor: on {len(names)} golden pieces its error is {abs(mean):.3f} "
                f"{'above' if mean > 0 else 'below'} the first model's (e-value {max(e_value, found.e_value):.3g})"
            )
            worst = found.reason if found.decision == "refuse" else ""
            return Finding("refuse", f"{reason}; {worst}" if worst else reason, len(names), mean, e_value, found.slices)
        return Finding(
            "promote", f"above the floor on {len(names)} golden pieces", len(names), mean, e_value, found.slices
        )

    def state(self) -> SealedState:
        """What `restore` needs."""
        return SealedState(list(self._pieces.values()))

    def restore(self, state: SealedState) -> None:
        """Become what `state` was."""
        self.__init__(self._config)  # type: ignore[misc]
        for piece in state.pieces:
            w = np.frombuffer(piece.w, "<f8")
            x = np.frombuffer(piece.x, "<f8").reshape(len(w), piece.columns)
            y = np.frombuffer(piece.y, "<f8").reshape(len(w), piece.targets)
            self._pieces[piece.prediction] = piece
            self._digests[piece.digest] = piece.prediction
            self._rows.add(piece.prediction, Rows(x, y, w), line=piece.line, site=piece.site)


@dataclass(frozen=True)
class _Table:
    """The regions of all pieces (m, 4), whose each is (m,), how many each has (k,), and their signatures as bits."""

    regions: Floats
    owner: NDArray[np.intp]
    sizes: Floats
    signatures: list[NDArray[np.uint8]]


def _table(pieces: Sequence[Proposals]) -> _Table:
    boxes = [_boxes(piece) for piece in pieces]
    owner = np.repeat(np.arange(len(boxes)), [len(part) for part in boxes])
    regions = np.concatenate([np.zeros((0, 4)), *boxes])
    return _Table(regions, owner, np.array([len(part) for part in boxes], float), [_bits(piece) for piece in pieces])


def _alike(proposals: Proposals, table: _Table) -> NDArray[np.bool_]:
    """Which of the table's pieces a piece nearly is: (k,)."""
    boxes, bits = _boxes(proposals), _bits(proposals)
    if len(boxes) >= REGIONS_LEAST:
        same = _overlaps(boxes, table.regions) >= OVERLAP  # (n, m)
        mine = np.zeros((len(table.sizes), len(boxes)), bool)
        np.logical_or.at(mine, table.owner, same.T)
        theirs = np.bincount(table.owner, same.any(0), len(table.sizes)) / np.maximum(table.sizes, 1)
        return np.asarray((mine.mean(1) >= SHARE) & (theirs >= SHARE) & (table.sizes >= REGIONS_LEAST))
    if proposals.regions or not len(bits):
        return np.zeros(len(table.sizes), bool)
    return np.array([len(other) == len(bits) and (bits != other).mean() <= BITS for other in table.signatures], bool)


def near_duplicates(one: Proposals, other: Proposals) -> bool:
    """Whether two pieces are near-duplicates, by the rule that `Sealed` goes by."""
    return bool(_alike(one, _table([other])).any())


def _boxes(proposals: Proposals) -> Floats:
    """Regions that are boxes, as (n, 4)."""
    boxes = [region for region in proposals.regions if len(region) == 4]
    return np.asarray(boxes, np.float64).reshape(-1, 4)


def _bits(proposals: Proposals) -> NDArray[np.uint8]:
    return np.unpackbits(np.frombuffer(proposals.signature, np.uint8))


def _overlaps(a: Floats, b: Floats) -> Floats:
    """Intersection over union of boxes (n, 4) and (m, 4): (n, m)."""
    sides = np.minimum(a[:, None, 2:], b[None, :, 2:]) - np.maximum(a[:, None, :2], b[None, :, :2])
    shared = sides.clip(0).prod(2)
    areas = [(boxes[:, 2:] - boxes[:, :2]).prod(1) for boxes in (a, b)]
    union = areas[0][:, None] + areas[1][None] - shared
    return np.asarray(shared / np.maximum(union, 1e-9))
