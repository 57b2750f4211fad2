"""The laws of the Log: what every adapter must do.

Each law takes an `Opener`: a function that opens one and the same log, empty at first, each time it is called
(so that a law can close it and open it again). `check_log` runs them all; `LAWS` suits pytest's parametrize.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TypeAlias

from hotloop.errors import InputError, KeyConflictError, StoreError
from hotloop.ports import Log
from hotloop.testing.checks.raising import raises
from hotloop.types import (
    Body,
    Claim,
    Event,
    Feedback,
    Judgement,
    Live,
    Notice,
    Observation,
    Output,
    Prediction,
    Proposals,
    Record,
    Release,
)

Opener: TypeAlias = Callable[[], Log]
Law: TypeAlias = Callable[[Opener], None]


def check_log(make: Callable[[], Opener]) -> None:
    """Hold a log to all laws, each on its own: `make` gives an Opener of a new, empty log."""
    for law in LAWS:
        law(make())


def notice(sequence: int, text: str = "", device: str = "hub") -> Event:
    """An event to try a log with."""
    return Event(device, sequence, Notice(subject="law", text=text or f"text {sequence}", at=1.5 * sequence))


def prediction(identity: str) -> Prediction:
    """A prediction with every field filled."""
    observation = Observation(id=f"o-{identity}", site="s", line="l", at=2.0, digest="d" * 64, reference="r" * 64)
    return Prediction(
        id=identity,
        observation=observation,
        version=3,
        outputs=(Output("wörn", 0.75, (1.0, 2.0, 3.5, 4.0), 1), Output("ok", 0.0)),
        confidence=0.75,
        proposals=Proposals(2, 3, bytes(range(12)), ((0.0, 1.0), (2.0, 3.0))),
        propensity=0.5,
        at=2.5,
    )


def feedback(on: str, reviewer: str = "ann") -> Feedback:
    """A feedback on a prediction."""
    claims = (Claim(0, "ok"), Claim(None, "short", (1.0, 1.0, 2.0, 2.0)), Claim(1, None, None, 0.25))
    return Feedback(prediction=on, reviewer=reviewer, claims=claims, kind="reward", complete=False, evidence="µ")


def an_empty_one_has_offset_0(opened: Opener) -> None:
    """Before the first event `last` is 0, nothing is read, and nothing is known about any prediction."""
    log = opened()
    assert log.last() == 0, "an empty log's last offset is 0"
    assert log.read(0, 10) == [], "an empty log has no records"
    assert log.about("p") == [], "an empty log knows of no prediction"
    assert log.append([]) == [], "appending nothing is allowed"
    assert log.last() == 0, "appending nothing leaves nothing"
    log.close()


def offsets_have_no_gaps(opened: Opener) -> None:
    """Offsets are 1, 2, 3, ... in the order given, over appends of any size."""
    log = opened()
    assert log.append([notice(1)]) == [1], "the first offset is 1"
    assert log.append([notice(2), notice(3), notice(4)]) == [2, 3, 4], "events of one append follow each other"
    assert log.append([notice(1, device="other")]) == [5], "another device's sequence is its own"
    assert log.last() == 5, "last is the highest offset"
    log.close()


def reading_gives_back_what_was_appended(opened: Opener) -> None:
    """Every kind of body comes back field by field, with the key, under its offset."""
    log = opened()
    bodies: list[Body] = [
        prediction("p"),
        feedback("p"),
        Judgement(
            candidate=2,
            champion=1,
            decision="hold",
            reason="why",
            count=3,
            difference=-0.5,
            e_value=0.1,
            learned_to=2,
            refused=(1, 2),
        ),
        Release(version=2, parent=1, tier="reflex", digest="d" * 64, learned_to=7, stage="rolled back", at=1.0),
        Live(line="l", version=2, at=3.0),
        Notice(subject="s", text="x" * 100_000),
    ]
    events = [Event("wörk-1", sequence, body) for sequence, body in enumerate(bodies)]
    log.append(events)
    records = log.read(0, 100)
    assert [record.event for record in records] == events, "events must come back as they were"
    assert [record.offset for record in records] == [1, 2, 3, 4, 5, 6], "under their offsets"
    log.close()


def reading_goes_on_behind_an_offset(opened: Opener) -> None:
    """`read` begins behind `after`, in order, with no more than asked for; at the end it is empty."""
    log = opened()
    log.append([notice(sequence) for sequence in range(10)])
    assert _offsets(log.read(0, 4)) == [1, 2, 3, 4], "the first four"
    assert _offsets(log.read(4, 4)) == [5, 6, 7, 8], "the next four"
    assert _offsets(log.read(8, 4)) == [9, 10], "what is left"
    assert _offsets(log.read(-5, 2)) == [1, 2], "before the beginning is the beginning"
    assert log.read(10, 4) == log.read(99, 4) == log.read(2**62, 4) == [], "behind the end is nothing"
    assert log.read(3, 0) == log.read(3, -1) == [], "none if none is asked for"
    log.close()


def a_duplicate_gets_its_first_offset(opened: Opener) -> None:
    """The same event again is not written again: its first offset is returned, also within one append."""
    log = opened()
    assert log.append([notice(1), notice(2), notice(1)]) == [1, 2, 1], "within one append"
    assert log.append([notice(2)]) == [2], "in a later one"
    assert log.append([notice(3), notice(1), notice(4), notice(3)]) == [3, 1, 4, 3], "among new ones"
    assert log.last() == 4, "duplicates take no offset"
    assert len(log.read(0, 100)) == 4, "and leave no record"
    log.close()


def another_event_under_a_key_is_refused(opened: Opener) -> None:
    """One key with two bodies raises KeyConflictError; nothing of that append is taken, and the log goes on."""
    log = opened()
    log.append([notice(1, "first")])
    assert raises(KeyConflictError, log.append, [notice(2), notice(1, "second"), notice(3)]), "after another append"
    assert raises(KeyConflictError, log.append, [notice(2, "a"), notice(2, "b")]), "within one append"
    assert log.last() == 1, "a refused append leaves nothing"
    assert log.append([notice(2), notice(3)]) == [2, 3], "the sequences of a refused append are still free"
    assert log.read(0, 1)[0].event == notice(1, "first"), "the first event stays"
    log.close()


def about_is_complete_and_in_order(opened: Opener) -> None:
    """`about` has the prediction and all feedback on it, also feedback that came first, and nothing else."""
    log = opened()
    mine: list[Body] = [feedback("p", "early"), prediction("p"), feedback("p"), feedback("p", "bob")]
    others: list[Body] = [
        feedback("q"),
        prediction("P"),
        Live(line="p", version=1),
        Notice(subject="p", text="p"),
    ]
    bodies = [body for pair in zip(mine, others, strict=True) for body in pair]
    log.append([Event("d", sequence, body) for sequence, body in enumerate(bodies)])
    assert [record.event.body for record in log.about("p")] == mine, "all of p and none but p, in order"
    assert _offsets(log.about("p")) == [1, 3, 5, 7], "under the same offsets as in read"
    assert log.about("p") == [record for record in log.read(0, 9) if record.offset % 2], "the same records"
    assert log.about("") == [], "no prediction has no name"
    log.close()


def many_threads_append_at_once(opened: Opener) -> None:
    """Appends of many threads each get offsets in a row; together they have no gaps and keep each device's order."""
    log = opened()
    got: dict[str, list[int]] = {}

    def work(device: str) -> None:
        mine: list[int] = []
        for sequence in range(0, 20, 2):
            mine += log.append([notice(sequence, device=device), notice(sequence + 1, device=device)])
        got[device] = mine

    _together([lambda name=f"d{number}": work(name) for number in range(8)])  # type: ignore[misc]
    assert sorted(offset for mine in got.values() for offset in mine) == list(range(1, 161)), "no gaps"
    records = log.read(0, 1000)
    for device, mine in got.items():
        assert mine == sorted(mine), "a device's order is kept"
        assert all(second == first + 1 for first, second in zip(mine[::2], mine[1::2], strict=True)), "in a row"
        assert [records[offset - 1].event for offset in mine] == [notice(n, device=device) for n in range(20)]
    log.close()


