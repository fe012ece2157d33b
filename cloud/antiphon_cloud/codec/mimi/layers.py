"""Streaming causal convolutions as matrix products, with their state as an argument and a result.

All tensors are channel-last, `[*, T, C]`, with any batch dimensions in front. A convolution gathers the taps of each
output, `[*, T, kernel · C_in]`, and multiplies them by one matrix; one to very few channels multiplies first and adds
the taps of the products. A frame is then a few large products, and every weight is the constant right-hand side of one.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_cloud.codec.mimi.checkpoint import Weights

State = dict[str, Tensor]
"""A stream's state between calls: one tensor per stateful layer, by the layer's name; zeros at the start."""


class Conv(nn.Module):
    """A causal convolution. Its state is its last `(kernel − 1) · dilation + 1 − stride` inputs.

    Args:
        weights: where `{name}.{inner}.weight` [C_out, C_in, kernel] and its bias [C_out] come from.
        name: the published name of the layer, and the name of its state.
        inner: the rest of the published name of its tensors.
    """

    def __init__(
        self,
        weights: Weights,
        name: str,
        c_in: int,
        c_out: int,
        kernel: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        bias: bool = True,
        inner: str = "conv.conv",
    ) -> None:
        super().__init__()
        self.name, self.c_in = name, c_in
        self.kernel, self.stride, self.dilation = kernel, stride, dilation
        self.memory = (kernel - 1) * dilation + 1 - stride
        published = weights.take(f"{name}.{inner}.weight", (c_out, c_in, kernel))
        self.adds_taps = stride == 1 and 1 < kernel * c_out <= c_in
        if self.adds_taps:
            matrix = published.permute(1, 2, 0).reshape(c_in, kernel * c_out)
        else:
            matrix = published.permute(2, 1, 0).reshape(kernel * c_in, c_out)
        self.weight = nn.Parameter(matrix.contiguous())
        self.bias = nn.Parameter(weights.take(f"{name}.{inner}.bias", (c_out,))) if bias else None

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """Zeros, as if silence came before the stream."""
        return {self.name: self.weight.new_zeros(*batch, self.memory, self.c_in)} if self.memory else {}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """`x` [*, T, C_in], T a multiple of the stride, to [*, T / stride, C_out]."""
        after: State = {}
        padded = x
        if self.memory:
            padded = torch.cat([state[self.name], x], -2)  # [*, memory + T, C_in]
            after = {self.name: padded[..., -self.memory :, :]}
        y = self._add_taps(padded) if self.adds_taps else self._taps(padded, x) @ self.weight  # [*, T / stride, C_out]
        return y if self.bias is None else y + self.bias, after

    def _add_taps(self, padded: Tensor) -> Tensor:
        """The sum of each output's products with its inputs, [*, T, C_out]."""
        products = padded @ self.weight  # [*, memory + T, kernel · C_out]
        length = padded.shape[-2] - self.memory
        taps = [
            tap[..., i * self.dilation : i * self.dilation + length, :]
            for i, tap in enumerate(products.chunk(self.kernel, -1))
        ]
        return reduce(torch.add, taps)

    def _taps(self, padded: Tensor, x: Tensor) -> Tensor:
        """The inputs of each output, concatenated, [*, n, kernel · C_in]; the last taps are views of `x`."""
        n = x.shape[-2] // self.stride
        if self.dilation == 1 and self.kernel % self.stride == 0:  # whole blocks of `stride` inputs
            blocks = _blocks(padded, self.stride)  # [*, n + kernel / stride − 1, stride · C_in]
            taps = [blocks[..., i : i + n, :] for i in range(self.kernel // self.stride - 1)]
            taps.append(_blocks(x, self.stride))
        else:
            last = (n - 1) * self.stride + 1
            starts = range(0, self.memory + self.stride - 1, self.dilation)  # of all taps but the last
            taps = [padded[..., start : start + last : self.stride, :] for start in starts]
            taps.append(x[..., self.stride - 1 :: self.stride, :])
        return torch.cat(taps, -1) if len(taps) > 1 else taps[0]


def _blocks(x: Tensor, stride: int) -> Tensor:
    """[*, T, C] as [*, T / stride, stride · C]."""
    return torch.unflatten(x, -2, (-1, stride)).flatten(-2)


class ConvTranspose(nn.Module):
    """A causal transposed convolution, kernel 2 · stride. Its state is its last input.

    The `stride` outputs of a position depend on its input and the one before. So it is a convolution of two taps with
    stride · C_out channels.

    Args:
        weights: where `{name}.{inner}.weight` [C_in, C_out, kernel] and its bias [C_out] come from.
        name: the published name of the layer, and the name of its state.
    """

    def __init__(
        self, weights: Weights, name: str, c_in: int, c_out: int, stride: int, *, inner: str = "convtr.convtr"
    ) -> None:
        super().__init__()
        self.name, self.c_in, self.stride = name, c_in, stride
        published = weights.take(f"{name}.{inner}.weight", (c_in, c_out, 2 * stride)).transpose(1, 2)
        now, later = published[:, :stride].flatten(1), published[:, stride:].flatten(1)  # [C_in, stride · C_out] each
        self.weight = nn.Parameter(torch.cat([later, now]))  # [2 · C_in, stride · C_out]
        self.bias = nn.Parameter(weights.take(f"{name}.{inner}.bias", (c_out,)).repeat(stride))  # [stride · C_out]

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """Zeros, as if silence came before the stream."""
        return {self.name: self.weight.new_zeros(*batch, 1, self.c_in)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """`x` [*, T, C_in] to [*, T · stride, C_out]."""
        before = state[self.name]
        if x.shape[-2] > 1:
            before = torch.cat([before, x], -2)[..., :-1, :]  # [*, T, C_in]
        y = torch.cat([before, x], -1) @ self.weight + self.bias  # [*, T, stride · C_out]
        return torch.unflatten(y, -1, (self.stride, -1)).flatten(-3, -2), {self.name: x[..., -1:, :]}


class DepthwiseUpsample(nn.Module):
    """A depthwise causal transposed convolution, kernel 2 · stride, without bias.

    Args:
        weights: where `{name}.{inner}.weight` [C, 1, kernel] comes from.
        name: the published name of the layer, and the name of its state.
    """

    def __init__(self, weights: Weights, name: str, channels: int, stride: int, *, inner: str) -> None:
        super().__init__()
        self.name, self.stride, self.channels = name, stride, channels
        published = weights.take(f"{name}.{inner}.weight", (channels, 1, 2 * stride))
        self.weight = nn.Parameter(published[:, 0].T.contiguous())  # [2 · stride, C]

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """Zeros: there is no overlap at the start."""
        return {self.name: self.weight.new_zeros(*batch, 1, self.stride * self.channels)}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """`x` [*, T, C] to [*, T · stride, C]."""
        y, after = overlap_add((x.unsqueeze(-2) * self.weight).flatten(-2), state[self.name])
        return torch.unflatten(y, -1, (self.stride, -1)).flatten(-3, -2), {self.name: after}


def overlap_add(y: Tensor, previous: Tensor) -> tuple[Tensor, Tensor]:
    """Adds the second half of each row to the first half of the next.

    Args:
        y: [*, T, 2 · N].
        previous: [*, 1, N], the second half of the row before `y`.

    Returns:
        The sums [*, T, N], and the second half of the last row [*, 1, N].
    """
    now, later = y.chunk(2, -1)
    if y.shape[-2] == 1:
        return now + previous, later
    return now + torch.cat([previous, later[..., :-1, :]], -2), later[..., -1:, :]


class Elu(nn.Module):
    """ELU with the signature of a layer."""

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """Empty: it is stateless."""
        return {}

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Elementwise."""
        return functional.elu(x), {}


class Chain(nn.Module):
    """Layers in sequence."""

    def __init__(self, layers: Iterable[nn.Module], *, residual: bool = False) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.residual = residual

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """The states of all layers."""
        state: State = {}
        layer: Any
        for layer in self.layers:
            state |= layer.initial_state(batch)
        return state

    def forward(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        """Applies all layers; `residual` adds the input to the result."""
        y = x
        after: State = {}
        for layer in self.layers:
            y, change = layer(y, state)
            after |= change
        return x + y if self.residual else y, after
