"""What sessions leave behind from step to step: tokens, keys and values, one row a slot, allocated once.

A step works on views of the first rows, in place. A row outside the step's mask keeps every bit.
"""

from __future__ import annotations

from dataclasses import dataclass, fields

import torch
from torch import Tensor

from antiphon_cloud.config import LMConfig
from antiphon_cloud.sampling import SlotSampling

UNGENERATED = -2


@dataclass(frozen=True, slots=True)
class KVCache:
    """Keys and values of a transformer's layers, each [layers, slots, heads, capacity, head_dim]."""

    keys: Tensor
    values: Tensor

    @classmethod
    def allocate(cls, shape: tuple[int, int, int, int, int], dtype: torch.dtype, device: torch.device) -> KVCache:
        """An empty cache of that shape."""
        return cls(torch.zeros(shape, dtype=dtype, device=device), torch.zeros(shape, dtype=dtype, device=device))

    def rows(self, count: int) -> KVCache:
        """A view of the first slots."""
        return KVCache(self.keys[:, :count], self.values[:, :count])

    def append_ring(
        self, layer: int, position: Tensor, mask: Tensor, keys: Tensor, values: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Writes one step over each slot's oldest entry; returns the layer's whole ring [B, H, C, D].

        Args:
            layer: index of the layer.
            position: where each slot's ring stands, [B].
            mask: the slots that step, [B].
            keys: the step's keys, [B, H, 1, D].
            values: the step's values, [B, H, 1, D].
        """
        index = position[:, None, None, None].expand_as(keys)
        write(self.keys[layer], 2, index, keys, mask)
        write(self.values[layer], 2, index, values, mask)
        return self.keys[layer], self.values[layer]

    def append_at(self, layer: int, position: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes one position [B, H, 1, D] of every slot; returns all up to it, [B, H, position + 1, D]."""
        end = position + 1
        self.keys[layer][:, :, position:end] = keys
        self.values[layer][:, :, position:end] = values
        return self.keys[layer][:, :, :end], self.values[layer][:, :, :end]


@dataclass(frozen=True, slots=True)
class State:
    """All that a batch of sessions needs beside the weights."""

    tokens: Tensor  # [slots, streams, max_delay + 2]: a ring; stream k's token of step t is at (t + delay k)
    offsets: Tensor  # [slots]: steps taken
    ring: KVCache  # the temporal transformer's
    scratch: KVCache  # the depformer's: means nothing between steps
    sampling: SlotSampling
    delays: Tensor  # [streams], of the model
    initial: Tensor  # [streams]: the initial tokens, of the model

    @classmethod
    def allocate(cls, config: LMConfig, slots: int, dtype: torch.dtype, device: torch.device) -> State:
        """State of `slots` fresh sessions, keys and values in `dtype`."""
        head_dim = config.dim // config.num_heads
        ring = (config.num_layers, slots, config.num_heads, config.context, head_dim)
        scratch = (0, slots, 1, 0, 1)
        if config.dep_q:
            heads = config.depformer_num_heads
            scratch = (config.depformer_num_layers, slots, heads, config.dep_q, config.depformer_dim // heads)
        return cls(
            tokens=torch.full((slots, config.streams, config.max_delay + 2), UNGENERATED, device=device),
            offsets=torch.zeros(slots, dtype=torch.int64, device=device),
            ring=KVCache.allocate(ring, dtype, device),
            scratch=KVCache.allocate(scratch, dtype, device),
            sampling=SlotSampling.allocate(slots, device),
            delays=torch.tensor(config.delays, device=device),
            initial=torch.tensor([config.text_card] + [config.card] * config.n_q, device=device),
        )

    def rows(self, count: int) -> State:
        """A view of the first slots."""
        return State(
            self.tokens[:count],
            self.offsets[:count],
            self.ring.rows(count),
            self.scratch.rows(count),
            self.sampling.rows(count),
            self.delays,
            self.initial,
        )

    def clear(self, slot: int) -> None:
        """Forgets the slot's session."""
        self.tokens[slot] = UNGENERATED
        self.offsets[slot] = 0
        for cache in (self.ring, self.scratch):
            cache.keys[:, slot] = 0
            cache.values[:, slot] = 0

    @property
    def size_bytes(self) -> int:
        """Memory that the state takes."""
        tensors = [self.tokens, self.offsets, *(getattr(self.sampling, f.name) for f in fields(self.sampling))]
        tensors += [self.ring.keys, self.ring.values, self.scratch.keys, self.scratch.values]
        return sum(tensor.nbytes for tensor in tensors)


def write(target: Tensor, dim: int, index: Tensor, values: Tensor, mask: Tensor) -> None:
    """`target.scatter_(dim, index, values)` for the rows in mask [B]; the others keep what they hold."""
    mask = mask.view(-1, *[1] * (values.dim() - 1))
    target.scatter_(dim, index, torch.where(mask, values, target.gather(dim, index)))
