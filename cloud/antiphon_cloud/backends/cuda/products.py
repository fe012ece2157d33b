"""A step's products on a GPU, with what comes before and after them in the same kernel."""

from __future__ import annotations

from functools import cache
from typing import NamedTuple, Self

import torch
from torch import Tensor, nn

from antiphon_cloud.backends.cuda.launch import Kernel
from antiphon_cloud.backends.cuda.places import Places
from antiphon_cloud.backends.cuda.tiling import MOST_ROWS, Tiling, block_rows, power_of_two, readings, tiling
from antiphon_cloud.backends.int8 import Int8Linear
from antiphon_cloud.model.adapters import LowRank
from antiphon_cloud.model.layers import Linear, RMSNorm

LINEAR_ADD, NORM_GATE = Kernel("products", "linear_add"), Kernel("products", "norm_gate")
NORM_QKV_APPEND = Kernel("products", "norm_qkv_append")
REDUCE = Kernel("adapters", "reduce")

COUNTERS = 1 << 14  # outputs that programs share: tiles of a matrix times tiles of rows, rows times heads
FLOAT16_PRESCALE = 2.0**-6  # of a norm's inputs, which are multiplied before the norm: beyond 65,504 is no float16
STAGES = 4  # of a loop over inputs, that are read ahead
FACTORS, FACTOR_INPUTS = 8, 1024  # of adapters, that a program reduces at a time


class Weights(NamedTuple):
    """A matrix as a kernel reads it."""

    values: Tensor  # [outputs, inputs], int8 or floats
    scale: Tensor | None  # float32 [outputs], of int8

    @classmethod
    def of(cls, module: nn.Module) -> Self:
        """The matrix of a product."""
        assert isinstance(module, Linear | Int8Linear)
        return cls(module.weight, module.scale if isinstance(module, Int8Linear) else None)


class Rows(NamedTuple):
    """Rows of a tensor: all of them, or those of a table that `numbers` int64 [rows] name, of which −1 is zeros."""

    values: Tensor  # [rows, ...], dense
    numbers: Tensor | None = None


class Beside(NamedTuple):
    """The adapters of a product's rows."""

    factors: LowRank
    places: Tensor  # int64 [rows], dense


