"""The learning curve in bounded memory."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.measure.curve import BUCKETS_MAX, WINDOW_EXAMPLES, Curve
from hotloop.measure.tally import Tally

quick = settings(max_examples=40, deadline=None)

T = 1_000_000.0


def filled(kinds):
    """A curve of one-outcome examples, a second apart: True is a hit, False a miss."""
    curve = Curve()
    for i, hit in enumerate(kinds):
        curve.add(Tally(hits=int(hit), missed=int(not hit)), version=i, at=T + i)
    return curve


def test_each_example_is_a_point_at_first():
    """Points say how many examples, when, and by which version; windows hold all there is."""
    curve = filled([True, False, True])
    assert curve.began_at == T
    spans = curve.spans()
    assert [(span.examples, span.at, span.version) for span in spans] == [
        (1, T, 0),
        (2, T + 1, 1),
        (3, T + 2, 2),
    ]
    assert spans[-1].tally == Tally(hits=2, missed=1)


@pytest.mark.parametrize("count", [255, 256, 257, 512, 513, 3000])
def test_points_are_bounded_and_the_last_is_up_to_date(count):
    """However many examples, at most 256 points; the last one ends at the newest example."""
    spans = filled([True] * count).spans()
    assert min(count, BUCKETS_MAX // 2) <= len(spans) <= BUCKETS_MAX
    assert spans[-1].examples == count
    assert spans[-1].at == T + count - 1
    assert [span.examples for span in spans] == sorted({span.examples for span in spans})


def test_a_window_holds_the_newest_examples_only():
    """After 1000 misses and 1000 hits the last window has hits alone, the middle ones both."""
    spans = filled([False] * 1000 + [True] * 1000).spans()
    assert spans[-1].tally.missed == 0
    assert WINDOW_EXAMPLES <= spans[-1].tally.hits <= 2 * WINDOW_EXAMPLES
    assert any(span.tally.hits and span.tally.missed for span in spans)


@quick
@given(st.integers(1, 600), st.data())
def test_a_correction_finds_its_example(count, data):
    """Correcting one of many examples changes exactly the windows that hold it."""
    place = data.draw(st.integers(0, count - 1))
    curve = filled([True] * count)
    curve.replace(place, Tally(hits=1), Tally(missed=1))
    for span in curve.spans():
        inside = span.examples - span.tally.hits - span.tally.missed <= place < span.examples
        assert span.tally.missed == int(inside)


def test_no_example_no_point():
    """An empty curve has no points."""
    assert Curve().spans() == []
