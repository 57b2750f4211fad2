"""What a line answers with: a vertical's backbone and the newest head, swapped between two pieces."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hotloop.errors import ModelError
from hotloop.ports import Exploring, Vertical
from hotloop.predict.head import unpack_head
from hotloop.types import Head, Model, Observation, Output, Payload, Prediction, Proposals


@dataclass(frozen=True)
class Current:
    """What answers: one record, so that a swap is one assignment and no prediction mixes two versions."""

    version: int
    head: Head
    vertical: Vertical


class Predictor:
    """Predicts with one version at a time. `install` may be called from another thread than `predict`."""

    def __init__(self, vertical: Vertical, site: str = "") -> None:
        """`site`: where it predicts, which may have a head of its own."""
        self._site = site
        self.current = Current(0, vertical.start(), vertical)

    @property
    def version(self) -> int:
        """The version it answers with."""
        return self.current.version

    @property
    def head(self) -> Head:
        """The head it answers with."""
        return self.current.head

    @property
    def vertical(self) -> Vertical:
        """The vertical it answers with, on its backbone."""
        return self.current.vertical

    def install(self, model: Model, vertical: Vertical | None = None) -> bool:
        """Answer with `model` from now on; False if it is not newer. ModelError if it does not fit."""
        if model.version <= self.version:
            return False
        self.current = self.fitted(model, vertical)
        return True

    def swap(self, current: Current) -> None:
        """Answer with this from now on, whatever its version."""
        self.current = current

    def fitted(self, model: Model, vertical: Vertical | None = None) -> Current:
        """What would answer with `model`, without answering with it yet. ModelError if it does not fit.

        `vertical` is on the model's backbone, where that is another one than answers now.
        """
        vertical = vertical or self.vertical
        if model.backbone != vertical.backbone:
            raise ModelError(
                f"version {model.version} was learned on backbone {model.backbone[:12] or 'none'}, and this one is "
                f"{vertical.backbone[:12] or 'none'}: give lines and hub the same start model, and a new start "
                f"model a new store.folder. It stays at version {self.version}"
            )
        if model.recipe != vertical.recipe:
            raise ModelError(
                f"version {model.version} was made by {model.recipe!r}, this line has {vertical.recipe!r}: give "
                f"both the same settings ([learn] seed, and the vertical's own). It stays at version {self.version}"
            )
        head = unpack_head(model.head).at(self._site)
        if head.weights.shape[0] != vertical.start().weights.shape[0]:
            raise ModelError(
                f"version {model.version} has a head for {head.weights.shape[0]} features, "
                f"but this line's backbone gives {vertical.start().weights.shape[0]}: it stays at version "
                f"{self.version}"
            )
        return Current(model.version, head, vertical)

    def predict(self, key: str, observation: Observation, payload: Payload, now: Callable[[], float]) -> Prediction:
        """Sense and answer. `key` is the prediction's id. InputError if the payload cannot be read.

        `now` is asked after the backbone has run: that is most of the wait.
        """
        current = self.current
        proposals = current.vertical.propose(payload)
        return self.answer(key, observation, proposals, now(), current)

    def answer(
        self, key: str, observation: Observation, proposals: Proposals, at: float, current: Current | None = None
    ) -> Prediction:
        """The prediction for proposals that were made before, by the backbone of `current` (None: of what answers
        now).
        """
        current = current or self.current
        outputs = current.vertical.answer(proposals, current.head)
        return Prediction(
            id=key,
            observation=observation,
            version=current.version,
            outputs=outputs,
            confidence=confidence(outputs),
            propensity=current.vertical.propensity(outputs) if isinstance(current.vertical, Exploring) else 1.0,
            proposals=proposals,
            at=at,
        )


def confidence(outputs: tuple[Output, ...]) -> float:
    """The lowest score among what was said: a piece is as sure as its least sure output. 1.0 if nothing was."""
    return min((output.score for output in outputs), default=1.0)
