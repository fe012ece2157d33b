"""How a GPU's products are cut among programs: what a plan must know of it, which needs no Triton.

The cut depends on the matrix alone, so that a row's sums have one order in any batch and on any card.
"""

from __future__ import annotations

from typing import NamedTuple

TILE_ROWS = 64  # that a kernel multiplies by a matrix while it reads it once
MOST_READINGS = 5  # in bytes a weight: to make floats of int8 reads one and writes two, and the product reads those
MOST_ROWS = MOST_READINGS * TILE_ROWS  # that go through the kernel
BLOCK_BYTES = 128  # of a row of weights, that a program multiplies at a time
PROGRAMS = 296  # at least, where a matrix is large enough: two for each of a B200's 148 multiprocessors
NARROW, WIDE = 32, 64  # outputs of a program
NARROW_OUTPUTS = 2048  # matrices of up to so many outputs


class Tiling(NamedTuple):
    """The cut of a matrix: `tiles` of its outputs, each in `splits` of its inputs, and these in blocks."""

    block_outputs: int
    tiles: int
    block_inputs: int
    splits: int
    split_inputs: int  # of each split, whole blocks


def tiling(outputs: int, inputs: int, weight_bytes: int, block_outputs: int | None = None) -> Tiling:
    """The cut of a matrix [outputs, inputs] in blocks of outputs, by default of a width that suits it."""
    if block_outputs is None:
        block_outputs = NARROW if outputs <= NARROW_OUTPUTS else WIDE
    block_inputs = BLOCK_BYTES // weight_bytes
    tiles, blocks = -(-outputs // block_outputs), -(-inputs // block_inputs)
    splits = -(-blocks // min(max(1, blocks * tiles // PROGRAMS), blocks))
    split_blocks = -(-blocks // splits)  # as even as can be
    return Tiling(block_outputs, tiles, block_inputs, -(-blocks // split_blocks), split_blocks * block_inputs)


def power_of_two(value: int) -> int:
    """The least that is no smaller."""
    return 1 << (value - 1).bit_length()


def block_rows(rows: int) -> int:
    """Rows that a program multiplies, of so many in all; a tensor core takes no fewer than 16."""
    return min(max(16, power_of_two(rows)), TILE_ROWS)


def readings(rows: int) -> int:
    """How often the product of so many rows reads a matrix, in bytes a weight."""
    return min(-(-rows // TILE_ROWS), MOST_READINGS)
