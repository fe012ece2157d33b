"""Load, chaos, attacks and long runs against a worker."""
