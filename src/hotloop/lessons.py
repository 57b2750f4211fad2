"""From what was joined to what may be learned: struck words, the seal, trust in reviewers, and the features of the
backbone that answers now.

The joiner says how an example changed from its last state. The learner may hold another state of it: words that were
unlearned, reviewers who are not trusted, golden pieces that are never learned, predictions of another backbone. Lessons
keeps the difference, so that every change goes from what the learner holds to what it should hold. Pure: no clock, no
disk.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import msgspec
import numpy as np

from hotloop.config import LoopConfig
from hotloop.errors import HotloopError
from hotloop.feedback.trust import Trust, TrustState
from hotloop.gate.loss import label_losses, piece_loss
from hotloop.gate.sealed import Sealed, SealedState
from hotloop.ports import Vertical
from hotloop.types import Change, Example, Feedback, Head, Outcome, Output, Prediction, Proposals, Rows, rederived

_WAITING_MAX = 20_000  # verified pieces that another backbone has to look at
_ACTIVE_WORDS = 64  # newest words by which reviewers count as at work


class LessonsState(msgspec.Struct, frozen=True):
    """Lessons as a record. Features are kept by the digests of the blobs that hold them."""

    backbones: list[tuple[int, str]]
    blobs: list[str]
    exceptions: dict[str, Example | None]
    waiting: dict[str, tuple[int, Example]]
    seconds: dict[str, tuple[int, Example]]
    struck: list[tuple[str, str, Feedback]]
    heard: int
    active: dict[str, int]
    sealed: SealedState
    trust: TrustState
    floors: dict[str, tuple[float, ...]]
    new: list[str]


@dataclass(frozen=True)
class View:
    """What an example is seen with: the vertical and head that answer now, and the rows that it would teach."""

    vertical: Vertical
    champion: Head
    rows: Callable[[Example], Rows]


class Lessons:
    """What the learner holds of each prediction where it is not simply what was joined."""

    def __init__(self, config: LoopConfig, backbone: str) -> None:
        self._config = config
        self.sealed = Sealed(config.gate)
        self.trust = Trust(config.trust)
        self.blobs: list[str] = []  # digests of the re-derivations that `features` came from
        self.features: dict[str, Proposals] = {}  # on the backbone that answers now, of predictions of others
        self.waiting: dict[str, tuple[int, Example]] = {}  # verified, and seen by another backbone only
        self.seconds: dict[str, tuple[int, Example]] = {}  # joined, and waiting for a second opinion
        self._backbones = [(0, backbone)]  # from which version on which backbone answered
        self._exceptions: dict[str, Example | None] = {}
        self._struck: dict[tuple[str, str], Feedback] = {}
        self._waits = False  # what was asked last waits for a second opinion
        self._clashed = False  # a sure champion has been contradicted since those that wait were looked at
        self._heard = 0  # words
        self._asked: tuple[tuple[str, Feedback, int, bytes], list[Outcome]] | None = None  # the last, and its answer
        self._active: dict[str, int] = {}  # by reviewer: which word was the last of theirs
        self._floors: dict[str, tuple[float, ...]] = {}  # of golden pieces: losses of the head when each first came
        self._new: list[str] = []  # golden pieces whose copies may have been learned before they came

    @property
    def backbones(self) -> list[tuple[int, str]]:
        """From which version on which backbone answered, oldest first."""
        return list(self._backbones)

    @property
    def backbone(self) -> str:
        """The digest of the backbone that answers now."""
        return self._backbones[-1][1]

    def backbone_of(self, prediction: Prediction) -> str:
        """The backbone whose features a prediction carries."""
        place = bisect_right(self._backbones, prediction.version, key=lambda one: one[0]) - 1
        return self._backbones[max(place, 0)][1]

    def answered_by(self, version: int, backbone: str) -> None:
        """From `version` on another backbone answers; what was seen by others has to be seen by it."""
        self._backbones.append((version, backbone))
        self.features, self.blobs = {}, []
        self.waiting = {}
        self._exceptions = {}
        self.sealed = Sealed(self._config.gate)

    def take(self, change: Change, view: View) -> Change | None:
        """The change from what is learned to what may be learned; None where that is no change, or has to wait."""
        example = change.after
        assert example is not None, "a word is never unsaid"
        self._hear(change.before, example, view)
        return self.again(change.offset, example, view, before=change.before)

    def again(self, offset: int, example: Example, view: View, before: Example | None) -> Change | None:
        """As `take`, of an example of which nothing new was said, but whose words count otherwise now."""
        name = example.prediction.id
        held = self.held(name, before)
        if self._elsewhere(example.prediction):
            self.waiting[name] = (offset, example)
            if len(self.waiting) > _WAITING_MAX:  # nobody could look at it again: its bytes are not kept
                del self.waiting[next(iter(self.waiting))]
            return None
        here = self.default(example)
        assert here is not None, "it was seen by the backbone that answers now"
        self.seconds.pop(name, None)
        wanted = self._wanted(here, view)
        if wanted is None and self._waits:
            self.seconds[name] = (offset, example)
        if wanted is here:
            self._exceptions.pop(name, None)
        else:
            self._exceptions[name] = wanted
        return None if held is None and wanted is None else Change(offset, held, wanted)

    def reconsider(self, view: View) -> list[Change]:
        """What waited for a second opinion and need not any more, once somebody else has contradicted the champion
        too.
        """
        if not self._clashed:
            return []
        self._clashed = False
        waited = list(self.seconds.items())
        found = (self.again(offset, example, view, before=example) for _, (offset, example) in waited)
        return [change for change in found if change is not None and change.after is not None]

    @property
    def sealed_anew(self) -> bool:
        """Whether there are golden pieces whose copies were not looked for yet."""
        return bool(self._new)

    def copies(self, examples: Iterable[Example]) -> list[str]:
        """Those of `examples` that equal, or nearly, a piece that came under seal since this was last asked: whatever
        was learned of them has to go.
        """
        new, self._new = self._new, []
        seen = (example.prediction for example in examples)
        return [one.id for one in seen if one.id not in new and self.sealed.among(new, one)]

    def truth(self, example: Example) -> tuple[Feedback, ...]:
        """The golden words of an example; none of those that were unlearned."""
        name, golden = example.prediction.id, self._config.trust.golden
        return tuple(w for w in example.feedback if w.reviewer == golden and self._struck.get((name, golden)) != w)

    def covered(self, prediction: Prediction) -> bool:
        """Whether a golden piece is the same, or nearly: it is never learned."""
        return bool(self.sealed.covers(prediction.observation.digest, prediction.proposals))

    def held(self, name: str, joined: Example | None) -> Example | None:
        """What the learner holds of a prediction, whose last joined state was `joined`."""
        return self._exceptions[name] if name in self._exceptions else self.default(joined)

    def holds(self, name: str, example: Example | None) -> None:
        """Say what the learner holds of a prediction, for whoever changed it."""
        self._exceptions[name] = example

    def default(self, joined: Example | None) -> Example | None:
        """What is learned of an example of which there is nothing special."""
        if joined is None or self.backbone_of(joined.prediction) == self.backbone:
            return joined
        proposals = self.features.get(joined.prediction.id)
        if proposals is None:
            return None
        return msgspec.structs.replace(joined, prediction=rederived(joined.prediction, proposals))

    def seen(self, features: dict[str, Proposals], blob: str) -> list[tuple[int, Example]]:
        """What the backbone that answers now proposes for predictions of others; the examples that waited for it."""
        self.blobs.append(blob)
        ready = []
        for name, proposals in features.items():
            self.features[name] = proposals
            if name in self.waiting:
                self._exceptions[name] = self._exceptions.get(name)  # nothing of it is learned yet
                ready.append(self.waiting.pop(name))
        return ready

    def strike(self, name: str, word: Feedback) -> None:
        """A word counts no more, until its reviewer says something else of that prediction."""
        self._struck[name, word.reviewer] = word
        if word.reviewer == self._config.trust.golden:
            self._floors.pop(name, None)

    def reviewers(self) -> int:
        """How many reviewers are at work."""
        return len(self._active)

    def keep(self, now: Lessons, version: int) -> None:
        """Take over what does not go back when a model does under a new version: whom to trust, which words were
        struck, the floors, and which backbone answered when.
        """
        self.trust, self._struck, self._floors = now.trust, now._struck, now._floors
        self._heard, self._active = now._heard, now._active
        self._backbones = [*now._backbones, (version, self.backbone)]

    def _elsewhere(self, prediction: Prediction) -> bool:
        return self.backbone_of(prediction) != self.backbone and prediction.id not in self.features

    def _wanted(self, here: Example, view: View) -> Example | None:
        """What may be learned of an example as this backbone sees it; None if nothing may."""
        name = here.prediction.id
        self._waits = False
        if truth := self.truth(here):
            self._seal(msgspec.structs.replace(here, feedback=truth, weights=()), view)
            return None
        self.sealed.drop(name)
        if self.covered(here.prediction):
            return None
        words = [w for w in here.feedback if self._struck.get((name, w.reviewer)) != w]
        weights = [self.trust.standing(w.reviewer).weight for w in words]
        kept = [(word, weight) for word, weight in zip(words, weights, strict=True) if weight > 0]
        if not kept or self._needs_second(here, kept, view):
            return None
        if len(kept) == len(here.feedback) and all(weight == 1.0 for _, weight in kept):
            return here
        return Example(here.prediction, tuple(word for word, _ in kept), tuple(weight for _, weight in kept))

    def _seal(self, truth: Example, view: View) -> None:
        """Put a golden piece under seal. Its floor is the loss of the head that answers when it first comes."""
        rows = view.rows(truth)
        name, head = truth.prediction.id, view.champion
        if not self.sealed.holds(name):
            self._new.append(name)
        if name not in self._floors:
            self._floors[name] = (piece_loss(rows, head), *label_losses(rows, head))
        floor, *by_label = self._floors[name]
        self.sealed.add(truth.prediction, rows, floor, tuple(by_label))

    def _hear(self, before: Example | None, after: Example, view: View) -> None:
        """Tell trust what the new words agree with."""
        known = () if before is None else before.feedback
        golden = self.truth(after)
        told = [word for word in after.feedback if word.reviewer != self._config.trust.golden]
        fresh = [word for word in told if word not in known]
        for word in fresh:
            self._at_work(word.reviewer)
            others = [other for other in told if other.reviewer != word.reviewer]
            for other in others:
                self.trust.saw(word.reviewer, "peer", compared(word, other, after.prediction, view.vertical))
                self.trust.saw(other.reviewer, "peer", compared(other, word, after.prediction, view.vertical))
            self._sure_of(word, after, view)
        news = any(word not in known for word in golden)
        if news:  # another truth than before has another floor
            self._floors.pop(after.prediction.id, None)
        for word in told if news else fresh:  # the truth may come after the words
            for truth in golden:
                self.trust.saw(word.reviewer, "gold", compared(word, truth, after.prediction, view.vertical))

    def _sure_of(self, word: Feedback, joined: Example, view: View) -> None:
        """Tell trust how a word stands to what the champion is sure of."""
        here = self.default(joined)
        if self.reviewers() < 2 or here is None:
            return
        outcomes = self._against(here, word, view)
        self.trust.saw(word.reviewer, "champion", outcomes)
        for label in {outcome.label for outcome in outcomes if outcome.kind != "hit"}:
            self.trust.clashed(word.reviewer, label)
            self._clashed = True

    def _against(self, here: Example, word: Feedback, view: View) -> list[Outcome]:
        """What the champion is sure of, and whether a word on an example says the same. Asked twice of each word."""
        key = (here.prediction.id, word, id(view.champion), here.prediction.proposals.data)
        if self._asked is None or self._asked[0] != key:
            self._asked = key, self._compared(msgspec.structs.replace(here, feedback=(word,), weights=()), view)
        return self._asked[1]

    def _compared(self, example: Example, view: View) -> list[Outcome]:
        rows, sure = view.rows(example), self._config.trust.sure
        labels, thresholds = view.champion.labels, np.array(view.champion.thresholds)
        scores = (rows.x @ view.champion.weights[:, : len(labels)]).clip(0.0, 1.0)
        found = []
        for score, y in zip(scores, rows.y[:, : len(labels)], strict=True):
            best, truth = int(score.argmax()), int(y.argmax())
            rival = max(float(np.partition(score, -2)[-2]) if len(score) > 1 else 0.0, float(thresholds[best]))
            if score[best] - rival >= sure:
                found.append(Outcome("hit" if y[best] >= 0.5 else "missed", labels[best]))
            elif thresholds[best] - score[best] >= sure and y[truth] >= 0.5:
                found.append(Outcome("false alarm", labels[truth]))
        return found

    def _at_work(self, reviewer: str) -> None:
        self._heard += 1
        self._active[reviewer] = self._heard
        if self._heard % _ACTIVE_WORDS == 0:
            self._active = {name: at for name, at in self._active.items() if at > self._heard - _ACTIVE_WORDS}

    def _needs_second(self, here: Example, kept: list[tuple[Feedback, float]], view: View) -> bool:
        """Whether what is said has to wait for another reviewer's word."""
        if len({word.reviewer for word, _ in kept}) > 1 or self.reviewers() < 2:
            return False
        word = kept[0][0]
        outcomes = self._against(here, word, view)
        clashes = {outcome.label for outcome in outcomes if outcome.kind != "hit"}
        self._waits = any(self.trust.needs_second(word.reviewer, label, self.reviewers()) for label in clashes)
        return self._waits

    def unusual(self) -> tuple[str, ...]:
        """The predictions of which something else is learned than was joined: unlearned, golden, waiting, weighed."""
        return tuple(self._exceptions)

    def state(self) -> LessonsState:
        """What `restore` needs."""
        return LessonsState(
            backbones=list(self._backbones),
            blobs=list(self.blobs),
            exceptions=dict(self._exceptions),
            waiting=dict(self.waiting),
            seconds=dict(self.seconds),
            struck=[(name, reviewer, word) for (name, reviewer), word in self._struck.items()],
            heard=self._heard,
            active=dict(self._active),
            sealed=self.sealed.state(),
            trust=self.trust.state(),
            floors=dict(self._floors),
            new=list(self._new),
        )

    def restore(self, state: LessonsState, features: Iterable[dict[str, Proposals]]) -> None:
        """Become what `state` was; `features` are those of its blobs, in order."""
        self._backbones, self.blobs = list(state.backbones), list(state.blobs)
        self.features = {}
        for part in features:
            self.features |= part
        self._exceptions, self.waiting = dict(state.exceptions), dict(state.waiting)
        self.seconds = dict(state.seconds)
        self._struck = {(name, reviewer): word for name, reviewer, word in state.struck}
        self._heard, self._active, self._floors = state.heard, dict(state.active), dict(state.floors)
        self._new = list(state.new)
        self.sealed.restore(state.sealed)
        self.trust.restore(state.trust)


def compared(word: Feedback, other: Feedback, prediction: Prediction, vertical: Vertical) -> tuple[Outcome, ...]:
    """How a word turns out if another is the truth: hits, misses and false alarms by label. None if it cannot be
    said.
    """
    try:
        return vertical.outcomes(as_outputs(word, prediction), Example(prediction, (other,)))
    except HotloopError:
        return ()


def as_outputs(word: Feedback, prediction: Prediction) -> tuple[Output, ...]:
    """What a reviewer says is there, in the form in which a model says it."""
    said = []
    for claim in word.claims:
        of = None
        if claim.output is not None and 0 <= claim.output < len(prediction.outputs):
            of = prediction.outputs[claim.output]
        if claim.label is not None:
            said.append(Output(claim.label, 1.0, claim.region or (of.region if of else None), -1))
    return tuple(said)
