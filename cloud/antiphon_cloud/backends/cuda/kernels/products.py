"""Products of a few rows and a matrix, in int8 or floats, with what comes before and after them.

Each program owns some outputs of a tile of rows and multiplies a part of the inputs (split-K). It leaves its sums in a
workspace, and the program that arrives last adds them, always in the same order, and goes on with the outputs.

A norm before the product needs no pass of its own: the root mean square is a factor of the whole row, so that its
squares are summed while the row is multiplied.
"""

from __future__ import annotations

import triton
import triton.language as tl

from antiphon_cloud.backends.cuda.kernels.adapters import adapted
from antiphon_cloud.backends.cuda.kernels.joining import is_last_of


@triton.jit
def inputs_of(x, alpha, row, k, inputs, squares, PRESCALE: tl.constexpr):
    """Inputs [K, M] of the rows of x, times the norm's weights where it has some; and the rows' squares [M] so far.

    A row −1 is zeros.
    """
    inside = (row >= 0)[None, :] & (k < inputs)[:, None]
    a = tl.load(x + row[None, :] * inputs + k[:, None], mask=inside, other=0.0)
    if alpha is not None:
        wide = a.to(tl.float32)
        squares += tl.sum(wide * wide, 0)
        weights = tl.load(alpha + k, mask=k < inputs, other=0.0).to(tl.float32) * PRESCALE
        a = (wide * weights[:, None]).to(x.dtype.element_ty)
    return a, squares


@triton.jit
def row_numbers(table_rows, m, rows):
    """Which row of a tensor is each of the rows m [M]: that of its own number, or what `table_rows` says; or −1."""
    if table_rows is None:
        row = tl.where(m < rows, m, -1).to(tl.int64)
    else:
        row = tl.load(table_rows + m, mask=m < rows, other=-1)
    return row


@triton.jit
def weights_of(weight, n, k, outputs, inputs):
    """Weights [N, K]."""
    inside = (n < outputs)[:, None] & (k < inputs)[None, :]
    return tl.load(weight + n[:, None] * inputs + k[None, :], mask=inside, other=0.0)


@triton.jit
def summed(workspace, at, SPLITS: tl.constexpr, SIZE: tl.constexpr):
    """The sums of all splits, in their order; `at` are places in a split's part of the workspace, of that size."""
    total = tl.load(workspace + at, cache_modifier=".cg")
    for split in range(1, SPLITS):
        total += tl.load(workspace + split * SIZE + at, cache_modifier=".cg")
    return total


@triton.jit
def scaled(total, scale, squares, n, outputs, inputs, eps, PRESCALE: tl.constexpr):
    """Sums [N, M] times the matrix's scales [N], where it is in int8, and the norms [M], where `eps` is given."""
    if scale is not None:
        total *= tl.load(scale + n, mask=n < outputs, other=0.0)[:, None]
    if eps is not None:
        total *= (tl.rsqrt(squares / inputs + eps) * (1 / PRESCALE))[None, :]
    return total


@triton.jit(do_not_specialize=["rows"])
def linear_add(
    x, x_rows, weight, scale, residual, residual_rows, y, places, reduced, up, workspace, counters, rows, outputs,
    inputs, stride,
    ROWS: tl.constexpr, OUTPUTS: tl.constexpr, INPUTS: tl.constexpr, SPLITS: tl.constexpr, SPLIT_INPUTS: tl.constexpr,
    RANK: tl.constexpr, FACTORS: tl.constexpr,
):  # fmt: skip
    """y [rows, outputs] = x [rows, inputs] · (weight [outputs, inputs] · scale [outputs])ᵀ + residual.

    Where `x_rows` or `residual_rows` int64 [rows] are given, x and the residual are tables, of which those rows are
    taken; a row −1 is zeros. Rows of y begin `stride` apart. Here and below, see `adapted` for `places` and what goes
    with them.
    """
    tile, part, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    m, n = tile * ROWS + tl.arange(0, ROWS), part * OUTPUTS + tl.arange(0, OUTPUTS)
    total = tl.zeros((OUTPUTS, ROWS), dtype=tl.float32)
    squares = tl.zeros((ROWS,), dtype=tl.float32)
    row = row_numbers(x_rows, m, rows)
    for start in range(split * SPLIT_INPUTS, tl.minimum((split + 1) * SPLIT_INPUTS, inputs), INPUTS):
        k = start + tl.arange(0, INPUTS)
        w = weights_of(weight, n, k, outputs, inputs)
        a, squares = inputs_of(x, None, row, k, inputs, squares, 1.0)
        total = tl.dot(w.to(a.dtype), a, total, input_precision="ieee")
    last = True
    if SPLITS > 1:
        place = (tile * tl.num_programs(1) + part) * SPLITS * OUTPUTS * ROWS
        at = tl.arange(0, OUTPUTS)[:, None] * ROWS + tl.arange(0, ROWS)
        tl.store(workspace + place + split * OUTPUTS * ROWS + at, total, cache_modifier=".cg")
        last = is_last_of(SPLITS, counters + tile * tl.num_programs(1) + part)
        if last:
            total = summed(workspace + place, at, SPLITS, OUTPUTS * ROWS)
    if last:
        total = scaled(total, scale, squares, n, outputs, inputs, None, 1.0)
        total = adapted(total, places, reduced, up, m, n, rows, outputs, outputs, RANK, FACTORS)
        inside = (m < rows)[None, :] & (n < outputs)[:, None]
        if residual is not None:
            row = row_numbers(residual_rows, m, rows)
            held = tl.load(residual + row[None, :] * outputs + n[:, None], mask=inside & (row >= 0)[None, :], other=0.0)
            total = total.to(x.dtype.element_ty).to(tl.float32) + held.to(tl.float32)
        tl.store(y + m.to(tl.int64)[None, :] * stride + n[:, None], total.to(y.dtype.element_ty), mask=inside)


