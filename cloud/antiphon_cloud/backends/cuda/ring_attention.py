"""A step's attention on a GPU: one query a head over a slot's ring, as far as the session has written it.

The ring is cut into parts of fixed length, one program each, whose partial softmaxes are joined after (Dao et al.,
"Flash-Decoding", 2023). How far to read is loaded from the device, so that a captured graph serves sessions of any age.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from antiphon_cloud.model.kv_ring import Ring

PART = 512  # entries that one program reads
BLOCK = 64  # of them at a time
WARPS = 4
STAGES = 3


@triton.jit
def kernel(
    q, keys, values, key_scales, value_scales, slots, steps, out, largest, total, heads, context, dim,
    INT8: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr, DIM: tl.constexpr,
):  # fmt: skip
    """Partial softmax sums of one part of a ring, for one head of one row.

    q [B, H, D]; keys, values [slots, H, C, D]; their scales [slots, H, C]; slots, steps int64 [B]; out float32
    [B, H, P, D]; largest, total float32 [B, H, P]: the score's maximum, and the sum of exp(score - maximum).
    """
    row, head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    base = (tl.load(slots + row) * heads + head) * context
    length = tl.minimum(tl.load(steps + row) + 1, context).to(tl.int32)
    d = tl.arange(0, DIM)
    query = tl.load(q + (row * heads + head) * dim + d, mask=d < dim, other=0.0).to(tl.float32)
    query *= tl.rsqrt(dim.to(tl.float32))
    high = tl.full((1,), -1e30, tl.float32)
    weight = tl.zeros((1,), tl.float32)
    mean = tl.zeros((DIM,), tl.float32)
    for start in range(part * PART, tl.minimum((part + 1) * PART, length), BLOCK):
        s = start + tl.arange(0, BLOCK)
        written = s < length
        at = (base + s)[:, None] * dim + d
        inside = written[:, None] & (d < dim)
        score = tl.sum(tl.load(keys + at, mask=inside, other=0).to(tl.float32) * query, 1)
        v = tl.load(values + at, mask=inside, other=0).to(tl.float32)
        if INT8:
            score *= tl.load(key_scales + base + s, mask=written, other=0.0)
            v *= tl.load(value_scales + base + s, mask=written, other=0.0)[:, None]
        score = tl.where(written, score, -1e30)
        higher = tl.maximum(high, tl.max(score, 0))
        shrink = tl.exp(high - higher)
        p = tl.where(written, tl.exp(score - higher), 0.0)
        weight = weight * shrink + tl.sum(p, 0)
        mean = mean * shrink + tl.sum(p[:, None] * v, 0)
        high = higher
    at_part = (row * heads + head) * tl.num_programs(2) + part
    tl.store(out + at_part * dim + d, mean, mask=d < dim)
    one = tl.arange(0, 1)
    tl.store(largest + at_part + one, high)
    tl.store(total + at_part + one, weight)


def attend(ring: Ring, slots: Tensor, steps: Tensor, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """As `StaticKv.attend`, but no entry is read that the sessions have not written; slots and steps are int64 [B]."""
    ring.write(layer, slots, steps % ring.context, k, v)
    batch, heads, _, dim = q.shape
    parts = triton.cdiv(ring.context, PART)
    out = torch.empty(batch, heads, parts, dim, device=q.device)
    largest, total = (torch.empty(batch, heads, parts, 1, device=q.device) for _ in range(2))
    int8 = ring.key_scales is not None
    kernel[(batch, heads, parts)](
        q.contiguous(), ring.keys[layer], ring.values[layer],
        ring.key_scales[layer] if ring.key_scales is not None else out,
        ring.value_scales[layer] if ring.value_scales is not None else out,
        slots, steps, out, largest, total, heads, ring.context, dim,
        INT8=int8, PART=PART, BLOCK=BLOCK, DIM=triton.next_power_of_2(dim), num_warps=WARPS, num_stages=STAGES,
    )  # fmt: skip
    share = torch.exp(largest - largest.amax(2, keepdim=True))  # [B, H, P, 1]
    joined = (out * share).sum(2) / (total * share).sum(2)  # [B, H, D]
    return joined[:, :, None].to(q.dtype)
