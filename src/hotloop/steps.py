"""What changes a model and is no verdict: another backbone, a rollback, a promotion by hand, unlearning.

Each step is a group of its own in the lineage, with its judgement in the log. Pure: what it looks up goes through
`Reach`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal, Protocol, TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray

from hotloop.config import LoopConfig
from hotloop.errors import HotloopError, ModelError, NotFoundError
from hotloop.gate import Finding, judge
from hotloop.gate.held import merged
from hotloop.gate.slices import NO_PARTS, Parts, parts_of, with_labels
from hotloop.join import fold
from hotloop.learned import Learned, Reach, finite, of_backbone, revived
from hotloop.ports import Vertical
from hotloop.standby import Answer, Former, Standby, answered, measured
from hotloop.types import (
    Candidate,
    Change,
    Command,
    Example,
    Feedback,
    Floats,
    Head,
    Judgement,
    Prediction,
    Release,
    Selection,
    Tier,
)

_BLOCK = 64  # examples that are learned at once when a backbone is moved to
_HASH_DIGITS = 8


@dataclass(frozen=True)
class Distrust:
    """A reviewer has lost all trust: what their words taught is to be taken out."""

    reviewer: str


@dataclass(frozen=True)
class Alarm:
    """What answers now has been found worse than the state before it."""

    words: str


@dataclass(frozen=True)
class Copies:
    """Pieces that were learned before their equal, or nearly, came under seal: what they taught is to be taken out."""

    names: tuple[str, ...]


Step: TypeAlias = Candidate | Command | Distrust | Copies | Alarm


class Update(msgspec.Struct, frozen=True, kw_only=True):
    """What one group came to. `head` is None where nothing of it may go out."""

    head: Head | None
    decision: Literal["promote", "hold", "refuse", "rollback"]
    finding: Finding
    learned: int = 0  # changes that were learned
    refused: tuple[int, ...] = ()  # offsets of those that were held back
    singly: bool = False  # refused as a whole, then tried verdict by verdict
    deferred: tuple[int, ...] = ()  # offsets of those beyond their reviewer's quota: they wait
    tier: Tier = "reflex"
    alike: float = 0.0  # share of the judged pieces that both backbones answer alike; 0.0: not known


class Moving(Protocol):
    """What a step needs of the lineage."""

    config: LoopConfig
    reach: Reach
    start: Vertical
    now: Learned
    standby: Standby
    offset: int
    version: int
    verified: int
    frozen: bool
    kept: Candidate | None
    tainted: bool

    def checkpoint(self) -> None:
        """Keep the present state as the one to go back to."""

    def watch_from(self, former: Former, vertical: Vertical) -> None:
        """Begin another watch, against a former state."""

    def swap(self, learned: Learned) -> None:
        """Go on from another state."""

    def out_of_queue(self, names: set[str]) -> list[Change]:
        """Take the changes of these predictions out of those that wait."""
        ...

    def unlearned(self, name: str) -> bool:
        """Whether the learner does not hold yet what it should of a prediction."""
        ...


def step(lineage: Moving, due: Step, recorded: Judgement | None) -> Update | None:
    """Take a step. With `recorded`, a judgement of an earlier run, it is taken at its word."""
    if isinstance(due, Candidate):
        return _moved(lineage, due, recorded, forced="")
    if isinstance(due, Distrust):
        return _unlearned(lineage, Selection(reviewer=due.reviewer), f"{due.reviewer} is not trusted any more")
    if isinstance(due, Copies):
        return _taken_out(lineage, due.names, f"{len(due.names)} pieces are nearly golden ones: they teach nothing")
    if isinstance(due, Alarm):
        return _back(lineage, 0, due.words)
    said = f"ordered by {due.by}" + (f" ({due.reason})" if due.reason else "")
    if due.order == "rollback":
        return _back(lineage, due.version, said)
    if due.order == "unlearn":
        return _unlearned(lineage, due.selection, said, struck=True)
    if due.order == "reinstate":
        return _reinstated(lineage, due.selection.reviewer or "", said)
    if lineage.kept is None:
        return _nothing("there is no candidate that the gate holds: nothing was promoted")
    return _moved(lineage, lineage.kept, recorded, forced=said)


# another backbone


def _moved(lineage: Moving, candidate: Candidate, recorded: Judgement | None, forced: str) -> Update:
    """A slower tier's model: re-derive what was learned on its backbone, judge it, go over to it."""
    tier: Tier = candidate.tier
    try:
        new = on_backbone(lineage, candidate)
    except HotloopError as error:  # a bundle that is none, features that are gone: the line stays with what it has
        return Update(head=None, decision="refuse", finding=_refused(f"it cannot be used: {error}"), tier=tier)
    head = finite(new.sites.onto(new.reflex.head(), new.reflex))
    if head is None:
        return Update(head=None, decision="refuse", finding=_refused("its weights are not finite"), tier=tier)
    finding, alike = compared(lineage, new) if recorded is None else (_recorded(recorded), 0.0)
    if finding.decision == "hold" and forced:
        finding = replace(finding, decision="promote", reason=f"{forced}; the gate had held it: {finding.reason}")
    if lineage.frozen and finding.decision == "promote" and not forced:
        finding = replace(finding, decision="hold", reason=f"the loop is frozen; {finding.reason}")
    lineage.kept = candidate if finding.decision == "hold" else None
    if finding.decision != "promote":
        return Update(head=None, decision=finding.decision, finding=finding, tier=tier)
    lineage.checkpoint()
    lineage.swap(new)
    lineage.verified = 0
    lineage.tainted = lineage.tainted and tier != "consolidate"
    return Update(head=head, decision="promote", finding=finding, learned=candidate.count, tier=tier, alike=alike)


