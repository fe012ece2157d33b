"""Benchmarks: the step, the codec and the service."""
