"""Triton kernels of the GPU's step. Only CUDA's paths import them: Triton comes with the `gpu` extra."""
