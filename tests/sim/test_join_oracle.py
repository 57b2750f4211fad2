"""TRUST 8: the join against an oracle that is too simple to be wrong, over seeded interleavings.

Each seed makes a small log in which everything goes wrong at once: feedback before its prediction, late,
twice, contradicting, out of a device's own order, about nothing we know, more than is taken, and two
predictions under one id. The joiner reads it with memory for 1 to 5 entries, so that it forgets and looks up
all the time, from the start or from the middle, with records given again.
"""

from __future__ import annotations

import random

import pytest
from msgspec.structs import replace

from hotloop.config import JoinConfig
from hotloop.join import Entry, Joiner, join
from hotloop.types import (
    Change,
    Claim,
    Event,
    Example,
    Feedback,
    Live,
    Observation,
    Prediction,
    Proposals,
    Record,
)

IDS = ("a", "b", "c", "d", "nothing we know")
SEEN = Observation(id="o", site="s", line="l", at=0.0, digest="0")
NOTHING = Proposals(0, 1, b"")


def made_log(rng: random.Random) -> list[Record]:
    """A log of 4 to 16 records, its devices' events shuffled, some there twice under another offset."""
    sequences = dict.fromkeys(("phone", "tablet", "press"), 0)
    events = []
    for _ in range(rng.randint(4, 14)):
        device = rng.choice(list(sequences))
        sequences[device] += 1
        events.append(Event(device, sequences[device], made_body(rng)))
    rng.shuffle(events)
    for _ in range(rng.randint(0, 2)):
        events.insert(rng.randint(0, len(events)), rng.choice(events))
    return [Record(offset, rng.random(), event) for offset, event in enumerate(events, 1)]


def made_body(rng: random.Random) -> Prediction | Feedback | Live:
    """A prediction, more often a feedback on one, now and then something that is not joined."""
    chance = rng.random()
    name = rng.choice(IDS)
    if chance < 0.3 and name != IDS[-1]:
        return Prediction(
            id=name,
            observation=SEEN,
            version=rng.randint(1, 2),
            outputs=(),
            confidence=1.0,
            proposals=NOTHING,
        )
    if chance < 0.95:
        claim = Claim(label=rng.choice(("scratch", "dent", None)))
        return Feedback(
            prediction=name, reviewer=rng.choice(("ann", "bob", "eve")), claims=(claim,), at=chance
        )
    return Live(line="l", version=1)


def about(records: list[Record], name: str) -> list[Record]:
    """The records of one prediction id."""
    return [
        record
        for record in records
        if name == getattr(record.event.body, "id", getattr(record.event.body, "prediction", None))
    ]


def oracle(records: list[Record], feedback_max: int) -> Example | None:
    """What should be joined of the records of one prediction id, by the rules in words."""
    predictions, heard, keys = [], {}, set()
    for record in records:
        event = record.event
        if isinstance(event.body, Prediction):
            predictions.append(event.body)
            continue
        pair = (event.body.reviewer, event.device)
        if (pair not in heard and len(heard) == feedback_max) or (event.device, event.sequence) in keys:
            continue
        keys.add((event.device, event.sequence))
        heard.setdefault(pair, []).append(record)
    if not predictions or not heard:
        return None
    last = []
    for reviewer in sorted({reviewer for reviewer, _ in heard}):
        latest = [
            max(words, key=lambda r: r.event.sequence) for pair, words in heard.items() if pair[0] == reviewer
        ]
        last.append(max(latest, key=lambda r: r.offset).event.body)
    return Example(predictions[0], tuple(last))


def timeless(example: Example | None) -> Example | None:
    """The example without what clocks said."""
    return example and Example(example.prediction, tuple(replace(one, at=0.0) for one in example.feedback))


def expected(log: list[Record], record: Record, feedback_max: int) -> Change | None:
    """The change that a record makes, by asking the oracle just before and just after it."""
    body = record.event.body
    if isinstance(body, Live):
        return None
    known = about(log[: record.offset], body.id if isinstance(body, Prediction) else body.prediction)
    before, after = oracle(known[:-1], feedback_max), oracle(known, feedback_max)
    return None if timeless(before) == timeless(after) else Change(record.offset, before, after)


