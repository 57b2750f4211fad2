"""rollout: Judgement + Model -> Release."""

from hotloop.rollout.plan import as_release, next_release, wait_s

__all__ = ["as_release", "next_release", "wait_s"]