def on_backbone(lineage: Moving, candidate: Candidate) -> Learned:
    """All that was verified, learned anew on the candidate's backbone. What it has not seen yet waits for its
    features.
    """
    now, reach = lineage.now, lineage.reach
    features = of_backbone(candidate.features, candidate.backbone, reach)
    if not features:
        raise ModelError("it came without a single example on its backbone")
    new = Learned(revived(now.vertical, candidate.backbone, reach), lineage.config)
    if new.champion.labels != now.champion.labels:
        raise ModelError(f"it knows {', '.join(new.champion.labels)}, this loop {', '.join(now.champion.labels)}")
    new.lessons.restore(now.lessons.state(), [])
    new.sites.moved(now.sites)
    waited = list(new.lessons.waiting)
    new.lessons.answered_by(lineage.version + 1, candidate.backbone)
    new.lessons.seen(features, candidate.features)
    later = named(reach, candidate.trained_to, lineage.offset)
    changes = []
    for example in _seals_first(lineage, new, (*features, *waited, *later)):
        offset = said_at(reach, example.prediction.id, lineage.offset)
        change = new.lessons.again(offset, example, new.view(), before=None)
        changes += [] if change is None else [change]
    for first in range(0, len(changes), _BLOCK):
        new.reflex.learn(changes[first : first + _BLOCK])
        new.forget_rows()
    _remember_again(now, new, lineage)
    return new


def _seals_first(lineage: Moving, learned: Learned, names: Iterable[str]) -> list[Example]:
    """What was joined of these predictions, golden pieces first: so that their copies are not learned."""
    found = (joined(lineage.reach, name, lineage.offset) for name in dict.fromkeys(names))
    return sorted((one for one in found if one is not None), key=lambda one: not learned.lessons.truth(one))


def _remember_again(now: Learned, new: Learned, lineage: Moving) -> None:
    """The recent past, on the new backbone."""
    for name in now.recent.names():
        example = new.lessons.held(name, joined(lineage.reach, name, lineage.offset))
        if example is not None:
            new.remember(Change(lineage.offset, None, example))
    new.forget_rows()


def held_out(digest: str, share: float) -> bool:
    """Whether a piece is one that no backbone is trained on, by the digest of its bytes: the same wherever it is
    asked.
    """
    return int(digest[:_HASH_DIGITS], 16) < share * float(16**_HASH_DIGITS)


