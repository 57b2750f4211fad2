"""Before and after: boards that no line showed, answered by two heads. Measured, and drawn with boxes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from hotloop.feedback import verdict
from hotloop.measure import Tally, count
from hotloop.ports import Vertical
from hotloop.sense.images import decode_image
from hotloop.types import Example, Head, Observation, Outcome, Output, Prediction, Proposals
from hotloop.verticals.inspection.plant import Sensed
from hotloop.verticals.inspection.score import OVERLAP_MIN, overlaps

SHOWN = 3
_COLOURS = {"hit": "#1a9850", "false alarm": "#d73027", "missed": "#f58518"}


@dataclass(frozen=True)
class Compared:
    """One board, answered by both heads."""

    board: Sensed
    example: Example
    before: tuple[Output, ...]
    after: tuple[Output, ...]


def compare(vertical: Vertical, boards: Sequence[Sensed], before: Head, after: Head) -> list[Compared]:
    """Answer each board with both heads on the same proposals."""
    compared = []
    for board in boards:
        proposals = vertical.propose(board.payload)
        outputs = [vertical.answer(proposals, head) for head in (before, after)]
        compared.append(Compared(board, _example(proposals, board), outputs[0], outputs[1]))
    return compared


def counts(vertical: Vertical, compared: Sequence[Compared], *, after: bool) -> Tally:
    """How one of the two heads did on all boards."""
    told = (vertical.outcomes(one.after if after else one.before, one.example) for one in compared)
    return count(chain.from_iterable(told))


def before_after(vertical: Vertical, compared: Sequence[Compared], path: Path) -> None:
    """Draw the boards whose answers changed most: the first head's on the left, the last one's on the right."""
    mpl.use("Agg")
    chosen = sorted(compared, key=lambda one: -_change(vertical, one))[:SHOWN]
    if not chosen:
        return
    figure = Figure(figsize=(11, 5.6 * len(chosen)), layout="constrained")
    axes = np.atleast_2d(figure.subplots(len(chosen), 2))
    for row, one in zip(axes, chosen, strict=True):
        for place, outputs, name in zip(row, (one.before, one.after), ("before", "after"), strict=True):
            _board(place, vertical, one, outputs, name)
    marks = [Line2D([], [], color=colour, lw=3, label=kind) for kind, colour in _COLOURS.items()]
    figure.legend(handles=marks, loc="outside upper center", ncols=3, frameon=False, fontsize=13)
    figure.savefig(path, dpi=80)


def _board(axes: Axes, vertical: Vertical, one: Compared, outputs: tuple[Output, ...], name: str) -> None:
    pixels = decode_image(one.board.payload.data)
    axes.imshow(pixels, cmap="gray", vmin=-90, vmax=255, interpolation="nearest")
    axes.set_axis_off()
    said, missed = _marks(vertical, one, outputs)
    for output, kind in said:
        _box(axes, output.region or (0, 0, 1, 1), f"{output.label} {output.score:.2f}", kind)
    for label, region in missed:
        _box(axes, region, label, "missed")
    wrong = sum(kind != "hit" for _, kind in said) + len(missed)
    axes.set_title(f"{name}: {sum(kind == 'hit' for _, kind in said)} right, {wrong} wrong", fontsize=13)


def _marks(
    vertical: Vertical, one: Compared, outputs: tuple[Output, ...]
) -> tuple[list[tuple[Output, str]], list[tuple[str, tuple[float, ...]]]]:
    """Each output with how it turned out, and the truths that no output hit."""
    # answers are best first, and the best takes a truth: one is a hit if there are more hits with it than without
    so_far = [_hits(vertical.outcomes(outputs[:count], one.example)) for count in range(len(outputs) + 1)]
    said = [
        (output, "hit" if after > before else "false alarm")
        for output, (before, after) in zip(outputs, pairwise(so_far), strict=True)
    ]
    found = [output for output, kind in said if kind == "hit"]
    placed = [(truth.label, truth.region) for truth in one.board.truths if truth.region is not None]
    missed = [truth for truth in placed if not any(_same(output, *truth) for output in found)]
    return said, missed


def _hits(outcomes: Sequence[Outcome]) -> int:
    return sum(outcome.kind == "hit" for outcome in outcomes)


def _same(output: Output, label: str, region: tuple[float, ...]) -> bool:
    if output.region is None:  # a kind of the whole piece
        return output.label == label
    share = overlaps(np.array([output.region], float), np.array([region], float))[0, 0]
    return output.label == label and bool(share > OVERLAP_MIN)


def _box(axes: Axes, region: tuple[float, ...], text: str, kind: str) -> None:
    x1, y1, x2, y2 = region
    style = "--" if kind == "missed" else "-"
    axes.add_patch(Rectangle((x1, y1), x2 - x1, y2 - y1, fill=False, ec=_COLOURS[kind], lw=2.5, ls=style))
    box = {"facecolor": _COLOURS[kind], "edgecolor": "none", "pad": 1.5}
    axes.text(x1, y1 - 4, text, color="white", fontsize=8, va="bottom", bbox=box)


def _change(vertical: Vertical, one: Compared) -> int:
    """How many mistakes the second head makes less."""
    before, after = (counts(vertical, [one], after=which) for which in (False, True))
    return before.false_alarms + before.missed - after.false_alarms - after.missed


def _example(proposals: Proposals, board: Sensed) -> Example:
    """The board with its whole truth as a verdict."""
    seen = Observation(id="unseen", site="", line="", at=0.0, digest="")
    prediction = Prediction(
        id="unseen", observation=seen, version=0, outputs=(), confidence=1.0, proposals=proposals
    )
    return Example(prediction, (verdict("unseen", [(t.label, t.region) for t in board.truths], "truth"),))
