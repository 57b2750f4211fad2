"""Where a human should look: the unverified predictions in their review order, and what may pass without one.

Kept beside the lineage, by the turn's thread; what is asked for is computed when it is asked for. Pure but for being
asked.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass

import numpy as np

from hotloop.config import ReviewConfig
from hotloop.errors import HotloopError
from hotloop.feedback import Passes
from hotloop.feedback.queue import order, uncertainty, value
from hotloop.learned import Learned
from hotloop.types import Claim, Example, Feedback, Floats, Prediction

_LOOKED_MAX = 200  # newest unverified predictions that one question weighs: some quarter of a second


@dataclass(frozen=True)
class Review:
    """A prediction to look at: what a verdict is worth, and why."""

    prediction: str
    value: float
    reason: str


class Looking:
    """The predictions that nobody has verified yet, newest last, and the calibration of what may pass."""

    def __init__(self, config: ReviewConfig) -> None:
        self._config = config
        self._open: OrderedDict[str, Prediction] = OrderedDict()
        self._audits: OrderedDict[str, None] = OrderedDict()
        self._differ: OrderedDict[str, None] = OrderedDict()  # on which the state to go back to answers otherwise
        self.passes = Passes(config.error_max)

    def add(self, prediction: Prediction) -> None:
        """A prediction that somebody may look at."""
        self._open[prediction.id] = prediction
        if len(self._open) > self._config.queue_max:
            self._open.popitem(last=False)

    def asked(self, prediction: str) -> None:
        """It was drawn for the audit: it comes first, for its verdict is worth what all it stands for are."""
        self._audits[prediction] = None
        if len(self._audits) > self._config.queue_max:
            self._audits.popitem(last=False)

    def newest(self, limit: int) -> list[Prediction]:
        """The newest that nobody has verified."""
        return list(self._open.values())[-limit:]

    def differs(self, prediction: str) -> None:
        """The state to go back to answers it otherwise than what answers now: a verdict tells which of them is right,
        and no verdict on a piece that both answer alike ever does.
        """
        self._differ[prediction] = None
        if len(self._differ) > self._config.queue_max:
            self._differ.popitem(last=False)

    def settled(self) -> None:
        """There is no other backbone to be compared with any more."""
        self._differ.clear()

    def done(self, prediction: str) -> None:
        """Somebody has said something of it."""
        self._open.pop(prediction, None)
        self._differ.pop(prediction, None)
        self._audits.pop(prediction, None)

    def verified(self, prediction: Prediction, learned: Learned, *, wrong: bool, propensity: float) -> None:
        """A verified piece calibrates what may pass, as unsure as the head is of it before it learns the verdict."""
        self.passes.add(unsure(prediction, learned)[0], wrong=wrong, propensity=propensity)

    def next(self, limit: int, learned: Learned) -> list[Review]:
        """What to look at, best first: second opinions, then what tells a new backbone from the former one, then the
        audit, then what would teach most.
        """
        waiting = [Review(name, 2.0, "second opinion") for name in learned.lessons.seconds]
        differing = [Review(name, 1.8, "new and former model differ") for name in self._differ]
        audits = [Review(name, 1.5, "audit") for name in self._audits if name in self._open]
        first = {one.prediction: one for one in (*audits, *differing, *waiting)}
        rest = [p for p in list(self._open.values())[-_LOOKED_MAX:] if p.id not in first]
        ordered = sorted(first.values(), key=lambda one: -one.value)
        return [*ordered, *_ranked(rest, limit, learned)][:limit]

    def words(self) -> str:
        """What may pass without a human."""
        return self.passes.words()


def _ranked(predictions: list[Prediction], limit: int, learned: Learned) -> list[Review]:
    """The predictions that would teach most."""
    if not predictions:
        return []
    looked = [unsure(prediction, learned) for prediction in predictions]
    doubts = np.array([doubt for doubt, _, _ in looked])
    worth = value(doubts, np.array([leverage for _, leverage, _ in looked]))
    chosen = order(worth, np.stack([vector for _, _, vector in looked]), limit)
    limit_of = np.median(doubts)
    return [
        Review(predictions[k].id, round(float(worth[k]), 4), "unsure" if doubts[k] >= limit_of else "new")
        for k in chosen
    ]


def unsure(prediction: Prediction, learned: Learned) -> tuple[float, float, Floats]:
    """How unsure the head is of a prediction, how new it is (its newest row), and one vector for it."""
    x = rows_of(prediction, learned)
    head = learned.champion
    if not len(x):
        return 0.0, 0.0, np.zeros(head.weights.shape[0])
    scores = x @ head.weights[:, : len(head.labels)]
    return uncertainty(scores, head.thresholds), float(learned.reflex.leverage(x).max()), x.mean(0)


def rows_of(prediction: Prediction, learned: Learned) -> Floats:
    """The rows x (n, d) of a prediction's proposals: what a verdict on all of them would teach from."""
    labels = learned.champion.labels
    for claims in ((), (Claim(label=labels[0]),)):  # a vertical may need a label to teach anything
        word = Feedback(prediction=prediction.id, reviewer="nobody", claims=claims)
        try:
            rows = learned.vertical.teach(Example(prediction, (word,)))
        except HotloopError:
            continue
        if len(rows.w):
            return rows.x
    return np.zeros((0, learned.champion.weights.shape[0]))
