"""rollout: Judgement + Model -> Release."""

from hotloop.rollout.plan import as_release, next_release, wait_s
from hotloop.rollout.watch import Watch, spent

__all__ = ["Watch", "as_release", "next_release", "spent", "wait_s"]
