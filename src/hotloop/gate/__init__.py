"""gate: candidate Head + the recent past -> Judgement."""

from hotloop.gate.held import Held
from hotloop.gate.judge import Finding, judge
from hotloop.gate.recent import RecentPast

__all__ = ["Finding", "Held", "RecentPast", "judge"]
