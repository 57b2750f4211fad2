"""What robots say on the way -> how long each leg took, once each. Pure.

A robot speaks whenever something happens, and numbers what it says (headerId). So a node was reached at the time in the
first state that says so, if the state just before it was heard as well and does not: then nothing is missing between
them. A leg's time is from where it could begin (the node reached, its work done, the next edge released) to the next
node. Where a state that matters was lost nothing is known, and nothing said. States may be doubled, late and out of
order. A robot that starts anew counts from 0 again: its connection message says so, which the broker keeps, or a lower
number with a later time. (Without either, where its first number that is heard continues the old count exactly, nobody
can tell.)
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from hotloop.errors import RobotMessageError
from hotloop.verticals.warehouse.robots.messages import State

_HEARD_MAX: Final = 512  # states that are remembered, to fit late ones in
_COURSES_MAX: Final = 4  # orders that late states may be about
_SECONDS_MAX: Final = 3600.0  # of a leg: beyond that somebody has set a clock
_ENDED: Final = frozenset({"FINISHED", "FAILED"})


@dataclass(frozen=True)
class Timed:
    """A leg (its edge's number in the order) that took so long; `at`: when it began, by the robot's clock."""

    order: str
    leg: int
    seconds: float
    at: float


@dataclass
class Course:
    """What is known of an order on its way. `actions`: the ids of a node's, by its number."""

    nodes: Sequence[str]
    actions: dict[int, frozenset[str]] = field(default_factory=dict)
    reached: dict[int, float] = field(default_factory=dict)
    left: dict[int, float] = field(default_factory=dict)
    told: set[int] = field(default_factory=set)
    spoiled: set[int] = field(default_factory=set)
    since: int | None = None  # the first state that is about it


@dataclass(frozen=True)
class _Seen:
    order: str
    reached: int  # the number of the last node; -1: not even the first
    at: float
    waits: bool  # it cannot go on yet


class KeptCourse(msgspec.Struct, frozen=True):
    """A course as it is kept: without its nodes' names, which its tour has."""

    actions: dict[int, frozenset[str]]
    reached: dict[int, float]
    left: dict[int, float]
    told: frozenset[int]
    spoiled: frozenset[int]
    since: int | None


class KeptTrack(msgspec.Struct, frozen=True):
    """A track as it is kept. Of the numbers from `low` to the newest, `gaps` were not heard; only beside one of these,
    and at the end, does it matter what a state said (`beside`: number, order, reached, at, waits).
    """

    counts: tuple[int, int, int, int, int]  # heard, doubled, late, restarts, missing
    newest: tuple[int, float] | None
    first: int
    renewed: bool
    since_s: float | None
    low: int
    gaps: tuple[int, ...]
    beside: tuple[tuple[int, str, int, float, bool], ...]
    courses: dict[str, KeptCourse]


def progress(state: State, nodes: Sequence[str]) -> int:
    """The number of the last node of its order that a robot has reached; -1: none. RobotMessageError: no such node.

    A robot that has just taken an order may still say the last node of the one before: then the first node is still
    among those to come.
    """
    sequence = state.lastNodeSequenceId
    if state.nodeStates and sequence >= min(node.sequenceId for node in state.nodeStates):
        return -1
    number, odd = divmod(sequence, 2)
    if odd or number >= len(nodes) or state.lastNodeId != nodes[number]:
        words = f"order {state.orderId} has no node {state.lastNodeId!r} with sequence id {sequence}"
        raise RobotMessageError(words, "place")
    return number


def disturbed(state: State) -> bool:
    """Whether somebody, not the floor, holds a robot up."""
    manual = state.operatingMode not in ("AUTOMATIC", "SEMIAUTOMATIC")
    stopped = state.safetyState.eStop != "NONE" or any(error.errorLevel == "FATAL" for error in state.errors)
    return state.paused or manual or stopped


class Track:
    """The states of one robot."""

    def __init__(self) -> None:
        self.heard = self.doubled = self.late = self.restarts = 0
        self.missing = 0  # by the numbers: sent, and not heard so far
        self._seen: OrderedDict[int, _Seen] = OrderedDict()
        self._courses: OrderedDict[str, Course] = OrderedDict()
        self._newest: tuple[int, float] | None = None
        self._first = 0
        self._renewed = False
        self._since_s = float("-inf")  # when it started anew, by its clock

    def begin(self, order: str, course: Course) -> None:
        """An order that it was given."""
        self._courses[order] = course
        while len(self._courses) > _COURSES_MAX:
            self._courses.popitem(last=False)

    def renewed(self) -> None:
        """It is new at the broker: if it counts from 0 that is so, whatever its clock says."""
        self._renewed = True

    def restarted(self, at: float) -> None:
        """It has started anew at this time, by its clock: what it said before is of another count."""
        self._forget()
        self._since_s = at

    def whole(self, order: str) -> bool:
        """Whether all that was said since an order began was heard; what is missing may still come."""
        course = self._courses.get(order)
        if course is None or course.since is None or self._newest is None:
            return True
        return sum(number >= course.since for number in self._seen) > self._newest[0] - course.since

    def kept(self) -> KeptTrack:
        """What must be known again: as much whether a robot has said a hundred states or a hundred thousand."""
        newest = self._newest
        oldest = 0 if newest is None else newest[0] - _HEARD_MAX  # what is older is not taken any more
        seen = {number: one for number, one in self._seen.items() if number > oldest or newest is None}
        low = min(seen, default=0)
        gaps = tuple(number for number in range(low, newest[0]) if number not in seen) if newest is not None else ()
        edges = (number for number in seen if number - 1 not in seen or number + 1 not in seen)
        beside = tuple((n, seen[n].order, seen[n].reached, seen[n].at, seen[n].waits) for n in edges)
        courses = {
            name: KeptCourse(one.actions, one.reached, one.left, frozenset(one.told), frozenset(one.spoiled), one.since)
            for name, one in self._courses.items()
        }
        since_s = None if self._since_s == float("-inf") else self._since_s
        counts = (self.heard, self.doubled, self.late, self.restarts, self.missing)
        return KeptTrack(counts, newest, self._first, self._renewed, since_s, low, gaps, beside, courses)

    @staticmethod
    def of(kept: KeptTrack) -> Track:
        """The track that was kept. Its courses need their nodes' names: `names`."""
        track = Track()
        track.heard, track.doubled, track.late, track.restarts, track.missing = kept.counts
        track._newest, track._first, track._renewed = kept.newest, kept.first, kept.renewed
        track._since_s = float("-inf") if kept.since_s is None else kept.since_s
        gaps = set(kept.gaps)
        numbers = range(kept.low, kept.newest[0] + 1) if kept.newest is not None else ()
        track._seen = OrderedDict((number, _Seen("", -1, 0.0, waits=False)) for number in numbers if number not in gaps)
        for number, order, reached, at, waits in kept.beside:
            track._seen[number] = _Seen(order, reached, at, waits)
        for name, one in kept.courses.items():
            track._courses[name] = Course(
                (), dict(one.actions), dict(one.reached), dict(one.left), set(one.told), set(one.spoiled), one.since
            )
        return track

    def names(self, order: str, nodes: Sequence[str]) -> None:
        """What the nodes of a kept course are called."""
        if order in self._courses:
            self._courses[order].nodes = nodes

    def hear(self, state: State) -> tuple[bool, list[Timed]]:
        """Whether this is the newest that it said; and the legs whose times are known by it. RobotMessageError."""
        number, at = state.headerId, state.timestamp.timestamp()
        course = self._courses.get(state.orderId)
        reached = -1 if course is None else progress(state, course.nodes)
        if not self._is_new(number, at):
            return False, []
        newest = self._newest is None or number > self._newest[0]
        if newest:
            self._first = number if self._newest is None else self._first
            self.missing += 0 if self._newest is None else number - self._newest[0] - 1
            self._newest, self._renewed = (number, at), False
        else:
            self.late += 1
            self.missing -= number > self._first
        self.heard += 1
        seen = _Seen(state.orderId, reached, at, course is not None and _waits(state, course, reached))
        self._seen[number] = seen
        while len(self._seen) > _HEARD_MAX:
            self._seen.popitem(last=False)
        if course is not None:
            course.since = number if course.since is None else min(course.since, number)
            if disturbed(state):
                course.spoiled.add(reached)
        return newest, [*self._between(number - 1, number), *self._between(number, number + 1)]

    def _is_new(self, number: int, at: float) -> bool:
        """Not heard yet; if it is of a robot that has started anew, all before is over."""
        if at < self._since_s and not self._renewed:
            self.doubled += 1
            return False
        if self._newest is None:
            return True
        if number <= self._newest[0] and (self._renewed or at > self._newest[1]):
            self._forget()
            return True
        if number in self._seen or number <= self._newest[0] - _HEARD_MAX:
            self.doubled += 1
            return False
        return True

    def _forget(self) -> None:
        self.restarts += 1
        self._seen.clear()
        self._newest, self._since_s = None, float("-inf")
        for course in self._courses.values():
            course.left.clear()
            course.since = None

    def _between(self, before: int, after: int) -> list[Timed]:
        """What two states, one right after the other, say together."""
        a, b = self._seen.get(before), self._seen.get(after)
        course = None if b is None else self._courses.get(b.order)
        if a is None or b is None or course is None or b.at < a.at or b.reached < 0:
            return []
        last = a.reached if a.order == b.order else -1
        if b.reached == last + 1:
            course.reached.setdefault(b.reached, b.at)
        if not b.waits and (b.reached == last + 1 or (b.reached == last and a.waits)):
            course.left.setdefault(b.reached, b.at)
        return [timed for leg in (b.reached - 1, b.reached) if (timed := _timed(b.order, course, leg))]


def _timed(order: str, course: Course, leg: int) -> Timed | None:
    """A leg's time, the first time that it is known."""
    began, ended = course.left.get(leg), course.reached.get(leg + 1)
    if began is None or ended is None or leg in course.told or leg in course.spoiled:
        return None
    if not 0.0 < ended - began <= _SECONDS_MAX:
        return None
    course.told.add(leg)
    return Timed(order, leg, round(ended - began, 6), began)


def _waits(state: State, course: Course, reached: int) -> bool:
    """Whether a robot cannot leave its node yet: work is not done, or the next edge is not released."""
    work = course.actions.get(reached, frozenset())
    if any(one.actionId in work and one.actionStatus not in _ENDED for one in state.actionStates):
        return True
    return not any(edge.sequenceId == 2 * reached + 1 and edge.released for edge in state.edgeStates)
