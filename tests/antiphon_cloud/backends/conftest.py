"""Kernels run in Triton's interpreter here: it must be asked for before a kernel is defined."""

import os

os.environ.setdefault("TRITON_INTERPRET", "1")  # 0: on the GPU, as `tools.gpu.check` has it
