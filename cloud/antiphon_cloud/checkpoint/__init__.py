"""From published files to weights."""
