"""The GPU's step: its kernels, how they are cut and launched, and what they cost."""
