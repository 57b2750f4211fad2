"""TRUST 7: what is joined does not depend on any clock.

The same 200 logs are joined with honest clocks and with clocks that are a day off, jump, run backwards, stand
still or are not even numbers; the changes are identical but for the times that they carry.
"""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from msgspec.structs import replace

from hotloop.config import JoinConfig
from hotloop.join import Joiner, subject
from hotloop.types import Change, Claim, Event, Example, Feedback, Observation, Prediction, Proposals, Record

DAY_S = 86_400.0
NOW_S = 1.8e9
NOTHING = Proposals(0, 1, b"")
Clock = Callable[[int, str, random.Random], float]  # (step, device, chance) -> what the device's clock says

CLOCKS: dict[str, Clock] = {
    "a day off": lambda step, device, _: NOW_S + step + {"hub": 0, "ann": DAY_S, "bob": -DAY_S}[device],
    "jumping": lambda step, _, rng: NOW_S + step + rng.choice((-DAY_S, 0.0, DAY_S)),
    "backwards": lambda step, *_: NOW_S - step,
    "standing still": lambda *_: NOW_S,
    "before 1970": lambda step, *_: -NOW_S - step,
    "no numbers": lambda _, __, rng: rng.choice((float("nan"), float("inf"), -float("inf"))),
}


def made_log(seed: int, clock: Clock) -> list[Record]:
    """A log of 30 records about 6 predictions, the same for a seed but for what the clocks say."""
    rng, chance = random.Random(seed), random.Random(seed + 1)
    sequences = {"hub": 0, "ann": 0, "bob": 0}
    records = []
    for step in range(30):
        name, device = str(rng.randrange(6)), rng.choice(list(sequences))
        label, reviewer, first = (
            rng.choice(("scratch", "dent")),
            rng.choice(("ann", "bob")),
            rng.random() < 0.3,
        )
        at = clock(step, device, chance)
        body: Prediction | Feedback = Feedback(
            prediction=name, reviewer=reviewer, claims=(Claim(0, label),), at=at
        )
        if first:
            seen = Observation(id=name, site="s", line="l", at=clock(step, device, chance), digest=str(step))
            body = Prediction(
                id=name,
                observation=seen,
                version=1,
                outputs=(),
                confidence=1.0,
                proposals=Proposals(0, 1, b""),
                at=at,
            )
        sequences[device] += 1
        sequence = sequences[device] ^ 1  # pairs of a device's events arrive swapped
        records.append(Record(step + 1, clock(step, "hub", chance), Event(device, sequence, body)))
    return records


def joined(records: list[Record], entries_max: int) -> list[Change]:
    """All changes that the records make."""
    joiner = Joiner(
        JoinConfig(entries_max=entries_max), lambda name: [r for r in records if subject(r) == name]
    )
    return [change for record in records if (change := joiner.add(record)) is not None]


def timeless(example: Example | None) -> Example | None:
    """The example with every time set to 0."""
    if example is None:
        return None
    seen = replace(example.prediction.observation, at=0.0)
    feedback = tuple(replace(one, at=0.0) for one in example.feedback)
    return Example(replace(example.prediction, at=0.0, observation=seen), feedback)


def said(changes: list[Change]) -> list[Change]:
    """Changes without their times."""
    return [Change(change.offset, timeless(change.before), timeless(change.after)) for change in changes]


@pytest.mark.parametrize("name", CLOCKS)
def test_the_join_is_the_same_whatever_the_clocks_say(name: str) -> None:
    """200 seeds: the same changes at the same offsets as with honest clocks, with much memory and little."""
    for seed in range(200):
        honest = said(joined(made_log(seed, lambda step, *_: NOW_S + step), 100))
        assert len(honest) > 3
        for entries_max in (100, 2):
            assert said(joined(made_log(seed, CLOCKS[name]), entries_max)) == honest, (seed, entries_max)


def test_the_same_verdict_at_another_time_is_no_change() -> None:
    """A reviewer who says the same again, an hour or a day later, changes nothing."""
    first, *_ = [r for r in made_log(1, CLOCKS["standing still"]) if isinstance(r.event.body, Prediction)]
    name = first.event.body.id
    joiner = Joiner(JoinConfig(), lambda _: [])
    joiner.add(replace(first, offset=1))
    told = []
    for place, at in enumerate((0.0, 3600.0, -DAY_S), 2):
        verdict = Feedback(prediction=name, reviewer="ann", claims=(Claim(0, "dent"),), at=at)
        told.append(joiner.add(Record(place, at, Event("ann", place, verdict))))
    assert [change is None for change in told] == [False, True, True]
