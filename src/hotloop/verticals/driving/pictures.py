"""Pictures of drives: findings from above, the ranked queue, and a planner before and after it was tuned."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from hotloop.types import Floats
from hotloop.verticals.driving.finding import CASES, Finding
from hotloop.verticals.driving.tracks import Actor, Grid, Tracks, as_grid

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SHOWN: Final = 6
_TRAIL_S, _AHEAD_S = 3.0, 2.0
_VIEW_M: Final = (45.0, 16.0)  # at least, half of it along and across
_SUBJECT, _OTHER, _REST = "#d73027", "#f58518", "#8a97a6"
_COLOURS: Final = (
    "#7f0000", "#b2182b", "#d6604d", "#f4a582", "#762a83", "#9970ab",
    "#1b7837", "#2166ac", "#4393c3", "#e6ab02", "#666666", "#a6761d",
)  # fmt: skip


@dataclass(frozen=True)
class Shown:
    """A finding with its log; `interest`: what the loop thinks of it, 0 to 1."""

    tracks: Tracks
    finding: Finding
    interest: float


@dataclass(frozen=True)
class Queued:
    """A place in the ranked queue: the case, the score that it got, and whether it truly was worth a look."""

    case: str
    score: float
    worth: bool


def top_findings(shown: Sequence[Shown], path: Path) -> None:
    """The first findings of a queue, from above, at their worst moment."""
    chosen = list(shown[:SHOWN])
    figure, axes = _figure(max(1, (len(chosen) + 1) // 2), 2, (13.0, 2.9))
    for place, one in zip(axes.flat, chosen, strict=False):
        from_above(place, one)
    for place in axes.flat[len(chosen) :]:
        place.set_axis_off()
    figure.savefig(path, dpi=90)


def from_above(axes: Axes, one: Shown) -> None:
    """Rectangles at the peak with where they came from (line) and went (dots); the subject red, who else orange.

    Turned so that the subject drives to the right.
    """
    grid, finding = as_grid(one.tracks), one.finding
    column = int(np.clip(finding.peak - grid.first, 0, max(0, grid.x.shape[1] - 1)))
    seen = np.flatnonzero(np.isfinite(grid.x[:, column])).tolist() if grid.x.size else []
    main = [actor for actor in finding.actors if actor in seen] or seen[:1]
    if main:
        turned = _turned(grid, main[0], column)
        spans = _view(turned, main, column)
        step_s = one.tracks.step_s
        gone = [k for k in finding.actors if k not in seen and np.isfinite(grid.x[k]).any()]  # shown where it was last
        for actor in sorted([*seen, *gone], key=lambda k: k in finding.actors):  # who matters is drawn last
            colour = _SUBJECT if actor == main[0] else _OTHER if actor in finding.actors else _REST
            there = np.flatnonzero(np.isfinite(grid.x[actor]))
            at = column if actor in seen else int(there[np.abs(there - column).argmin()])
            _actor(axes, turned, (actor, at), (one.tracks.actors[actor], colour), step_s)
        axes.set_xlim(-spans[0], spans[0])
        axes.set_ylim(-spans[1], spans[1])
    axes.set_aspect("equal")
    axes.grid(alpha=0.25)
    axes.tick_params(labelsize=7)
    axes.set_title(_wrapped(finding.words), fontsize=9, loc="left")
    moment = f"{one.tracks.source}, {finding.peak * one.tracks.step_s:.1f} s; interest {one.interest:.2f}"
    axes.text(0.01, 0.02, moment, transform=axes.transAxes, fontsize=7, color="0.35")


def queue_chart(before: Sequence[Queued], after: Sequence[Queued], path: Path) -> None:
    """The head of the queue at first and at the end: a bar a finding, its colour the case, pale where it was no use."""
    figure, axes = _figure(1, 2, (13.0, 6.5))
    for place, queue, name in ((axes[0, 0], before, "at first"), (axes[0, 1], after, "after the verdicts")):
        for row, one in enumerate(queue):
            colour = _COLOURS[CASES.index(one.case)] if one.case in CASES else _REST
            place.barh(row, max(one.score, 0.01), color=colour, alpha=1.0 if one.worth else 0.25)
            place.text(0.01, row, one.case + ("" if one.worth else "  (no use)"), va="center", fontsize=7)
        share = sum(one.worth for one in queue) / max(1, len(queue))
        place.set_title(f"{name}: {share:.0%} of the first {len(queue)} worth a look", loc="left", fontsize=11)
        place.set_xlim(0.0, 1.0)
        place.set_yticks(range(len(queue)), [str(row + 1) for row in range(len(queue))], fontsize=7)
        place.invert_yaxis()
        place.set_xlabel("interest")
        place.set_ylabel("place in the queue")
    figure.savefig(path, dpi=90)


def planner_chart(before: Mapping[str, float], after: Mapping[str, float], path: Path) -> None:
    """Share of scenarios with an intervention, by slice, with the planner as it was and as it was tuned."""
    figure, axes = _figure(1, 1, (9.0, 4.5))
    names, place = list(before), axes[0, 0]
    at = np.arange(len(names), dtype=float)
    for shift, found, name, colour in ((-0.2, before, "before", _REST), (0.2, after, "after", "#1a9850")):
        place.bar(at + shift, [100 * found.get(one, 0.0) for one in names], 0.4, label=name, color=colour)
    place.set_xticks(at, [name.replace(" ", "\n", 1) for name in names], fontsize=8)
    place.set_ylabel("scenarios with an intervention, %")
    place.set_ylim(bottom=0.0)
    place.grid(axis="y", alpha=0.3)
    place.legend()
    figure.savefig(path, dpi=100)


def _figure(rows: int, columns: int, size: tuple[float, float]) -> tuple[Any, Any]:
    """A figure and its axes; size: inches of a row."""
    import matplotlib as mpl  # noqa: PLC0415 - the extra hub; a line needs no pictures

    mpl.use("Agg")
    from matplotlib.figure import Figure  # noqa: PLC0415

    figure = Figure(figsize=(size[0], size[1] * rows), layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _turned(grid: Grid, subject: int, column: int) -> Grid:
    """The scene with the subject in the middle, driving to the right."""
    turn = float(grid.heading[subject, column])
    dx, dy = grid.x - grid.x[subject, column], grid.y - grid.y[subject, column]
    cos, sin = np.cos(turn), np.sin(turn)
    return Grid(grid.first, dx * cos + dy * sin, dy * cos - dx * sin, grid.heading - turn, grid.v, grid.a)


def _view(grid: Grid, main: Sequence[int], column: int) -> tuple[float, float]:
    """Half the width and height of what is shown, m: all who matter are in it."""
    far = [float(np.abs(values[list(main), column]).max()) for values in (grid.x, grid.y)]
    return max(_VIEW_M[0], 1.3 * far[0]), max(_VIEW_M[1], 1.3 * far[1])


def _actor(axes: Axes, grid: Grid, at: tuple[int, int], look: tuple[Actor, str], step_s: float) -> None:
    from matplotlib.patches import Polygon  # noqa: PLC0415

    (actor, column), (who, colour) = at, look
    low, high = max(0, column - round(_TRAIL_S / step_s)), column + round(_AHEAD_S / step_s) + 1
    axes.plot(grid.x[actor, low : column + 1], grid.y[actor, low : column + 1], color=colour, alpha=0.6, lw=1.2)
    axes.plot(grid.x[actor, column:high], grid.y[actor, column:high], color=colour, alpha=0.6, lw=1.0, ls=":")
    axes.add_patch(Polygon(_corners(grid, actor, column, who), closed=True, color=colour, alpha=0.9, lw=0))
    if colour != _REST:
        place = (float(grid.x[actor, column]), float(grid.y[actor, column]) + who.width / 2 + 1.0)
        axes.text(*place, f"{who.name}, {grid.v[actor, column]:.1f} m/s", fontsize=7, ha="center", color=colour)


def _corners(grid: Grid, actor: int, column: int, who: Actor) -> Floats:
    """The rectangle (4, 2); at least as large as can be seen."""
    half = np.array([(1, 1), (1, -1), (-1, -1), (-1, 1)]) * max(who.length, 0.8) / 2
    half[:, 1] = np.array((1, -1, -1, 1)) * max(who.width, 0.8) / 2
    turn = float(grid.heading[actor, column])
    cos, sin = np.cos(turn), np.sin(turn)
    x, y = half[:, 0] * cos - half[:, 1] * sin, half[:, 0] * sin + half[:, 1] * cos
    corners: Floats = np.stack((grid.x[actor, column] + x, grid.y[actor, column] + y), axis=1)
    return corners


def _wrapped(words: str) -> str:
    return "\n".join(textwrap.wrap(words, 95)[:2])
