"""Low-rank adapters beside the weights, another one for each row of a batch (Hu et al., "LoRA", 2021; Sheng et al.,
"S-LoRA", 2023).

A store has a fixed number of places, each with room for one adapter of at most one rank, so that a step's shapes do not
depend on who has which. A row with an adapter gets `up (down x)` beside the product of each matrix that it adapts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from antiphon_cloud.model.kv_ring import quantize_entries
from antiphon_cloud.model.layers import is_exact_step

NONE = -1  # in place of a place: a row without an adapter


@dataclass(frozen=True, slots=True)
class AdapterRoom:
    """What a store has room for."""

    places: int  # adapters at once
    rank: int  # of each, at most


@dataclass(frozen=True, slots=True)
class LowRank:
    """The factors beside one matrix [outputs, inputs]. Beyond an adapter's rank they are zeros."""

    down: Tensor  # [places, rank, inputs]
    up: Tensor  # [places, rank, outputs], with the adapter's scaling
    ranks: Tensor  # int64 [places]: of the adapters; 0 where one leaves the matrix as it is
    scales: Tensor | None = None  # float32 [places, rank]: of the products of int8 factors

    def put(self, place: int, down: Tensor | None, up: Tensor | None) -> None:
        """Puts an adapter's factors [rank, inputs] and [rank, outputs] into a place; None where it has none."""
        used = int(self.ranks[place])
        self.down[place, :used].zero_()
        self.up[place, :used].zero_()
        rank = 0 if down is None else len(down)
        self.ranks[place] = rank
        if down is not None and up is not None:
            if self.scales is not None:
                (down, of_down), (up, of_up) = quantize_entries(down), quantize_entries(up)
                self.scales[place, :rank] = (of_down * of_up)[:, 0].to(self.scales.device)
            self.down[place, :rank] = down.to(self.down.device, self.down.dtype)
            self.up[place, :rank] = up.to(self.up.device, self.up.dtype)

    def add(self, x: Tensor, rows: Tensor, y: Tensor) -> Tensor:
        """y [B, ..., outputs] plus the products of x [B, ..., inputs] and the factors of each row's adapter.

        Args:
            x: what the matrix was multiplied by.
            rows: the rows' places, int64 [B], or `NONE`; [1] where all rows have the same.
            y: the matrix's product.
        """
        at = rows.clamp(min=0)
        down, up = self.down[at].to(x.dtype), self.up[at].to(x.dtype)  # [b, R, inputs], [b, R, outputs]
        if is_exact_step(x):  # every row by itself
            down, up = down.expand(len(x), -1, -1), up.expand(len(x), -1, -1)
        flat = x.reshape(len(down), -1, x.shape[-1])
        reduced = torch.bmm(flat, down.transpose(1, 2))  # [b, ..., R]
        if self.scales is not None:
            reduced = reduced * self.scales[at][:, None].to(x.dtype)
        product = torch.bmm(reduced, up)
        return y + torch.where((rows >= 0)[:, None, None], product, 0.0).view(y.shape)


class AdapterStore:
    """Room for adapters beside a model's matrices; allocated once.

    Args:
        matrices: those that an adapter may have factors for, by their names.
        shapes: of them, [outputs, inputs].
        room: adapters at once, and their rank.
        dtype: of the factors, int8 included: each of their rows then has its own scale.
        device: of the factors.
    """

    def __init__(
        self,
        matrices: Mapping[str, nn.Module],
        shapes: Mapping[str, tuple[int, int]],
        room: AdapterRoom,
        dtype: torch.dtype,
        device: torch.device,
    ) -> None:
        self.room = room
        places, rank = room.places, room.rank
        self.by_name = {
            name: LowRank(
                torch.zeros(places, rank, inputs, dtype=dtype, device=device),
                torch.zeros(places, rank, outputs, dtype=dtype, device=device),
                torch.zeros(places, dtype=torch.int64, device=device),
                torch.zeros(places, rank, device=device) if dtype == torch.int8 else None,
            )
            for name, (outputs, inputs) in shapes.items()
        }
        self.beside = {matrices[name]: factors for name, factors in self.by_name.items()}
