"""driving: recorded drives -> corner cases, ranked, simulated, learned; each stays as a test of later releases."""
