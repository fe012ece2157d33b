"""torch's own product of int8 matrices on a CPU, which reads each weight once and multiplies integers."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor, nn

DIGIT = 63  # of an activation's digit, on either side of zero: 7 bits, so that pairs of products fit 16
ZERO_POINT = 64
BASE = 2 * DIGIT  # what the first digit is worth of the second


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


def is_supported() -> bool:
    """Whether this machine has the product of `PackedLinear`."""
    return "fbgemm" in torch.backends.quantized.supported_engines


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
