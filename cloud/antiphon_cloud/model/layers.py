"""Transformer layers as published checkpoints hold them: RMS norm, RoPE, gated feed-forward, weights per position.

No module here holds state: queries, keys and values pass through the caller's `Attend`, which stores the keys and
values where it likes and attends to all that the queries may see.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

Attend = Callable[[Tensor, Tensor, Tensor], Tensor]
"""What queries [B, H, T, D] make of new keys and values of the same shape, and of those before them: [B, H, T, D]."""


class KvSpan(NamedTuple):
    """What a row of a step writes and reads in its slot; where rows share a slot, each is done before the next."""

    slot: int
    position: int  # of the entry to write
    first: int  # entry to read
    length: int  # entries to read, the first entry after the last


@dataclass(frozen=True, slots=True)
class KvView:
    """Keys and values of a stack's layers, [layers, slots, heads, entries, D], and what a step's rows do with them."""

    keys: Tensor
    values: Tensor
    key_scales: Tensor | None  # of int8: float32 [layers, slots, heads, entries, 1]
    value_scales: Tensor | None
    spans: Sequence[KvSpan]


@runtime_checkable
class AttendView(Protocol):
    """Attention, layer by layer, that can also say where it writes and reads."""

    def __call__(self, layer: int) -> Attend:
        """The layer's attention."""

    def view(self) -> KvView:
        """Where the rows write and read."""


class Linear(nn.Module):
    """A matrix [outputs, inputs] without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies the last dimension of x; [B, 1, inputs] is a step."""
        if x.dim() == 3 and _is_exact_step(x):
            return torch.bmm(x, self.weight.t().expand(x.shape[0], -1, -1))  # every row by itself
        return F.linear(x, self.weight)


class RMSNorm(nn.Module):
    """Root mean square norm (Zhang, Sennrich 2019), computed in float32."""

    def __init__(self, dim: int, eps: float) -> None:
        super().__init__()
        self.eps = eps
        self.alpha = nn.Parameter(torch.empty(1, 1, dim))

    def forward(self, x: Tensor) -> Tensor:
        """Normalizes the last dimension of x [B, T, dim]."""
        y = x.float()
        mean_square = y.square().mean(-1, keepdim=True)
        return (y * (self.alpha.float() * torch.rsqrt(mean_square + self.eps))).to(x.dtype)


class SwiGLU(nn.Module):
    """Gated feed-forward layer (Shazeer, "GLU variants improve transformer", 2020)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear_in = Linear(dim, 2 * hidden)
        self.linear_out = Linear(hidden, dim)

    def forward(self, x: Tensor) -> Tensor:
        """Keeps the shape of x [..., dim]."""
        gate, value = self.linear_in(x).chunk(2, -1)
        return self.linear_out(F.silu(gate) * value)  # type: ignore[no-any-return]


class Attention(nn.Module):
    """Self-attention with one or several weight sets, one for each position."""

    def __init__(self, dim: int, heads: int, sets: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_projs = nn.ModuleList([Linear(dim, 3 * dim) for _ in range(sets)])
        self.out_projs = nn.ModuleList([Linear(dim, dim) for _ in range(sets)])

    def forward(self, x: Tensor, sets: Sequence[int], rotation: Tensor | None, attend: Attend) -> Tensor:
        """Attends from each position of x [B, T, dim]; see `Layer.forward`."""
        qkv = per_position(self.in_projs, sets, x).view(*x.shape[:2], 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        q, k = qkv[:2] if rotation is None else rotate(qkv[:2], rotation)
        out = attend(q, k, qkv[2])  # [B, H, T, D]
        return per_position(self.out_projs, sets, out.transpose(1, 2).flatten(2))


class Layer(nn.Module):
    """Attention, then feed-forward, each normalized before and added after.

    Args:
        dim: width.
        heads: attention heads.
        hidden: feed-forward width; a tuple gives each weight set its own feed-forward layer.
        eps: of the norms.
    """

    def __init__(self, dim: int, heads: int, hidden: int | tuple[int, ...], eps: float) -> None:
        super().__init__()
        self.norm1 = RMSNorm(dim, eps)
        self.self_attn = Attention(dim, heads, 1 if isinstance(hidden, int) else len(hidden))
        self.norm2 = RMSNorm(dim, eps)
        self.gating: nn.Module
        if isinstance(hidden, int):
            self.gating = SwiGLU(dim, hidden)
        else:
            self.gating = nn.ModuleList([SwiGLU(dim, size) for size in hidden])

    def forward(self, x: Tensor, sets: Sequence[int], rotation: Tensor | None, attend: Attend) -> Tensor:
        """Keeps the shape of x [B, T, dim].

        Args:
            x: the positions' inputs.
            sets: weight set of each position, [T]; ignored where there is one set.
            rotation: of `rope`; None for no position embedding.
            attend: where queries, keys and values go.
        """
        x = x + self.self_attn(self.norm1(x), sets, rotation, attend)
        y = self.norm2(x)
        return x + (per_position(self.gating, sets, y) if isinstance(self.gating, nn.ModuleList) else self.gating(y))


class Transformer(nn.Module):
    """A stack of layers; takes `Layer`'s arguments."""

    def __init__(self, layers: int, dim: int, heads: int, hidden: int | tuple[int, ...], eps: float) -> None:
        super().__init__()
        self.layers = nn.ModuleList([Layer(dim, heads, hidden, eps) for _ in range(layers)])

    def forward(
        self,
        x: Tensor,
        sets: Sequence[int],
        rotation: Tensor | None,
        attend: Callable[[int], Attend],
    ) -> Tensor:
        """Runs all layers on x [B, T, dim]; `attend(layer)` is the layer's `Attend`."""
        for index, layer in enumerate(self.layers):
            x = layer(x, sets, rotation, attend(index))
        return x


