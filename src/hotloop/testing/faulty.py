"""A vertical whose backbones can be told to fail: crash, hang, answer no numbers, be slow, eat memory.

For tests of the guards on a line (`hotloop.edge`). A payload is a JSON list of two numbers; a backbone's bytes are
JSON: {"turn": 0.0, "fault": ""}.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from typing import Literal

import msgspec
import numpy as np

from hotloop.config import LoopConfig
from hotloop.errors import InputError, ModelError
from hotloop.types import ALWAYS, UNREADABLE, Example, Head, Outcome, Output, Payload, Proposals, Rows, digest

LABELS = ("ok", "worn")
Fault = Literal["", "crash", "crash at load", "hang", "nan", "slow", "memory", "other", "raise"]
_SLOW_S = 0.05


class Description(msgspec.Struct, frozen=True):
    """What a backbone's bytes say: the angle by which it turns what it sees, and how it fails."""

    turn: float = 0.0
    fault: Fault = ""


def bundle(turn: float = 0.0, fault: Fault = "") -> bytes:
    """The bytes of a backbone."""
    return msgspec.json.encode(Description(turn, fault))


def vertical(_config: LoopConfig) -> Faulty:
    """Entry point."""
    return Faulty(bundle())


class Faulty:
    """Two numbers in, "ok" or "worn" out: worn above the diagonal."""

    def __init__(self, data: bytes) -> None:
        try:
            self._own = msgspec.json.decode(data, type=Description)
        except UNREADABLE as error:
            raise ModelError(f"these bytes are no backbone: {error}") from error
        if self._own.fault == "crash at load":
            os._exit(139)
        self._data, self.backbone, self.recipe = data, digest(data), "faulty"

    def bundle(self) -> bytes:
        """The backbone that answers now."""
        return self._data

    def revived(self, data: bytes) -> Faulty:
        """The same on another backbone."""
        return Faulty(data)

    def trainer(self) -> Sequence[str]:
        """Nobody trains it."""
        return ()

    def start(self) -> Head:
        """Right from the start."""
        return Head(LABELS, np.array([[-1.0, 1.0], [-1.0, 1.0]]), (ALWAYS, ALWAYS))

    def propose(self, payload: Payload) -> Proposals:
        """What it sees, turned; or how it fails."""
        try:
            x = np.array(msgspec.json.decode(payload.data, type=tuple[float, float]))
        except UNREADABLE as error:
            raise InputError(f"a payload is a JSON list of two numbers: {error}") from error
        self._fail()
        turn = 0.0 if self._own.fault == "" else self._own.turn
        seen = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]]) @ x
        seen = seen * np.nan if self._own.fault == "nan" else -seen if self._own.fault == "other" else seen
        return Proposals(1, 2, seen[None].astype("<f4").tobytes(), kind="f4")

    def _fail(self) -> None:
        fault = self._own.fault
        if fault == "crash":
            os._exit(139)
        if fault == "hang":
            time.sleep(3600.0)
        if fault == "slow":
            time.sleep(_SLOW_S)
        if fault == "memory":
            np.ones(1 << 40)
        if fault == "raise":
            raise ModelError("this backbone raises")

    def answer(self, proposals: Proposals, head: Head) -> tuple[Output, ...]:
        """The label with the highest score."""
        scores = (proposals.array() @ head.weights)[0]
        best = int(scores.argmax())
        return (Output(head.labels[best], float(scores[best])),)

    def teach(self, example: Example) -> Rows:
        """One row."""
        said = example.feedback[0].claims[0].label
        target = np.array([[float(label == said) for label in LABELS]])
        return Rows(example.prediction.proposals.array(), target, np.ones(1))

    def outcomes(self, outputs: Sequence[Output], example: Example) -> tuple[Outcome, ...]:
        """Right or wrong."""
        said = example.feedback[0].claims[0].label or ""
        right = bool(outputs) and outputs[0].label == said
        return (Outcome("hit" if right else "missed", said),)