def compared(lineage: Moving, new: Learned) -> tuple[Finding, float]:
    """The gate on another backbone: paired on pieces that neither backbone was trained on, with heads that have not
    learned them either (their rows are subtracted from the moments); the golden pieces are among them, as a part. And
    the share of them that both answer alike.
    """
    pairs = _pairs(lineage, new)
    own = [pair for pair in pairs if not pair[3]]
    champion = _head_without(lineage.now, [pair[1] for pair in own if not lineage.unlearned(pair[0])])
    challenger = _head_without(new, [pair[2] for pair in own])
    answers: list[tuple[Answer, Answer]] = []
    kept = []
    for pair in pairs:
        before = answered(lineage.now.vertical, pair[1], champion, champion)
        after = answered(new.vertical, pair[2], challenger, champion)
        if before is not None and after is not None:
            answers.append((before, after))
            kept.append(pair)
    table: Floats = np.array([(one.loss, two.loss) for one, two in answers], np.float64).reshape(-1, 2)
    parts = _parts(kept, answers, lineage.now.champion.labels)
    alike = float(np.mean([one.said == two.said for one, two in answers])) if answers else 0.0
    what = measured(new.vertical)
    return judge(table[:, 0], table[:, 1], lineage.config.gate, parts, slow=True, what=what), alike


_Pair: TypeAlias = tuple[str, Example, Example, bool]  # name, on the one backbone, on the other, golden


def _pairs(lineage: Moving, new: Learned) -> list[_Pair]:
    """The pieces to judge on, oldest first."""
    share = lineage.config.refresh.holdout_share
    pairs: list[_Pair] = []
    for name in new.lessons.features:
        example = joined(lineage.reach, name, lineage.offset)
        if example is None:
            continue
        if truth := lineage.now.lessons.truth(example):
            sealed = msgspec.structs.replace(example, feedback=truth)
            one, two = lineage.now.lessons.default(sealed), new.lessons.default(sealed)
        elif held_out(example.prediction.observation.digest, share):
            one, two = lineage.now.lessons.held(name, example), new.lessons.held(name, example)
        else:
            continue
        if one is not None and two is not None:
            pairs.append((name, one, two, bool(truth)))
    return pairs


def _head_without(learned: Learned, examples: list[Example]) -> Head:
    """The head that has learned all but these."""
    twin = type(learned.reflex)(learned.rows, learned.vertical.start(), learned.config.learn)
    twin.restore(learned.reflex.state())
    twin.unlearn(examples)
    learned.forget_rows()
    return finite(learned.sites.onto(twin.head(), twin)) or learned.champion


def _parts(pairs: list[_Pair], answers: list[tuple[Answer, Answer]], labels: tuple[str, ...]) -> Parts:
    """Classes, each with its own losses, lines, sites and the golden set, as parts of the pieces."""
    places = [pair[1].prediction.observation for pair in pairs]
    golden: NDArray[np.bool_] = np.array([pair[3] for pair in pairs], bool)
    parts = parts_of([()] * len(pairs), [one.line for one in places], [one.site for one in places], {"golden": golden})
    if not pairs:
        return NO_PARTS
    before, after = (
        np.array([[answer[which].by_label.get(label, np.nan) for answer in answers] for label in labels])
        for which in (0, 1)
    )
    return with_labels(parts, labels, before, after)


def _recorded(recorded: Judgement) -> Finding:
    """What an earlier run found."""
    decision = "refuse" if recorded.decision == "rollback" else recorded.decision
    return Finding(decision, recorded.reason, recorded.count, recorded.difference, recorded.e_value, recorded.slices)


# back to a former state


