"""Matrices in int8: one float32 scale a row of outputs, `weight = values * scale`, as published checkpoints hold them.

`Int8Linear` is the definition, for any device. `PackedLinear` is what a CPU steps with: it reads each weight once,
as int8, and multiplies integers with integers.
"""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from antiphon_cloud.backends.cpu.library import library

CHUNK = 1 << 18  # weights that are quantized at a time: as floats, they stay in a cache
LEVELS = 127  # of a weight, on either side of zero
DIGIT = 63  # of an activation's digit, on either side of zero: 7 bits, so that pairs of products fit 16
ZERO_POINT = 64
BASE = 2 * DIGIT  # what the first digit is worth of the second
TILE_ROWS = 64  # that a GPU's kernel multiplies by a matrix while it reads it once
MOST_READINGS = 5  # in bytes a weight: to make floats of int8 reads one and writes two, and the product reads those


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
    """A matrix [outputs, inputs] in int8. On a GPU rows go through a kernel that reads it once for each tile of them,
    up to so many that it is no more to make floats of the matrix first."""

    weight: Tensor
    scale: Tensor

    def __init__(self, weight: Tensor, scale: Tensor) -> None:
        super().__init__()
        self.register_buffer("weight", weight)  # [outputs, inputs]
        self.register_buffer("scale", scale)  # float32 [outputs]

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies the last dimension of x."""
        if x.device.type == "cuda" and x.numel() // x.shape[-1] <= MOST_READINGS * TILE_ROWS:
            from antiphon_cloud.backends.cuda import int8_linear

            return int8_linear.matmul(x, self.weight, self.scale)
        return F.linear(x, self.weight.to(x.dtype)) * self.scale.to(x.dtype)


def readings(rows: int, device: str) -> int:
    """How often the product of so many rows reads an int8 matrix, in bytes a weight; see `Int8Linear`."""
    return min(-(-rows // TILE_ROWS), MOST_READINGS) if device == "cuda" else 1


class PackedLinear(nn.Module):
    """A matrix in int8 in the order that the CPU's integer product (Khudia et al., "FBGEMM", 2021) reads it.

    Activations become 7-bit digits, relative to the largest of their row; the product takes the digits as rows of one
    batch, so that a step reads the weights once. Integer sums are exact in any order: a row comes out the same to the
    bit in a batch of any size, on any number of threads.

    Args:
        weight: int8 [outputs, inputs].
        scale: float32 [outputs].
        digits: of an activation: 2 are 14 bits (bfloat16 has 8), 3 are 20.
    """

    def __init__(self, weight: Tensor, scale: Tensor, digits: int) -> None:
        super().__init__()
        self.shape = tuple(weight.shape)
        self.digits = digits
        steps = DIGIT * BASE ** (digits - 1)
        self._packed = _pack(weight, scale.double() / steps)
        self._multiply: Any = torch.ops.quantized.linear_with_input_q_dq_qweight_dq_output_fp32
        self._steps = torch.tensor(float(steps))  # tensors, as torch converts a Python number each time
        self._worth = [(BASE**place, torch.tensor(1.0 / BASE**place)) for place in range(digits - 1, 0, -1)]
        self._tiny = torch.tensor(1e-30)

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies the last dimension of float32 x [..., inputs]."""
        rest = x.reshape(-1, x.shape[-1])  # [M, inputs]
        scale = torch.maximum(rest.abs().amax(-1, keepdim=True), self._tiny)  # [M, 1]
        rest = rest * torch.div(self._steps, scale)
        digits = []
        for worth, inverse in self._worth:
            digits.append(torch.mul(rest, inverse).round_())
            rest = torch.sub(rest, digits[-1], alpha=worth)
        digits.append(rest)  # the product rounds it
        products: Tensor = self._multiply(torch.cat(digits), 1.0, ZERO_POINT, self._packed)
        y, *less = products.chunk(self.digits)  # [M, outputs] each
        for product in less:
            y = torch.add(product, y, alpha=BASE)
        return y.mul_(scale).view(*x.shape[:-1], -1)


def packs(device: torch.device) -> bool:
    """Whether this machine has the product of `PackedLinear`."""
    return device.type == "cpu" and "fbgemm" in torch.backends.quantized.supported_engines


def multiplies_integers(device: torch.device) -> bool:
    """Whether int8 products take float32 activations on `device` and make integers of them."""
    return device.type == "cpu" and (library() is not None or packs(device))


def int8_module(weight: Tensor, scale: Tensor, dtype: torch.dtype, device: torch.device) -> nn.Module:
    """The layer that multiplies by int8 weight [outputs, inputs] times scale [outputs] on `device`.

    On a CPU activations are float32, and `dtype` says how much of them counts.
    """
    if device.type == "cpu" and library() is not None:
        from antiphon_cloud.backends.cpu.modules import NativeLinear

        return NativeLinear(weight, scale, digits=2 if dtype == torch.float32 else 1)
    if packs(device):
        return PackedLinear(weight, scale, digits=3 if dtype == torch.float32 else 2)
    return Int8Linear(weight.to(device), scale.to(device))


def _pack(weight: Tensor, scale: Tensor) -> Any:
    engine = torch.backends.quantized.engine
    torch.backends.quantized.engine = "fbgemm"
    try:
        with warnings.catch_warnings():  # the way to tell the product its scales; torch would rather be told otherwise
            warnings.simplefilter("ignore")
            rows = torch._make_per_channel_quantized_tensor(
                weight, scale, torch.zeros(len(scale), dtype=torch.int64), 0
            )
            return torch.ops.quantized.linear_prepack(rows, None)
    finally:
        torch.backends.quantized.engine = engine
