"""The state to go back to, and the test of whether to: what answers now against what answered before, on the same
pieces.

A checkpoint is kept before a slower tier's model goes out, and when what answers now is proven better than the last
one, but not before `rollout.checkpoint_examples` verified pieces: so a loop at rest starts no watch after watch, each
of which could err. A piece verified since is judged twice before its verdict is learned: by the head that answers now
and by the checkpoint's. Where the checkpoint has another backbone, its features come later (`Rederived`); until then
the present loss waits. Pure: no clock, no disk.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import msgspec

from hotloop.config import RolloutConfig
from hotloop.errors import InputError, ModelError
from hotloop.gate import costs_of
from hotloop.learned import LearnedState
from hotloop.measure.tally import count
from hotloop.ports import Costing, Vertical
from hotloop.predict import unpack_head
from hotloop.rollout import Watch, spent
from hotloop.rollout.watch import WatchState
from hotloop.types import Claim, Example, Feedback, Head, Prediction, Proposals, rederived

_PENDING_MAX = 2000  # pieces that wait for the former backbone's features


class Former(msgspec.Struct, frozen=True):
    """What `version` had learned, up to `offset`."""

    version: int
    offset: int
    learned: LearnedState


class StandbyState(msgspec.Struct, frozen=True):
    """Standby as a record."""

    former: Former
    number: int
    watch: WatchState
    pending: dict[str, tuple[float, Example]]


class Standby:
    """A former state, ready to come back."""

    def __init__(self, config: RolloutConfig, former: Former, vertical: Vertical, number: int = 1) -> None:
        """`vertical` is on the former state's backbone; `number`: the how manieth watch of this loop it is."""
        self.former, self.number = former, number
        self.vertical, self.head = vertical, unpack_head(former.learned.champion)
        self.watch = Watch(config.watch_tolerance, spent(config.watch_alpha, number))
        self._config = config
        self._pending: dict[str, tuple[float, Example]] = {}

    @property
    def backbone(self) -> str:
        """The backbone of the former state."""
        return self.former.learned.lessons.backbones[-1][1]

    @property
    def examples(self) -> tuple[Example, ...]:
        """Verified pieces that the former backbone has to look at."""
        return tuple(example for _, example in self._pending.values())

    @property
    def due(self) -> bool:
        """Whether the present state has shown itself better, and so becomes the one to go back to."""
        return self.watch.count >= self._config.checkpoint_examples and self.watch.better and not self.watch.alarm

    def compare(self, now: float, former: float) -> None:
        """A verified piece: its loss by what answers now, and by the former state."""
        self.watch.add(now, former)

    def wait(self, example: Example, now: float) -> None:
        """A verified piece whose features the former backbone has not given yet."""
        self._pending[example.prediction.id] = (now, example)
        if len(self._pending) > _PENDING_MAX:
            del self._pending[next(iter(self._pending))]

    def seen(self, features: dict[str, Proposals], expects: Head) -> None:
        """The former backbone's features have come: compare what waited for them. `expects`: what answers now."""
        for name, proposals in features.items():
            if name in self._pending:
                now, example = self._pending.pop(name)
                moved = msgspec.structs.replace(example, prediction=rederived(example.prediction, proposals))
                former = answer_loss(self.vertical, moved, self.head, expects)
                if former is not None:
                    self.compare(now, former)

    def says_as_much(self, prediction: Prediction, proposals: Proposals) -> bool:
        """Whether the former state answers a piece, which it sees as `proposals`, as the prediction does."""
        claims = tuple(Claim(label=output.label, region=output.region) for output in prediction.outputs)
        word = Feedback(prediction=prediction.id, reviewer="(model)", claims=claims, complete=True)
        loss = answer_loss(self.vertical, Example(rederived(prediction, proposals), (word,)), self.head)
        return not loss

    def words(self) -> str:
        """What the watch has found, in a sentence."""
        return self.watch.words(measured(self.vertical))

    def state(self) -> StandbyState:
        """What `of` needs."""
        return StandbyState(self.former, self.number, self.watch.state(), dict(self._pending))

    @classmethod
    def of(cls, state: StandbyState, config: RolloutConfig, vertical: Vertical) -> Standby:
        """What `state` was; `vertical` is on its backbone."""
        standby = cls(config, state.former, vertical, state.number)
        standby.watch.restore(state.watch)
        standby._pending = dict(state.pending)
        return standby


@dataclass(frozen=True)
class Answer:
    """How a head's answer to a verified piece turned out: its loss, and by label where one was there or was said."""

    loss: float
    by_label: dict[str, float]
    said: tuple[str, ...] = ()  # the labels that were said, each as often, sorted


def measured(vertical: Vertical) -> str:
    """What the losses of a vertical's answers are, in words."""
    return "cost" if isinstance(vertical, Costing) else "error"


def answered(vertical: Vertical, example: Example, head: Head, expects: Head | None = None) -> Answer | None:
    """1 less the share of hits among all that the head says or that is there: what nothing was proposed for counts too.
    Where the vertical can tell costs it is the cost; what was not tried is priced by `expects` (None: the head itself).

    None if it cannot be said.
    """
    try:
        outputs = vertical.answer(example.prediction.proposals, head.at(example.prediction.observation.site))
        said = tuple(sorted(output.label for output in outputs))
        if isinstance(vertical, Costing):
            cost = float(costs_of(vertical, [example], [head], expects or head)[0, 0])
            return None if math.isnan(cost) else Answer(cost, {}, said)
        outcomes = vertical.outcomes(outputs, example)
    except (InputError, ModelError):
        return None
    if not outcomes:
        return None
    labels = {outcome.label for outcome in outcomes if outcome.label}
    own = {label: 1.0 - count(o for o in outcomes if o.label == label).score for label in labels}
    return Answer(1.0 - count(outcomes).score, own, said)


def answer_loss(vertical: Vertical, example: Example, head: Head, expects: Head | None = None) -> float | None:
    """The loss of `answered`."""
    found = answered(vertical, example, head, expects)
    return None if found is None else found.loss
