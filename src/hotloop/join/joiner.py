"""The joiner: one prediction and all that was said of it, in whatever order it was delivered.

`join` is a pure function (entry, record) -> (entry, change), keyed by prediction id, so that the same
semantics run as keyed state in a stream engine. It never looks at a clock: not at its own, and not at the
times in the records (a device's clock may be a day off). What orders things is the log's offset and, within
one device, the device's own sequence.

The last word of a reviewer is decided in two steps: of what one device sent for them, the highest sequence,
whenever it arrived; among their devices, the one whose latest word has the highest offset. (Should a log have
one key at two offsets, the lower one counts.) These are maxima over the *set* of records: the entry does not
depend on the order of delivery, and a record delivered twice changes nothing.

One rule does look at the order: an entry holds the words of at most `feedback_max` pairs of reviewer and
device, and it is the pairs heard first that stay. Nothing that was learned is pushed out by a later flood,
and a replay of the log, being in order, decides the same.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from itertools import groupby

import msgspec

from hotloop.config import JoinConfig
from hotloop.types import Change, Example, Feedback, Prediction, Record

_FEEDBACK_MAX = JoinConfig().feedback_max


class Word(msgspec.Struct, frozen=True):
    """The latest feedback that one device sent for one reviewer, with its place in the log."""

    device: str
    sequence: int
    offset: int
    feedback: Feedback

    @property
    def pair(self) -> tuple[str, str]:
        """Whose word it is: (reviewer, device)."""
        return self.feedback.reviewer, self.device


class Entry(msgspec.Struct, frozen=True):
    """All that the join keeps of one prediction id. `Entry()` knows nothing yet.

    `words` holds one word for each (reviewer, device), in their order. `offset` is that of the prediction,
    0 while there is none.
    """

    prediction: Prediction | None = None
    offset: int = 0
    words: tuple[Word, ...] = ()

    def last_words(self) -> tuple[Word, ...]:
        """The word that counts for each reviewer, in the order of the reviewers' names."""
        said = groupby(self.words, key=lambda word: word.feedback.reviewer)
        return tuple(max(words, key=lambda word: word.offset) for _, words in said)

    def example(self) -> Example | None:
        """The prediction with the last word of each reviewer; None while either is missing."""
        if self.prediction is None or not self.words:
            return None
        return Example(self.prediction, tuple(word.feedback for word in self.last_words()))


def subject(record: Record) -> str | None:
    """The id of the prediction that a record is about; None for records that are not joined."""
    body = record.event.body
    if isinstance(body, Prediction):
        return body.id
    return body.prediction if isinstance(body, Feedback) else None


def join(entry: Entry, record: Record, feedback_max: int = _FEEDBACK_MAX) -> tuple[Entry, Change | None]:
    """The entry with `record` taken in, and what that did to the example; None if it did nothing.

    `record` must be about the entry's prediction id. A repetition of the same verdict with another time is
    no change: the times of a device's clock decide nothing.
    """
    body = record.event.body
    if isinstance(body, Prediction):
        after = _predicted(entry, record.offset, body)
    elif isinstance(body, Feedback):
        event = record.event
        after = _heard(entry, Word(event.device, event.sequence, record.offset, body), feedback_max)
    else:
        return entry, None
    if after is entry:
        return entry, None
    old, new = entry.example(), after.example()
    return after, None if _same(old, new) else Change(record.offset, old, new)


def fold(records: Iterable[Record], feedback_max: int = _FEEDBACK_MAX) -> Entry:
    """The entry that the records of one prediction id lead to."""
    entry = Entry()
    for record in records:
        entry, _ = join(entry, record, feedback_max)
    return entry


def _predicted(entry: Entry, offset: int, prediction: Prediction) -> Entry:
    """The first prediction under an id stands: what was said of it was said of what it showed."""
    if entry.prediction is not None and entry.offset <= offset:
        return entry
    return msgspec.structs.replace(entry, prediction=prediction, offset=offset)