@triton.jit(do_not_specialize=["rows"])
def norm_gate(
    x, alpha, weight, scale, y, places, reduced, up, workspace, counters, rows, hidden, inputs, eps,
    ROWS: tl.constexpr, OUTPUTS: tl.constexpr, INPUTS: tl.constexpr, SPLITS: tl.constexpr, SPLIT_INPUTS: tl.constexpr,
    PRESCALE: tl.constexpr, RANK: tl.constexpr, FACTORS: tl.constexpr,
):  # fmt: skip
    """y [rows, hidden] = SiLU(g) · v; g and v are halves of norm(x [rows, inputs]) · weight [2 · hidden, inputs]ᵀ."""
    tile, part, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    m, n = tile * ROWS + tl.arange(0, ROWS), part * OUTPUTS + tl.arange(0, OUTPUTS)
    gates, values = tl.zeros((OUTPUTS, ROWS), dtype=tl.float32), tl.zeros((OUTPUTS, ROWS), dtype=tl.float32)
    squares = tl.zeros((ROWS,), dtype=tl.float32)
    row = row_numbers(None, m, rows)
    for start in range(split * SPLIT_INPUTS, tl.minimum((split + 1) * SPLIT_INPUTS, inputs), INPUTS):
        k = start + tl.arange(0, INPUTS)
        of_gates = weights_of(weight, n, k, hidden, inputs)
        of_values = weights_of(weight + hidden * inputs, n, k, hidden, inputs)
        a, squares = inputs_of(x, alpha, row, k, inputs, squares, PRESCALE)
        gates = tl.dot(of_gates.to(a.dtype), a, gates, input_precision="ieee")
        values = tl.dot(of_values.to(a.dtype), a, values, input_precision="ieee")
    last = True
    if SPLITS > 1:
        SIZE: tl.constexpr = (2 * OUTPUTS + 1) * ROWS
        place = workspace + (tile * tl.num_programs(1) + part) * SPLITS * SIZE
        at = tl.arange(0, OUTPUTS)[:, None] * ROWS + tl.arange(0, ROWS)
        at_squares = 2 * OUTPUTS * ROWS + tl.arange(0, ROWS)
        tl.store(place + split * SIZE + at, gates, cache_modifier=".cg")
        tl.store(place + split * SIZE + OUTPUTS * ROWS + at, values, cache_modifier=".cg")
        tl.store(place + split * SIZE + at_squares, squares, cache_modifier=".cg")
        last = is_last_of(SPLITS, counters + tile * tl.num_programs(1) + part)
        if last:
            gates = summed(place, at, SPLITS, SIZE)
            values = summed(place, OUTPUTS * ROWS + at, SPLITS, SIZE)
            squares = summed(place, at_squares, SPLITS, SIZE)
    if last:
        gates = scaled(gates, scale, squares, n, hidden, inputs, eps, PRESCALE)
        gates = adapted(gates, places, reduced, up, m, n, rows, hidden, 2 * hidden, RANK, FACTORS)
        gates = gates.to(x.dtype.element_ty).to(tl.float32)
        if scale is not None:
            scale += hidden
        values = scaled(values, scale, squares, n, hidden, inputs, eps, PRESCALE)
        if up is not None:
            up += hidden
        values = adapted(values, places, reduced, up, m, n, rows, hidden, 2 * hidden, RANK, FACTORS)
        gated = gates / (1 + tl.exp(-gates)) * values.to(x.dtype.element_ty).to(tl.float32)
        inside = (m < rows)[None, :] & (n < hidden)[:, None]
        tl.store(y + m[None, :] * hidden + n[:, None], gated.to(y.dtype.element_ty), mask=inside)


@triton.jit
def append(store, scales, entry, new, d, dim, inside):
    """Writes entries [M, D] in floats, or in int8 with a scale for each, over the entries of these numbers [M]."""
    at = entry[:, None] * dim + d
    mask = inside[:, None] & (d < dim)
    if scales is None:
        tl.store(store + at, new.to(store.dtype.element_ty), mask=mask)
    else:
        scale = tl.max(tl.abs(tl.where(mask, new, 0.0)), 1) / 127
        levels = tl.div_rn(new, tl.maximum(scale, 1e-30)[:, None])
        rounded = levels + 12582912.0 - 12582912.0  # to the nearest, halves to even: 1.5 · 2²³ leaves no fraction
        tl.store(store + at, rounded.to(tl.int8), mask=mask)
        tl.store(scales + entry, scale, mask=inside)


