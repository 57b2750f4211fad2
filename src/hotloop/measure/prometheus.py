"""The measures as Prometheus metrics: one table of names, one registry of our own, base units."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from hotloop.measure.measures import Report
from hotloop.measure.quality import Score
from hotloop.measure.waterfall import Passage
from hotloop.types import Feedback, Judgement, Live, Notice, Prediction, Record, Release

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
LINES_MAX: Final = 1000  # label values; more lines are counted together as OTHER
OTHER: Final = "other"
BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 60, 600, 3600, 86_400)


class Metric(NamedTuple):
    """One row of METRICS: a name as it is scraped, what it is, its labels, and what it says."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    help: str


METRICS: Final = (
    Metric("hotloop_predictions_total", "counter", ("line",), "Predictions taken into the log."),
    Metric("hotloop_verdicts_total", "counter", (), "Feedback taken into the log."),
    Metric("hotloop_releases_total", "counter", ("tier",), "Releases, each stage counted."),
    Metric("hotloop_refused_updates_total", "counter", (), "Updates that the gate refused."),
    Metric("hotloop_refused_verdicts_total", "counter", (), "Feedback that the gate held back."),
    Metric("hotloop_held_updates_total", "counter", (), "Updates that the gate held back for more evidence."),
    Metric("hotloop_notices_total", "counter", (), "Notices for the operator."),
    Metric("hotloop_log_offset", "gauge", (), "Offset of the last record in the log."),
    Metric("hotloop_model_version", "gauge", (), "Version of the newest release."),
    Metric("hotloop_line_version", "gauge", ("line",), "Version that a line has said it answers with."),
    Metric(
        "hotloop_verdict_to_live_seconds",
        "histogram",
        ("line",),
        "From the hub receiving a verdict to its line being live with it.",
    ),
    Metric("hotloop_precision", "gauge", ("line",), "Share of what was said that was right."),
    Metric("hotloop_precision_lower", "gauge", ("line",), "Lower bound of the precision, at any time."),
    Metric("hotloop_precision_upper", "gauge", ("line",), "Upper bound of the precision, at any time."),
    Metric("hotloop_recall", "gauge", ("line",), "Share of what was there that was said."),
    Metric("hotloop_recall_lower", "gauge", ("line",), "Lower bound of the recall, at any time."),
    Metric("hotloop_recall_upper", "gauge", ("line",), "Upper bound of the recall, at any time."),
    Metric("hotloop_verified_ratio", "gauge", ("line",), "Share of predictions with a verdict."),
    Metric("hotloop_verdicts_per_hour", "gauge", ("line",), "Verdicts in the last hour."),
    Metric("hotloop_unlearned_verdicts", "gauge", (), "Verdicts that no release has learned yet."),
    Metric("hotloop_undelivered_verdicts", "gauge", (), "Verdicts released, but not live on their line yet."),
    Metric("hotloop_ceiling", "gauge", (), "1 while more verdicts bring no provable improvement."),
)


class Metrics:
    """Holds the metrics of one loop. Thread-safe as prometheus-client is.

    Counters follow the records (`record`), gauges a report (`refresh`); `text` is what /metrics answers.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._counters: dict[str, Counter] = {}
        self._gauges: dict[str, Gauge] = {}
        self._histograms: dict[str, Histogram] = {}
        self._lines: set[str] = set()
        for name, kind, labels, text in METRICS:
            if kind == "counter":
                self._counters[name] = Counter(name, text, labels, registry=self.registry)
            elif kind == "gauge":
                self._gauges[name] = Gauge(name, text, labels, registry=self.registry)
            else:
                histogram = Histogram(name, text, labels, registry=self.registry, buckets=BUCKETS_S)
                self._histograms[name] = histogram

    def record(self, record: Record, passages: Sequence[Passage] = ()) -> None:
        """Count a record of the log, and the verdicts that it brought live (from `Measures.add`)."""
        body = record.event.body
        self._gauges["hotloop_log_offset"].set(record.offset)
        if isinstance(body, Prediction):
            self._counters["hotloop_predictions_total"].labels(self._line(body.observation.line)).inc()
        elif isinstance(body, Feedback):
            self._counters["hotloop_verdicts_total"].inc()
        elif isinstance(body, Release):
            self._counters["hotloop_releases_total"].labels(body.tier).inc()
            self._gauges["hotloop_model_version"].set(body.version)
        elif isinstance(body, Live):
            self._gauges["hotloop_line_version"].labels(self._line(body.line)).set(body.version)
        elif isinstance(body, Judgement):
            self._judged(body)
        elif isinstance(body, Notice):
            self._counters["hotloop_notices_total"].inc()
        for passage in passages:
            seconds = self._histograms["hotloop_verdict_to_live_seconds"].labels(self._line(passage.line))
            seconds.observe(passage.verdict_to_live_s)

    def refresh(self, report: Report) -> None:
        """Set the gauges that need a report."""
        self._gauges["hotloop_unlearned_verdicts"].set(report.waterfall.unlearned)
        self._gauges["hotloop_undelivered_verdicts"].set(report.waterfall.undelivered)
        self._gauges["hotloop_ceiling"].set(1 if report.ceiling else 0)
        for density in report.lines:
            line = self._line(density.line)
            self._gauges["hotloop_verified_ratio"].labels(line).set(density.verified_share)
            self._gauges["hotloop_verdicts_per_hour"].labels(line).set(density.verdicts_last_hour)
        for score in report.quality.lines:
            self._score(self._line(score.key), score)

    def text(self) -> bytes:
        """Everything in Prometheus' text format."""
        return generate_latest(self.registry)

    def _judged(self, judgement: Judgement) -> None:
        self._counters["hotloop_refused_verdicts_total"].inc(len(judgement.refused))
        if judgement.decision == "refuse":
            self._counters["hotloop_refused_updates_total"].inc()
        elif judgement.decision == "hold":
            self._counters["hotloop_held_updates_total"].inc()

    def _score(self, line: str, score: Score) -> None:
        for name, band in (("hotloop_precision", score.precision), ("hotloop_recall", score.recall)):
            if band.value is not None:
                self._gauges[name].labels(line).set(band.value)
            self._gauges[f"{name}_lower"].labels(line).set(band.lower)
            self._gauges[f"{name}_upper"].labels(line).set(band.upper)

    def _line(self, line: str) -> str:
        """The label value of a line: names from outside must not grow the registry without end."""
        if line in self._lines:
            return line
        if len(self._lines) >= LINES_MAX:
            return OTHER
        self._lines.add(line)
        return line