def one_of_many_senders_is_first(opened: Opener) -> None:
    """The same event sent by many threads at once is kept once, and all of them hear the same offset."""
    log = opened()
    heard: list[int] = []
    refused: list[int] = []

    def send(number: int) -> None:
        heard.extend(log.append([notice(1, "same")]))
        if raises(KeyConflictError, log.append, [notice(2, f"other {number}")]):
            refused.append(number)

    _together([lambda number=number: send(number) for number in range(8)])  # type: ignore[misc]
    assert heard == [1] * 8, "all hear the same offset"
    assert log.last() == 2, "two events were sent, however often"
    assert len(refused) == 7, "of different events under one key, one is taken"
    log.close()


def readers_see_only_whole_appends(opened: Opener) -> None:
    """While others append, what is read has no gaps and never ends inside an append."""
    log = opened()
    seen: list[int] = []
    done = threading.Event()

    def write() -> None:
        for start in range(0, 150, 5):
            log.append([notice(start + number) for number in range(5)])
        done.set()

    def read() -> None:
        while not done.is_set():
            offsets = _offsets(log.read(0, 1000))
            assert offsets == list(range(1, len(offsets) + 1))
            seen.append(len(offsets))

    failures = _together([write, read, read])
    assert not failures, f"a reader saw a gap: {failures}"
    assert all(count % 5 == 0 for count in seen), "an append is taken whole"
    assert log.last() == 150, "everything was appended"
    log.close()


