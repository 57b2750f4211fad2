"""Precision, recall and F1 by line, label, version and hour."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hotloop.evidence import share_interval
from hotloop.measure import Tally, count
from hotloop.measure import quality as module
from hotloop.measure.quality import ALPHA, OTHER, Quality, scores
from hotloop.types import Example, Observation, Outcome, Prediction, Proposals

T = 3600.0 * 1000


def test_overall_with_its_bands(example, outcomes):
    """Values are the counts' shares, bands those of the evidence."""
    quality = Quality()
    assert quality.add(example("p"), outcomes("hhhf"), T)
    assert quality.add(example("q"), outcomes("hmm"), T + 1)
    overall = quality.summary().overall
    assert overall.tally == Tally(hits=4, false_alarms=1, missed=2)
    assert overall.precision.value == pytest.approx(4 / 5)
    assert (overall.precision.lower, overall.precision.upper) == pytest.approx(share_interval(4, 5, ALPHA))
    assert (overall.recall.lower, overall.recall.upper) == pytest.approx(share_interval(4, 6, ALPHA))
    assert overall.f1.value == pytest.approx(8 / 11)
    lower, upper = share_interval(4, 7, ALPHA)
    assert overall.f1.lower == pytest.approx(2 * lower / (1 + lower))
    assert overall.f1.upper == pytest.approx(2 * upper / (1 + upper))


def test_nothing_seen_has_no_value_and_an_open_band():
    """Before the first example nothing is claimed."""
    summary = Quality().summary()
    assert summary.examples == 0
    assert summary.overall.precision.value is None
    assert (summary.overall.f1.lower, summary.overall.f1.upper) == (0.0, 1.0)
    assert summary.lines == summary.curve == ()


def test_tables_by_line_label_version_and_hour(example):
    """Each table splits the same counts its own way."""
    quality = Quality()
    quality.add(example("p", "line-1", 1), (Outcome("hit", "open"), Outcome("missed", "short")), T)
    quality.add(example("q", "line-2", 2), (Outcome("false alarm", "short"),), T + 3600)
    summary = quality.summary()
    assert {s.key: s.tally for s in summary.lines} == {
        "line-1": Tally(hits=1, missed=1),
        "line-2": Tally(false_alarms=1),
    }
    assert {s.key: s.tally for s in summary.labels} == {
        "open": Tally(hits=1),
        "short": Tally(missed=1, false_alarms=1),
    }
    assert [s.key for s in summary.versions] == ["1", "2"]
    assert [s.key for s in summary.hours] == ["3600000", "3603600"]


def test_a_later_word_replaces_the_earlier(example, outcomes):
    """A correction changes every table and the curve, and counts no second example."""
    quality = Quality()
    assert quality.add(example("p"), outcomes("hh"), T)
    assert quality.add(example("q"), outcomes("h"), T)
    assert not quality.add(example("p"), outcomes("fm"), T + 7200)
    summary = quality.summary()
    assert summary.examples == 2
    whole = Tally(hits=1, false_alarms=1, missed=1)
    for score in (summary.overall, summary.recent, summary.lines[0], summary.labels[0], summary.versions[0]):
        assert score.tally == whole
    assert [(score.key, score.tally) for score in summary.hours] == [(str(int(T)), whole)]
    assert summary.curve[-1].score.tally == whole
    assert quality.scores() == [0.0, 1.0]


