"""learn: Example -> Head."""

from hotloop.learn.drift import DriftTest
from hotloop.learn.moments import Moments, Sums
from hotloop.learn.reflex import Reflex
from hotloop.learn.trigger import Counts, due

__all__ = ["Counts", "DriftTest", "Moments", "Reflex", "Sums", "due"]
