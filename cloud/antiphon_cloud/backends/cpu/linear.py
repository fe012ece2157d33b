"""The compiled library's product with a matrix in int8."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor

from antiphon_cloud.backends.cpu.library import Matrix, threads
from antiphon_cloud.backends.int8 import Int8Linear


class CompiledLinear(Int8Linear):
    """A matrix in int8 by which the compiled library multiplies.

    Activations become integers relative to the largest of their row. Sums of integers are exact in any order: a row
    comes out the same to the bit in a batch of any size, on any number of threads.

    Args:
        weight: int8 [outputs, inputs].
        scale: float32 [outputs].
        digits: of an activation: 1 is 14 bits (bfloat16 has 8), 2 are 28.
        library: the compiled one.
    """

    def __init__(self, weight: Tensor, scale: Tensor, digits: int, library: ctypes.CDLL) -> None:
        super().__init__(weight.contiguous(), scale.float().contiguous())
        self.digits = digits
        self.matrix = Matrix(self.weight.data_ptr(), self.scale.data_ptr(), *self.weight.shape)
        self._multiply = library.antiphon_matmul
        self._at = ctypes.addressof(self.matrix)

    def forward(self, x: Tensor, places: Tensor | None = None) -> Tensor:
        """Multiplies the last dimension of float32 x [..., inputs].

        Args:
            x: the rows.
            places: of the rows' adapters, int64 [rows], contiguous; None where none has any.
        """
        x = x.contiguous()
        outputs, inputs = self.weight.shape
        assert x.dtype == torch.float32
        assert x.shape[-1] == inputs
        y = x.new_empty(*x.shape[:-1], outputs)
        rows = x.numel() // inputs
        places_at = None if places is None else places.data_ptr()
        self._multiply(self._at, places_at, x.data_ptr(), rows, self.digits, threads(), y.data_ptr())
        return y
