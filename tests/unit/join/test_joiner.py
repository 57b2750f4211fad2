"""The joiner: whose word counts, what a change is, and what is looked up of the log."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import pytest

from hotloop.config import JoinConfig
from hotloop.errors import CorruptError
from hotloop.join import Entry, Joiner, fold, join, subject
from hotloop.types import (
    Body,
    Change,
    Claim,
    Event,
    Example,
    Feedback,
    Live,
    Notice,
    Observation,
    Prediction,
    Proposals,
    Record,
    Release,
)

SEEN = Observation(id="o", site="s", line="l", at=0.0, digest="0")


def predicted(name: str = "p", version: int = 1) -> Prediction:
    return Prediction(
        id=name, observation=SEEN, version=version, outputs=(), confidence=1.0, proposals=Proposals(0, 1, b"")
    )


def verdict(label: str, reviewer: str = "ann", name: str = "p", at: float = 0.0) -> Feedback:
    return Feedback(prediction=name, reviewer=reviewer, claims=(Claim(0, label),), at=at)


def record(offset: int, body: Body, device: str = "d", sequence: int | None = None) -> Record:
    return Record(offset, 0.0, Event(device, offset if sequence is None else sequence, body))


def labels(entry: Entry) -> list[str | None]:
    """What the entry's example says, reviewer by reviewer."""
    example = entry.example()
    assert example is not None
    return [feedback.claims[0].label for feedback in example.feedback]


class Logged:
    """A log in memory that counts how often it is asked, and of what."""

    def __init__(self, records: Sequence[Record]) -> None:
        self.records = list(records)
        self.asked: list[str] = []

    def about(self, name: str) -> list[Record]:
        self.asked.append(name)
        return [kept for kept in self.records if subject(kept) == name]

    def joined(self, entries_max: int, after: int = 0, feedback_max: int = 64) -> list[Change]:
        joiner = Joiner(JoinConfig(entries_max=entries_max, feedback_max=feedback_max), self.about)
        changes = [joiner.add(kept) for kept in self.records if kept.offset > after]
        return [change for change in changes if change is not None]


def logged(*bodies: Body) -> Logged:
    """A log of the bodies from offset 1 on."""
    return Logged([record(offset, body) for offset, body in enumerate(bodies, 1)])


def test_a_prediction_alone_teaches_nothing() -> None:
    """There is no example before there is feedback."""
    entry, change = join(Entry(), record(1, predicted()))
    assert (entry.prediction, entry.example(), change) == (predicted(), None, None)


def test_feedback_joins_its_prediction() -> None:
    """The example is the prediction with its feedback; the change says at which offset."""
    entry, _ = join(Entry(), record(1, predicted()))
    entry, change = join(entry, record(2, verdict("dent")))
    assert change == Change(2, None, Example(predicted(), (verdict("dent"),)))
    assert change.after == entry.example()


def test_early_feedback_waits_for_its_prediction() -> None:
    """Feedback before its prediction is kept and joins when the prediction comes."""
    entry, change = join(Entry(), record(1, verdict("dent")))
    assert change is None
    entry, change = join(entry, record(2, predicted()))
    assert change == Change(2, None, Example(predicted(), (verdict("dent"),)))


def test_feedback_about_nothing_we_know_is_kept_without_a_change() -> None:
    """It stays in the entry, and is no example."""
    entry, change = join(Entry(), record(1, verdict("dent")))
    assert (len(entry.words), entry.example(), change) == (1, None, None)


def test_reviewers_who_contradict_are_all_heard_by_name() -> None:
    """All are in the example, ordered by their names and not by when they spoke."""
    entry = fold(
        [record(1, predicted()), record(2, verdict("dent", "zoe")), record(3, verdict("scratch", "ann"))]
    )
    assert labels(entry) == ["scratch", "dent"]


def test_the_last_word_replaces_the_first() -> None:
    """The same reviewer again: `before` is what was learned, `after` what is to be learned instead."""
    entry = fold([record(1, predicted()), record(2, verdict("dent"))])
    entry, change = join(entry, record(3, verdict("scratch")))
    assert change == Change(
        3, Example(predicted(), (verdict("dent"),)), Example(predicted(), (verdict("scratch"),))
    )


def test_of_one_device_the_higher_sequence_counts_whenever_it_arrives() -> None:
    """An older word of the same device that arrives late changes nothing."""
    entry = fold([record(1, predicted()), record(2, verdict("dent"), sequence=9)])
    late, change = join(entry, record(3, verdict("scratch"), sequence=8))
    assert late is entry
    assert change is None


def test_of_two_devices_the_later_in_the_log_counts() -> None:
    """Sequences of different devices do not compare; offsets do, and of each device's latest word."""
    words = [record(2, verdict("dent"), "phone", 900), record(3, verdict("scratch"), "tablet", 1)]
    assert labels(fold([record(1, predicted()), *words])) == ["scratch"]
    straggler = record(4, verdict("bend"), "phone", 899)
    assert labels(fold([record(1, predicted()), *words, straggler])) == ["scratch"]
    news = record(5, verdict("bend"), "phone", 901)
    assert labels(fold([record(1, predicted()), *words, straggler, news])) == ["bend"]


