"""Keys and values: what the rows of a batch write, and what they read.

The temporal transformer's are a ring of entries a slot, in floats or in int8. They lie in pages, which a table gives to
slots. On a CPU a slot has one, of the whole context; on a GPU pages of `PAGE` entries come from a pool, and a slot's
ring is as long as its pages, which makes it a window of so many steps.

A batch reaches the ring in one of three ways, which give the same values. `RaggedKv` knows on the host how far each
session has come and reads exactly that: on a CPU, where a row by itself also comes out the same to the bit whoever
shares its batch. `StaticKv` takes tensors only, so that a graph can hold it, and reads the whole ring. `ConsecutiveKv`
is for many steps of one session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.layers import attention

PAGE = 256  # entries of a page on a GPU: 20 s


class Paging(NamedTuple):
    """How the memory of keys and values is cut where slots share it. Page 0 is a spare one, which no session has."""

    pages: int  # with the spare one
    page: int  # entries of each


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


class Kv(Protocol):
    """Where the rows of a batch write their keys and values, and which they attend to."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Writes the new keys and values, and attends from the queries; all are [B, H, T, D], as is the result."""

    def view(self) -> KvView | None:
        """The entries that each row writes and reads; None where the host does not know them."""


@dataclass(frozen=True, slots=True)
class Ring:
    """Keys and values of all layers, each [layers, pages, heads, page, head_dim].

    Step t of a slot is at entry e = t mod `windows[slot]` of its ring: entry e mod page of the page `table[slot, e div
    page]`. Of a page that goes beyond the context only the beginning is used. In int8 each head and entry has its own
    scale, the largest absolute value over 127: [layers, pages, heads, page, 1], float32. In floats there are no scales.
    """

    keys: Tensor
    values: Tensor
    key_scales: Tensor | None
    value_scales: Tensor | None
    table: Tensor  # int32 [slots, pages of a whole context]
    windows: Tensor  # int64 [slots]: steps that a slot's pages hold, at most the context
    context: int  # steps that the model looks back to, its own included
    paged: bool  # whether slots share the pages; otherwise page i is all of slot i's

    @property
    def tensors(self) -> tuple[Tensor, ...]:
        """All that sessions leave in the ring."""
        scales = (self.key_scales, self.value_scales)
        return (self.keys, self.values, *(scale for scale in scales if scale is not None))

    def assign(self, slot: int, pages: Sequence[int]) -> None:
        """Gives the slot these pages in this order, without waiting for the device. One more may be added while its
        session has not stepped beyond those before."""
        table, page = self.table, self.keys.shape[3]
        row = torch.zeros(table.shape[1], dtype=table.dtype, pin_memory=table.is_cuda)
        row[: len(pages)] = torch.tensor(pages, dtype=table.dtype)
        table[slot].copy_(row, non_blocking=True)
        self.windows[slot] = min(max(len(pages), 1) * page, self.context)

    def copy(self, slot: int, entries: int) -> tuple[Tensor, ...]:
        """A copy of the first entries of a slot as they are held, of each of `tensors`."""
        at = self._first(slot, entries)
        return tuple(tensor[at].clone() for tensor in self.tensors)

    def paste(self, slot: int, entries: int, copied: Sequence[Tensor]) -> None:
        """Writes what `copy` took over as many first entries of a slot."""
        at = self._first(slot, entries)
        for tensor, held in zip(self.tensors, copied, strict=True):
            tensor[at] = held

    def write(self, layer: int, slots: int | Tensor, positions: int | Tensor, keys: Tensor, values: Tensor) -> None:
        """Writes keys and values [(B,) H, 1, D] over the entries `positions` [(B)] of `slots` [(B)]."""
        page = self.keys.shape[3]
        pages = self.table[slots, positions // page].long() if self.paged else slots
        at = (layer, pages, slice(None), positions % page if self.paged else positions)
        for store, scales, new in ((self.keys, self.key_scales, keys), (self.values, self.value_scales, values)):
            entry = new[..., 0, :]  # [(B,) H, D]
            if scales is not None:
                entry, scales[at] = quantize_entries(entry)
            store[at] = entry.to(store.dtype)

    def read(self, layer: int, slot: int, at: slice | Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """The n entries `at` of a slot, keys and values [H, n, D] in `dtype`."""
        page = self.keys.shape[3]
        if not self.paged:
            return self._found(dtype, lambda store: store[layer, slot, :, at])
        entries = torch.arange(self.context, device=self.table.device)[at] if isinstance(at, slice) else at
        pages = self.table[slot, entries // page].long()  # [n]
        return self._found(dtype, lambda store: store[layer, pages, :, entries % page].transpose(0, 1))

    def read_all(self, layer: int, slots: Tensor, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
        """All entries of several slots, keys and values [B, H, context, D] in `dtype`."""
        pages = self.table[slots].long()  # [B, P]
        return self._found(dtype, lambda store: store[layer, pages].transpose(1, 2).flatten(2, 3)[:, :, : self.context])

    def ragged(self, slots: Sequence[int], steps: Sequence[int], first: int = 0) -> RaggedKv:
        """Attends row by row, to what each session has written and no more.

        A slot may come several times, with one step after the other: as each row is written before the next one
        reads, that gives the same to the bit as so many batches.

        Args:
            slots: of the batch.
            steps: that each slot's session has taken.
            first: the earliest step whose entries count.
        """
        assert not self.paged, "a slot's entries lie in one place"
        return RaggedKv(self, [self._span(slot, first, step) for slot, step in zip(slots, steps, strict=True)])

    def consecutive(self, slot: int, steps: range, first: int = 0, window: int | None = None) -> ConsecutiveKv:
        """Attends from several steps of one session at once.

        Args:
            slot: of the session.
            steps: one after the other, no more than `window`.
            first: the earliest step whose entries count.
            window: of the slot, as `windows` has it on the device; None for the whole context.
        """
        device, window = self.keys.device, window or self.context
        before = range(max(first, steps.start - window + 1), steps.start)
        now = torch.tensor(steps, device=device)
        known = torch.cat((torch.tensor(before, dtype=now.dtype, device=device), now))  # [P + T]
        age = now[:, None] - known  # [T, P + T]
        return ConsecutiveKv(
            self,
            slot,
            slots=torch.full_like(now, slot),
            old=known[: len(before)] % window,
            new=now % window,
            hidden=(age < 0) | (age >= window),
        )

    def _first(self, slot: int, entries: int) -> tuple[slice | int | Tensor, ...]:
        """The index of a slot's first entries in each of `tensors`."""
        if not self.paged:
            return slice(None), slot, slice(None), slice(entries)
        page, at = self.keys.shape[3], torch.arange(entries, device=self.table.device)
        return slice(None), self.table[slot, at // page].long(), slice(None), at % page

    def _found(self, dtype: torch.dtype, pick: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor]:
        """What `pick` takes of keys and values, in `dtype`."""
        found = []
        for store, scales in ((self.keys, self.key_scales), (self.values, self.value_scales)):
            entries = pick(store).to(dtype)
            found.append(entries if scales is None else entries * pick(scales).to(dtype))
        return found[0], found[1]

    def _span(self, slot: int, first: int, step: int) -> KvSpan:
        """The entries that hold the steps from `first`, or from where the context begins, to `step`."""
        if first == 0 or step - first + 1 >= self.context:
            return KvSpan(slot, step % self.context, 0, min(step + 1, self.context))
        return KvSpan(slot, step % self.context, first % self.context, step - first + 1)


@dataclass(frozen=True, slots=True)
class RaggedKv:
    """Rows that write and read one after the other, each as far as its session has come; of `Ring.ragged`."""

    ring: Ring
    spans: Sequence[KvSpan]

    def view(self) -> KvView:
        """See `Kv.view`."""
        ring = self.ring
        return KvView(ring.keys, ring.values, ring.key_scales, ring.value_scales, self.spans)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Kv.attend`; T is 1."""
        out = []
        for row, span in enumerate(self.spans):
            self.ring.write(layer, span.slot, span.position, k[row], v[row])
            keys, values = self.ring.read(layer, span.slot, self._read_at(span), q.dtype)  # [H, S, D] each
            out.append(attention(q[row : row + 1], keys[None], values[None]))  # [1, H, 1, D]
        return out[0] if len(out) == 1 else torch.cat(out)

    def _read_at(self, span: KvSpan) -> slice | Tensor:
        if span.first + span.length <= self.ring.context:
            return slice(span.first, span.first + span.length)
        return torch.arange(span.first, span.first + span.length, device=self.ring.keys.device) % self.ring.context


@dataclass(frozen=True, slots=True)
class StaticKv:
    """Rows of distinct slots that read the whole ring, with what their sessions have not written masked."""

    ring: Ring
    slots: Tensor  # int64 [B]
    steps: Tensor  # int64 [B]

    def view(self) -> None:
        """The host does not know the slots."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Kv.attend`; T is 1."""
        ring, windows = self.ring, self.ring.windows[self.slots]  # [B]
        ring.write(layer, self.slots, self.steps % windows, k, v)
        keys, values = ring.read_all(layer, self.slots, q.dtype)  # [B, H, C, D] each
        newest = torch.minimum(self.steps, windows - 1)  # entry up to which all are written
        written = torch.arange(ring.context, device=newest.device) <= newest[:, None]  # [B, C]
        hidden = ~written[:, None, :, None]  # a broken session leaves NaN there, which no bias hides
        bias = torch.zeros_like(written, dtype=q.dtype).masked_fill(~written, -torch.inf)
        return attention(q, keys.masked_fill(hidden, 0), values.masked_fill(hidden, 0), bias[:, None, None])


@dataclass(frozen=True, slots=True)
class ConsecutiveKv:
    """Several steps of one session at once; the rows of the batch are the steps. Of `Ring.consecutive`."""

    ring: Ring
    slot: int
    slots: Tensor  # int64 [T], all the same
    old: Tensor  # int64 [P]: entries of the steps before
    new: Tensor  # int64 [T]: entries of the steps
    hidden: Tensor  # bool [T, P + T]: what each step does not see of both

    def view(self) -> None:
        """The rows do not write and read in turn."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Kv.attend`; T is 1."""
        ring = self.ring
        past = ring.read(layer, self.slot, self.old, q.dtype)  # [H, P, D] each, before any of it is written over
        ring.write(layer, self.slots, self.new, k, v)
        present = ring.read(layer, self.slot, self.new, q.dtype)  # as held, which may be in int8
        keys, values = (torch.cat(parts, 1)[None] for parts in zip(past, present, strict=True))
        bias = torch.zeros_like(self.hidden, dtype=q.dtype).masked_fill(self.hidden, -torch.inf)
        out = attention(q[:, :, 0].transpose(0, 1)[None], keys, values, bias)  # [1, H, T, D]
        return out[0].transpose(0, 1)[:, :, None]  # [T, H, 1, D]


def allocate_ring(
    config: LMConfig, slots: int, dtype: torch.dtype, device: torch.device, paging: Paging | None = None
) -> Ring:
    """An empty ring for the model's temporal transformer, in `dtype`.

    Args:
        config: the model.
        slots: rows of the table.
        dtype: of keys and values, int8 included.
        device: of every tensor.
        paging: of memory that slots share, of which none has any yet; None for a whole context in each slot.
    """
    pages, page = paging or (slots, config.context)
    if paging is None:
        table = torch.arange(slots, dtype=torch.int32, device=device)[:, None]
    else:
        table = torch.zeros(slots, -(-config.context // page), dtype=torch.int32, device=device)
    windows = torch.full((slots,), min(page, config.context), device=device)
    shape = (config.num_layers, pages, config.num_heads, page, config.dim // config.num_heads)
    keys, values = (torch.zeros(shape, dtype=dtype, device=device) for _ in range(2))
    key_scales = value_scales = None
    if dtype == torch.int8:
        key_scales, value_scales = (torch.zeros((*shape[:-1], 1), device=device) for _ in range(2))
    return Ring(keys, values, key_scales, value_scales, table, windows, config.context, paging is not None)


def quantize_entries(entries: Tensor) -> tuple[Tensor, Tensor]:
    """int8 of entries [..., D], still as floats, and their scales [..., 1]."""
    scale = entries.float().abs().amax(-1, keepdim=True) / 127
    return (entries.float() / scale.clamp(min=1e-30)).round(), scale
