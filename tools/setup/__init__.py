"""Scripts that `make` calls: set-up of a machine, and generated files."""