def test_a_device_that_two_reviewers_share_keeps_both_words() -> None:
    """The higher sequence of one does not silence the other."""
    entry = fold(
        [record(1, predicted()), record(2, verdict("dent", "ann")), record(3, verdict("bend", "bob"))]
    )
    assert labels(entry) == ["dent", "bend"]


def test_the_same_record_again_changes_nothing() -> None:
    """Delivered twice, at once or later: the same entry, no change."""
    records = [record(1, verdict("dent")), record(2, predicted()), record(3, verdict("bend", "bob"))]
    entry = fold(records)
    for again in records:
        assert join(entry, again) == (entry, None)


def test_one_key_at_two_offsets_counts_once_at_the_lower() -> None:
    """A log that did not de-duplicate: in whatever order the copies come, the entry is the same."""
    copies = [record(2, verdict("dent"), "phone", 5), record(9, verdict("dent"), "phone", 5)]
    rival = record(4, verdict("bend"), "tablet", 1)
    entries = [fold([record(1, predicted()), rival, *order]) for order in (copies, copies[::-1])]
    assert entries[0] == entries[1]
    assert labels(entries[0]) == ["bend"]


def test_the_same_verdict_at_another_time_is_no_change() -> None:
    """A newer word that says the same is kept as the latest, but there is nothing to learn."""
    entry = fold([record(1, predicted()), record(2, verdict("dent", at=5.0))])
    entry, change = join(entry, record(3, verdict("dent", at=500.0)))
    assert change is None
    assert entry.words[0].offset == 3


@pytest.mark.parametrize(
    "other",
    [
        {"claims": (Claim(0, "dent", value=1.0),)},
        {"claims": ()},
        {"complete": False},
        {"kind": "measurement"},
        {"evidence": "photo"},
    ],
)
def test_whatever_else_differs_is_a_change(other: dict[str, object]) -> None:
    """Only the time is looked past."""
    entry = fold([record(1, predicted()), record(2, verdict("dent"))])
    _, change = join(entry, record(3, msgspec.structs.replace(verdict("dent"), **other)))
    assert change is not None


def test_the_first_prediction_under_an_id_stands() -> None:
    """A second one is passed over; if the first is delivered later, it takes its place."""
    first, second = record(1, predicted(version=1)), record(2, predicted(version=2))
    said = record(3, verdict("dent"))
    entry = fold([first, second, said])
    assert entry == fold([second, said, first])
    assert entry.prediction == predicted(version=1)
    _, change = join(fold([second, said]), first)
    assert change is not None
    assert (change.before, change.after) == (
        Example(predicted(version=2), (verdict("dent"),)),
        entry.example(),
    )


def test_pairs_over_the_limit_are_not_joined() -> None:
    """The pairs heard first stay and can still change their word; a flood pushes nobody out."""
    records = [record(1, predicted()), record(2, verdict("dent", "zoe")), record(3, verdict("dent", "bob"))]
    entry = fold(records, feedback_max=2)
    for flood in (record(4, verdict("bend", "ann")), record(5, verdict("bend", "zoe"), "another device")):
        assert join(entry, flood, feedback_max=2) == (entry, None)
    entry, change = join(entry, record(6, verdict("scratch", "zoe")), feedback_max=2)
    assert change is not None
    assert labels(entry) == ["dent", "scratch"]


@pytest.mark.parametrize(
    "body",
    [
        Live(line="l", version=1),
        Notice(subject="s", text="t"),
        Release(version=2, parent=1, tier="reflex", digest="", learned_to=1),
    ],
)
def test_other_events_are_not_joined(body: Body) -> None:
    """Releases, notices and acknowledgements pass by."""
    entry = fold([record(1, predicted())])
    assert subject(record(2, body)) is None
    assert join(entry, record(2, body)) == (entry, None)
    assert Joiner(JoinConfig(), lambda _: []).add(record(1, body)) is None


def test_the_subject_is_the_prediction() -> None:
    """A prediction is about itself, a feedback about what it names."""
    assert subject(record(1, predicted("x"))) == "x"
    assert subject(record(1, verdict("dent", name="y"))) == "y"


def test_an_entry_survives_being_written_and_read() -> None:
    """As keyed state of a stream engine the entry goes through bytes."""
    entry = fold([record(1, predicted()), record(2, verdict("dent")), record(3, verdict("bend", "bob"))])
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(entry), type=Entry) == entry


def test_the_driver_passes_over_what_it_has_seen() -> None:
    """Records at or below the last offset, given again after a fault, are not told twice."""
    log = logged(predicted(), verdict("dent"), verdict("bend"))
    joiner = Joiner(JoinConfig(entries_max=1), log.about)
    changes = [joiner.add(kept) for kept in log.records for _ in range(2)]
    assert [change.offset for change in changes if change is not None] == [2, 3]
    assert [joiner.add(kept) for kept in log.records] == [None] * 3


