"""Memory for all the matrices of a model: one range in large pages, which a step walks through with fewer misses."""

from __future__ import annotations

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

LARGE_PAGE = 2 << 20
ALIGNMENT = 4096


class Arena:
    """A range of `size` bytes. Pages that nothing was written to take no memory."""

    def __init__(self, size: int) -> None:
        private = {"flags": mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS} if hasattr(mmap, "MAP_PRIVATE") else {}
        memory = mmap.mmap(-1, size + LARGE_PAGE, **private)  # shared memory, the default, gets no large pages
        if hasattr(mmap, "MADV_HUGEPAGE"):
            memory.madvise(mmap.MADV_HUGEPAGE)
        self._bytes = torch.frombuffer(memory, dtype=torch.int8)  # keeps the range as long as a tensor is in it
        self._next = -self._bytes.data_ptr() % LARGE_PAGE

    @classmethod
    def of(cls, shapes: Sequence[tuple[int, ...]]) -> Arena:
        """An arena for int8 matrices of these shapes."""
        return cls(sum(cls.room(math.prod(shape)) for shape in shapes))

    @staticmethod
    def room(count: int) -> int:
        """Bytes that a matrix of `count` weights takes in an arena."""
        return -(-count // ALIGNMENT) * ALIGNMENT

    def empty(self, shape: tuple[int, ...]) -> Tensor:
        """Room for an int8 matrix."""
        start, count = self._next, math.prod(shape)
        self._next += self.room(count)
        assert self._next <= len(self._bytes)
        return self._bytes[start : start + count].view(shape)