def attention(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of queries [B, H, T, D] over keys and values [B, H, S, D]; mask is added to the scores."""
    if not _is_exact_step(q):
        return F.scaled_dot_product_attention(q, keys, values, mask)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, keys.transpose(2, 3))  # [B, H, 1, S]
    return torch.matmul((scores if mask is None else scores + mask).softmax(-1), values)


def _is_exact_step(x: Tensor) -> bool:
    """Whether each row of x [B, ..., 1, D] must come out the same to the bit in a batch of any size.

    Matrix products and fused attention add in an order that depends on the batch and on the threads. On a CPU at
    float32, where a session's tokens are promised not to depend on who shares its batch, a step avoids them.
    """
    return x.shape[-2] == 1 and x.dtype == torch.float32 and x.device.type == "cpu"


def per_position(modules: nn.ModuleList, sets: Sequence[int], x: Tensor) -> Tensor:
    """Applies to each position of x [B, T, dim] the module of its weight set."""
    if len(modules) == 1:
        return modules[0](x)  # type: ignore[no-any-return]
    if len(sets) == 1:
        return modules[sets[0]](x)  # type: ignore[no-any-return]
    return torch.stack([modules[index](x[:, t]) for t, index in enumerate(sets)], 1)


def rope(positions: Tensor, head_dim: int, max_period: float) -> Tensor:
    """Rotary position embedding (Su et al., "RoFormer", 2021): cosines and sines, float32 [2, B, 1, T, head_dim / 2].

    Args:
        positions: [B, T], counted from the start of the session.
        head_dim: width of a head; adjacent channels are a pair.
        max_period: of the slowest pair, in steps (times 2π).
    """
    pair = torch.arange(head_dim // 2, device=positions.device, dtype=torch.float32)
    frequencies = torch.exp(pair * (-math.log(max_period) * 2 / head_dim))
    angles = positions.float()[:, None, :, None] * frequencies
    return torch.stack((angles.cos(), angles.sin()))


def rotate(x: Tensor, rotation: Tensor) -> Tensor:
    """Turns each pair of channels of x [..., B, H, T, D] by its angle."""
    real, imaginary = x.float().reshape(*x.shape[:-1], -1, 2).unbind(-1)
    cos, sin = rotation.unbind(0)
    turned = torch.stack((real * cos - imaginary * sin, real * sin + imaginary * cos), -1)
    return turned.flatten(-2).to(x.dtype)
