"""All that has been learned at one moment: what a release follows from, and what comes back in a rollback.

Backbone, moments, champion, the recent past, what the gate holds back, what may be learned. Pure: no clock, no disk.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import msgspec
import numpy as np

from hotloop.config import LoopConfig
from hotloop.errors import InputError, ModelError
from hotloop.gate import Held, RecentPast
from hotloop.gate.held import HeldState
from hotloop.learn import Reflex, Sums
from hotloop.learn.moments import scaled
from hotloop.lessons import Lessons, LessonsState, View
from hotloop.ports import Refreshable, Vertical
from hotloop.predict import pack_head, unpack_head
from hotloop.site_heads import SiteHeads, SiteState
from hotloop.types import UNREADABLE, Change, Example, Head, Proposals, Record, Rederivation, Rows

Records = Callable[[int, int], Sequence[Record]]


class LearnedState(msgspec.Struct, frozen=True):
    """Learned as a record."""

    reflex: bytes
    champion: bytes
    held: HeldState
    recent: list[Example]
    lessons: LessonsState
    sites: dict[str, SiteState] = {}


@dataclass(frozen=True)
class Reach:
    """What the deciders may look up: the log by prediction, the log by place (after, upto], the lake by digest, and a
    former state by its version (learned again from the log).
    """

    about: Callable[[str], list[Record]]
    records: Records
    fetch: Callable[[str], bytes]
    past: Callable[[int], tuple[int, LearnedState]]  # version -> the offset it had learned to, and all it had learned
    given: Sums | None = None  # what other sites have learned on the start backbone


class Learned:
    """The learner's whole state. One thread at a time."""

    def __init__(self, vertical: Vertical, config: LoopConfig, given: Sums | None = None) -> None:
        """`given`: what other sites have learned on this backbone."""
        self.vertical = vertical
        self.config = config
        self._taught: dict[int, tuple[Example, Rows]] = {}  # rows of the examples of this update, by identity
        self.champion = as_released(vertical.start())  # what others gave goes out with the first verdict
        self.reflex = Reflex(self.rows, vertical.start(), config.learn, given)
        self.held = Held()
        self.sites = SiteHeads(config)
        self.recent = RecentPast(config.gate.window_examples)
        self.lessons = Lessons(config, vertical.backbone)
        self.examples: dict[str, Example] = {}  # those of the recent past, for `state`

    def view(self) -> View:
        """What an example is seen with now."""
        return View(self.vertical, self.champion, self.rows)

    def rows(self, example: Example) -> Rows:
        """What an example teaches, made once an update: several steps ask for it."""
        known = self._taught.get(id(example))
        if known is None:
            known = self._taught[id(example)] = (example, self._fitting(example))
        return known[1]

    def _fitting(self, example: Example) -> Rows:
        """The vertical's rows of an example; none where its features are not of this loop's model (any more)."""
        features, targets = self.champion.weights.shape
        try:
            rows = self.vertical.teach(example)
            scaled(rows, features, targets)
        except (ModelError, InputError):
            return Rows(np.zeros((0, features)), np.zeros((0, targets)), np.zeros(0))
        return rows

    def teaches(self, change: Change) -> bool:
        """Whether a change teaches anything, or takes something out."""
        return any(len(self.rows(e).w) > 0 for e in (change.before, change.after) if e is not None)

    def forget_rows(self) -> None:
        """The update is over: rows are made anew in the next."""
        self._taught.clear()

    def remember(self, change: Change) -> None:
        """A verified example is part of the recent past whether its update was refused or not."""
        example = change.after or change.before
        assert example is not None, "a change has a before or an after"
        name, seen = example.prediction.id, example.prediction.observation
        if change.after is None:  # it may not be learned any more: it may not judge either
            self.recent.drop(name)
            self.examples.pop(name, None)
            return
        self.recent.add(name, self.rows(change.after), line=seen.line, site=seen.site)
        self.examples[name] = change.after
        if len(self.examples) > 2 * self.config.gate.window_examples:
            self.examples = {n: self.examples[n] for n in self.recent.names()}

    def state(self) -> LearnedState:
        """Its size does not grow with the log."""
        return LearnedState(
            reflex=self.reflex.state(),
            champion=pack_head(self.champion),
            held=self.held.state(),
            recent=[self.examples[name] for name in self.recent.names()],
            lessons=self.lessons.state(),
            sites=self.sites.state(),
        )

    @classmethod
    def of(cls, state: LearnedState, start: Vertical, config: LoopConfig, reach: Reach) -> Learned:
        """What `state` was. `start` is the vertical that the loop began with. ModelError if it is of another recipe."""
        backbone = state.lessons.backbones[-1][1]
        given = reach.given if backbone == start.backbone else None  # others' sums are of the backbone they began with
        learned = cls(revived(start, backbone, reach), config, given)
        learned.reflex.restore(state.reflex)
        learned.champion = unpack_head(state.champion)
        learned.held.restore(state.held)
        learned.sites.restore(state.sites)
        learned.lessons.restore(state.lessons, [rederivation(blob, reach).proposals for blob in state.lessons.blobs])
        for example in state.recent:
            learned.remember(Change(0, None, example))
        learned.forget_rows()
        return learned


def revived(vertical: Vertical, backbone: str, reach: Reach) -> Vertical:
    """The vertical on the backbone of that digest. ModelError if it cannot have another one than its own."""
    if backbone == vertical.backbone:
        return vertical
    if not isinstance(vertical, Refreshable):
        raise ModelError(
            f"the log leads to backbone {backbone[:12]}, and this vertical cannot be given one: it was refreshed by "
            "another version of the vertical. Install that one"
        )
    return vertical.revived(reach.fetch(backbone))


def rederivation(blob: str, reach: Reach) -> Rederivation:
    """The features in a blob of the lake. ModelError if they are none."""
    try:
        return msgspec.msgpack.decode(reach.fetch(blob), type=Rederivation)
    except UNREADABLE as error:
        raise ModelError(f"{blob[:12]} in the lake is no re-derivation ({error}): restore the lake") from error


def of_backbone(blob: str, backbone: str, reach: Reach) -> dict[str, Proposals]:
    """The proposals in a blob, if they are of that backbone; none if they are of another."""
    found = rederivation(blob, reach)
    return found.proposals if found.backbone == backbone else {}


def as_released(head: Head) -> Head:
    """The head as a line will have it: rounded to float32. Judged is what is released, not what was learned."""
    return unpack_head(pack_head(head))


def finite(head: Head) -> Head | None:
    """The head as released, or None if its numbers are none."""
    try:
        return as_released(head)
    except ModelError:
        return None
