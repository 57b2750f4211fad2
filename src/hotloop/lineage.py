"""join -> learn -> gate, as one pure function of the log: same records in the same groups, same heads.

The live engine and every rebuild run this same code. It does no I/O and reads no clock; what it looks up of the
log and the lake goes through `Reach`. A group is what one update takes: the records since the last one. Its end is
logged (Judgement.learned_to), so that a replay can use the same groups. What is not a verdict's doing (another
backbone, a rollback, unlearning) is a step: a group of its own, in `steps.py`.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

import msgspec

from hotloop.config import LoopConfig
from hotloop.errors import ModelError, NewerFormatError, NotFoundError
from hotloop.gate import Finding, Held, costed, costs_of, judge
from hotloop.gate.held import merged, name_of, nothing, reverse
from hotloop.gate.loss import piece_loss
from hotloop.generalise import by_site, harm
from hotloop.join import Joiner
from hotloop.learn import Sums
from hotloop.learned import Learned, LearnedState, Reach, Records, as_released, finite, of_backbone, revived
from hotloop.ports import Costing, Vertical
from hotloop.rollout import Stage
from hotloop.standby import Former, Standby, StandbyState, answer_loss
from hotloop.steps import Alarm, Copies, Distrust, Step, Update, reviewer_of, step
from hotloop.types import (
    UNREADABLE,
    Candidate,
    Change,
    Command,
    Example,
    Head,
    Judgement,
    Record,
    Rederived,
    Staged,
    digest,
)

__all__ = ["Lineage", "Update", "as_released"]

_SINGLES_MAX = 16  # a refused group up to this size is tried verdict by verdict, to find which one does harm
_FORMAT = 2
_DIGEST_BYTES = 64  # hex digits before the state

_Decide = Callable[[Sequence[Change], Head | None], Finding]


class _State(msgspec.Struct, frozen=True):
    format: int
    offset: int
    version: int
    frozen: bool
    verified: int
    learned: LearnedState
    standby: StandbyState
    kept: Candidate | None
    tainted: bool
    deferred: list[Change]
    stage: Stage = Stage()


class _Format(msgspec.Struct, frozen=True):
    format: int


def _no_records(_after: int, _upto: int) -> list[Record]:
    return []


def _no_blob(name: str) -> bytes:
    raise NotFoundError(f"there is no lake at hand to look up {name[:12]}")


def _no_past(version: int) -> tuple[int, LearnedState]:
    raise NotFoundError(f"there is no log at hand to learn version {version} again from")


class Lineage:
    """The state of the three stages between the log and a release."""

    def __init__(
        self,
        vertical: Vertical,
        config: LoopConfig,
        load: Callable[[str], list[Record]],
        lap: Callable[[str], None] = lambda _: None,
        *,
        records: Records = _no_records,
        fetch: Callable[[str], bytes] = _no_blob,
    ) -> None:
        """`lap` is told "learned" and "gated" when the stage is done, so that the engine can time them.

        `records` (after, upto] reads the log, `fetch` the lake: for refresh, rollback and unlearning.
        """
        self.config = config
        self.start = vertical
        self.reach = Reach(load, records, fetch, _no_past)
        self.now = Learned(vertical, config)
        self.offset = 0  # of the last record taken
        self.untaught = 0  # verified examples that taught nothing, such as a truth that nothing was proposed for
        self.version = 1  # of the champion: each promoted update is one more
        self.frozen = False  # by command: no model changes
        self.verified = 0  # examples verified since the last refresh
        self.kept: Candidate | None = None  # what the gate held, for `promote`
        self.stage = Stage()  # how far rollouts have come, and which lines are pinned
        self.tainted = False  # something was unlearned that the backbone may have been trained on
        self.standby = Standby(config.rollout, Former(1, 0, self.now.state()), vertical)
        self._joiner = Joiner(config.join, load)
        self._lap = lap
        self._pending: list[Change] = []
        self._deferred: list[Change] = []  # beyond a reviewer's quota
        self._due: deque[Step] = deque()
        self._said: list[str] = []  # of sites' own heads, to be told with the next release

    def begin_with(self, given: Sums | None) -> None:
        """Begin with what other sites have learned; to be called before the first record."""
        assert self.offset == 0, "what others gave is there from the start, or the log does not lead to the same heads"
        if given is not None:
            self.reach = replace(self.reach, given=given)
            self.now = Learned(self.start, self.config, given)
            self.standby = Standby(self.config.rollout, Former(1, 0, self.now.state()), self.start)

    @property
    def champion(self) -> Head:
        """The head that answers now."""
        return self.now.champion

    @property
    def vertical(self) -> Vertical:
        """The vertical, on the backbone that answers now."""
        return self.now.vertical

    @property
    def waiting(self) -> int:
        """How many changes the next update would take."""
        return len(self._pending)

    @property
    def due(self) -> bool:
        """Whether a step is due: it is a group of its own, so nothing more is to be taken before it is done."""
        return bool(self._due)

    @property
    def settled(self) -> bool:
        """Whether nothing waits, so that the state may be kept."""
        return not self._pending and not self._due

    @property
    def held(self) -> int:
        """How many verdicts are held back by the gate."""
        return len(self.now.held)

    def take(self, record: Record) -> Change | None:
        """join: what the record changes, kept for the next update. Records come in the log's order."""
        change = self._joiner.add(record)
        self.offset = record.offset
        body = record.event.body
        if change is not None:
            self._lesson(change)
        elif isinstance(body, Rederived):
            self._seen(body)
        elif isinstance(body, Candidate):
            self._due.append(body)
        elif isinstance(body, Command):
            self._told(body)
        elif isinstance(body, Staged):
            self.stage = self.stage.went(body)
        return change

    def forget(self) -> None:
        """Leave what waits unlearned: for those who only want the join."""
        self._pending = []
        self._due.clear()
        self.now.forget_rows()

    def _lesson(self, change: Change) -> None:
        """What of a joined change may be learned, kept for the next update."""
        lessons = self.now.lessons
        lesson = lessons.take(change, self.now.view())
        self._by_itself(*(Distrust(reviewer) for reviewer in lessons.trust.newly_distrusted()))
        self._pending += [self.now.held.adjust(freed) for freed in lessons.reconsider(self.now.view())]
        if change.before is None:
            self.verified += 1
        self._seals()
        if lesson is None:
            return
        if change.before is None and lesson.after is not None and change.after is not None:
            self._compare(lesson.after, change.after)
            site = lesson.after.prediction.observation.site
            self._said += filter(None, [self.now.sites.judge(site, self.now.rows(lesson.after), self.champion)])
        self._pending.append(self.now.held.adjust(lesson))

    def _by_itself(self, *steps: Step) -> None:
        """Steps that nobody ordered: none while the loop is frozen. `thaw` looks for them again."""
        if not self.frozen:
            self._due.extend(steps)

    def _seals(self) -> None:
        """What is learned of a piece that a golden one equals is taken out, as far back as the recent past goes. What
        is older is left out by the slower tiers, which learn everything anew.
        """
        if self.frozen or not self.now.lessons.sealed_anew:
            return
        recent = [self.now.examples[name] for name in self.now.recent.names()]
        # What teaches nothing may wait longer in a replay than it did: it may not make a difference here.
        changes = [change for change in merged([*self._deferred, *self._pending]) if self.now.teaches(change)]
        waiting = [change.after for change in changes if change.after is not None]
        if copies := self.now.lessons.copies([*recent, *waiting]):
            self._due.append(Copies(tuple(dict.fromkeys(copies))))

    def _compare(self, seen: Example, joined: Example) -> None:
        """Judge a newly verified piece, before it is learned, by what answers now and by the state to go back to."""
        standby = self.standby
        if standby.backbone == self.now.lessons.backbone:
            if (pair := self._both(seen, standby.head)) is not None:
                standby.compare(*pair)
        else:
            now = answer_loss(self.now.vertical, seen, self.champion, self.champion)
            former = None
            if self.now.lessons.backbone_of(joined.prediction) == standby.backbone:
                former = answer_loss(standby.vertical, joined, standby.head, self.champion)
            if now is not None and former is not None:
                standby.compare(now, former)
            elif now is not None:
                standby.wait(joined, now)
        self._alarmed()

    def _both(self, seen: Example, former: Head) -> tuple[float, float] | None:
        """The loss of a piece under the champion and under a former head on the same backbone; None if it has none."""
        vertical = self.now.vertical
        if isinstance(vertical, Costing):
            now, before = costs_of(vertical, [seen], (self.champion, former), self.champion)[:, 0].tolist()
            return None if math.isnan(now) or math.isnan(before) else (now, before)
        rows, site = self.now.rows(seen), seen.prediction.observation.site
        return (piece_loss(rows, self.champion.at(site)), piece_loss(rows, former.at(site))) if len(rows.w) else None

    def _alarmed(self) -> None:
        if self.standby.watch.alarm and not any(isinstance(one, Alarm) for one in self._due):
            self._by_itself(Alarm(self.standby.words()))

    def _seen(self, body: Rederived) -> None:
        """Features on another backbone have come: learn, or compare, what waited for them."""
        lessons = self.now.lessons
        if features := of_backbone(body.features, lessons.backbone, self.reach):
            for offset, example in lessons.seen(features, body.features):
                lesson = lessons.again(offset, example, self.now.view(), before=None)
                if lesson is not None:
                    self._pending.append(self.now.held.adjust(lesson))
        if self.standby.backbone != lessons.backbone:
            self.standby.seen(of_backbone(body.features, self.standby.backbone, self.reach), self.champion)
            self._alarmed()

    def _told(self, command: Command) -> None:
        """What was ordered. Refresh and consolidate are the engine's: nothing follows from the order itself."""
        self.stage = self.stage.told(command)
        if command.order == "freeze":
            self.frozen = True
        elif command.order == "thaw" and self.frozen:
            self.frozen = False
            self._by_itself(*(Distrust(reviewer) for reviewer in self.now.lessons.trust.distrusted()))
            self._seals()
            self._alarmed()
        elif command.order in ("promote", "rollback", "unlearn", "reinstate"):
            self._due.append(command)

    def update(self, recorded: Judgement | None = None) -> Update | None:
        """Learn -> gate: take what waits. None if nothing did, or nothing of it teaches.

        `recorded` is the judgement of this same group by an earlier run: it is taken at its word, which makes
        a rebuild fast. Without it the gate judges.
        """
        update = None if self.frozen else self._group(recorded)
        if update is None and self._due:
            update = step(self, self._due.popleft(), recorded)
        if update is not None:
            if update.head is not None:
                update = self._for_sites(update)
                assert update.head is not None
                self.now.champion = update.head
                self.version += 1
            if self.standby.due and not self._due:
                self.checkpoint()
        return update

    def _for_sites(self, update: Update) -> Update:
        """With the heads that sites have of their own; not where a former state comes back, which has those of then."""
        head, now = update.head, self.now
        if head is None or update.tier == "rollback":
            return update
        said = [*self._said, *now.sites.look(now.reflex, lambda: by_site(now), head)]
        self._said = []
        now.forget_rows()
        if not said and set(head.own) == now.sites.own:
            return update
        reason = "; ".join((update.finding.reason, *said))
        with_own = finite(now.sites.onto(head, now.reflex)) or head
        return msgspec.structs.replace(update, head=with_own, finding=replace(update.finding, reason=reason))

    def checkpoint(self) -> None:
        """Keep the present state as the one to go back to, and watch anew."""
        self.watch_from(Former(self.version, self.offset, self.as_former()), self.vertical)

    def as_former(self) -> LearnedState:
        """The present state as one to go back to: what waits is kept aside in it, as what was refused is."""
        state = self.now.state()
        waiting = merged([*self._deferred, *self._pending])
        if not waiting:
            return state
        held = Held()
        held.restore(state.held)
        held.set_aside(waiting)
        return msgspec.structs.replace(state, held=held.state())

    def watch_from(self, former: Former, vertical: Vertical) -> None:
        """Begin another watch, against a former state."""
        self.standby = Standby(self.config.rollout, former, vertical, self.standby.number + 1)

    def _group(self, recorded: Judgement | None) -> Update | None:
        """The verdicts that wait, as one group."""
        fresh = merged(self.now.held.retry() + self._pending)
        self._pending = []
        # What teaches nothing is no part of the group: a replay may meet it in the next group as well.
        teaching = [change for change in fresh if self.now.teaches(change)]
        self.untaught += len(fresh) - len(teaching)
        update = None
        if teaching:
            group = merged(self._deferred + teaching)
            out = [change for change in group if change.after is None]
            self.now.reflex.learn(out)  # what may not be known any more is not voted on
            admitted, self._deferred = self._admitted([c for c in group if c.after is not None], recorded)
            decide = self._judge if recorded is None else _as_recorded(recorded)
            update = self._learn(admitted, decide) if admitted else self._waits()
            update = self._without(out, update) if out else update
            update = msgspec.structs.replace(update, deferred=tuple(change.offset for change in self._deferred))
            fresh = [*out, *admitted, *(change for change in fresh if change not in teaching)]
        for change in fresh:
            self.now.remember(change)
        self.now.forget_rows()
        return update

    def _admitted(self, group: list[Change], recorded: Judgement | None) -> tuple[list[Change], list[Change]]:
        """Those of a group that are within their reviewer's quota, and those that wait."""
        if recorded is None:
            admits = self.now.lessons.trust.admits([reviewer_of(change) for change in group])
        else:
            admits = [change.offset not in recorded.deferred for change in group]
            self.now.lessons.trust.admitted([reviewer_of(c) for c, yes in zip(group, admits, strict=True) if yes])
        taken = [change for change, yes in zip(group, admits, strict=True) if yes]
        return taken, [change for change, yes in zip(group, admits, strict=True) if not yes]

    def _waits(self) -> Update:
        reason = "every verdict of it is beyond its reviewer's quota and waits for the words of others"
        return Update(head=None, decision="hold", finding=Finding("hold", reason, len(self.now.recent), 0.0, 1.0))

    def _without(self, out: list[Change], update: Update) -> Update:
        """An update that takes something out goes out, whatever became of the rest."""
        reason = f"{len(out)} pieces may not be known any more: they are taken out"
        if update.learned or update.refused:
            reason = f"{update.finding.reason}; {reason}"
        head = finite(self.now.reflex.head()) if update.head is None else update.head
        finding = replace(update.finding, decision="promote", reason=reason)
        learned = update.learned + len(out)
        return msgspec.structs.replace(update, head=head, decision="promote", finding=finding, learned=learned)

    def _learn(self, changes: list[Change], decide: _Decide) -> Update:
        """Learn all; if that is refused, try one by one, and hold back what is refused.

        A rebuild takes the same steps, refused ones too, so that it ends on the same bits.
        """
        finding, head = self._try(changes, decide)
        if head is not None:
            return Update(head=head, decision="promote", finding=finding, learned=len(changes))
        refused = changes
        singly = 1 < len(changes) <= _SINGLES_MAX
        if singly:
            refused = []
            for change in changes:
                single, better = self._try([change], decide)
                if better is None:
                    refused.append(change)
                else:
                    head, finding = better, single
        self.now.held.hold(refused)
        learned = len(changes) - len(refused)
        offsets = tuple(change.offset for change in refused)
        decision: Literal["promote", "refuse"] = "promote" if learned else "refuse"
        return Update(head=head, decision=decision, finding=finding, learned=learned, refused=offsets, singly=singly)

    def _try(self, changes: Sequence[Change], decide: _Decide) -> tuple[Finding, Head | None]:
        """Learn the changes and judge the head that follows; take them back if it is refused."""
        try:
            self.now.reflex.learn(changes)
        except ModelError as error:  # nothing of it was learned: one that cannot be must not take the others with it
            reason = f"it cannot be learned: {error}"
            return Finding("refuse", reason, len(self.now.recent), 1.0, float("inf")), None
        candidate = finite(self.now.sites.onto(self.now.reflex.head(), self.now.reflex))
        self._lap("learned")
        finding = decide(changes, candidate)
        self._lap("gated")
        if finding.decision == "promote" and candidate is not None:
            return finding, candidate
        self.now.reflex.learn(reverse(changes))
        return finding, None

    def _judge(self, _: Sequence[Change], candidate: Head | None) -> Finding:
        """gate: the candidate against the champion on the recent past, and against the first one on the golden set."""
        recent = self.now.recent
        if candidate is None:
            reason = "the candidate's weights are not finite"
            return Finding("refuse", reason, len(recent), 1.0, float("inf"))
        finding = self._by_cost(candidate)
        if finding is None:
            champion, challenger, parts = recent.compared(self.champion, candidate)
            finding = judge(champion, challenger, self.config.gate, parts)
        if finding.decision == "promote" and len(self.now.lessons.sealed):
            floor = self.now.lessons.sealed.floor(candidate)
            finding = finding if floor.decision == "promote" else floor
        if finding.decision == "promote" and (why := harm(self.now, candidate, self.config.gate)):
            return Finding("refuse", why, finding.count, finding.difference, finding.e_value, finding.slices)
        return finding

    def _by_cost(self, candidate: Head) -> Finding | None:
        """The candidate by what the recent past would have cost; None where too little of it can tell."""
        now = self.now
        if not isinstance(now.vertical, Costing):
            return None
        examples = [now.examples[name] for name in now.recent.names()]
        champion, challenger, parts = costed(now.vertical, examples, self.champion, candidate)
        if len(champion) < self.config.gate.least_examples:
            return None
        return judge(champion, challenger, self.config.gate, parts, what="cost")

    def state(self) -> bytes:
        """All of it as bytes; to be taken right after an update. Its size does not grow with the log."""
        assert self.settled, "a snapshot is taken between two groups"
        state = _State(
            format=_FORMAT,
            offset=self.offset,
            version=self.version,
            frozen=self.frozen,
            verified=self.verified,
            learned=self.now.state(),
            standby=self.standby.state(),
            kept=self.kept,
            tainted=self.tainted,
            deferred=self._deferred,
            stage=self.stage,
        )
        data = msgspec.msgpack.encode(state)
        return digest(data).encode() + data

    def restore(self, data: bytes, offset_max: int) -> None:
        """Become what `state` was. ModelError if it is damaged, of another recipe, or ahead of `offset_max`."""
        state = _decoded(data)
        if state.offset > offset_max:
            raise ModelError(f"the snapshot is of offset {state.offset}, the log ends at {offset_max}")
        learned = Learned.of(state.learned, self.start, self.config, self.reach)
        former = revived(self.start, state.standby.former.learned.lessons.backbones[-1][1], self.reach)
        self.now, self.standby = learned, Standby.of(state.standby, self.config.rollout, former)
        self.offset, self.version, self.frozen = state.offset, state.version, state.frozen
        self.verified, self.kept, self._deferred = state.verified, state.kept, list(state.deferred)
        self.tainted, self.stage = state.tainted, state.stage
        self._joiner = Joiner(self.config.join, self.reach.about)

    def swap(self, learned: Learned) -> None:
        """Go on from another state: a slower tier's, or a former one. What waited is in it, held or learned."""
        self.now, self._deferred, self._pending = learned, [], []

    def out_of_queue(self, names: set[str]) -> list[Change]:
        """Take the changes of these predictions out of those that wait for a thaw, or for their reviewers' quotas."""
        waiting = [*self._deferred, *(change for change in self._pending if not nothing(change))]
        taken = [change for change in waiting if name_of(change) in names]
        self._deferred = [change for change in self._deferred if name_of(change) not in names]
        self._pending = [change for change in self._pending if not nothing(change) and name_of(change) not in names]
        return taken

    def unlearned(self, name: str) -> bool:
        """Whether the learner does not hold yet what it should of a prediction."""
        waiting = (*self._deferred, *(change for change in self._pending if not nothing(change)))
        return self.now.held.holds(name) or any(name_of(change) == name for change in waiting)