def it_outlives_a_restart(opened: Opener) -> None:
    """After closing and opening again all records, keys and offsets are as they were."""
    log = opened()
    log.append([notice(1), Event("d", 1, prediction("p"))])
    before = log.read(0, 10)
    log.close()
    log = opened()
    assert log.last() == 2, "last must outlive a restart"
    assert log.read(0, 10) == before, "records, with their time of arrival"
    assert log.about("p") == before[1:], "what they are about"
    assert log.append([notice(1), notice(2)]) == [1, 3], "keys, and the next offset"
    assert raises(KeyConflictError, log.append, [notice(1, "other")]), "conflicts are still seen"
    log.close()


def a_closed_one_refuses(opened: Opener) -> None:
    """After `close` everything raises StoreError, but closing again is harmless."""
    log = opened()
    log.append([notice(1)])
    log.close()
    log.close()
    assert raises(StoreError, log.append, [notice(2)]), "append after close"
    assert raises(StoreError, log.read, 0, 1), "read after close"
    assert raises(StoreError, log.about, "p"), "about after close"
    assert raises(StoreError, log.last), "last after close"


def hostile_values_are_kept_or_refused(opened: Opener) -> None:
    """Odd text and numbers come back as they were, or are refused as InputError and leave nothing."""
    log = opened()
    kept = [
        Event("", 0, Notice(subject="", text="")),
        Event("a\0b", -1, Notice(subject="'; DROP TABLE event; --", text="\0", at=float("-inf"))),
        Event("\U0001f525" * 50, 2**63 - 1, Notice(subject="\ufeff", text="e\u0301", at=5e-324)),
    ]
    assert log.append(kept) == [1, 2, 3], "odd but valid events are taken"
    assert [record.event for record in log.read(0, 9)] == kept, "and come back as they were"
    for event in (notice(2**63), notice(-(2**63) - 1), notice(7, "\ud800"), notice(7, device="\udfff")):
        assert raises(InputError, log.append, [notice(8), event]), f"{event.sequence} must be refused"
    assert log.last() == 3, "a refused append leaves nothing"
    log.close()


def _offsets(records: list[Record]) -> list[int]:
    return [record.offset for record in records]


def _together(works: list[Callable[[], None]]) -> list[AssertionError]:
    """Run them in threads that start at once; the assertions that failed in them."""
    barrier = threading.Barrier(len(works))
    failures: list[AssertionError] = []

    def run(work: Callable[[], None]) -> None:
        barrier.wait()
        try:
            work()
        except AssertionError as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return failures


LAWS: tuple[Law, ...] = (
    an_empty_one_has_offset_0,
    offsets_have_no_gaps,
    reading_gives_back_what_was_appended,
    reading_goes_on_behind_an_offset,
    a_duplicate_gets_its_first_offset,
    another_event_under_a_key_is_refused,
    about_is_complete_and_in_order,
    many_threads_append_at_once,
    one_of_many_senders_is_first,
    readers_see_only_whole_appends,
    it_outlives_a_restart,
    a_closed_one_refuses,
    hostile_values_are_kept_or_refused,
)
