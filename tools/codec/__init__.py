"""Tools for the codec: comparison with other codecs, operation counts, a profile, a Raspberry Pi estimate and a soak test."""
