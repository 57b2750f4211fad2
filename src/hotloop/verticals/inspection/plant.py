"""A simulated plant: its boards, what looks like a defect there and is none, and the people who verify.

The start model has never seen the three harmless marks of this plant: ring stains, twin dots of the handler, and
needle tracks of the tester. It flags them. Whoever verifies says that they are nothing, and the loop learns it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from PIL import Image, ImageDraw

from hotloop.sense.images import encode_png
from hotloop.types import Claim, Feedback, Payload, Prediction
from hotloop.verticals.inspection.boards import BARE, COPPER, Board, Defect, Style, draw_board
from hotloop.verticals.inspection.labels import read_labels
from hotloop.verticals.inspection.pieces import Piece, Truth

MARKS = ("ring stain", "twin dots", "needle track")
_MARK_HALF_PX = 16
_TRIES = 40


@dataclass(frozen=True)
class Sensed:
    """A piece on the belt: what the camera gives, and the truth that only the verifier knows."""

    payload: Payload
    truths: tuple[Truth, ...]


def plant_boards(site_seed: int, first: int, *, size_px: int = 640, step: int = 1) -> Iterator[Sensed]:
    """Boards of one plant without end: one product style, three to seven harmless marks each."""
    style = Style.of(site_seed)
    for seed in range(first, 2**31, step):
        board = marked(
            draw_board(seed, size_px=size_px, style=style), np.random.default_rng((seed, site_seed))
        )
        truths = tuple(Truth(d.kind, tuple(float(v) for v in d.box)) for d in board.defects)
        yield Sensed(Payload(encode_png(board.test), "image/png", encode_png(board.template)), truths)


def folder_boards(folder: Path, *, unseen: int) -> list[Callable[[], Sensed]]:
    """The pieces of a labelled folder but for its last `unseen`, each read when called. LayoutError."""
    pieces = read_labels(folder).pieces
    return [partial(sensed, piece) for piece in pieces[: max(0, len(pieces) - unseen)]]


def sensed(piece: Piece) -> Sensed:
    """A labelled piece as it would come from the camera."""
    reference = None if piece.template is None else piece.template.read_bytes()
    return Sensed(Payload(piece.image.read_bytes(), "image/*", reference), piece.truths)


def marked(board: Board, rng: np.random.Generator) -> Board:
    """`board` with harmless marks where nothing else is."""
    picture = Image.fromarray(board.test)
    taken = [d.box for d in (*board.defects, *board.lookalikes) if d.kind != "misregistration"]
    marks = []
    for _ in range(int(rng.integers(3, 8))):
        kind = MARKS[int(rng.integers(len(MARKS)))]
        spot = _spot(board, rng, kind, taken)
        if spot is not None:
            box = _draw(ImageDraw.Draw(picture), rng, kind, spot)
            taken.append(box)
            marks.append(Defect(box, kind))
    return replace(board, test=np.asarray(picture), lookalikes=(*board.lookalikes, *marks))


def _spot(
    board: Board, rng: np.random.Generator, kind: str, taken: list[tuple[int, int, int, int]]
) -> tuple[int, int] | None:
    """A place for a mark, clear of defects: on bare ground, or across copper for a needle track."""
    height, width = board.test.shape
    half = _MARK_HALF_PX
    if min(height, width) <= 4 * half:
        return None
    for _ in range(_TRIES):
        x, y = int(rng.integers(2 * half, width - 2 * half)), int(rng.integers(2 * half, height - 2 * half))
        if any(a - half < x + half and x - half < c + half and b - half < y + half and y - half < d + half
               for a, b, c, d in taken):  # fmt: skip
            continue
        copper = float((board.template[y - half : y + half, x - half : x + half] == COPPER).mean())
        if (copper > 0.5) if kind == "needle track" else (copper == 0.0):
            return x, y
    return None


def _draw(
    draw: ImageDraw.ImageDraw, rng: np.random.Generator, kind: str, at: tuple[int, int]
) -> tuple[int, int, int, int]:
    """Draw a mark; its box."""
    x, y = at
    if kind == "ring stain":
        r = int(rng.integers(6, 11))
        draw.ellipse((x - r, y - r, x + r, y + r), outline=COPPER, width=int(rng.integers(2, 4)))
        return (x - r, y - r, x + r + 1, y + r + 1)
    angle = rng.uniform(0, np.pi)
    dx, dy = np.cos(angle), np.sin(angle)
    if kind == "twin dots":
        r, apart = int(rng.integers(2, 5)), float(rng.uniform(5.5, 8.0))
        for side in (-1, 1):
            cx, cy = x + side * apart * dx, y + side * apart * dy
            draw.ellipse((cx - r, cy - r, cx + r, cy + r), fill=COPPER)
        reach = int(apart + r) + 1
        return (x - reach, y - reach, x + reach, y + reach)
    for step in range(-2, 3):  # five pricks in a row
        cx, cy = x + 6 * step * dx, y + 6 * step * dy
        draw.ellipse((cx - 1, cy - 1, cx + 1, cy + 1), fill=BARE)
    return (x - 14, y - 14, x + 15, y + 15)


@dataclass(frozen=True)
class Habits:
    """How a simulated verifier works."""

    delay_s: float = 1.5  # median from the prediction to the verdict
    spread: float = 0.5  # of the logarithm of the delay
    skips: float = 0.05  # share of pieces that they never look at
    misses: float = 0.02  # share of truths that they overlook
    slips: float = 0.01  # share of truths to which they give a wrong kind
    recants: float = (
        0.03  # share of pieces on which they first say that all is well, and then correct themselves
    )


class Verifier:
    """Answers with the truth, late, mostly right, and sometimes against their own word."""

    def __init__(self, name: str, seed: int, labels: tuple[str, ...], habits: Habits | None = None) -> None:
        self.name = name
        self._rng = np.random.default_rng(seed)
        self._labels = labels
        self._habits = habits or Habits()

    def verdicts(self, prediction: Prediction, truths: tuple[Truth, ...]) -> list[tuple[float, Feedback]]:
        """What they will say of a piece, each with its delay in seconds from now."""
        habits, rng = self._habits, self._rng
        if rng.random() < habits.skips:
            return []
        delay = float(habits.delay_s * np.exp(habits.spread * rng.normal()))
        given = Feedback(
            prediction=prediction.id, reviewer=self.name, claims=self._claims(truths), evidence="bench"
        )
        if rng.random() >= habits.recants:
            return [(delay, given)]
        return [(delay, msgspec.structs.replace(given, claims=())), (2 * delay, given)]

    def _claims(self, truths: tuple[Truth, ...]) -> tuple[Claim, ...]:
        claims = []
        for truth in truths:
            if self._rng.random() < self._habits.misses:
                continue
            wrong = self._rng.random() < self._habits.slips
            label = self._labels[int(self._rng.integers(len(self._labels)))] if wrong else truth.label
            claims.append(Claim(label=label, region=truth.region))
        return tuple(claims)