def predicted(number):
    """One of ten predictions, on three lines, by five versions."""
    seen = Observation(id="o", site="s", line=f"line-{number % 3}", at=0.0, digest="")
    said = {"outputs": (), "confidence": 0.0, "proposals": Proposals(0, 0, b"")}
    return Prediction(id=f"p{number}", observation=seen, version=number // 2, **said)


words = st.lists(
    st.tuples(
        st.integers(0, 9),  # which example
        st.lists(st.sampled_from([("hit", "a"), ("missed", "a"), ("false alarm", "b"), ("right", "b")]), max_size=4),
    ),
    max_size=40,
)


@settings(max_examples=20, deadline=None)
@given(words)
def test_every_table_adds_up_to_the_last_words(said):
    """Whatever is said and corrected, each table's rows sum to the last word on every example."""
    quality, last = Quality(), {}
    for number, kinds in said:
        prediction = predicted(number)
        found = tuple(Outcome(kind, label) for kind, label in kinds)
        quality.add(Example(prediction, ()), found, T + 3600 * number)
        if found:
            last[number] = found
    whole = count(outcome for found in last.values() for outcome in found)
    summary = quality.summary()
    assert summary.overall.tally == summary.recent.tally == whole
    for table in (summary.lines, summary.labels, summary.versions, summary.hours):
        total = Tally()
        for row in table:
            total.add(row.tally)
        assert total == whole
    assert sorted(quality.scores()) == sorted(count(found).score for found in last.values())


def test_a_word_that_comes_after_its_example_was_forgotten_is_counted_anew(example, outcomes, monkeypatch):
    """The memory for corrections is bounded; beyond it an example may count twice, never below zero."""
    monkeypatch.setattr(module, "REMEMBERED_MAX", 1)
    quality = Quality()
    quality.add(example("p"), outcomes("h"), T)
    quality.add(example("q"), outcomes("h"), T)
    assert quality.add(example("p"), outcomes("m"), T)
    assert quality.overall == Tally(hits=2, missed=1)


def test_an_example_without_outcomes_is_not_counted(example):
    """Where a vertical has nothing to say of an example, it is none."""
    quality = Quality()
    assert not quality.add(example("p"), (), T)
    assert quality.examples == 0


def test_recent_is_the_newest_and_first_the_oldest_window(example, outcomes, monkeypatch):
    """A loop that got better shows it in these two rows."""
    monkeypatch.setattr(module, "RECENT_EXAMPLES", 50)
    quality = Quality()
    for i in range(300):
        quality.add(example(f"p{i}"), outcomes("m" if i < 150 else "h"), T + i)
    summary = quality.summary()
    assert summary.first.recall.value == 0.0
    assert summary.first.tally.missed == 100
    assert summary.recent.tally == Tally(hits=50)
    assert summary.overall.recall.value == 0.5


def test_a_correction_beyond_the_newest_scores_leaves_them_alone(example, outcomes, monkeypatch):
    """An old example is corrected in the totals only."""
    monkeypatch.setattr(module, "SCORES_MAX", 2)
    quality = Quality()
    for name in "abc":
        quality.add(example(name), outcomes("h"), T)
    quality.add(example("a"), outcomes("m"), T)
    assert quality.scores() == [1.0, 1.0]
    quality.add(example("b"), outcomes("m"), T)
    assert quality.scores() == [0.0, 1.0]


def test_tables_are_bounded(example, monkeypatch):
    """Made-up lines and labels go to one row; of versions and hours the newest stay."""
    for limit in ("LINES_MAX", "LABELS_MAX", "VERSIONS_MAX", "HOURS_MAX"):
        monkeypatch.setattr(module, limit, 2)
    quality = Quality()
    for i in range(5):
        quality.add(example(f"p{i}", f"line-{i}", i), (Outcome("hit", f"label-{i}"),), T + 3600 * i)
    summary = quality.summary()
    assert {s.key: s.tally.hits for s in summary.lines} == {"line-0": 1, "line-1": 1, OTHER: 3}
    assert {s.key: s.tally.hits for s in summary.labels} == {"label-0": 1, "label-1": 1, OTHER: 3}
    assert [s.key for s in summary.versions] == ["3", "4"]
    assert len(summary.hours) == 2


def test_the_curve_counts_examples_and_minutes(example, outcomes):
    """Points carry both axes of the plot."""
    quality = Quality()
    for i in range(3):
        quality.add(example(f"p{i}", version=i + 1), outcomes("h"), T + 60 * i)
    points = quality.summary().curve
    assert [(p.examples, p.minutes, p.version) for p in points] == [(1, 0.0, 1), (2, 1.0, 2), (3, 2.0, 3)]


def test_a_score_keeps_its_counts(outcomes):
    """Scores handed out do not change when counting goes on."""
    tally = Tally(hits=1)
    (score,) = scores([("x", tally)], ALPHA)
    tally.count("missed")
    assert score.tally == Tally(hits=1)
