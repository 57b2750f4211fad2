"""STUB."""
import msgspec
class WatchState(msgspec.Struct, frozen=True):
    count: int = 0
class Watch:
    def __init__(self, t, a): self.count=0; self.alarm=False
    def add(self, a, b): self.count+=1
    def words(self): return "w"
    def state(self): return WatchState(self.count)
    def restore(self, s): self.count=s.count
