"""How products and steps are computed on this machine."""
