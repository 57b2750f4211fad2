"""Pictures of a report: PNG files, drawn with matplotlib without a display. The only I/O of this package."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from hotloop.measure.durations import Spread
from hotloop.measure.measures import Report
from hotloop.measure.quality import Band, CurvePoint
from hotloop.measure.report import duration

DPI: Final = 150  # pixels an inch: 1500 pixels wide
COLOURS: Final = {"precision": "#1f6fb4", "recall": "#d9730d", "F1": "#2f3b45"}
TIERS: Final = {"refresh": (4, 3), "consolidate": (1, 2), "rollback": (8, 2)}  # dashes of their marks
ACCENT: Final = "#1f6fb4"
QUIET: Final = "#6b7680"
DELAYS: Final = ("#0b3c5d", "#1f6fb4", "#6aa9d8", "#d9730d", "#b23a48", "#6b7680")
TICKS_S: Final = (1e-5, 1e-4, 1e-3, 1e-2, 0.1, 1, 10, 60, 600, 3600, 36_000, 864_000)
LEAST_EXAMPLES: Final = 10  # a curve begins here, where it has come so far: fewer only make noise
LEAST_DRAWN_S: Final = 1e-5  # shorter, and negative, durations are drawn here: the scale is logarithmic


def learning_curve(report: Report, path: Path) -> None:
    """Precision, recall and F1 with their bands, against verified examples and against minutes."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    by_examples, by_minutes = figure.subplots(1, 2, sharey=True)
    curve = report.quality.curve
    points = [point for point in curve if point.examples >= LEAST_EXAMPLES] or curve
    _curves(by_examples, [float(point.examples) for point in points], points)
    _curves(by_minutes, [point.minutes for point in points], points)
    by_examples.set_xlabel("verified examples")
    by_minutes.set_xlabel("minutes since the first of them")
    by_examples.set_ylabel("over the newest 100 examples or more")
    _releases(by_minutes, report)
    if points:
        by_examples.legend(loc="lower right", frameon=False)
    else:
        by_examples.text(0.5, 0.5, "no verified example yet", ha="center", transform=by_examples.transAxes)
    sure = f"{1 - report.alpha:.0%}"
    _title(figure, f"{report.loop}: quality as it learned", f"bands hold at every look ({sure})")
    figure.savefig(path, dpi=DPI)


def waterfall_chart(report: Report, path: Path) -> None:
    """Where the time goes from the observation to the line that has learned: by stage, for most verdicts."""
    waterfall = report.waterfall
    rows = [(f"{stage.name}", stage.spread) for stage in waterfall.stages]
    totals = [("prediction to live", waterfall.pipeline), ("verdict to live", waterfall.verdict_to_live)]
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    axes = figure.subplots()
    for place, (_, spread) in enumerate(rows + totals):
        _bar(axes, place + (0.4 if place >= len(rows) else 0), spread, total=place >= len(rows))
    axes.axhline(len(rows) - 0.3, color=QUIET, linewidth=0.6)
    places = [place + (0.4 if place >= len(rows) else 0) for place in range(len(rows + totals))]
    axes.set_yticks(places, [name for name, _ in rows + totals])
    axes.set_ylim(len(rows + totals), -0.7)
    axes.set_xscale("log")
    _scale(axes, [spread for _, spread in rows + totals])
    axes.set_xlabel("time from the moment before: line at half, bar to 95 %, dot at 99 % of verdicts")
    axes.grid(axis="x", color="#e3e7ea", linewidth=0.8)
    count = waterfall.verdict_to_live.count
    _title(figure, f"{report.loop}: where the time goes", f"{count} verdicts that are live on their line")
    _plain(axes)
    figure.savefig(path, dpi=DPI)


Curve = tuple[
    Sequence[float], Sequence[float], Sequence[float], Sequence[float]
]  # x, F1, and its lower and upper bound


