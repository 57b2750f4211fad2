"""store: the embedded defaults of the ports, on one box: log and registry (SQLite), lake (Lance), channel."""
