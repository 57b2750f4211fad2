"""All measures together, as the engine feeds them."""

import time

import msgspec
import pytest

from hotloop.measure import Measures, Report

T = 1_000_000.0


def turn(story, measures, example, outcomes, index):
    """One whole turn of the loop: predict, verdict, release, live; gives the passages that ended."""
    at, name = T + 60 * index, f"p{index}"
    measures.add(story.prediction(name, at=at, version=index + 1))
    told = story.feedback(name, at=at + 5)
    measures.add(told)
    measures.judged(example(name, version=index + 1), outcomes("h" if index % 4 else "m"), told)
    measures.add(story.release(index + 2, story.offset, at + 6))
    return measures.add(story.live(index + 2, at=at + 7))


def test_a_loop_from_end_to_end(story, example, outcomes):
    """After forty turns every part of the report knows of them."""
    measures = Measures()
    for i in range(40):
        assert len(turn(story, measures, example, outcomes, i)) == 1
    measures.add(story.judgement("refuse", at=T + 2500, refused=[3]))
    measures.add(story.notice(at=T + 2501))
    report = measures.report("boards")
    assert (report.loop, report.offset, report.began_at, report.at) == ("boards", 162, T, T + 2501)
    assert (report.overall.predictions, report.overall.verified, report.overall.version) == (40, 40, 41)
    assert report.cadence.releases == {"reflex": 40}
    assert report.cadence.refused == 1
    assert report.waterfall.verdict_to_live.count == 40
    assert report.quality.examples == 40
    assert report.quality.overall.tally.missed == 10
    assert [i.version for i in report.improvements] == [21]
    assert (report.ceiling, report.early, report.lost) == ("", 0, 0)


def test_the_report_of_nothing():
    """A loop that has not begun has a report too."""
    report = Measures().report("new")
    assert (report.offset, report.at, report.overall.predictions) == (0, 0.0, 0)


def test_the_report_is_json_and_back(story, example, outcomes):
    """What /v1/report sends is the whole report."""
    measures = Measures()
    for i in range(25):
        turn(story, measures, example, outcomes, i)
    report = measures.report("boards")
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_a_correction_counts_no_second_example(story, example, outcomes):
    """A second opinion is a verdict more and an example the same."""
    measures = Measures()
    turn(story, measures, example, outcomes, 1)
    again = story.feedback("p1", at=T + 70, reviewer="ben")
    measures.add(again)
    measures.judged(example("p1"), outcomes("f"), again)
    report = measures.report("boards")
    assert (report.overall.verdicts, report.overall.verified, report.quality.examples) == (2, 1, 1)
    assert report.quality.overall.tally.false_alarms == 1


def test_early_feedback_shows_until_its_prediction_comes(story):
    """Feedback about nothing we know is visible, and becomes a verdict when its prediction comes."""
    measures = Measures()
    measures.add(story.feedback("p"))
    assert (measures.report("x").early, measures.report("x").overall.verdicts) == (1, 0)
    measures.add(story.prediction("p"))
    assert (measures.report("x").early, measures.report("x").overall.verdicts) == (0, 1)


def test_reports_are_the_same_for_the_same_log(story, example, outcomes):
    """No clock, no chance: two runs over one log agree in every figure."""
    reports = []
    for _ in range(2):
        told, measures = type(story)(), Measures()
        for i in range(30):
            turn(told, measures, example, outcomes, i)
        reports.append(measures.report("x"))
    assert reports[0] == reports[1]


def test_alpha_sets_the_width_of_the_bands(story, example, outcomes):
    """A surer band is a wider one, and the report says how sure it is."""
    measures = Measures()
    for i in range(10):
        turn(story, measures, example, outcomes, i)
    usual, sure = measures.report("x"), measures.report("x", alpha=0.001)
    assert (usual.alpha, sure.alpha) == (0.05, 0.001)
    assert sure.quality.overall.f1.lower < usual.quality.overall.f1.lower


def test_a_record_takes_microseconds(story, example, outcomes):
    """The hot path: far under a millisecond of processor time a record."""
    measures = Measures()
    began = time.process_time()
    for i in range(500):
        turn(story, measures, example, outcomes, i)
    assert (time.process_time() - began) / (500 * 5) < 0.0005


@pytest.mark.parametrize("name", ["", "a" * 200, "p\u0000", "../../etc"])
def test_hostile_names_are_only_names(story, name):
    """Lines and ids are keys and text, whatever they are."""
    measures = Measures()
    measures.add(story.prediction(name, line=name))
    measures.add(story.feedback(name))
    assert measures.report("x").lines[0].line == name
