"""rollout: Judgement + Model -> Release."""

from hotloop.rollout.plan import as_release, next_release, wait_s
from hotloop.rollout.staged import Stage, standing
from hotloop.rollout.watch import Watch, spent

__all__ = ["Stage", "Watch", "as_release", "next_release", "spent", "standing", "wait_s"]
