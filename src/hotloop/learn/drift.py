"""STUB."""
class DriftTest:
    def __init__(self, a): pass
    def add(self, x): return False
