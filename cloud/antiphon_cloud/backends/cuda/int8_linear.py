"""A step's matrix product on a GPU: rows of activations times a matrix in int8, which is read as int8.

Each program owns some outputs of a tile of rows and walks along the inputs: sums have one order in any batch, and no
two programs write to one place. Tiles of the same outputs start in turn, so that the next ones find in the cache what
the first one reads from memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from antiphon_cloud.backends.cuda.tiles import MOST_ROWS, TILE_ROWS
from antiphon_cloud.backends.int8 import Int8Linear

BLOCK_OUTPUTS = 32
BLOCK_INPUTS = 128
WARPS = 4
STAGES = 4


@triton.jit
def kernel(
    x, weight, scale, y, rows, outputs, inputs,
    BLOCK_ROWS: tl.constexpr, BLOCK_OUTPUTS: tl.constexpr, BLOCK_INPUTS: tl.constexpr,
):  # fmt: skip
    """y [rows, outputs] = x [rows, inputs] · weight [outputs, inputs]ᵀ · scale [outputs]."""
    m = tl.program_id(0) * BLOCK_ROWS + tl.arange(0, BLOCK_ROWS)
    n = tl.program_id(1) * BLOCK_OUTPUTS + tl.arange(0, BLOCK_OUTPUTS)
    total = tl.zeros((BLOCK_OUTPUTS, BLOCK_ROWS), dtype=tl.float32)
    for start in range(0, inputs, BLOCK_INPUTS):
        k = start + tl.arange(0, BLOCK_INPUTS)
        inside = k < inputs
        w = tl.load(weight + n[:, None] * inputs + k, mask=(n < outputs)[:, None] & inside, other=0)
        a = tl.load(x + m * inputs + k[:, None], mask=(m < rows) & inside[:, None], other=0.0)
        total = tl.dot(w.to(a.dtype), a, total)
    total *= tl.load(scale + n, mask=n < outputs, other=0.0)[:, None]
    at = y + m * outputs + n[:, None]
    tl.store(at, total.to(y.dtype.element_ty), mask=(m < rows) & (n < outputs)[:, None])


def block_rows(rows: int) -> int:
    """Rows that a program multiplies, of so many in all; a tensor core takes no fewer than 16."""
    return min(max(16, 1 << (rows - 1).bit_length()), TILE_ROWS)


def matmul(x: Tensor, weight: Tensor, scale: Tensor) -> Tensor:
    """x [..., inputs] times int8 weight [outputs, inputs] and scale float32 [outputs]."""
    outputs, inputs = weight.shape
    flat = x.reshape(-1, inputs).contiguous()
    y = torch.empty(len(flat), outputs, dtype=x.dtype, device=x.device)
    rows = block_rows(len(flat))
    kernel[(triton.cdiv(len(flat), rows), triton.cdiv(outputs, BLOCK_OUTPUTS))](
        flat, weight, scale, y, len(flat), outputs, inputs,
        BLOCK_ROWS=rows, BLOCK_OUTPUTS=BLOCK_OUTPUTS, BLOCK_INPUTS=BLOCK_INPUTS,
        num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    return y.view(*x.shape[:-1], outputs)


class TritonLinear(Int8Linear):
    """A matrix in int8 that the kernel reads once for each tile of rows, up to so many that it is no more to make
    floats of the matrix first."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies the last dimension of x."""
        if x.numel() // x.shape[-1] <= MOST_ROWS:
            return matmul(x, self.weight, self.scale)
        return super().forward(x)
