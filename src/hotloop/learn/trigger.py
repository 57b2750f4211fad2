"""STUB."""
from dataclasses import dataclass
@dataclass(frozen=True)
class Counts:
    examples: int
    seconds: float
    whole_seconds: float
    stalled: str
    drifted: bool
    ordered: str
    running: bool
    frozen: bool
def due(counts, config):
    return ("ordered", counts.ordered) if counts.ordered else None
