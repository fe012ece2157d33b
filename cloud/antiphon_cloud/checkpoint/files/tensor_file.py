"""A safetensors file whose tensors are read, not mapped, so that later changes of the file do no harm.

Truncating a mapped file kills the process that reads it (SIGBUS), and overwriting it changes the model during a
conversation. Reading takes no memory twice, as the system may drop the file's cached pages.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from antiphon_cloud.errors import CheckpointError

DTYPES = {"BF16": torch.bfloat16, "F16": torch.float16, "F32": torch.float32, "I8": torch.int8}
"""Readable dtypes; files may hold others."""


class _Entry(msgspec.Struct, frozen=True):
    dtype: str
    shape: tuple[int, ...]
    data_offsets: tuple[int, int]


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor of a file."""

    dtype: str  # as the format names it
    shape: tuple[int, ...]
    start: int  # in the file
    size_bytes: int


class TensorFile:
    """An open safetensors file; a context manager.

    Args:
        path: the file.

    Raises:
        CheckpointError: it cannot be read, or is not a whole safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = path.open("rb", buffering=0)
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror}); look at its permissions") from error
        try:
            with safe_open(path, framework="pt"):
                pass  # the library has checked that every tensor lies within the file, and none over another
            size = int.from_bytes(self._file.read(8), "little")
            header: dict[str, msgspec.Raw] = msgspec.json.decode(self._file.read(size), type=dict[str, msgspec.Raw])
            metadata = header.pop("__metadata__", None)
            self.metadata = {} if metadata is None else msgspec.json.decode(metadata, type=dict[str, str])
            self.tensors = {name: _held(entry, 8 + size) for name, entry in header.items()}
        except (SafetensorError, OSError, msgspec.DecodeError) as error:
            self._file.close()
            raise CheckpointError(f"{path}: not a whole safetensors file ({error}); download it again") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    @property
    def state(self) -> tuple[int, int, int, int]:
        """The file's inode, size, and times of change in nanoseconds, to detect a change."""
        found = os.fstat(self._file.fileno())
        return found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns

    def read(self, name: str, part: int = 0, parts: int = 1) -> Tensor:
        """A tensor, or one of the equal parts stacked in it, in memory of its own.

        Raises:
            CheckpointError: the file ends early, as it was truncated after it was opened.
        """
        held = self.tensors[name]
        dtype, shape = DTYPES[held.dtype], (held.shape[0] // parts, *held.shape[1:]) if held.shape else ()
        tensor = torch.empty(shape, dtype=dtype)
        size = held.size_bytes // parts
        assert tensor.nbytes == size
        if size:
            self._read_into(tensor.view(-1).view(torch.uint8).numpy().data, held.start + part * size)
        return tensor

    def sample(self, name: str, pieces: int, piece_bytes: int) -> Iterator[bytes]:
        """`pieces` of `piece_bytes` spread evenly over a tensor's bytes, or all of its bytes."""
        held = self.tensors[name]
        if held.size_bytes <= pieces * piece_bytes:
            starts, length = [0], held.size_bytes
        else:
            last, length = held.size_bytes - piece_bytes, piece_bytes
            starts = [last * i // (pieces - 1) for i in range(pieces)]
        for start in starts:
            buffer = bytearray(length)
            self._read_into(memoryview(buffer), held.start + start)
            yield bytes(buffer)

    def _read_into(self, buffer: memoryview, start: int) -> None:
        try:
            self._file.seek(start)
            while buffer:
                count = self._file.readinto(buffer)
                if not count:
                    raise CheckpointError(f"{self.path}: grew shorter while it was read; download it again")
                buffer = buffer[count:]
        except OSError as error:
            raise CheckpointError(f"{self.path}: cannot be read ({error.strerror})") from error


def _held(entry: msgspec.Raw, base: int) -> Held:
    found = msgspec.json.decode(entry, type=_Entry)
    start, end = found.data_offsets
    held = Held(found.dtype, found.shape, base + start, end - start)
    dtype = DTYPES.get(found.dtype)
    if dtype is not None and held.size_bytes != dtype.itemsize * math.prod(held.shape):
        raise SafetensorError("a tensor's bytes are not as many as its shape says")
    return held
