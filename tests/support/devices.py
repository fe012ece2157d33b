"""Where tests of the GPU's kernels run: in Triton's interpreter, or with TRITON_INTERPRET=0 on the GPU itself."""

from __future__ import annotations

import os

import torch
from torch import Tensor

DEVICE = torch.device("cuda" if os.environ.get("TRITON_INTERPRET") == "0" else "cpu")


def randn(*shape: int, seed: int = 0) -> Tensor:
    """The same numbers on any device."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(DEVICE)


def on(values: Tensor) -> Tensor:
    """What a test has written down, on the device."""
    return values.to(DEVICE)
