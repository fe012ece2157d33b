"""Matrices in int8 as published checkpoints hold them: rows of `values * scale`, with a float32 scale for each row."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

CHUNK = 1 << 18  # weights that are quantized at a time: as floats, they stay in a cache
LEVELS = 127  # of a weight, on either side of zero


def quantize_rows(weight: Tensor, out: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Rounds each row of weight [outputs, inputs] to int8, in `out` where it is given.

    Returns:
        The rows, and their scales, float32 [outputs].
    """
    values = torch.empty(weight.shape, dtype=torch.int8) if out is None else out
    scale = torch.empty(len(weight))
    rows = max(1, CHUNK // weight.shape[1])
    for start in range(0, len(weight), rows):  # no more than a chunk is ever in float32
        chunk = weight[start : start + rows].float()
        scale[start : start + rows] = chunk.abs().amax(1) / LEVELS
        values[start : start + rows] = (chunk / scale[start : start + rows, None].clamp(min=1e-30)).round_()
    return values, scale


class Int8Linear(nn.Module):
    """A matrix [outputs, inputs] in int8, of which each product makes floats: the definition, for any device."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)  # [outputs, inputs]
        self.register_buffer("scale", scale)  # float32 [outputs]

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies the last dimension of x."""
        return (F.linear(x, self.weight.to(x.dtype)) * self.scale).to(x.dtype)
