"""Tools for the codec: comparison with others, operation counts, a profile, a Raspberry Pi estimate and a soak test."""