class Products:
    """The products of one device, and where programs leave what they share; one stream at a time may use it."""

    def __init__(self, device: torch.device) -> None:
        self._counters = torch.zeros(COUNTERS, dtype=torch.int32, device=device)
        self._outgrown: list[Tensor] = []

    @classmethod
    @cache
    def on(cls, device: torch.device) -> Products:
        """Those of this process's step."""
        return cls(device)

    def shared(self, floats: int, outputs: int) -> tuple[Tensor | None, Tensor | None]:
        """Where programs leave what the last of them joins, and zeros, one for each of the outputs that they share; a
        kernel leaves these as they were. None where no output is shared."""
        if not outputs:
            return None, None
        if outputs > len(self._counters):
            self._outgrown.append(self._counters)  # a captured graph may go on with them
            self._counters = torch.zeros(2 * outputs, dtype=torch.int32, device=self._counters.device)
        return torch.empty(floats, device=self._counters.device), self._counters

    def linear_add(
        self,
        weights: Weights,
        x: Rows,
        residual: Rows | None = None,
        out: Tensor | None = None,
        beside: Beside | None = None,
    ) -> Tensor:
        """Product of x [rows, inputs] and the matrix, plus the residual [rows, outputs].

        Args:
            weights: the matrix.
            x: what is multiplied.
            residual: what is added.
            out: where the result goes, [rows, outputs], the last dimension dense; None for a tensor of x's dtype.
            beside: the rows' adapters, where x is no table; None for none.
        """
        (outputs, inputs), rows = weights.values.shape, len(x.values if x.numbers is None else x.numbers)
        y = torch.empty(rows, outputs, dtype=x.values.dtype, device=x.values.device) if out is None else out
        cut, tile_rows = tiling(outputs, inputs, weights.values.element_size()), block_rows(rows)
        adapters = self._reduced(x.values, None, beside)
        LINEAR_ADD.launch(
            (-(-rows // tile_rows), cut.tiles, cut.splits),
            *x, *weights, *(residual or (None, None)), y, *adapters.tensors,
            *self._shared(cut, rows, cut.block_outputs), rows, outputs, inputs, y.stride(0),
            ROWS=tile_rows, OUTPUTS=cut.block_outputs, INPUTS=cut.block_inputs, SPLITS=cut.splits,
            SPLIT_INPUTS=cut.split_inputs, RANK=adapters.rank, FACTORS=_factors(tile_rows),
            num_warps=_warps(cut.block_outputs, tile_rows), num_stages=STAGES,
            reads=(
                rows * inputs * x.values.element_size(), weights.scale, y if residual else 0, adapters.bytes(outputs)
            ),
            writes=(y,),
            matrix=readings(rows) * weights.values.nbytes, multiplications=rows * outputs * inputs,
        )  # fmt: skip
        return y

    def norm_gate(self, norm: RMSNorm, weights: Weights, x: Tensor, beside: Beside | None = None) -> Tensor:
        """SiLU(gates) times values [rows, hidden], of the norm of x [rows, inputs]."""
        (outputs, inputs), rows = weights.values.shape, len(x)
        hidden = outputs // 2
        y = torch.empty(rows, hidden, dtype=x.dtype, device=x.device)
        cut, tile_rows = tiling(hidden, inputs, weights.values.element_size()), block_rows(rows)
        adapters = self._reduced(x, norm, beside)
        NORM_GATE.launch(
            (-(-rows // tile_rows), cut.tiles, cut.splits),
            x, norm.alpha, *weights, y, *adapters.tensors, *self._shared(cut, rows, 2 * cut.block_outputs + 1),
            rows, hidden, inputs, norm.eps,
            ROWS=tile_rows, OUTPUTS=cut.block_outputs, INPUTS=cut.block_inputs, SPLITS=cut.splits,
            SPLIT_INPUTS=cut.split_inputs, PRESCALE=_prescale(x), RANK=adapters.rank, FACTORS=_factors(tile_rows),
            num_warps=8 if weights.scale is not None else _warps(2 * cut.block_outputs, tile_rows),
            num_stages=3 if tile_rows <= 32 else 2,
            reads=(x, norm.alpha, weights.scale, adapters.bytes(outputs)), writes=(y,),
            matrix=readings(rows) * weights.values.nbytes, multiplications=rows * outputs * inputs,
        )  # fmt: skip
        return y

    def norm_qkv_append(
        self,
        norm: RMSNorm,
        weights: Weights,
        x: Tensor,
        heads: int,
        rotation: Tensor | None,
        places: Places,
        beside: Beside | None = None,
    ) -> Tensor:
        """Queries [rows, heads, dim] of the norm of x [rows, inputs]; keys and values go to their places.

        Args:
            norm: before the product.
            weights: the matrix [3 · heads · dim, inputs].
            x: contiguous.
            heads: of the layer.
            rotation: float32 [2, rows, dim / 2], of `rope`; None for none.
            places: of the layer's keys and values.
            beside: the rows' adapters; None for none.
        """
        (outputs, inputs), rows = weights.values.shape, len(x)
        dim = outputs // 3 // heads
        width = max(16, power_of_two(dim))
        q = torch.empty(rows, heads, dim, dtype=x.dtype, device=x.device)
        cut = tiling(3 * heads * width, inputs, weights.values.element_size(), width)
        tile_rows = block_rows(rows)
        entries, floats = rows * 2 * heads * places.entry_bytes, weights.scale is None
        adapters = self._reduced(x, norm, beside)
        warps = 4 if floats else _warps(width, tile_rows)
        if beside is not None and width * tile_rows >= 64 * 64:
            warps = 8
        NORM_QKV_APPEND.launch(
            (-(-rows // tile_rows), cut.tiles, cut.splits),
            x, norm.alpha, *weights, rotation, q, *places.tensors, *adapters.tensors,
            *self._shared(cut, rows, width + 1), rows, inputs, norm.eps, heads, dim, places.pages, places.position,
            ROWS=tile_rows, WIDTH=width, PAGE=places.page, INPUTS=cut.block_inputs, SPLITS=cut.splits,
            SPLIT_INPUTS=cut.split_inputs, PRESCALE=_prescale(x), RANK=adapters.rank, FACTORS=_factors(tile_rows),
            num_warps=warps,
            num_stages=STAGES if tile_rows <= 32 else 3 if floats else 2,
            reads=(x, norm.alpha, rotation, weights.scale, adapters.bytes(outputs)), writes=(q, entries),
            matrix=readings(rows) * weights.values.nbytes, multiplications=rows * outputs * inputs,
        )  # fmt: skip
        return q

    def _reduced(self, x: Tensor, norm: RMSNorm | None, beside: Beside | None) -> Reduced:
        """What a product's kernel needs of the adapters of the rows of x, of their norm where one is given."""
        if beside is None:
            return Reduced(None, None, None, 1)
        (_, rank, inputs), rows = beside.factors.down.shape, len(x)
        reduced = torch.empty(rows, rank, device=x.device)
        alpha, eps = (None, None) if norm is None else (norm.alpha, norm.eps)
        REDUCE.launch(
            (rows, -(-rank // FACTORS)),
            x, alpha, beside.places, beside.factors.down, beside.factors.scales, reduced, inputs, eps,
            RANK=rank, FACTORS=FACTORS, INPUTS=min(FACTOR_INPUTS, power_of_two(inputs)), num_warps=4,
            reads=(x, alpha, beside.places, rows * rank * inputs * beside.factors.down.element_size()),
            writes=(reduced,), multiplications=rows * rank * inputs,
        )  # fmt: skip
        return Reduced(beside.places, reduced, beside.factors.up, rank)

    def _shared(self, cut: Tiling, rows: int, width: int) -> tuple[Tensor | None, Tensor | None]:
        """`shared` of a product, whose splits leave so many rows of sums."""
        tile_rows = block_rows(rows)
        tiles = -(-rows // tile_rows) * cut.tiles
        return self.shared(tiles * cut.splits * width * tile_rows, tiles if cut.splits > 1 else 0)


class Reduced(NamedTuple):
    """Adapters of a product's rows, whose first factors are done."""

    places: Tensor | None
    reduced: Tensor | None  # float32 [rows, rank]
    up: Tensor | None  # [places, rank, outputs]
    rank: int

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """As the kernels take them."""
        return self[:3]

    def bytes(self, outputs: int) -> int:
        """Of the second factors, where each row has an adapter of its own."""
        return 0 if self.reduced is None or self.up is None else self.reduced.numel() * outputs * self.up.element_size()


class TritonLinear(Int8Linear):
    """A matrix in int8 that the kernel reads once for each tile of rows, up to so many that it is no more to make
    floats of the matrix first."""

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies the last dimension of x."""
        flat = x.reshape(-1, x.shape[-1])
        if len(flat) > MOST_ROWS:
            return super().forward(x)
        y = Products.on(self.weight.device).linear_add(Weights.of(self), Rows(flat.contiguous()))
        return y.view(*x.shape[:-1], -1)


def _prescale(x: Tensor) -> float:
    return FLOAT16_PRESCALE if x.dtype == torch.float16 else 1.0


def _factors(rows: int) -> int:
    """Of adapters, whose reads do not wait for each other in a program of so many rows; likewise by its registers."""
    return max(1, 64 // rows)


def _warps(outputs: int, rows: int) -> int:
    """Of a program that multiplies so many outputs by so many rows. Its sums must fit in its registers: these numbers,
    and those of stages, are such that `tools.gpu.compile_kernels` finds none that spills."""
    return 8 if outputs * rows > 64 * 64 else 4
