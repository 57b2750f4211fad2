"""Which release comes next, and when. Pure: the engine sends it out."""

from __future__ import annotations

from hotloop.config import RolloutConfig
from hotloop.errors import ModelError
from hotloop.types import Judgement, Model, Release, digest


def wait_s(last_release_s: float, now_s: float, config: RolloutConfig) -> float:
    """Seconds until the next reflex release may go out, by a monotonic clock. 0 is now.

    Verdicts that come meanwhile share that release, so that lines are not flooded at high rates.
    """
    return max(0.0, last_release_s + config.interval_s - now_s)


def next_release(model: Model, judgement: Judgement | None) -> Release:
    """The release of `model` to all lines. ModelError if its version does not rise or the gate did not let it.

    `judgement` is None for the model a loop starts with alone: there is nothing to judge it against.
    """
    if model.version <= model.parent:
        raise ModelError(f"version {model.version} does not rise above {model.parent}; it was not released")
    if judgement is None and model.tier != "start":
        raise ModelError(f"version {model.version} was not judged; only a loop's first model may go out so")
    if judgement is not None and judgement.decision not in ("promote", "rollback"):
        raise ModelError(f"version {model.version} was not promoted ({judgement.reason}); it was not released")
    return as_release(model)


def as_release(model: Model) -> Release:
    """What a model is released as: to all lines."""
    return Release(
        version=model.version,
        parent=model.parent,
        tier=model.tier,
        digest=digest(model.head),
        learned_to=model.learned_to,
        at=model.at,
    )
