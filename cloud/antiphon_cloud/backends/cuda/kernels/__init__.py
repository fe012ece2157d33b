"""The Triton kernels of a step, which only `launch` imports."""
