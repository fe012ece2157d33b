"""The GPU's step: Triton kernels in place of single operations."""
