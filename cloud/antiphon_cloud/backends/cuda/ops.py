"""A GPU's executor: the definition, with the kernels in place of single operations."""

from __future__ import annotations

from torch import Tensor

from antiphon_cloud.backends.cuda import ring_attention
from antiphon_cloud.model.kv_ring import Kv, StaticKv
from antiphon_cloud.model.ops import Ops


class CudaOps(Ops):
    """Attends to the ring as far as sessions have written it; products are those of the model's `TritonLinear`."""

    def attend(self, kv: Kv, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Ops.attend`."""
        if isinstance(kv, StaticKv):
            return ring_attention.attend(kv.ring, kv.slots, kv.steps, layer, q, k, v)
        return super().attend(kv, layer, q, k, v)
