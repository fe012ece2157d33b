"""Rounds the matrices of products to int8, one scale a column."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

Floats = npt.NDArray[np.float32]
Int8 = npt.NDArray[np.int8]

CHUNK_ROWS = 2048
"""Rows that are rounded together: the time of a chunk grows with the cube of its rows."""

_BLOCK_ROWS = 128  # rows whose errors reach the rest of the chunk in one product
_DAMPING = 0.01  # share of the inputs' mean power that is added to the power of each
_LARGEST = 127


def round_columns(weight: Floats, inputs: Floats | None = None) -> tuple[Int8, Floats]:
    """`weight` [K, N] as int8 [K, N] and one scale per column [N].

    With samples of what the matrix multiplies, rows are rounded one after the other, and those that follow make up for
    the error of those before (GPTQ: Frantar et al. 2022, arXiv:2210.17323). Without, each weight goes to the nearest
    integer.

    Args:
        weight: the matrix.
        inputs: [samples, K], if there are any.
    """
    scale = np.abs(weight).max(0) / np.float32(_LARGEST)
    scale[scale == 0] = 1
    if inputs is None:
        return np.rint(weight / scale).astype(np.int8), scale.astype(np.float32)
    rounded = np.empty(weight.shape, np.int8)
    for start in range(0, len(weight), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        chunk = _round_rows(
            torch.from_numpy(weight[rows].copy()), torch.from_numpy(scale), torch.from_numpy(inputs[:, rows].copy())
        )
        rounded[rows] = chunk.numpy()
    return rounded, scale.astype(np.float32)


def _round_rows(weight: Tensor, scale: Tensor, inputs: Tensor) -> Tensor:
    """The integers [K, N] of a chunk of rows [K, N], the first row first."""
    spread = _spread_of_errors(inputs)  # [K, K]
    integers = torch.empty_like(weight)
    for start in range(0, len(weight), _BLOCK_ROWS):
        end = min(start + _BLOCK_ROWS, len(weight))
        errors = torch.empty_like(weight[start:end])
        for row in range(start, end):
            integers[row] = (weight[row] / scale).round().clamp(-_LARGEST, _LARGEST)
            error = (weight[row] - integers[row] * scale) / spread[row, row]  # [N]
            weight[row + 1 : end].addr_(spread[row, row + 1 : end], error, alpha=-1)
            errors[row - start] = error
        weight[end:] -= spread[start:end, end:].T @ errors
    return integers.to(torch.int8)


def _spread_of_errors(inputs: Tensor) -> Tensor:
    """The upper Cholesky factor of the inverse of the inputs' second moments, [K, K]."""
    moments = (inputs.T @ inputs).double()
    power = moments.diagonal().mean()
    moments.diagonal().add_(_DAMPING * power if power > 0 else 1.0)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(moments))
    factor: Tensor = torch.linalg.cholesky(inverse, upper=True)
    return factor.float()