def _back(lineage: Moving, version: int, words: str) -> Update:
    """Go back to the exact state of a former version, under a new one. What was said since is kept aside, not lost;
    what may not be known any more (unlearned, of a distrusted reviewer, golden) does not come back with it.
    """
    try:
        former = _former(lineage, version)
    except NotFoundError as error:
        return _nothing(f"{words}: {error}")
    old, since = Learned.of(former.learned, lineage.start, lineage.config, lineage.reach), former.offset
    moved = old.lessons.backbone != lineage.now.lessons.backbone
    old.lessons.keep(lineage.now.lessons, lineage.version + 1)
    aside: list[Change] = []
    out: list[Change] = []
    unusual = (*lineage.now.lessons.unusual(), *old.lessons.unusual())
    for example in _seals_first(lineage, old, (*named(lineage.reach, since, lineage.offset), *unusual)):
        name = example.prediction.id
        offset = said_at(lineage.reach, name, lineage.offset)
        change = old.lessons.again(offset, example, old.view(), before=joined(lineage.reach, name, since))
        change = None if change is None else old.held.adjust(change)
        if change is not None and old.teaches(change):
            (out if takes_out(change) else aside).append(change)
            old.remember(change)
    out += [old.held.adjust(change) for change in old.held.state().changes if takes_out(change)]
    for change in out:
        old.remember(change)
    if out:
        old.reflex.learn(out)
        old.champion = finite(old.reflex.head()) or old.champion
    old.forget_rows()
    if moved:  # the backbone is to blame, not the verdicts: the gate may try them at once
        old.held.hold(aside)
    else:
        old.held.set_aside(aside)
    lineage.swap(old)
    watched = lineage.standby.watch.count
    lineage.watch_from(former, old.vertical)
    less = f", less {len(out)} pieces that may not be known any more" if out else ""
    reason = f"back to version {former.version}{less}: {words}; {len(aside)} verified pieces since then are kept aside"
    finding = Finding("promote", reason, watched, 0.0, 1.0)
    return Update(head=old.champion, decision="rollback", finding=finding, tier="rollback")


def takes_out(change: Change) -> bool:
    """Whether a change only takes words away."""
    before = () if change.before is None else change.before.feedback
    after = () if change.after is None else change.after.feedback
    return len(after) < len(before) and all(word in before for word in after)


def _former(lineage: Moving, version: int) -> Former:
    """The state to go back to. NotFoundError."""
    former = lineage.standby.former
    if version in (0, former.version):
        return former
    if version > lineage.version:
        raise NotFoundError(f"there is no version {version}: the newest is {lineage.version}")
    offset, learned = lineage.reach.past(version)
    return Former(version, offset, learned)


# unlearning


def _unlearned(lineage: Moving, selection: Selection, words: str, *, struck: bool = False) -> Update:
    """Take out what the selected words taught, exactly: as if they had never been said."""
    chosen = selected(lineage.reach, selection, lineage.offset)
    for name, word in chosen if struck else ():
        lineage.now.lessons.strike(name, word)
    names = tuple(dict.fromkeys(name for name, _ in chosen))
    return _taken_out(lineage, names, f"{words}: {len(chosen)} words on {len(names)} pieces do not count any more")


def _taken_out(lineage: Moving, names: tuple[str, ...], reason: str) -> Update:
    """Learn these pieces as they may be learned now: without the gate, for what may not be known cannot be voted on."""
    now = lineage.now
    changes = [now.held.adjust(change) for change in lineage.out_of_queue(set(names))]
    for name in names:
        example = joined(lineage.reach, name, lineage.offset)
        if example is not None:
            offset = said_at(lineage.reach, name, lineage.offset)
            change = now.lessons.again(offset, example, now.view(), before=example)
            changes += [] if change is None else [now.held.adjust(change)]
    teaching = [change for change in merged(changes) if now.teaches(change)]
    if not teaching:
        return _nothing(f"{reason}; nothing of them was learned")
    lineage.tainted = lineage.tainted or now.vertical.backbone != lineage.start.backbone
    now.reflex.learn(teaching)
    for change in teaching:
        now.remember(change)
    now.forget_rows()
    finding = Finding("promote", reason, len(now.recent), 0.0, 1.0)
    return Update(head=finite(now.reflex.head()), decision="promote", finding=finding, learned=len(teaching))


