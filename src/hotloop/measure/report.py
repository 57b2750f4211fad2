"""The report of a loop as plain text."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

from hotloop.measure.durations import Spread
from hotloop.measure.measures import Report
from hotloop.measure.quality import Band, Score

ROWS_MAX: Final = 20  # rows a table shows; the JSON has all of them
_UNITS: Final = ((86_400.0, "d"), (3600.0, "h"), (60.0, "min"), (1.0, "s"), (1e-3, "ms"), (1e-6, "us"))


def render(report: Report) -> str:
    """The report as text of at most some 110 columns, for a terminal or a file."""
    parts = [
        _heading(report),
        _quality(report),
        _improvements(report),
        _waterfall(report),
        _density(report),
        _notes(report),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def duration(seconds: float) -> str:
    """Seconds as a person would say them: 3.2 ms, 41 s, 2.5 h."""
    size = abs(seconds)
    for unit_s, name in _UNITS:
        if size >= unit_s:
            return f"{seconds / unit_s:.3g} {name}"
    return "0 s" if size == 0 else f"{seconds * 1e6:.3g} us"


def _heading(report: Report) -> str:
    whole = report.overall
    when = f"{datetime.fromtimestamp(report.at, UTC):%Y-%m-%d %H:%M:%S} UTC" if report.at else "no event yet"
    gate = f"{report.cadence.refused} updates refused, {report.cadence.held} held"
    tiers = ", ".join(f"{count} {tier}" for tier, count in sorted(report.cadence.releases.items())) or "none"
    return "\n".join(
        [
            f"Loop {report.loop} at offset {report.offset}, {when}",
            f"  {whole.predictions} predictions, {whole.verified} verified ({whole.verified_share:.1%})",
            f"  {whole.verdicts} verdicts in {duration(report.at - report.began_at)}",
            f"  releases: {tiers}; {report.cadence.releases_last_day} in the last day",
            f"  gate: {gate}, {report.cadence.refused_verdicts} verdicts held back",
        ]
    )


def _quality(report: Report) -> str:
    quality = report.quality
    if not quality.examples:
        return "Quality: no verified example yet."
    rows = [
        _score("at first", quality.first),
        _score("recent", quality.recent),
        _score("all", quality.overall),
    ]
    for name, scores in (("line", quality.lines), ("label", quality.labels)):
        rows += [_score(f"{name} {score.key}", score) for score in scores[:ROWS_MAX]]
        rows += _left_out(len(scores))
    head = ("", "precision", "recall", "F1", "hits", "false", "missed")
    sure = f"{1 - report.alpha:.0%}"
    title = f"Quality of {quality.examples} verified examples (bands hold at every look, {sure})"
    return f"{title}\n{_table(head, rows)}"


def _score(name: str, score: Score) -> tuple[str, ...]:
    tally = score.tally
    bands = (_band(score.precision), _band(score.recall), _band(score.f1))
    return (name, *bands, str(tally.hits), str(tally.false_alarms), str(tally.missed))


def _band(band: Band) -> str:
    return "-" if band.value is None else f"{band.value:.3f} ({band.lower:.2f} to {band.upper:.2f})"


def _improvements(report: Report) -> str:
    if not report.improvements:
        return "Time-to-Improvement: no release has been live long enough to be measured."
    lines = [f"  {improvement.words()}" for improvement in report.improvements[-ROWS_MAX:]]
    return "\n".join(["Time-to-Improvement, from a release going live", *lines])


def _waterfall(report: Report) -> str:
    waterfall = report.waterfall
    if not waterfall.verdict_to_live.count:
        under_way = waterfall.unlearned + waterfall.undelivered
        return f"Where the time goes: no verdict is live yet; {under_way} are under way."
    rows = [_spread(stage.name, stage.spread) for stage in waterfall.stages]
    rows.append(_spread("prediction to live", waterfall.pipeline))
    rows.append(_spread("verdict to live", waterfall.verdict_to_live))
    head = ("until", "verdicts", "p50", "p95", "p99", "longest", "negative")
    state = f"{waterfall.unlearned} not learned yet, {waterfall.undelivered} not live yet"
    return f"Where the time goes ({state}, {waterfall.dropped} given up)\n{_table(head, rows)}"


def _spread(name: str, spread: Spread) -> tuple[str, ...]:
    times = (spread.p50_s, spread.p95_s, spread.p99_s, spread.most_s)
    shown = [duration(time) if spread.count else "-" for time in times]
    return (name, str(spread.count), *shown, str(spread.negative))


def _density(report: Report) -> str:
    rows: list[tuple[str, ...]] = [
        (
            line.line,
            str(line.predictions),
            f"{line.verified_share:.1%}",
            str(line.verdicts_last_hour),
            f"{line.verdicts_per_hour:.1f}",
            str(line.version or "-"),
        )
        for line in (report.overall, *report.lines[:ROWS_MAX])
    ]
    rows += _left_out(len(report.lines))
    head = ("line", "predictions", "verified", "verdicts, last hour", "verdicts an hour", "version live")
    return f"Feedback density\n{_table(head, rows)}"


def _notes(report: Report) -> str:
    notes = [report.ceiling] if report.ceiling else []
    notes += [one.text for one in report.ceilings]
    audit = report.audit
    if audit.recall is not None:
        notes.append(
            f"By the audit recall over all pieces is {audit.recall:.1%} "
            f"({100 * audit.lower:.1f} to {100 * audit.upper:.1f}), "
            f"{audit.audited} of {audit.unflagged} unflagged pieces verified; on reviewed pieces alone it looks like "
            f"{audit.reviewed or 0.0:.1%}."
        )
    skewed = sum(stage.spread.negative for stage in report.waterfall.stages)
    if skewed:
        notes.append(f"{skewed} stages ended before they began: some devices' clocks differ from the hub's.")
    if report.early:
        notes.append(f"Feedback has come for {report.early} predictions that have not come themselves.")
    if report.lost:
        notes.append(f"{report.lost} feedbacks could not be paired within the memory of the measures.")
    return "\n".join(f"Note: {note}" for note in notes)


def _left_out(count: int) -> list[tuple[str, ...]]:
    return [(f"... and {count - ROWS_MAX} more",)] if count > ROWS_MAX else []


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as they need to be: the first to the left, the others to the right."""
    whole = [row for row in [head, *rows] if len(row) == len(head)]
    widths = [max(len(row[i]) for row in whole) for i in range(len(head))]
    lines = []
    for row in [head, *rows]:
        cells = [cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=False)]
        lines.append("  " + "  ".join([row[0].ljust(widths[0]), *cells]).rstrip())
    return "\n".join(lines)