def _heard(entry: Entry, word: Word, feedback_max: int) -> Entry:
    """The entry with a word taken in; the same entry if the word is old, known, or one pair too many."""
    others = tuple(kept for kept in entry.words if kept.pair != word.pair)
    if len(others) < len(entry.words):
        kept = next(kept for kept in entry.words if kept.pair == word.pair)
        if (word.sequence, -word.offset) <= (kept.sequence, -kept.offset):
            return entry
    elif len(others) >= feedback_max:
        return entry
    words = sorted((*others, word), key=lambda kept: kept.pair)
    return msgspec.structs.replace(entry, words=tuple(words))


def _same(old: Example | None, new: Example | None) -> bool:
    """Whether two examples say the same, whatever the clocks said."""
    if old is None or new is None:
        return old is new
    return old.prediction is new.prediction and _timeless(old.feedback) == _timeless(new.feedback)


def _timeless(feedback: tuple[Feedback, ...]) -> list[Feedback]:
    return [msgspec.structs.replace(one, at=0.0) for one in feedback]


class _Slot:
    """An entry in memory. `sure`: it is known to hold all that the log has on it."""

    __slots__ = ("entry", "sure")

    def __init__(self, entry: Entry, *, sure: bool) -> None:
        self.entry = entry
        self.sure = sure


class Joiner:
    """Drives `join` over the log with bounded memory: what it has forgotten it looks up in the log again.

    Give it the log's records in the order of their offsets, from any of them on. It answers the same whatever
    `entries_max` is. One thread at a time.

    Looking up each new prediction would cost a query for every image, so it is done only where forgotten
    records could matter:

    - A feedback on an id that is not in memory is looked up once anything was ever forgotten. A joiner whose
      first record is not the log's first has forgotten what came before.
    - A new prediction is looked up only if feedback on it may have come first. The ids of forgotten early
      feedback are remembered in `_early`; only after that overflows, or from a start in the middle of the
      log, must every new prediction be looked up.
    - A new prediction that was not looked up may still be the second one under its id. That can change
      nothing before a feedback comes, so its slot is unsure and is looked up then.
    """

    def __init__(self, config: JoinConfig, load: Callable[[str], list[Record]]) -> None:
        """`load` gives every record of a prediction id in order: `Log.about`."""
        self._entries_max = config.entries_max
        self._feedback_max = config.feedback_max
        self._load = load
        self._last = 0
        self._slots: OrderedDict[str, _Slot] = OrderedDict()
        self._early: OrderedDict[str, None] = OrderedDict()
        self._early_known = True
        self._forgot = False

    def __len__(self) -> int:
        """How many entries are in memory."""
        return len(self._slots)

    def add(self, record: Record) -> Change | None:
        """Take in the next record. One at or below the last offset was taken in before: nothing happens.

        An error of `load` passes through and leaves the joiner as it was: add the record again.
        """
        if record.offset <= self._last:
            return None
        if self._last == 0 and record.offset > 1:
            self._forgot, self._early_known = True, False
        change = None
        key = subject(record)
        if key is not None:
            slot = self._slot(key, record)
            slot.entry, change = join(slot.entry, record, self._feedback_max)
            self._keep(key, slot)
        self._last = record.offset
        return change

    def _slot(self, key: str, record: Record) -> _Slot:
        """The slot of `key` as of just before `record`: from memory, or replayed from the log."""
        slot = self._slots.get(key)
        if isinstance(record.event.body, Prediction):
            needed = slot is None and (key in self._early or not self._early_known)
        else:
            needed = self._forgot and (slot is None or not slot.sure)
        if not needed:
            return slot or _Slot(Entry(), sure=not self._forgot)
        known = [kept for kept in self._load(key) if kept.offset < record.offset]
        return _Slot(fold(known, self._feedback_max), sure=True)

    def _keep(self, key: str, slot: _Slot) -> None:
        """Put the slot in as the one used last; if that is one too many, forget the one used longest ago."""
        self._early.pop(key, None)
        self._slots[key] = slot
        self._slots.move_to_end(key)
        if len(self._slots) <= self._entries_max:
            return
        forgotten, oldest = self._slots.popitem(last=False)
        self._forgot = True
        if oldest.entry.prediction is None:
            self._early[forgotten] = None
            if len(self._early) > self._entries_max:
                self._early.popitem(last=False)
                self._early_known = False
