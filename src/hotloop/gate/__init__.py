"""gate: candidate Head + the recent past -> Judgement."""

from hotloop.gate.costs import costed, costs_of
from hotloop.gate.held import Held
from hotloop.gate.judge import Finding, judge
from hotloop.gate.recent import RecentPast

__all__ = ["Finding", "Held", "RecentPast", "costed", "costs_of", "judge"]
