"""How a GPU's product of int8 matrices reads them: what a plan must know of it, which needs no Triton."""

from __future__ import annotations

TILE_ROWS = 64  # that the kernel multiplies by a matrix while it reads it once
MOST_READINGS = 5  # in bytes a weight: to make floats of int8 reads one and writes two, and the product reads those
MOST_ROWS = MOST_READINGS * TILE_ROWS  # that go through the kernel


def readings(rows: int) -> int:
    """How often the product of so many rows reads a matrix, in bytes a weight."""
    return min(-(-rows // TILE_ROWS), MOST_READINGS)
