"""What sessions were told: the weights that make vectors of it, and the vectors, one row a slot, allocated once.

Of a list's values one vector is added to the input of every step. A voice becomes keys and values that every layer
attends to; they are computed once, when the session begins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from antiphon_cloud.model.conditioners import MAX_VOICES, VOICE_STEPS, Conditioner
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.layers import Embedding, attention

MAX_PERIOD = 10_000.0  # of the positions of what is attended to


class ConditionWeights(nn.Module):
    """Weights of one conditioner, float32 in every model."""

    def __init__(self, conditioner: Conditioner, dim: int) -> None:
        super().__init__()
        self.embed = Embedding(conditioner.lut.n_bins + 1, conditioner.dim) if conditioner.lut else None
        self.output_proj = nn.Linear(conditioner.dim, dim, bias=False)  # not in int8: it is used once a session
        self.learnt_padding = nn.Parameter(torch.empty(1, 1, dim))

    def value(self, index: int | None) -> Tensor:
        """The vector [dim] of a list's value; None for none of them."""
        if index is None:
            return self.learnt_padding[0, 0].float()
        assert self.embed is not None
        return F.linear(self.embed.weight[index].float(), self.output_proj.weight.float())

    def vectors(self, source: Tensor, known: Tensor) -> Tensor:
        """Vectors [T, dim] of a source [T, inputs], of which a row that is not known [T] is padding."""
        projected = F.linear(source.float(), self.output_proj.weight.float())
        return torch.where(known[:, None], projected, self.learnt_padding[0].float())


class ConditionProvider(nn.Module):
    """Weights of all conditioners, with the names of published checkpoints."""

    def __init__(self, conditioners: Mapping[str, Conditioner], dim: int) -> None:
        super().__init__()
        self.conditioners = nn.ModuleDict({name: ConditionWeights(each, dim) for name, each in conditioners.items()})

    def of(self, name: str) -> ConditionWeights:
        """Those of one conditioner."""
        found = self.conditioners[name]
        assert isinstance(found, ConditionWeights)
        return found


@dataclass(frozen=True, slots=True)
class CrossKv:
    """Keys and values that sessions attend to in every layer, [layers, slots, heads, entries, head_dim]."""

    keys: Tensor
    values: Tensor
    lengths: Tensor  # int64 [slots]: entries that count, 1 at least
    table: Tensor  # int32 [slots, 1]: slot i's are at i, as kernels find a ring's


@dataclass(frozen=True, slots=True)
class Conditions:
    """What the session of each slot was told."""

    total: Tensor | None  # [slots, dim]: added to the input of every step; None for a model that adds nothing
    cross: CrossKv | None  # None for a model that attends to nothing

    @classmethod
    def allocate(cls, config: LMConfig, slots: int, dtype: torch.dtype, device: torch.device) -> Conditions:
        """Slots whose sessions were told nothing: zeros."""
        total = torch.zeros(slots, config.dim, dtype=dtype, device=device) if config.fuser.sum else None
        if not config.cross_attention:
            return cls(total, None)
        heads = config.num_heads
        shape = (config.num_layers, slots, heads, MAX_VOICES * VOICE_STEPS, config.dim // heads)
        keys, values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
        lengths = torch.ones(slots, dtype=torch.int64, device=device)
        table = torch.arange(slots, dtype=torch.int32, device=device)[:, None]
        return cls(total, CrossKv(keys, values, lengths, table))

    def rows(self, slots: Tensor) -> RowConditions:
        """Of the slots int64 [B] of a batch's rows."""
        lengths = None if self.cross is None else self.cross.lengths[slots]
        if lengths is None or slots.device.type != "cpu":
            return RowConditions(self, slots, lengths)
        return RowConditions(self, slots, lengths, list(zip(slots.tolist(), lengths.tolist(), strict=True)))

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that sessions were told, on its device."""
        cross = self.cross
        held = (self.total, *(() if cross is None else (cross.keys, cross.values, cross.lengths, cross.table)))
        return tuple(tensor for tensor in held if tensor is not None)


@dataclass(frozen=True, slots=True)
class RowConditions:
    """What the sessions of a batch's rows were told."""

    held: Conditions
    slots: Tensor  # int64 [B]
    lengths: Tensor | None  # int64 [B]: entries of each row to attend to
    known: Sequence[tuple[int, int]] | None = None  # both, where the host may look at them

    def add_to(self, x: Tensor) -> Tensor:
        """A step's inputs [B, T, dim], with what is added to them."""
        total = self.held.total
        return x if total is None else x + total[self.slots][:, None]

    def attend(self, layer: int, q: Tensor) -> Tensor:
        """Attends from queries [B, H, T, D] to what the layer holds for their rows: [B, H, T, D]."""
        cross = self.held.cross
        assert cross is not None
        assert self.lengths is not None
        keys, values = cross.keys[layer], cross.values[layer]  # [slots, H, E, D]
        if self.known is not None:  # row by row, to the bit the same whoever shares the batch, and nothing is copied
            out = []
            for row, (slot, length) in enumerate(self.known):
                kv = (store[slot : slot + 1, :, :length].to(q.dtype) for store in (keys, values))
                out.append(attention(q[row : row + 1], *kv))
            return torch.cat(out)
        hidden = torch.arange(keys.shape[2], device=q.device) >= self.lengths[:, None]  # [B, E]
        bias = torch.zeros_like(hidden, dtype=q.dtype).masked_fill(hidden, -torch.inf)
        return attention(q, keys[self.slots].to(q.dtype), values[self.slots].to(q.dtype), bias[:, None, None])


def positions(count: int, dim: int, device: torch.device) -> Tensor:
    """Sines and cosines of so many positions, float32 [count, dim] (Vaswani et al., "Attention is all you need")."""
    half = dim // 2
    pair = torch.arange(half, dtype=torch.float32, device=device)
    position = torch.arange(count, dtype=torch.float32, device=device)[:, None]
    phase = position / torch.full((), MAX_PERIOD, device=device) ** (pair / max(half - 1, 1))
    return torch.cat((phase.cos(), phase.sin()), 1)