def test_nothing_is_looked_up_before_anything_was_forgotten() -> None:
    """With room for all, from the log's first record on, the log is never asked."""
    log = logged(verdict("dent", name="a"), predicted("a"), predicted("b"), verdict("dent", name="b"))
    assert len(log.joined(entries_max=10)) == 2
    assert log.asked == []


def test_new_predictions_are_not_looked_up_though_much_was_forgotten() -> None:
    """139 predictions a second on one box: none costs a query as long as no early feedback was forgotten."""
    log = logged(*(predicted(str(name)) for name in range(100)))
    assert log.joined(entries_max=3) == []
    assert log.asked == []


def test_feedback_on_a_forgotten_prediction_is_looked_up() -> None:
    """The entry is rebuilt from the log as of just before the feedback, once; then it is in memory again."""
    log = logged(predicted("a"), predicted("b"), verdict("dent", name="a"), verdict("bend", name="a"))
    changes = log.joined(entries_max=1)
    assert [change.offset for change in changes] == [3, 4]
    assert changes[1].before == changes[0].after
    assert log.asked == ["a"]


def test_a_log_that_is_ahead_is_not_joined_twice() -> None:
    """What the log already holds above the record at hand waits for its own turn."""
    bodies = (predicted("a"), predicted("b"), verdict("dent", "ann", "a"), verdict("bend", "bob", "a"))
    changes = logged(*bodies).joined(entries_max=1)
    assert [len(change.after.feedback) for change in changes if change.after] == [1, 2]


def test_forgotten_early_feedback_is_found_by_its_prediction() -> None:
    """Its id is remembered, so that only this prediction is looked up and not each one."""
    log = logged(verdict("dent", name="a"), predicted("b"), predicted("c"), predicted("a"), predicted("d"))
    changes = log.joined(entries_max=2)
    assert changes == [Change(4, None, Example(predicted("a"), (verdict("dent", name="a"),)))]
    assert log.asked == ["a"]


def test_too_much_forgotten_early_feedback_makes_every_prediction_a_question() -> None:
    """When even the ids do not fit any more, correctness goes before speed."""
    early = [verdict("dent", name=name) for name in "abc"]
    log = logged(*early, predicted("x"), predicted("a"), predicted("y"))
    changes = log.joined(entries_max=1)
    assert [change.offset for change in changes] == [5]
    assert log.asked[-2:] == ["a", "y"]


def test_a_second_prediction_under_a_forgotten_id_does_not_take_its_place() -> None:
    """It is not looked up when it comes; the feedback on it is, and joins the first."""
    log = logged(predicted("a", 1), predicted("b"), predicted("a", 2), verdict("dent", name="a"))
    changes = log.joined(entries_max=1)
    assert changes == [Change(4, None, Example(predicted("a", 1), (verdict("dent", name="a"),)))]
    assert log.asked == ["a"]


@pytest.mark.parametrize("after", [1, 2, 3, 4])
def test_a_start_in_the_middle_of_the_log_knows_what_came_before(after: int) -> None:
    """A restart from a snapshot: the changes from there on are those of a joiner that saw it all."""
    bodies = (
        verdict("dent", name="a"),
        predicted("b"),
        verdict("dent", name="b"),
        predicted("a"),
        verdict("bend", name="b"),
        verdict("bend", name="a"),
        predicted("b", 2),
    )
    log = logged(*bodies)
    whole = log.joined(entries_max=10)
    assert log.joined(entries_max=10, after=after) == [change for change in whole if change.offset > after]


def test_memory_is_bounded_by_use() -> None:
    """At most entries_max entries, and what was used last stays."""
    log = logged(
        predicted("a"), predicted("b"), verdict("dent", name="a"), predicted("c"), verdict("dent", name="a")
    )
    joiner = Joiner(JoinConfig(entries_max=2), log.about)
    for kept in log.records:
        joiner.add(kept)
        assert len(joiner) <= 2
    assert log.asked == []


def test_an_entry_that_was_rebuilt_keeps_the_limit() -> None:
    """The limit on feedback is the same from the log as from memory."""
    bodies = [
        predicted("a"),
        *(verdict("dent", str(i), "a") for i in range(4)),
        predicted("b"),
        verdict("x", name="a"),
    ]
    changes = logged(*bodies).joined(entries_max=1, feedback_max=2)
    assert [change.offset for change in changes] == [2, 3]


def test_a_look_up_that_fails_can_be_tried_again() -> None:
    """An error of the log passes through, and the record is not counted as seen."""
    log = logged(predicted("a"), predicted("b"), verdict("dent", name="a"))
    broken = [True]

    def about(name: str) -> list[Record]:
        if broken:
            raise CorruptError("offset 1 is not what was written", offsets=(1,))
        return log.about(name)

    joiner = Joiner(JoinConfig(entries_max=1), about)
    joiner.add(log.records[0])
    joiner.add(log.records[1])
    with pytest.raises(CorruptError):
        joiner.add(log.records[2])
    broken.clear()
    change = joiner.add(log.records[2])
    assert change is not None
    assert change.after == Example(predicted("a"), (verdict("dent", name="a"),))
