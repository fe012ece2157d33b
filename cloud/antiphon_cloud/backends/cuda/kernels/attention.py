"""A step's attention: one query a head over a session's keys and values, as far as the session has written them.

They are cut into parts of fixed length, one program each, and the program that is done last joins their partial
softmaxes (Dao et al., "Flash-Decoding", 2023). How far to read is loaded from the device, so that a captured graph
serves sessions of any age.
"""

from __future__ import annotations

import triton
import triton.language as tl

from antiphon_cloud.backends.cuda.kernels.joining import is_last_of


@triton.jit
def attend(
    q, keys, values, key_scales, value_scales, slots, steps, table, windows, out, workspace, counters,
    heads, group, dim, pages, written,
    PAGE: tl.constexpr, PART: tl.constexpr, BLOCK: tl.constexpr, WIDTH: tl.constexpr, PARTS: tl.constexpr,
):  # fmt: skip
    """out [rows, heads, dim] of queries q [rows, heads, dim]; keys, values and places are as in `norm_qkv_append`.

    So many heads of queries as are in a group have the same of keys and values, one group after the other. Without a
    table `written` entries of page m are read for row m. PARTS is a power of two, and no less than the parts
    of a full context. The workspace holds for each part of a row and head its sum [dim], then the largest score and the
    sum of exp(score - largest).
    """
    row, head, part = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    if table is None:
        length = written
    else:
        slot = tl.load(slots + row)
        length = tl.minimum(tl.load(steps + row) + 1, tl.load(windows + slot)).to(tl.int32)
    parts = tl.cdiv(length, PART)
    if part < parts:
        d = tl.arange(0, WIDTH)
        at_query = (row * heads + head) * dim + d
        query = tl.load(q + at_query, mask=d < dim, other=0.0).to(tl.float32) * tl.rsqrt(dim.to(tl.float32))
        largest = tl.full((1,), -1e30, tl.float32)
        weight = tl.zeros((1,), tl.float32)
        mean = tl.zeros((WIDTH,), tl.float32)
        for start in range(part * PART, tl.minimum((part + 1) * PART, length), BLOCK):
            s = start + tl.arange(0, BLOCK)
            inside = s < length
            if table is None:
                page = tl.zeros((BLOCK,), tl.int64) + row
            else:
                page = tl.load(table + slot * pages + s // PAGE, mask=inside, other=0).to(tl.int64)
            entry = (page * (heads // group) + head // group) * PAGE + s % PAGE
            at = entry[:, None] * dim + d
            mask = inside[:, None] & (d < dim)
            score = tl.sum(tl.load(keys + at, mask=mask, other=0).to(tl.float32) * query, 1)
            v = tl.load(values + at, mask=mask, other=0).to(tl.float32)
            if key_scales is not None:
                score *= tl.load(key_scales + entry, mask=inside, other=0.0)
                v *= tl.load(value_scales + entry, mask=inside, other=0.0)[:, None]
            score = tl.where(inside, score, -1e30)
            higher = tl.maximum(largest, tl.max(score, 0))
            shrink = tl.exp(largest - higher)
            p = tl.where(inside, tl.exp(score - higher), 0.0)
            weight = weight * shrink + tl.sum(p, 0)
            mean = mean * shrink + tl.sum(p[:, None] * v, 0)
            largest = higher
        if parts == 1:
            tl.store(out + at_query, (mean / weight).to(out.dtype.element_ty), mask=d < dim)
        elif PARTS > 1:
            STRIDE: tl.constexpr = WIDTH + 2
            place = workspace + (row * heads + head) * PARTS * STRIDE
            one = tl.arange(0, 1)
            tl.store(place + part * STRIDE + d, mean, cache_modifier=".cg")
            tl.store(place + part * STRIDE + WIDTH + one, largest, cache_modifier=".cg")
            tl.store(place + part * STRIDE + WIDTH + 1 + one, weight, cache_modifier=".cg")
            if is_last_of(parts, counters + row * heads + head):
                p = tl.arange(0, PARTS)
                known = p < parts
                at = place + p * STRIDE
                largest_of = tl.load(at + WIDTH, mask=known, other=-1e30, cache_modifier=".cg")
                weight_of = tl.load(at + WIDTH + 1, mask=known, other=0.0, cache_modifier=".cg")
                mean_of = tl.load(at[:, None] + d, mask=known[:, None], other=0.0, cache_modifier=".cg")
                share = tl.exp(largest_of - tl.max(largest_of, 0))
                joined = tl.sum(mean_of * share[:, None], 0) / tl.sum(weight_of * share, 0)
                tl.store(out + at_query, joined.to(out.dtype.element_ty), mask=d < dim)
