"""The report as text."""

import pytest

from hotloop.measure import Measures, render
from hotloop.measure.report import ROWS_MAX, duration
from hotloop.types import Outcome

T = 1_700_000_000.0


def filled(story, example, lines=2, examples=30, skew=0.0):
    """Measures of a loop with some lines; every fourth outcome is missed."""
    measures = Measures()
    for i in range(examples):
        name, line, at = f"p{i}", f"line-{i % lines + 1}", T + 10 * i
        measures.add(story.prediction(name, at=at, line=line, version=i + 1))
        told = story.feedback(name, at=at + 2, given=at + 1 + skew)
        measures.add(told)
        measures.judged(example(name, line, i + 1), (Outcome("hit" if i % 4 else "missed", "open"),), told)
        measures.add(story.release(i + 2, story.offset, at + 3))
        measures.add(story.live(i + 2, at=at + 4, line=line))
    return measures


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0 s"),
        (2e-7, "0.2 us"),
        (0.0000032, "3.2 us"),
        (0.0032, "3.2 ms"),
        (41.0, "41 s"),
        (-41.0, "-41 s"),
        (90.0, "1.5 min"),
        (9000.0, "2.5 h"),
        (604_800.0, "7 d"),
    ],
)
def test_durations_as_a_person_says_them(seconds, text):
    """Three digits and the unit that fits."""
    assert duration(seconds) == text


def test_every_part_is_there(story, example):
    """Heading, quality with bands, TTI, waterfall and density, each with the loop's figures."""
    text = render(filled(story, example).report("boards"))
    assert text.startswith("Loop boards at offset 120, 2023-11-14 22:18:14 UTC")
    assert "30 predictions, 30 verified (100.0%)" in text
    assert "releases: 30 reflex; 30 in the last day" in text
    assert "Quality of 30 verified examples (bands hold at every look, 95%)" in text
    row = next(line for line in text.splitlines() if line.strip().startswith("all "))
    assert "0.733" in row
    assert "release 21 (reflex): no difference proven" in text
    assert "verdict to live" in text
    assert "Feedback density" in text
    assert "Note:" not in text


def test_a_loop_that_has_not_begun_says_so():
    """No table of zeros, no claim."""
    text = render(Measures().report("new"))
    assert "no event yet" in text
    assert "no verified example yet" in text
    assert "no verdict is live yet; 0 are under way" in text
    assert "no release has been live long enough" in text


def test_the_columns_stand_under_their_heads(story, example):
    """Every whole row of a table ends where its head does, and no line is over 110 columns."""
    lines = render(filled(story, example).report("boards")).splitlines()
    at = next(i for i, line in enumerate(lines) if line.strip().startswith("precision"))
    assert {len(line) for line in lines[at : at + 7]} == {len(lines[at])}
    assert max(len(line) for line in lines) <= 110


def test_long_tables_are_cut_with_a_count(story, example):
    """Twenty rows are shown, and how many are not."""
    text = render(filled(story, example, lines=25).report("boards"))
    assert text.count("... and 5 more") == 2
    assert text.count("line line-") == ROWS_MAX


def test_skew_early_and_lost_feedback_are_noted(story, example):
    """What an operator should look into stands at the end, in words."""
    measures = filled(story, example, skew=3600.0)
    measures.add(story.feedback("nobody", at=T))
    text = render(measures.report("boards"))
    assert "Note: 30 stages ended before they began" in text
    assert "Note: Feedback has come for 1 predictions that have not come themselves." in text


def test_lost_feedback_and_a_ceiling_are_noted(story, example):
    """Both are rare; both are said."""
    import msgspec

    report = msgspec.structs.replace(filled(story, example).report("boards"), lost=3, ceiling="No more gain.")
    text = render(report)
    assert "Note: No more gain." in text
    assert "Note: 3 feedbacks could not be paired" in text
