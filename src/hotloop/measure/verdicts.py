"""Verdicts with their times: each feedback paired with when and where its prediction was made.

The joiner pairs for learning; this pairs for measuring, and remembers a few numbers of a prediction, not its
features. Bounded: what is forgotten is counted in `lost` and shown.
"""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

import msgspec

from hotloop.types import Feedback, Prediction

PREDICTIONS_MAX: Final = 100_000  # predictions remembered until their verdicts come: some 25 MB
EARLY_MAX: Final = 10_000  # predictions not yet seen whose feedback has come already
EARLY_FEEDBACK_MAX: Final = 64  # feedbacks kept for each of those


class Verdict(msgspec.Struct, frozen=True):
    """One feedback and its prediction. `offset`: where in the log both were there and it could be learned.

    Times are seconds since 1970: `observed_at`, `predicted_at` and `given_at` by the devices' clocks,
    `received_at` by the hub's; 0 is "not said".
    """

    prediction: str
    line: str
    version: int
    offset: int
    observed_at: float
    predicted_at: float
    given_at: float
    received_at: float
    first: bool  # the first on its prediction


class _Seen:
    """What is remembered of a prediction."""

    __slots__ = ("line", "observed_at", "predicted_at", "verdicts", "version")

    def __init__(self, prediction: Prediction) -> None:
        self.line = prediction.observation.line
        self.version = prediction.version
        self.observed_at = _said(prediction.observation.at)
        self.predicted_at = _said(prediction.at)
        self.verdicts = 0


class Verdicts:
    """Pairs predictions and feedback as they come, in either order."""

    def __init__(self) -> None:
        self.lost = 0  # feedbacks never paired, because one side had to be forgotten
        self._seen: OrderedDict[str, _Seen] = OrderedDict()
        self._early: OrderedDict[str, list[tuple[float, float]]] = OrderedDict()

    def predicted(self, prediction: Prediction, offset: int) -> list[Verdict]:
        """Take a prediction at its offset; gives the verdicts that were waiting for it."""
        if prediction.id in self._seen:
            return []
        seen = self._seen[prediction.id] = _Seen(prediction)
        if len(self._seen) > PREDICTIONS_MAX:
            self._seen.popitem(last=False)
        if not self._early:
            return []
        waiting = self._early.pop(prediction.id, [])
        return [_verdict(prediction.id, seen, offset, given) for given in waiting]

    def told(self, feedback: Feedback, offset: int, received_at: float) -> Verdict | None:
        """Take a feedback at its offset; gives its verdict, or None where its prediction is not known yet."""
        seen = self._seen.get(feedback.prediction)
        given = (_said(feedback.at), received_at)
        if seen is not None:
            return _verdict(feedback.prediction, seen, offset, given)
        waiting = self._early.setdefault(feedback.prediction, [])
        if len(waiting) < EARLY_FEEDBACK_MAX:
            waiting.append(given)
        else:
            self.lost += 1
        if len(self._early) > EARLY_MAX:
            self.lost += len(self._early.popitem(last=False)[1])
        return None

    @property
    def early(self) -> int:
        """How many predictions feedback waits for."""
        return len(self._early)


def _said(at: float) -> float:
    """A device's time, or 0 where it is no number: it must not spoil what is computed and sent on."""
    return at if math.isfinite(at) else 0.0


def _verdict(prediction: str, seen: _Seen, offset: int, given: tuple[float, float]) -> Verdict:
    seen.verdicts += 1
    return Verdict(
        prediction,
        seen.line,
        seen.version,
        offset,
        seen.observed_at,
        seen.predicted_at,
        *given,
        seen.verdicts == 1,
    )