def _decoded(data: bytes) -> _State:
    """A snapshot's state. ModelError, NewerFormatError."""
    body = data[_DIGEST_BYTES:]
    if data[:_DIGEST_BYTES] != digest(body).encode():
        raise ModelError("the learner's snapshot is not as it was written; it is rebuilt from the log")
    try:
        found = msgspec.msgpack.decode(body, type=_Format).format
        if found > _FORMAT:
            raise NewerFormatError(f"the learner's snapshot has format {found}; this hotloop knows {_FORMAT}")
        if found < _FORMAT:
            raise ModelError(f"the learner's snapshot has the older format {found}; it is rebuilt from the log")
        return msgspec.msgpack.decode(body, type=_State)
    except UNREADABLE as error:
        raise ModelError(f"the learner's snapshot is damaged ({error}); it is rebuilt from the log") from error


def _as_recorded(recorded: Judgement) -> _Decide:
    """Decides as an earlier run did: all at once if it held nothing back, else by the verdict's offset."""

    def decide(changes: Sequence[Change], _: Head | None) -> Finding:
        whole = len(changes) > 1 and recorded.singly
        refused = whole or any(change.offset in recorded.refused for change in changes)
        decision: Literal["promote", "refuse"] = "refuse" if refused else "promote"
        return Finding(decision, recorded.reason, recorded.count, recorded.difference, recorded.e_value)

    return decide
