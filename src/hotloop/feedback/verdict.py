"""Short forms of the verdicts that people give."""

from __future__ import annotations

from collections.abc import Iterable

from hotloop.types import Claim, Feedback, Prediction, Region


def right(prediction: Prediction, reviewer: str, at: float = 0.0) -> Feedback:
    """Everything that was said is so, and there is nothing else."""
    claims = tuple(Claim(output=k, label=o.label, region=o.region) for k, o in enumerate(prediction.outputs))
    return Feedback(prediction=prediction.id, reviewer=reviewer, claims=claims, at=at)


def false_alarms(prediction: Prediction, outputs: Iterable[int], reviewer: str, at: float = 0.0) -> Feedback:
    """The outputs with these indices are nothing. It says nothing of the others."""
    claims = tuple(Claim(output=k) for k in outputs)
    return Feedback(prediction=prediction.id, reviewer=reviewer, claims=claims, complete=False, at=at)


def verdict(
    prediction: str, truths: Iterable[tuple[str, Region | None]], reviewer: str, at: float = 0.0
) -> Feedback:
    """The whole truth about a piece: each thing that is there, and nothing else."""
    claims = tuple(Claim(label=label, region=region) for label, region in truths)
    return Feedback(prediction=prediction, reviewer=reviewer, claims=claims, at=at)
