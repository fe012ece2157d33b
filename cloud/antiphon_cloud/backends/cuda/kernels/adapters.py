"""What rows with adapters get beside a product: a kernel for the first factors, and a part of the product's for the
others, which adds to sums that are in registers anyway."""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def reduce(
    x, alpha, places, down, scales, reduced, inputs, eps,
    RANK: tl.constexpr, FACTORS: tl.constexpr, INPUTS: tl.constexpr,
):  # fmt: skip
    """reduced [rows, RANK] = x [rows, inputs] · down [places, RANK, inputs]ᵀ of the row's place; of a row without one,
    nothing. Where `alpha` is given, x is normed first; where `scales` [places, RANK] are, they multiply the sums."""
    row, factor = tl.program_id(0), tl.program_id(1) * FACTORS + tl.arange(0, FACTORS)
    place = tl.load(places + row)
    if place >= 0:
        total = tl.zeros((FACTORS,), dtype=tl.float32)
        squares = 0.0
        for start in range(0, inputs, INPUTS):
            k = start + tl.arange(0, INPUTS)
            a = tl.load(x + row.to(tl.int64) * inputs + k, mask=k < inputs, other=0.0).to(tl.float32)
            if alpha is not None:
                squares += tl.sum(a * a, 0)
                a *= tl.load(alpha + k, mask=k < inputs, other=0.0).to(tl.float32)
            at = (place * RANK + factor)[:, None] * inputs + k
            inside = (factor < RANK)[:, None] & (k < inputs)
            total += tl.sum(tl.load(down + at, mask=inside, other=0.0).to(tl.float32) * a, 1)
        if alpha is not None:
            total *= tl.rsqrt(squares / inputs + eps)
        if scales is not None:
            total *= tl.load(scales + place * RANK + factor, mask=factor < RANK, other=0.0)
        tl.store(reduced + row * RANK + factor, total, mask=factor < RANK)


@triton.jit
def adapted(total, places, reduced, up, m, n, rows, end, outputs, RANK: tl.constexpr, FACTORS: tl.constexpr):
    """Sums [N, M] of a product's outputs n [N] below `end`, plus those of the rows' adapters, whose second factors are
    up [places, RANK, outputs]; as they are where `places` is None."""
    if places is not None:
        place = tl.load(places + m, mask=m < rows, other=-1)
        if tl.max(place, 0) >= 0:
            for first in range(0, RANK, FACTORS):
                for f in tl.static_range(FACTORS):  # of which the reads do not wait for each other
                    factor = tl.where(place >= 0, first + f, RANK)  # [M]
                    weight = tl.load(reduced + m * RANK + factor, mask=factor < RANK, other=0.0)
                    at = up + (place * RANK + factor)[None, :] * outputs + n[:, None]
                    inside = (n < end)[:, None] & (factor < RANK)[None, :]
                    total += tl.load(at, mask=inside, other=0.0).to(tl.float32) * weight[None, :]
    return total
