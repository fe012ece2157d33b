"""What sessions leave behind from step to step: tokens, keys and values, one row a slot, allocated once.

A step reads and writes the rows of its slots only; every other row keeps every bit. Keys and values of an earlier
session in the slot stay where they are: no step reads further than its own session has written.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import torch
from torch import Tensor

from antiphon_cloud.model.adapters import NONE
from antiphon_cloud.model.conditions import Conditions
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import KvSpan, KvView, Paging, Ring, allocate_ring
from antiphon_cloud.model.layers import attention
from antiphon_cloud.model.sampling import SlotSampling
from antiphon_cloud.model.tokens import UNGENERATED, ZERO


@dataclass(frozen=True, slots=True)
class DepformerKv:
    """Keys and values of the depformer's layers, [layers, slots, heads, dep_q, head_dim]; nothing between steps."""

    keys: Tensor
    values: Tensor

    def at(self, codebook: int, batch: int) -> CodebookKv:
        """What the first `batch` rows write and read at one codebook of a frame."""
        return CodebookKv(self, codebook, batch)

    def append(self, layer: int, position: int, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Writes one position [B, H, 1, D] of the first B rows; returns all up to it, [B, H, position + 1, D]."""
        batch, end = len(keys), position + 1
        all_keys, all_values = self.keys[layer, :batch, :, :end], self.values[layer, :batch, :, :end]
        all_keys[:, :, position:] = keys
        all_values[:, :, position:] = values
        return all_keys, all_values


@dataclass(frozen=True, slots=True)
class CodebookKv:
    """The depformer's keys and values as B rows write and read them at one codebook; a `Kv`."""

    kv: DepformerKv
    codebook: int
    batch: int

    def view(self) -> KvView:
        """See `Kv.view`."""
        spans = [KvSpan(row, self.codebook, 0, self.codebook + 1) for row in range(self.batch)]
        return KvView(self.kv.keys, self.kv.values, None, None, spans)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Kv.attend`; T is 1."""
        return attention(q, *self.kv.append(layer, self.codebook, k, v))


@dataclass(frozen=True, slots=True)
class BatchState:
    """All that a batch of sessions needs beside the weights."""

    tokens: Tensor  # [slots, streams, max_delay + 2]: a ring; stream k's token of step t is at (t + delay k)
    offsets: Tensor  # [slots]: steps taken
    ring: Ring  # the temporal transformer's
    depformer_kv: DepformerKv
    conditions: Conditions
    sampling: SlotSampling
    delays: Tensor  # [streams], of the model
    initial: Tensor  # [streams]: the initial tokens, of the model
    silent: int  # of the model's last streams, which hold `ZERO`
    adapters: Tensor  # int64 [slots]: the places of the sessions' adapters, or `NONE`

    @classmethod
    def allocate(
        cls,
        config: LMConfig,
        slots: int,
        dtype: torch.dtype,
        device: torch.device,
        kv_dtype: torch.dtype | None = None,
        paging: Paging | None = None,
    ) -> BatchState:
        """The state of `slots` fresh sessions.

        Args:
            config: the model.
            slots: rows.
            dtype: of activations.
            device: of every tensor.
            kv_dtype: of the ring's keys and values, int8 included; None for `dtype`.
            paging: of the ring, see `allocate_ring`.
        """
        shape = (0, slots, 1, 0, 1)
        if config.dep_q:
            heads = config.depformer_num_heads
            shape = (config.depformer_num_layers, slots, heads, config.dep_q, config.depformer_dim // heads)
        held = kv_dtype if kv_dtype is not None and kv_dtype.is_floating_point else dtype
        state = cls(
            tokens=torch.empty(slots, config.streams, config.max_delay + 2, dtype=torch.int64, device=device),
            offsets=torch.zeros(slots, dtype=torch.int64, device=device),
            ring=allocate_ring(config, slots, kv_dtype or dtype, device, paging),
            depformer_kv=DepformerKv(*(torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))),
            conditions=Conditions.allocate(config, slots, held, device),
            sampling=SlotSampling.allocate(slots, device),
            delays=torch.tensor(config.delays, device=device),
            initial=torch.tensor(config.initial_tokens, device=device),
            silent=config.silent_codebooks,
            adapters=torch.full((slots,), NONE, device=device),
        )
        state.clear(slice(None))
        return state

    def clear(self, slot: int | slice) -> None:
        """Forgets the slot's session, but for what it was told."""
        self.tokens[slot] = UNGENERATED
        if self.silent:
            self.tokens[slot, ..., -self.silent :, :] = ZERO
        self.offsets[slot] = 0
        self.adapters[slot] = NONE

    def place(self, slot: int, steps: range, tokens: Tensor) -> None:
        """Writes what the streams hold at some of the last `max_delay` + 2 steps, [streams, T]."""
        ring = self.tokens.shape[-1]
        assert len(steps) <= ring
        at = torch.tensor(steps, device=self.tokens.device) % ring
        spoken = len(tokens) - self.silent  # the others hold `ZERO` always, which no step writes again
        tokens = tokens[:spoken]
        self.tokens[slot, :spoken, at] = torch.where(tokens == UNGENERATED, self.tokens[slot, :spoken, at], tokens)

    def drawn(self, slot: int, streams: int) -> Tensor:
        """What the slot's last step drew for the first streams, before any delay: [streams]."""
        return self.tokens[slot, :streams, int(self.offsets[slot]) % self.tokens.shape[-1]]

    @property
    def tensors(self) -> Sequence[Tensor]:
        """All that the state holds on its device."""
        sampling = (getattr(self.sampling, field.name) for field in fields(self.sampling))
        own = (self.tokens, self.offsets, self.delays, self.initial, self.adapters)
        return (
            *own,
            self.depformer_kv.keys,
            self.depformer_kv.values,
            *sampling,
            *self.ring.tensors,
            self.ring.table,
            self.ring.windows,
            *self.conditions.tensors,
        )

    @property
    def size_bytes(self) -> int:
        """Memory that the state takes."""
        return sum(tensor.nbytes for tensor in self.tensors)
