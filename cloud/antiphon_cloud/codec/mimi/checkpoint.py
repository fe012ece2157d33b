"""Sources of weights: a published safetensors file, or any object that returns tensors by their published names."""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self, cast

from safetensors import SafetensorError, safe_open
from torch import Tensor

from antiphon_cloud.errors import CheckpointError


class Weights(Protocol):
    """A source of tensors in their published shapes, by their published names."""

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The float32 tensor `name`."""
        ...

    def skip(self, name: str, shape: tuple[int, ...]) -> None:
        """Checks a tensor that is published but not used here."""
        ...

    def first_of(self, *names: str) -> str:
        """The spelling of a name that is present, out of several."""
        ...


class Checkpoint:
    """A published safetensors file, read tensor by tensor; a context manager.

    Raises:
        CheckpointError: the file is missing or not a safetensors file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            self._file = cast("Any", safe_open(path, framework="pt"))
        except OSError as error:
            raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
        except SafetensorError as error:
            raise CheckpointError(f"{path}: not a whole safetensors file ({error})") from error
        self._names = frozenset(self._file.keys())
        self._unused = set(self._names)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, traceback)

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The tensor `name`, in float32.

        Raises:
            CheckpointError: it is missing, has another shape, or is not floating-point.
        """
        self.skip(name, shape)
        tensor: Tensor = self._file.get_tensor(name)
        if not tensor.is_floating_point():
            raise CheckpointError(f"{self.path}: tensor {name} has dtype {tensor.dtype}, expected floating point")
        return tensor.float()

    def skip(self, name: str, shape: tuple[int, ...]) -> None:
        """Checks that the tensor `name` exists with `shape`, without reading it.

        Raises:
            CheckpointError: it is missing or has another shape.
        """
        if name not in self._names:
            raise CheckpointError(f"{self.path}: tensor {name} is missing")
        found = tuple(self._file.get_slice(name).get_shape())
        if found != shape:
            raise CheckpointError(f"{self.path}: tensor {name} has shape {list(found)}, expected {list(shape)}")
        self._unused.discard(name)

    def first_of(self, *names: str) -> str:
        """The first of `names` that the file has, or `names[0]` if it has none."""
        return next((name for name in names if name in self._names), names[0])

    def check_all_used(self) -> None:
        """Checks that every tensor was used: an unused one belongs to another model.

        Raises:
            CheckpointError: names the first unused tensor.
        """
        if self._unused:
            raise CheckpointError(f"{self.path}: tensor {min(self._unused)} has no place in the model of its config")
