"""Tensors in files: where each is, and whether it can be read."""