def check_driver(seed: int) -> None:
    """One interleaving through the driver: each change is the oracle's, and nothing is told twice."""
    rng = random.Random(seed)
    log = made_log(rng)
    config = JoinConfig(entries_max=rng.randint(1, 5), feedback_max=rng.choice((1, 2, 3, 64)))
    ahead = rng.randint(0, len(log))  # the log may hold more than was given to the joiner
    start = rng.randint(0, len(log) - 1) if rng.random() < 0.3 else 0
    given = log[: start + 1]
    joiner = Joiner(config, lambda name: about(log[: max(len(given), ahead)], name))
    for record in log[start:]:
        given = log[: record.offset]
        assert joiner.add(record) == expected(log, record, config.feedback_max), (seed, record.offset)
        assert joiner.add(rng.choice(given)) is None, (seed, record.offset)
        assert len(joiner) <= config.entries_max


def check_any_order(seed: int) -> None:
    """One set of records through the pure join, in any order and some twice: always the oracle's example."""
    rng = random.Random(seed)
    log = made_log(rng)
    for name in IDS:
        records = about(log, name)
        wanted = oracle(records, 64)
        delivered = records + rng.choices(records, k=2) if records else []
        rng.shuffle(delivered)
        entry, told = Entry(), None
        for record in delivered:
            before = entry
            entry, change = join(entry, record)
            assert join(entry, record) == (entry, None)
            if change is not None:
                assert change.before == before.example()
                assert timeless(change.before) == timeless(told), (seed, name)
                told = change.after
        assert entry.example() == wanted, (seed, name)
        assert timeless(told) == timeless(wanted), (seed, name)


def test_ten_thousand_interleavings_equal_the_oracle() -> None:
    """The driver with 1 to 5 entries of memory tells exactly the changes that the oracle sees."""
    for seed in range(10_000):
        check_driver(seed)


def test_the_order_of_delivery_does_not_matter() -> None:
    """2,000 sets of records in any order, some twice, lead the pure join to the same example."""
    for seed in range(2_000):
        check_any_order(seed)


def test_the_interleavings_reach_every_trouble() -> None:
    """The seeds do produce what they claim to: early, late, twice, contradicting, unknown, too many."""
    reached = set()
    for seed in range(300):
        log = made_log(random.Random(seed))
        for name in IDS:
            records = about(log, name)
            bodies = [record.event.body for record in records]
            kinds = [isinstance(body, Prediction) for body in bodies]
            feedback = [record.event for record, kind in zip(records, kinds, strict=True) if not kind]
            reached |= {"early"} if True in kinds and not kinds[0] else set()
            reached |= {"late"} if kinds[:1] == [True] and len(kinds) > 2 else set()
            reached |= {"twice"} if len(set(map(id, feedback))) < len(feedback) else set()
            reached |= {"unknown"} if feedback and True not in kinds else set()
            reached |= {"second prediction"} if kinds.count(True) > 1 else set()
            pairs = {(event.body.reviewer, event.device) for event in feedback}
            reached |= {"too many"} if len(pairs) > 3 else set()
            reached |= {"contradicting"} if len({event.body.claims for event in feedback}) > 1 else set()
            order = [(event.device, event.sequence) for event in feedback]
            reached |= {"out of order"} if order != sorted(order, key=lambda key: key[1]) else set()
    troubles = {
        "early",
        "late",
        "twice",
        "unknown",
        "second prediction",
        "too many",
        "contradicting",
        "out of order",
    }
    assert reached == troubles


@pytest.mark.full
def test_three_hundred_thousand_interleavings_equal_the_oracle() -> None:
    """The same for other seeds, for minutes."""
    for seed in range(10_000, 310_000):
        check_driver(seed)
        check_any_order(seed)
