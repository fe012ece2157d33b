"""Workers, relays and checkpoints that tests and benchmarks need."""