def _reinstated(lineage: Moving, reviewer: str, words: str) -> Update:
    """A reviewer starts anew; what they said while they were not trusted goes to the gate, with the next updates."""
    now = lineage.now
    if not now.lessons.trust.standing(reviewer).distrusted:
        return _nothing(f"{words}: {reviewer!r} is not distrusted")
    now.lessons.trust.reinstate(reviewer)
    names = dict.fromkeys(name for name, _ in selected(lineage.reach, Selection(reviewer=reviewer), lineage.offset))
    tried = []
    for name in names:
        example = joined(lineage.reach, name, lineage.offset)
        if example is not None:
            offset = said_at(lineage.reach, name, lineage.offset)
            change = now.lessons.again(offset, example, now.view(), before=example)
            tried += [] if change is None or not now.teaches(change) else [now.held.adjust(change)]
    now.held.hold(tried)
    now.forget_rows()
    return _nothing(f"{words}: {reviewer!r} starts anew; {len(tried)} of their verdicts are tried again")


def selected(reach: Reach, selection: Selection, upto: int) -> list[tuple[str, Feedback]]:
    """The words that a selection means, with the predictions they are about: the last word of each, in the log's
    order.
    """
    if selection == Selection():
        return []
    found: dict[tuple[str, str], Feedback] = {}
    for record in reach.records(0, upto):
        body = record.event.body
        if not isinstance(body, Feedback):
            continue
        meant = (
            selection.verdict in (None, record.offset)
            and selection.reviewer in (None, body.reviewer)
            and (selection.since is None or record.received_at >= selection.since)
            and (selection.site is None or _site(reach, body.prediction) == selection.site)
        )
        if meant:
            found[body.prediction, body.reviewer] = body
    return [(name, word) for (name, _), word in found.items()]


def _site(reach: Reach, name: str) -> str:
    bodies = (record.event.body for record in reach.about(name))
    return next((body.observation.site for body in bodies if isinstance(body, Prediction)), "")


def affected(reach: Reach, words: list[tuple[str, Feedback]], upto: int) -> str:
    """Which releases had learned any of these words, in words."""
    if not words:
        return "nothing in the log is meant by it"
    meant = {(word.prediction, word.reviewer) for _, word in words}
    first, versions = 0, []
    for record in reach.records(0, upto):
        body = record.event.body
        if isinstance(body, Feedback) and not first and (body.prediction, body.reviewer) in meant:
            first = record.offset
        elif isinstance(body, Release) and first and body.learned_to >= first:
            versions.append(body.version)
    said = f"{len(words)} verdicts on {len({name for name, _ in words})} pieces"
    if not versions:
        return f"{said}; no release had learned them"
    return f"{said}; {len(versions)} releases had learned them: versions {versions[0]} to {versions[-1]}"


# the log, by prediction


def joined(reach: Reach, name: str, upto: int) -> Example | None:
    """What the log says of a prediction up to an offset."""
    return fold(record for record in reach.about(name) if record.offset <= upto).example()


def said_at(reach: Reach, name: str, upto: int) -> int:
    """The offset of the last that was said of a prediction up to an offset. No other prediction has the same one, so
    that a judgement can name what it refused by it.
    """
    return max((record.offset for record in reach.about(name) if record.offset <= upto), default=upto)


def named(reach: Reach, after: int, upto: int) -> list[str]:
    """The predictions that something was said of in (after, upto], or that came after what was said of them."""
    bodies = (record.event.body for record in reach.records(after, upto))
    names = (body.prediction if isinstance(body, Feedback) else body.id for body in bodies
             if isinstance(body, Feedback | Prediction))  # fmt: skip
    return list(dict.fromkeys(names))


def reviewer_of(change: Change) -> str:
    """Whose word a change is, for the quota: "" where several reviewers agree on what is there, or it is taken out."""
    words = () if change.after is None else change.after.feedback
    names = {word.reviewer for word in words}
    return next(iter(names)) if len(names) == 1 else ""


def _refused(reason: str) -> Finding:
    return Finding("refuse", reason, 0, 1.0, float("inf"))


def _nothing(reason: str) -> Update:
    return Update(head=None, decision="hold", finding=Finding("hold", reason, 0, 0.0, 1.0))