@triton.jit(do_not_specialize=["rows"])
def norm_qkv_append(
    x, alpha, weight, scale, rotation, q, keys, values, key_scales, value_scales, slots, steps, table,
    windows, places, reduced, up, workspace, counters, rows, inputs, eps, heads, dim, pages, position,
    ROWS: tl.constexpr, WIDTH: tl.constexpr, PAGE: tl.constexpr, INPUTS: tl.constexpr, SPLITS: tl.constexpr,
    SPLIT_INPUTS: tl.constexpr, PRESCALE: tl.constexpr, RANK: tl.constexpr, FACTORS: tl.constexpr,
):  # fmt: skip
    """Queries, keys and values of norm(x [rows, inputs]), turned by their rotation; keys and values go to their places.

    weight [3 · heads · dim, inputs]; rotation float32 [2, rows, dim / 2] or None; q [rows, heads, dim]; keys and values
    [pages, heads, PAGE, dim], with scales [pages, heads, PAGE] in int8. Row m is at step `steps[m]` of slot `slots[m]`,
    which has the pages `table[slots[m]]` and looks back `windows[slots[m]]` steps; or without a table, at `position` of
    page m.
    """
    tile, part, split = tl.program_id(0), tl.program_id(1), tl.program_id(2)
    kind, head = part // heads, part % heads
    m, d = tile * ROWS + tl.arange(0, ROWS), tl.arange(0, WIDTH)
    n = tl.where(d < dim, part * dim + d, 3 * heads * dim)  # beyond the matrix: no output
    total = tl.zeros((WIDTH, ROWS), dtype=tl.float32)
    squares = tl.zeros((ROWS,), dtype=tl.float32)
    row = row_numbers(None, m, rows)
    for start in range(split * SPLIT_INPUTS, tl.minimum((split + 1) * SPLIT_INPUTS, inputs), INPUTS):
        k = start + tl.arange(0, INPUTS)
        w = weights_of(weight, n, k, 3 * heads * dim, inputs)
        a, squares = inputs_of(x, alpha, row, k, inputs, squares, PRESCALE)
        total = tl.dot(w.to(a.dtype), a, total, input_precision="ieee")
    last = True
    if SPLITS > 1:
        SIZE: tl.constexpr = (WIDTH + 1) * ROWS
        place = workspace + (tile * tl.num_programs(1) + part) * SPLITS * SIZE
        at = d[:, None] * ROWS + tl.arange(0, ROWS)
        at_squares = WIDTH * ROWS + tl.arange(0, ROWS)
        tl.store(place + split * SIZE + at, total, cache_modifier=".cg")
        tl.store(place + split * SIZE + at_squares, squares, cache_modifier=".cg")
        last = is_last_of(SPLITS, counters + tile * tl.num_programs(1) + part)
        if last:
            total = summed(place, at, SPLITS, SIZE)
            squares = summed(place, at_squares, SPLITS, SIZE)
    if last:
        total = scaled(total, scale, squares, n, 3 * heads * dim, inputs, eps, PRESCALE)
        total = adapted(total, places, reduced, up, m, n, rows, 3 * heads * dim, 3 * heads * dim, RANK, FACTORS)
        new = tl.trans(total).to(x.dtype.element_ty).to(tl.float32)  # [M, D]
        if rotation is not None:
            pair = tl.arange(0, WIDTH // 2)
            turned = (m < rows)[:, None] & (pair < tl.where(kind < 2, dim // 2, 0))
            at_angle = rotation + m[:, None] * (dim // 2) + pair
            cos = tl.load(at_angle, mask=turned, other=1.0)
            sin = tl.load(at_angle + rows * (dim // 2), mask=turned, other=0.0)
            real, imaginary = tl.split(tl.reshape(new, (ROWS, WIDTH // 2, 2)))
            new = tl.join(real * cos - imaginary * sin, real * sin + imaginary * cos)
            new = tl.reshape(new, (ROWS, WIDTH)).to(x.dtype.element_ty).to(tl.float32)
        inside = m < rows
        if kind == 0:
            at_query = q + (m[:, None] * heads + head) * dim + d
            tl.store(at_query, new.to(q.dtype.element_ty), mask=inside[:, None] & (d < dim))
        else:
            if table is None:
                page, offset = m.to(tl.int64), position
            else:
                slot = tl.load(slots + m, mask=inside, other=0)
                place_in_ring = tl.load(steps + m, mask=inside, other=0) % tl.load(windows + slot)
                at_page = slot * pages + place_in_ring // PAGE
                page, offset = tl.load(table + at_page, mask=inside, other=0).to(tl.int64), place_in_ring % PAGE
            entry = (page * heads + head) * PAGE + offset
            if kind == 1:
                append(keys, key_scales, entry, new, d, dim, inside)
            else:
                append(values, value_scales, entry, new, d, dim, inside)
