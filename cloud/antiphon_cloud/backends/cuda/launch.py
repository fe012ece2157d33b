"""Launches of the kernels, or where only their cost is asked for, a record of them.

Kernels are found when they are launched first, so that what they would read and write can be counted where there is
neither Triton nor a GPU.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from torch import Tensor

KERNELS = "antiphon_cloud.backends.cuda.kernels"


@dataclass(frozen=True, slots=True)
class Call:
    """A launch as Triton is asked for it."""

    kernel: Kernel
    arguments: tuple[object, ...]
    constants: Mapping[str, object]  # and Triton's options


@dataclass(frozen=True, slots=True)
class Launch:
    """What one kernel does: bytes of memory, and arithmetic."""

    name: str
    read: int  # without what follows
    written: int
    matrix: int = 0  # read: a matrix, once for each tile of rows
    read_per_entry: int = 0  # read for each entry of keys and values that a session of the batch has written
    multiplications: int = 0
    call: Call | None = None  # of a kernel of ours

    def bytes(self, entries: float) -> float:
        """Read and written, where the batch's sessions have written so many entries, all together."""
        return self.read + self.written + self.matrix + self.read_per_entry * entries


_recorded: list[Launch] | None = None


@contextmanager
def recording() -> Iterator[list[Launch]]:
    """Within it, launches are written down and nothing is computed."""
    global _recorded  # one process steps one model, in one thread
    before, _recorded = _recorded, []
    try:
        yield _recorded
    finally:
        _recorded = before


@dataclass(frozen=True, slots=True)
class Kernel:
    """A Triton kernel by the names of its module in `kernels` and of its function."""

    module: str
    name: str

    def function(self) -> Any:
        """The kernel as Triton made it."""
        return getattr(import_module(f"{KERNELS}.{self.module}"), self.name)

    def launch(
        self,
        grid: tuple[int, ...],
        *args: object,
        reads: Iterable[Tensor | int | None],
        writes: Iterable[Tensor | int],
        matrix: int = 0,
        read_per_entry: int = 0,
        multiplications: int = 0,
        **constants: object,
    ) -> None:
        """Puts the kernel into the device's queue.

        Args:
            grid: programs.
            *args: of the kernel, in its order.
            reads: what it reads of memory: tensors that are read whole once, or bytes.
            writes: likewise.
            matrix: bytes of a matrix that it reads, as often as it does.
            read_per_entry: bytes read for each entry of keys and values that a session has written.
            multiplications: of matrix products.
            **constants: the kernel's constants, and Triton's options.
        """
        if _recorded is None:
            self.function()[grid](*args, **constants)
            return
        call = Call(self, args, constants)
        _recorded.append(
            Launch(self.name, _bytes(reads), _bytes(writes), matrix, read_per_entry, multiplications, call)
        )


def _bytes(touched: Iterable[Tensor | int | None]) -> int:
    return sum(each.nbytes if isinstance(each, Tensor) else each or 0 for each in touched)
