"""The metrics as they are scraped."""

import re

import pytest
from prometheus_client.parser import text_string_to_metric_families

from hotloop.measure import METRICS, Measures, Metrics
from hotloop.measure import prometheus as module

T = 1_000_000.0


def scraped(metrics):
    """All values of a scrape, by name and labels."""
    families = text_string_to_metric_families(metrics.text().decode())
    samples = [sample for family in families for sample in family.samples]
    return {(s.name, *(s.labels[key] for key in sorted(s.labels))): s.value for s in samples}


@pytest.fixture
def fed(story, example, outcomes):
    """Metrics after two turns on two lines and some decisions."""
    measures, metrics = Measures(), Metrics()
    for i in range(2):
        line, at = f"line-{i + 1}", T + 10 * i
        told = None
        for record in (
            story.prediction(f"p{i}", at=at, line=line),
            told := story.feedback(f"p{i}", at=at + 1),
            story.release(i + 2, story.offset, at + 2),
            story.live(i + 2, at=at + 3, line=line),
        ):
            metrics.record(record, measures.add(record))
        measures.judged(example(f"p{i}", line), outcomes("hhhm"), told)
    for record in (story.judgement("refuse", refused=[1, 2]), story.judgement("hold"), story.notice()):
        metrics.record(record, measures.add(record))
    metrics.refresh(measures.report("x"))
    return scraped(metrics)


def test_counters_follow_the_records(fed):
    """Each body counts where it belongs."""
    assert fed["hotloop_predictions_total", "line-1"] == 1
    assert fed["hotloop_verdicts_total",] == 2
    assert fed["hotloop_releases_total", "reflex"] == 2
    assert fed["hotloop_refused_updates_total",] == 1
    assert fed["hotloop_refused_verdicts_total",] == 2
    assert fed["hotloop_held_updates_total",] == 1
    assert fed["hotloop_notices_total",] == 1


def test_gauges_follow_the_log_and_the_report(fed):
    """Offset and versions are those of the last records, quality and density those of the report."""
    assert fed["hotloop_log_offset",] == 11
    assert fed["hotloop_model_version",] == 3
    assert fed["hotloop_line_version", "line-1"] == 2
    assert fed["hotloop_precision", "line-1"] == 1.0
    assert fed["hotloop_recall", "line-2"] == 0.75
    assert fed["hotloop_recall_lower", "line-2"] < 0.75 < fed["hotloop_recall_upper", "line-2"]
    assert fed["hotloop_verified_ratio", "line-1"] == 1.0
    assert fed["hotloop_verdicts_per_hour", "line-1"] == 1
    assert fed["hotloop_unlearned_verdicts",] == 0
    assert fed["hotloop_ceiling",] == 0


def test_the_histogram_holds_each_verdict_once(fed):
    """Two seconds from the hub receiving the verdict to the line being live."""
    assert fed["hotloop_verdict_to_live_seconds_count", "line-1"] == 1
    assert fed["hotloop_verdict_to_live_seconds_sum", "line-1"] == 2.0
    assert fed["hotloop_verdict_to_live_seconds_bucket", "1.0", "line-1"] == 0
    assert fed["hotloop_verdict_to_live_seconds_bucket", "2.0", "line-1"] == 1


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_every_metric_is_named_by_the_conventions(metric, fed):
    """Prefix, base unit, `_total` for counters and only for them, a sentence of help; and it is scraped."""
    assert re.fullmatch(r"hotloop_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    if metric.kind == "histogram":
        assert metric.name.endswith("_seconds")
    assert metric.help.endswith(".")
    assert any(key[0].startswith(metric.name) for key in fed)


def test_names_are_unique():
    """One row a metric."""
    names = [metric.name for metric in METRICS]
    assert len(names) == len(set(names))


def test_registries_are_apart():
    """Two loops in one process do not share a counter, nor prometheus-client's global registry."""
    from prometheus_client import REGISTRY

    Metrics()
    Metrics()
    assert not any(name.startswith("hotloop") for name in REGISTRY._names_to_collectors)


def test_made_up_lines_do_not_grow_the_registry(story, monkeypatch):
    """Beyond the limit lines are counted as one."""
    monkeypatch.setattr(module, "LINES_MAX", 2)
    metrics = Metrics()
    for i in range(5):
        metrics.record(story.prediction(f"p{i}", line=f"line-{i}"))
    values = scraped(metrics)
    assert values["hotloop_predictions_total", "line-1"] == 1
    assert values["hotloop_predictions_total", module.OTHER] == 3


def test_a_line_with_nothing_said_has_no_precision(story, example, outcomes):
    """A share of nothing is left out; its open band is there."""
    measures, metrics = Measures(), Metrics()
    measures.add(story.prediction("p"))
    told = story.feedback("p")
    measures.add(told)
    measures.judged(example("p"), outcomes("m"), told)
    metrics.refresh(measures.report("x"))
    values = scraped(metrics)
    assert ("hotloop_precision", "line-1") not in values
    assert values["hotloop_precision_upper", "line-1"] == 1.0
    assert values["hotloop_recall", "line-1"] == 0.0


def test_hostile_line_names_stay_inside_their_quotes(story):
    """A name with quotes, breaks and braces cannot forge a metric."""
    metrics = Metrics()
    name = 'x"} 1\nhotloop_ceiling 9\n{"'
    metrics.record(story.prediction("p", line=name))
    values = scraped(metrics)
    assert values["hotloop_predictions_total", name] == 1
    assert values["hotloop_ceiling",] == 0
