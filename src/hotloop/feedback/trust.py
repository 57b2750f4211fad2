"""STUB."""
import msgspec
from dataclasses import dataclass
class TrustState(msgspec.Struct, frozen=True):
    x: int = 0
@dataclass(frozen=True)
class Standing:
    weight: float = 1.0
    distrusted: bool = False
    reason: str = ""
class Trust:
    def __init__(self, config): pass
    def saw(self, r, k, a): pass
    def standing(self, r): return Standing()
    def newly_distrusted(self): return []
    def admits(self, rs): return [True]*len(rs)
    def admitted(self, rs): pass
    def needs_second(self, *a, **k): return False
    def state(self): return TrustState()
    def restore(self, s): pass