def what_if(curves: Mapping[str, Curve], path: Path) -> None:
    """Learning curves side by side: for each name of a delay or setting, minutes and F1 scores with their bands."""
    figure = Figure(figsize=(10, 4.6), layout="constrained")
    axes = figure.subplots()
    for i, (name, (minutes, scores, lower, upper)) in enumerate(curves.items()):
        axes.fill_between(minutes, lower, upper, color=DELAYS[i % len(DELAYS)], alpha=0.10, linewidth=0)
        axes.plot(minutes, scores, color=DELAYS[i % len(DELAYS)], linewidth=2, label=name)
    axes.set_ylim(0, 1.02)
    axes.set_xlabel("minutes since the first prediction")
    axes.set_ylabel("F1 of what the lines are told")
    axes.grid(color="#e3e7ea", linewidth=0.8)
    if curves:
        axes.legend(title="feedback comes later by", loc="lower right", frameon=False)
    _title(figure, "What if feedback came later", "the same log, predicted and learned anew")
    _plain(axes)
    figure.savefig(path, dpi=DPI)


def _curves(axes: Axes, x: Sequence[float], points: Sequence[CurvePoint]) -> None:
    """Three lines with their bands."""
    named: dict[str, list[Band]] = {
        "precision": [point.score.precision for point in points],
        "recall": [point.score.recall for point in points],
        "F1": [point.score.f1 for point in points],
    }
    for name, bands in named.items():
        values = [float("nan") if band.value is None else band.value for band in bands]
        lower, upper = [band.lower for band in bands], [band.upper for band in bands]
        axes.fill_between(x, lower, upper, color=COLOURS[name], alpha=0.10, linewidth=0)
        axes.plot(x, values, color=COLOURS[name], linewidth=2, label=name, marker="o" if len(x) == 1 else "")
    axes.set_ylim(0, 1.02)
    axes.grid(color="#e3e7ea", linewidth=0.8)
    _plain(axes)


def _releases(axes: Axes, report: Report) -> None:
    """A mark for each release of the slower tiers: a reflex goes out at nearly every verdict."""
    began = report.quality.curve_began_at
    for tier, dashes in TIERS.items():
        times = [(i.live_at - began) / 60 for i in report.improvements if i.tier == tier]
        for i, at in enumerate(times):
            label = f"{tier} live" if i == 0 else None
            axes.axvline(at, color=QUIET, linewidth=1, linestyle=(0, dashes), label=label)
    marks = [line for line in axes.get_lines() if str(line.get_label()).endswith(" live")]
    if marks:
        axes.legend(handles=marks, loc="lower right", framealpha=1, edgecolor="white")


def _bar(axes: Axes, place: float, spread: Spread, *, total: bool) -> None:
    """One stage: a line at p50, a bar to p95, a dot at p99, and the figures beside it."""
    if not spread.count:
        inside = axes.get_yaxis_transform()  # x as a share of the width: there is no time to put it at
        axes.text(0.01, place, "not measured", va="center", color=QUIET, fontsize=9, transform=inside)
        return
    half, most, rare = (max(s, LEAST_DRAWN_S) for s in (spread.p50_s, spread.p95_s, spread.p99_s))
    colour = COLOURS["F1"] if total else ACCENT
    axes.barh(place, most - half, left=half, height=0.5, color=colour, alpha=0.35)
    axes.plot([half, half], [place - 0.32, place + 0.32], color=colour, linewidth=3, solid_capstyle="butt")
    axes.plot([rare], [place], marker="o", color=colour, markersize=5)
    text = f"   {duration(spread.p50_s)} · {duration(spread.p95_s)}"
    if spread.negative:
        text += f"   ({spread.negative} negative: clocks differ)"
    axes.text(max(most, rare), place, text, va="center", fontsize=9, color=colour, in_layout=False)


def _scale(axes: Axes, spreads: Sequence[Spread]) -> None:
    """A logarithmic scale that holds every stage and leaves room for the figures, ticked in spoken units."""
    seen = [spread for spread in spreads if spread.count]
    times = [max(time, LEAST_DRAWN_S) for spread in seen for time in (spread.p50_s, spread.p99_s)]
    least, most = min(times, default=1e-3), max(times, default=1.0)
    low, high = least / 2, most * max(60.0, (most / least) ** 0.4)
    ticks = [tick for tick in TICKS_S if low <= tick <= high]
    axes.set_xlim(low, high)
    axes.set_xticks(ticks, [duration(tick) for tick in ticks])
    axes.minorticks_off()


def _title(figure: Figure, title: str, under: str) -> None:
    figure.suptitle(f"{title}\n", x=0.01, ha="left", fontsize=13, fontweight="bold")
    figure.text(0.01, 0.925, under, ha="left", fontsize=9.5, color=QUIET)


def _plain(axes: Axes) -> None:
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
