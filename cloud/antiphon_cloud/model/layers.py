"""The weights of transformer layers as published checkpoints hold them, and the formulas of attention.

A module with a `forward` is one product, one norm or one table. What a layer does with them is in `ops`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from antiphon_cloud.model.tokens import ZERO


class Linear(nn.Module):
    """A matrix [outputs, inputs] without bias."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(outputs, inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Multiplies the last dimension of x; [B, 1, inputs] is a step."""
        if x.dim() == 3 and is_exact_step(x):
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
    """Weights of a gated feed-forward layer (Shazeer, "GLU variants improve transformer", 2020)."""

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.linear_in = Linear(dim, 2 * hidden)
        self.linear_out = Linear(hidden, dim)


class Attention(nn.Module):
    """Weights of self-attention: one set, or several of which each position has its own."""

    def __init__(self, dim: int, heads: int, sets: int) -> None:
        super().__init__()
        self.heads = heads
        self.in_projs = nn.ModuleList([Linear(dim, 3 * dim) for _ in range(sets)])
        self.out_projs = nn.ModuleList([Linear(dim, dim) for _ in range(sets)])


class CrossAttention(nn.Module):
    """Weights of attention to what a session was told."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.q_proj, self.k_proj, self.v_proj = (Linear(dim, dim) for _ in range(3))
        self.out_projs = nn.ModuleList([Linear(dim, dim)])


class Layer(nn.Module):
    """Weights of attention, then of cross attention where there is one, then of feed-forward, each with the norm before
    it.

    Args:
        dim: width.
        heads: attention heads.
        hidden: feed-forward width; a tuple gives each weight set its own feed-forward layer.
        eps: of the norms.
        cross: whether there is a cross attention.
    """

    def __init__(self, dim: int, heads: int, hidden: int | tuple[int, ...], eps: float, cross: bool = False) -> None:
        super().__init__()
        self.norm1 = RMSNorm(dim, eps)
        self.self_attn = Attention(dim, heads, 1 if isinstance(hidden, int) else len(hidden))
        if cross:
            self.norm_cross = nn.LayerNorm(dim)
        self.cross_attention = CrossAttention(dim, heads) if cross else None
        self.norm2 = RMSNorm(dim, eps)
        self.gating: nn.Module
        if isinstance(hidden, int):
            self.gating = SwiGLU(dim, hidden)
        else:
            self.gating = nn.ModuleList([SwiGLU(dim, size) for size in hidden])

    @property
    def gatings(self) -> Sequence[nn.Module]:
        """The feed-forward layer of each weight set."""
        return self.gating if isinstance(self.gating, nn.ModuleList) else [self.gating]  # type: ignore[return-value]


class Transformer(nn.Module):
    """A stack of layers; takes `Layer`'s arguments."""

    def __init__(
        self, layers: int, dim: int, heads: int, hidden: int | tuple[int, ...], eps: float, cross: bool = False
    ) -> None:
        super().__init__()
        self.cross = cross
        self.layers = nn.ModuleList([Layer(dim, heads, hidden, eps, cross) for _ in range(layers)])


class Embedding(nn.Module):
    """A table of vectors, one a token; `ZERO` is none of them. A low rank keeps narrow vectors and widens them.

    Args:
        tokens: rows of the table.
        dim: width of the vectors.
        low_rank: width of the table's, which are widened; None for `dim`.
        pairs: whether a token is two of the table's, each of which has a matrix: `(second + 1) * tokens + first`, where
            a second of `ZERO` is none.
    """

    def __init__(self, tokens: int, dim: int, low_rank: int | None = None, pairs: bool = False) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, low_rank or dim))
        self.low_rank = Linear(low_rank, dim) if low_rank and not pairs else None
        self.out1 = Linear(low_rank or dim, dim) if pairs else None
        self.out2 = Linear(low_rank or dim, dim) if pairs else None

    def forward(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        """Vectors [..., dim], in `dtype`, of tokens [...]."""
        if self.out1 is None or self.out2 is None:
            y = self.rows(tokens, dtype)
            return y if self.low_rank is None else self.low_rank(y)
        first, second = self.parted(tokens)
        return self.out1(self.rows(first, dtype)) + self.out2(self.rows(second, dtype))  # type: ignore[no-any-return]

    def rows(self, tokens: Tensor, dtype: torch.dtype) -> Tensor:
        """Rows of the table, in `dtype`; zeros for `ZERO`."""
        y = F.embedding(tokens.clamp(min=0), self.weight).to(dtype)
        return y.masked_fill((tokens < 0)[..., None], 0.0)

    def parted(self, tokens: Tensor) -> tuple[Tensor, Tensor]:
        """Both of the table's tokens that each token is; negative where there is none."""
        count = self.weight.shape[0]
        return torch.where(tokens < 0, ZERO, tokens % count), tokens // count - 1


def attention(q: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of queries [B, H, T, D] over keys and values [B, H, S, D]; mask is added to the scores."""
    if not is_exact_step(q):
        return F.scaled_dot_product_attention(q, keys, values, mask)
    scores = torch.matmul(q * q.shape[-1] ** -0.5, keys.transpose(2, 3))  # [B, H, 1, S]
    return torch.matmul((scores if mask is None else scores + mask).softmax(-1), values)


def is_exact_step(x: Tensor) -> bool:
    """Whether each row of x [B, ..., 1, D] must come out the same to the bit in a batch of any size.

    Matrix products and fused attention add in an order that depends on the batch and on the threads. On a CPU at
    float32, where a session's tokens are promised not to depend on who shares its batch, a step avoids them.
    """
    return x.shape[-2] == 1 and x.dtype == torch.float32 and x.device.type == "cpu"


def per_position(functions: Sequence[Callable[[Tensor], Tensor]], sets: Sequence[int], x: Tensor) -> Tensor:
    """Applies to each position of x [B, T, dim] the function of its weight set; one function is every position's."""
    if len(functions) == 1:
        return functions[0](x)
    if len(sets) == 1:
        return functions[sets[0]](x)
    return torch.stack([functions[index](x[:, t]) for t, index in enumerate(sets)], 1)


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
