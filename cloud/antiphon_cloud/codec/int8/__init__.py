"""int8 in place of float32: which products, how their matrices are rounded, and what they are rounded by."""
