"""Where a layer's keys and values are, as kernels find them."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from antiphon_cloud.model.conditions import RowConditions
from antiphon_cloud.model.kv_ring import StaticKv
from antiphon_cloud.model.state import CodebookKv


@dataclass(frozen=True, slots=True)
class Places:
    """Keys and values [pages, heads, page, dim] of a layer, and the rows' places among them.

    A row of the temporal transformer is at a step of a slot, which has pages by a table; one of the depformer is at a
    position of the page of its own number.
    """

    keys: Tensor
    values: Tensor
    key_scales: Tensor | None  # float32 [pages, heads, page, 1], of int8
    value_scales: Tensor | None
    slots: Tensor | None  # int64 [rows]
    steps: Tensor | None  # int64 [rows]
    table: Tensor | None  # int32 [slots, pages of a slot]
    windows: Tensor | None  # int64 [slots]: steps that a slot's pages hold, at most the context
    context: int
    position: int = 0  # up to which all is read, where the host knows it
    grows: bool = True  # with the steps of a session: only the device knows how far to read

    @classmethod
    def of(cls, kv: StaticKv | CodebookKv, layer: int) -> Places:
        """Those of the layer of that number."""
        if isinstance(kv, CodebookKv):
            keys, values = kv.kv.keys[layer], kv.kv.values[layer]
            return cls(keys, values, None, None, None, None, None, None, keys.shape[2], kv.codebook, False)
        ring = kv.ring
        of_keys, of_values = (None if each is None else each[layer] for each in (ring.key_scales, ring.value_scales))
        where = (kv.slots, kv.steps, ring.table, ring.windows, ring.context)
        return cls(ring.keys[layer], ring.values[layer], of_keys, of_values, *where)

    @classmethod
    def of_cross(cls, conditions: RowConditions, layer: int) -> Places:
        """Those of what the rows' sessions were told: a ring that is as long as what they were told, and full."""
        kv = conditions.held.cross
        assert kv is not None
        entries = kv.keys.shape[3]
        where = (conditions.slots, conditions.lengths, kv.table, kv.lengths, entries)
        return cls(kv.keys[layer], kv.values[layer], None, None, *where, entries - 1, grows=False)

    @property
    def page(self) -> int:
        """Entries of a page."""
        return self.keys.shape[2]

    @property
    def pages(self) -> int:
        """Of a slot."""
        return 1 if self.table is None else self.table.shape[1]

    @property
    def entry_bytes(self) -> int:
        """Of one head's key, and of its value."""
        return self.keys.shape[3] * self.keys.element_size() + (0 if self.key_scales is None else 4)

    @property
    def tensors(self) -> tuple[Tensor | None, ...]:
        """As the kernels take them."""
        return (
            self.keys, self.values, self.key_scales, self.value_scales, self.slots, self.steps, self.table,
            self.windows,
        )  # fmt: skip
