"""learn: Example -> Head."""

from hotloop.learn.moments import Moments, Sums
from hotloop.learn.reflex import Reflex

__all__ = ["Moments", "Reflex", "Sums"]
