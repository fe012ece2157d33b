"""A draw in one kernel: the definition, and the reasons for it, are in `model.sampling`.

The largest logits are those from the k-th largest on, which is found by its bits, two at a time: how many logits are
no smaller than each of three bounds says which of them it lies above (radix select). Of equals, the first count.
"""

from __future__ import annotations

import triton
import triton.language as tl

GOLDEN_GAMMA = tl.constexpr(0x9E3779B97F4A7C15)
MIX_1 = tl.constexpr(0xBF58476D1CE4E5B9)
MIX_2 = tl.constexpr(0x94D049BB133111EB)


@triton.jit
def mix(z):
    """SplitMix64's finaliser of uint64."""
    z = (z ^ (z >> 30)) * tl.full((1,), MIX_1, tl.uint64)
    z = (z ^ (z >> 27)) * tl.full((1,), MIX_2, tl.uint64)
    return z ^ (z >> 31)


@triton.jit
def noise_key(seed, step, stream):
    """See `sampling.noise_keys`: int64 of int64."""
    gamma = tl.full((1,), GOLDEN_GAMMA, tl.uint64)
    z = mix(seed.to(tl.uint64) + gamma)
    z = mix(z + step.to(tl.uint64) * gamma)
    return mix(z + stream.to(tl.uint64) * gamma).to(tl.int64)


@triton.jit
def gumbel(key, token):
    """See `sampling.gumbel`."""
    gamma = tl.full((1,), GOLDEN_GAMMA, tl.uint64)
    bits = mix(key.to(tl.uint64) + gamma + token.to(tl.uint64) * gamma)
    uniform = ((bits >> 41).to(tl.float32) + 0.5) * 1.1920928955078125e-07  # 2^-23
    return -tl.log(-tl.log(uniform))


@triton.jit
def ordered(x, inside):
    """uint32 in the order of the float32 numbers; 0, which no number has, where there is none."""
    bits = x.to(tl.uint32, bitcast=True)
    sign = tl.full((1,), 0x80000000, tl.uint32)
    return tl.where(inside, tl.where(bits >= sign, ~bits, bits | sign), 0)


@triton.jit
def counts_from(place, first, second, third):
    """How many numbers are no smaller than each of three bounds, 21 bits each, in one sum."""
    reached = (place >= first).to(tl.int64) + ((place >= second).to(tl.int64) << 21)
    return tl.sum(reached + ((place >= third).to(tl.int64) << 42), 0)


@triton.jit
def draw(
    logits, keys, temperatures, top_ks, forced, tokens, drawn, cardinality, stride, keys_stride, forced_row,
    forced_column, new_word, ungenerated, BLOCK: tl.constexpr, SCORES: tl.constexpr, FORCED: tl.constexpr,
):  # fmt: skip
    """One program a row: a token of logits float32 [rows, cardinality], whose rows begin `stride` apart, or of
    forced int64 [rows, 2], of these strides; see `sampling.forced_or_drawn`. Then `drawn` gets what was drawn.

    BLOCK logits are counted at a time, and SCORES are scored; there are fewer than 2²¹.
    """
    row = tl.program_id(0).to(tl.int64)
    logits += row * stride
    temperature = tl.load(temperatures + row)
    hot = temperature > 0
    count = tl.minimum(tl.where(hot, tl.load(top_ks + row), 1), cardinality).to(tl.int64)
    bound = tl.full((1,), 0, tl.uint32)  # the bits of the smallest that counts, as far as they are known
    for shift in tl.static_range(30, -1, -2):
        quarter = tl.full((1,), 1 << shift, tl.uint32)
        first, second = bound | quarter, bound | (quarter << 1)
        third = first | second
        reached = tl.full((1,), 0, tl.int64)
        for start in range(0, cardinality, BLOCK):
            at = start + tl.arange(0, BLOCK)
            place = ordered(tl.load(logits + at, mask=at < cardinality, other=0.0), at < cardinality)
            reached += counts_from(place, first, second, third)
        bound = tl.where((reached & 0x1FFFFF) >= count, first, bound)
        bound = tl.where(((reached >> 21) & 0x1FFFFF) >= count, second, bound)
        bound = tl.where((reached >> 42) >= count, third, bound)
    larger = tl.full((1,), 0, tl.int64)
    for start in range(0, cardinality, BLOCK):
        at = start + tl.arange(0, BLOCK)
        place = ordered(tl.load(logits + at, mask=at < cardinality, other=0.0), at < cardinality)
        larger += tl.sum((place > bound).to(tl.int32), 0)
    equals = (count - larger).to(tl.int32)  # of them that count: the first ones
    key = tl.load(keys + row * keys_stride)
    best, token = tl.full((1,), float("-inf"), tl.float32), tl.zeros((1,), tl.int32)
    for start in range(0, cardinality, SCORES):
        at = start + tl.arange(0, SCORES)
        logit = tl.load(logits + at, mask=at < cardinality, other=0.0)
        place = ordered(logit, at < cardinality)
        equal = (place == bound).to(tl.int32)
        chosen = (place > bound) | ((equal > 0) & (tl.cumsum(equal, 0) <= equals))
        score = tl.div_rn(logit, tl.where(hot, temperature, 1.0)) + tl.where(hot, gumbel(key, at), 0.0)
        score = tl.where(chosen, score, float("-inf"))
        high = tl.max(score, 0)
        found = tl.min(tl.where(chosen & (score == high), at, cardinality), 0)
        better = (high > best) & (found < cardinality)
        token = tl.where(better, found, token)
        best = tl.where(better, high, best)
        equals -= tl.sum(equal, 0)
    token = token.to(tl.int64)
    if FORCED:
        tl.store(drawn + row + tl.arange(0, 1), token)
        other = tl.where(token == new_word, 0, forced_column)
        wanted = tl.load(forced + row * forced_row + other)
        token = tl.where(wanted == ungenerated, token, wanted)
    tl.store(tokens + row + tl.arange(0, 1), token)
