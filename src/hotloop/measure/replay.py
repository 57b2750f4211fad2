"""What-if replay: the same log, as if each feedback had come later. Pure: it only puts records in order.

The engine predicts and learns anew from what comes out; the learning curves of several delays, side by side,
are what a slower loop would have cost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from typing import Final

from hotloop.errors import InputError
from hotloop.types import Event, Feedback, Prediction, Record

DELAYS_S: Final = {"0 s": 0.0, "30 min": 1800.0, "1 day": 86_400.0, "1 week": 604_800.0}


def delayed(records: Iterable[Record], delay_s: float) -> Iterator[Record]:
    """The predictions and feedback of a log, in the order in which they come if feedback is `delay_s` later.

    Offsets are given anew (1, 2, 3, ...); `received_at` is when a record would have come by the hub's clock,
    which here never goes back. What follows from them (judgements, releases, live, notices) is left out: the
    replay makes it again. A delay of 0 keeps the order. Holds the feedback of one delay in memory.
    InputError if the delay is negative.
    """
    if not delay_s >= 0:
        raise InputError(f"a delay of {delay_s} s: feedback cannot come before it was given; use 0 or more.")
    offset = 0
    now = 0.0
    late: deque[tuple[float, Event]] = deque()
    for record in records:
        now = max(now, record.received_at)
        if isinstance(record.event.body, Feedback):
            late.append((now + delay_s, record.event))
        while late and late[0][0] <= now:
            offset += 1
            yield Record(offset, *late.popleft())
        if isinstance(record.event.body, Prediction):
            offset += 1
            yield Record(offset, now, record.event)
    for due, event in late:
        offset += 1
        yield Record(offset, due, event)
