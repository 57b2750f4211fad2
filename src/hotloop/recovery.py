"""From a log to a running state: at every start, and for `hotloop replay`.

The log is the truth. The snapshot only shortens the way, and the registry is filled up from the log.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice

import msgspec

from hotloop.errors import CorruptError, ModelError, NotFoundError
from hotloop.join import Joiner
from hotloop.learned import LearnedState
from hotloop.lineage import Lineage
from hotloop.ports import Log, Ports, Vertical
from hotloop.predict import pack_head
from hotloop.rollout import next_release
from hotloop.types import Change, Event, Head, Judgement, Model, Record, Release

_READ_MAX = 1000
_NUMBERED_AT_ONCE_MAX = 1000  # events that threads have numbered but not yet written: far more than there can be
_SEEN_AGAIN_MAX = 100_000  # records before the snapshot that the measures are shown again

Seen = Callable[[Record, Change | None], None]


@dataclass(frozen=True)
class Step:
    """A release of the log, and the head that the same log leads to again."""

    release: Release
    head: Head


def recover(lineage: Lineage, ports: Ports, vertical: Vertical, seen: Seen) -> Model:
    """Bring `lineage` to the log's last judgement; returns the model that the lines should answer with.

    The first start releases the start model. `seen` is told each record on the way, with what it changed.
    """
    if ports.log.last() == 0:
        start = first_model(vertical, ports.clock.now())
        ports.log.append([Event("hub", 1, next_release(start, None))])
    _restore(lineage, ports)
    _show(ports.log, lineage, seen)
    for _ in replay(records_of(ports.log, lineage.offset), lineage, seen):
        pass
    latest = ports.registry.latest()
    if latest < lineage.version:  # lost by a power cut, or never there: both follow from the log
        made = first_model(lineage.vertical, ports.clock.now())
        tier = made.tier if lineage.version == 1 else "reflex"
        model = msgspec.structs.replace(
            made,
            version=lineage.version,
            parent=lineage.version - 1,
            tier=tier,
            head=pack_head(lineage.champion),
            learned_to=lineage.offset,
        )
        ports.registry.add(model)
    elif latest > lineage.version:
        raise ModelError(
            f"the registry has version {latest}, the log leads to {lineage.version}: they are of two different loops. "
            "Move the registry's file away; it is filled up from the log."
        )
    return ports.registry.get(lineage.version)


def replay(records: Iterable[Record], lineage: Lineage, seen: Seen) -> Iterator[Step]:
    """Learn the log again in the groups in which it was learned; yields each release with its head made anew.

    Records after the last judgement are left for the next turn. A judgement may stand behind the snapshot that
    holds its group: it was logged after what it is about.
    """
    waiting: deque[Record] = deque()
    made: Head | None = None
    known = lineage.offset
    for record in records:
        waiting.append(record)
        body = record.event.body
        if isinstance(body, Judgement) and body.learned_to > known:
            while waiting and waiting[0].offset <= body.learned_to:
                taken = waiting.popleft()
                seen(taken, lineage.take(taken))
            update = lineage.update(body)
            made = None if update is None else update.head
        elif isinstance(body, Release):
            lineage.version = max(lineage.version, body.version)  # above what was counted if a judgement has rotted
            if made is not None:
                yield Step(body, made)


def past(
    make: Callable[[], Lineage], records: Callable[[], Iterable[Record]], version: int
) -> tuple[int, LearnedState]:
    """What had been learned when a version was released, and up to which offset, by learning the log again.

    `make` gives a fresh lineage. There may have been other rollbacks on the way: each state that they led to is learned
    once. NotFoundError if the log has no such release.
    """
    known: dict[int, tuple[int, LearnedState]] = {}

    def look(wanted: int) -> tuple[int, LearnedState]:
        if wanted not in known:
            lineage = make()
            lineage.reach = replace(lineage.reach, past=look)
            known[wanted] = _at(lineage, records(), wanted)
        return known[wanted]

    return look(version)


def _at(lineage: Lineage, records: Iterable[Record], version: int) -> tuple[int, LearnedState]:
    if version == 1:
        return 0, lineage.now.state()
    for step in replay(records, lineage, lambda _record, _change: None):
        if step.release.version == version:
            return lineage.offset, lineage.as_former()
    raise NotFoundError(f"the log has no release of version {version}")


def records_of(log: Log, after: int, unreadable: Callable[[CorruptError], None] | None = None) -> Iterator[Record]:
    """Every readable record above offset `after`. A rotten one is told to `unreadable` and passed over."""
    while True:
        try:
            records = log.read(after, _READ_MAX)
        except CorruptError as error:
            if unreadable is not None:
                unreadable(error)
            after = max(error.offsets, default=log.last())
            continue
        if not records:
            return
        yield from records
        after = records[-1].offset


def last_sequence(log: Log, device: str) -> int:
    """The highest sequence number that `device` may have used in the log; 0 if it has written nothing.

    Sought from the end. Threads that number at once may write in another order, and a record that holds a number may
    have rotted: room is left for both.
    """
    end = log.last()
    rotten: list[CorruptError] = []
    while end > 0:
        after = max(0, end - _READ_MAX)
        part = islice(records_of(log, after, rotten.append), end - after)
        own = [record.event.sequence for record in part if record.event.device == device]
        if own:
            return max(own) + (_NUMBERED_AT_ONCE_MAX if after or rotten else 0)
        end = after
    return 0


def first_model(vertical: Vertical, at: float) -> Model:
    """Version 1: what the vertical starts with."""
    head = vertical.start()
    return Model(
        version=1,
        parent=0,
        tier="start",
        backbone=vertical.backbone,
        head=pack_head(head),
        labels=head.labels,
        recipe=vertical.recipe,
        at=at,
    )


def _restore(lineage: Lineage, ports: Ports) -> None:
    """Take the snapshot if it is one of this log and recipe; otherwise everything is learned again."""
    state = ports.snapshots.load()
    if state is None:
        return
    try:
        lineage.restore(state, offset_max=ports.log.last())
    except ModelError:
        return  # a rebuild from the log leads to the same state


def _show(log: Log, lineage: Lineage, seen: Seen) -> None:
    """Show the measures the records that the snapshot already holds, so that charts do not begin at a restart."""
    after = max(0, lineage.offset - _SEEN_AGAIN_MAX)
    joiner = Joiner(lineage.config.join, lambda _: [])  # what it does not see is not charted: no look-ups
    for record in records_of(log, after):
        if record.offset > lineage.offset:
            return
        seen(record, joiner.add(record))
