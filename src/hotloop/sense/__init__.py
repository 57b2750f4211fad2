"""sense: bytes from a sensor -> Observation."""
