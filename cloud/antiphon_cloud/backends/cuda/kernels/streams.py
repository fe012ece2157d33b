"""What a step does around its products: tokens in, embeddings, the last norm, tokens out; see `model.ops`."""

from __future__ import annotations

import triton
import triton.language as tl

from antiphon_cloud.backends.cuda.kernels.draw import noise_key


@triton.jit
def begin(
    slots, codes, tokens, offsets, delays, initial,
    seeds, text_temperatures, text_top_ks, audio_temperatures, audio_top_ks,
    inputs, steps, keys, row_seeds, row_text_temperatures, row_text_top_ks, row_audio_temperatures, row_audio_top_ks,
    streams, generated, heard, ring, STREAMS: tl.constexpr,
):  # fmt: skip
    """One program a row: see `Ops.begin`; `heard` streams after the generated ones are the user's. tokens int64 [slots,
    streams, ring]; keys int64 [rows, generated]."""
    row = tl.program_id(0)
    slot = tl.load(slots + row)
    step = tl.load(offsets + slot)
    s = tl.arange(0, STREAMS)
    known, user = s < streams, (s >= generated) & (s < generated + heard)
    delay = tl.load(delays + s, mask=known, other=0)
    at = tokens + (slot * streams + s) * ring
    code = tl.load(codes + row * heard + s - generated, mask=user, other=0)
    held = tl.load(at + step % ring, mask=known, other=0)
    held = tl.where(user & (delay == 0), code, held)
    first = tl.load(initial + s, mask=known, other=0)
    tl.store(at + (step + delay) % ring, code, mask=user)
    tl.store(inputs + row * streams + s, tl.where(step <= delay, first, held), mask=known)
    tl.store(steps + row, step)
    seed = tl.load(seeds + slot)
    tl.store(keys + row * generated + s, noise_key(seed, step, s), mask=s < generated)
    tl.store(row_seeds + row, seed)
    tl.store(row_text_temperatures + row, tl.load(text_temperatures + slot))
    tl.store(row_text_top_ks + row, tl.load(text_top_ks + slot))
    tl.store(row_audio_temperatures + row, tl.load(audio_temperatures + slot))
    tl.store(row_audio_top_ks + row, tl.load(audio_top_ks + slot))


@triton.jit
def cos_sin(angle):
    """Cosine and sine of float32 angles of any size, to a unit in the last place or two.

    By quarters of a turn, with the polynomials of the Cephes library (Moshier, 1992). CUDA's own take local memory.
    """
    quarters = angle.to(tl.float64) * 0.6366197723675814  # 2 / pi
    quarter = tl.floor(quarters + 0.5)
    x = ((quarters - quarter) * 1.5707963267948966).to(tl.float32)  # from -pi / 4 to pi / 4
    y = x * x
    sin = ((-1.9515295891e-4 * y + 8.3321608736e-3) * y - 1.6666654611e-1) * y * x + x
    cos = ((2.443315711809948e-5 * y - 1.388731625493765e-3) * y + 4.166664568298827e-2) * y * y - 0.5 * y + 1.0
    quadrant = quarter.to(tl.int64) & 3
    odd = (quadrant & 1) == 1
    turned_cos, turned_sin = tl.where(odd, sin, cos), tl.where(odd, cos, sin)
    turned_cos = tl.where((quadrant == 1) | (quadrant == 2), -turned_cos, turned_cos)
    return turned_cos, tl.where(quadrant >= 2, -turned_sin, turned_sin)


@triton.jit
def rotation(steps, frequencies, out, rows, pairs, PAIRS: tl.constexpr):
    """One program a row: see `layers.rope`; out float32 [2, rows, pairs], frequencies float32 [pairs]."""
    row = tl.program_id(0)
    step = tl.load(steps + row)
    pair = tl.arange(0, PAIRS)
    angle = step.to(tl.float32) * tl.load(frequencies + pair, mask=pair < pairs, other=0.0)
    cos, sin = cos_sin(angle)
    tl.store(out + row * pairs + pair, cos, mask=pair < pairs)
    tl.store(out + (rows + row) * pairs + pair, sin, mask=pair < pairs)


@triton.jit
def embed(tables, inputs, like, x, streams, stride, dim, BLOCK: tl.constexpr):
    """x [rows, dim]: the sum of the vectors of inputs int64 [rows, streams], whose rows begin `stride` apart; tables
    int64 [streams]: addresses, of numbers as in `like`."""
    row, d = tl.program_id(0), tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros((BLOCK,), tl.float32)
    for stream in range(streams):
        token = tl.load(inputs + row * stride + stream)
        table = tl.load(tables + stream).to(tl.pointer_type(like.dtype.element_ty))
        vector = tl.load(table + token * dim + d, mask=d < tl.where(token >= 0, dim, 0), other=0.0)
        total = (total + vector.to(x.dtype.element_ty).to(tl.float32)).to(x.dtype.element_ty).to(tl.float32)
    tl.store(x + row * dim + d, total.to(x.dtype.element_ty), mask=d < dim)


@triton.jit
def norm(x, alpha, y, dim, eps, BLOCK: tl.constexpr):
    """y = the norm of x [rows, dim]."""
    row, d = tl.program_id(0), tl.arange(0, BLOCK)
    value = tl.load(x + row * dim + d, mask=d < dim, other=0.0).to(tl.float32)
    weight = tl.load(alpha + d, mask=d < dim, other=0.0).to(tl.float32)
    factor = weight * tl.rsqrt(tl.sum(value * value, 0) / dim + eps)
    tl.store(y + row * dim + d, (value * factor).to(y.dtype.element_ty), mask=d < dim)


@triton.jit
def are_finite(values, count, BLOCK: tl.constexpr):
    """Whether all of so many numbers are."""
    bad = tl.zeros((BLOCK,), tl.int32)
    for start in range(0, count, BLOCK):
        at = start + tl.arange(0, BLOCK)
        value = tl.load(values + at, mask=at < count, other=0.0)
        bad |= (tl.abs(value) < float("inf")).to(tl.int32) ^ 1
    return tl.max(bad, 0) == 0


@triton.jit
def finish(
    slots, steps, text, codes, codes_row, codes_column, text_logits, audio_logits, delays, tokens, offsets,
    output, finite, streams, generated, ring, max_delay, text_card, audio_count, ungenerated,
    GENERATED: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """One program a row: see `Ops.finish`. codes int64 [rows, generated - 1], of these strides."""
    row = tl.program_id(0)
    slot, after = tl.load(slots + row), tl.load(steps + row) + 1
    s = tl.arange(0, GENERATED)
    known = s < generated
    code = tl.load(codes + row * codes_row + (s - 1) * codes_column, mask=known & (s > 0), other=0)
    new = tl.where(s == 0, tl.load(text + row), code)
    delay = tl.load(delays + s, mask=known, other=0)
    at = tokens + (slot * streams + s) * ring
    held = tl.load(at + (after - max_delay + delay + ring) % ring, mask=known, other=0)
    aligned = tl.where(delay == max_delay, new, held)
    tl.store(at + after % ring, new, mask=known)
    tl.store(output + row * generated + s, tl.where(after > max_delay, aligned, ungenerated), mask=known)
    tl.store(offsets + slot, after)
    good = are_finite(text_logits + row.to(tl.int64) * text_card, text_card, BLOCK)
    if audio_count > 0:
        good = good & are_finite(audio_logits + row.to(tl.int64) * audio_count, audio_count, BLOCK)
    tl.store(finite + row, good)
