"""What `make` calls to set up a machine and the generated files."""
