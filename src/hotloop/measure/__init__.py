"""measure: Record + Outcome -> Report (waterfall, quality, Time-to-Improvement, density, what-if replay)."""

from hotloop.measure.measures import Measures, Report
from hotloop.measure.prometheus import CONTENT_TYPE, METRICS, Metrics
from hotloop.measure.replay import DELAYS_S, delayed
from hotloop.measure.report import render
from hotloop.measure.tally import Tally, count
from hotloop.measure.tti import Improvement
from hotloop.measure.waterfall import MOMENTS, Passage

__all__ = [
    "CONTENT_TYPE",
    "DELAYS_S",
    "METRICS",
    "MOMENTS",
    "Improvement",
    "Measures",
    "Metrics",
    "Passage",
    "Report",
    "Tally",
    "count",
    "delayed",
    "render",
]
