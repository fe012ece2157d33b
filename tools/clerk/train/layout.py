"""Initializes the product's codec modules for training, and writes them back in the published layout.

The product loads published tensors into the layouts that it computes with. This only moves elements. So a module loaded
from a "checkpoint" of consecutive numbers shows where each element went, and no layer needs code to save itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from antiphon.errors import AntiphonError
from antiphon_cloud.codec.mimi import Checkpoint, Encoder, MimiConfig, Weights

Build = Callable[[Weights], nn.Module]
DERIVED = "offset_"  # parameters that are a function of others
_CONSTANT = ("cluster_usage", "_initialized")


class Initial:
    """The published tensors of an untrained model; with `numbered`, their elements are consecutive numbers."""

    def __init__(self, seed: int, *, numbered: bool = False) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._generator = torch.Generator().manual_seed(seed)
        self._numbered, self._next = numbered, 1  # 0 marks elements that come from no tensor

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        """The tensor `name`, created by the first call."""
        if name not in self.tensors:
            self.tensors[name] = self._make(name, shape)
        return self.tensors[name].clone()

    def skip(self, name: str, shape: tuple[int, ...]) -> None:
        """Adds a tensor that only the published layout needs."""
        self.tensors.setdefault(name, torch.ones(shape))

    def first_of(self, *names: str) -> str:
        """The first spelling."""
        return names[0]

    def _make(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith(_CONSTANT):
            return torch.ones(shape)
        count = math.prod(shape)
        if self._numbered:
            numbers = torch.arange(self._next, self._next + count, dtype=torch.float32)
            self._next += count
            assert self._next < 1 << 24, "float32 counts no further"
            return numbers.view(shape)
        if name.endswith(("norm1.weight", "norm2.weight")):
            return torch.ones(shape)
        if name.endswith(".scale"):
            return torch.full(shape, 0.1)
        if len(shape) == 1:
            return torch.zeros(shape)
        fan_in = shape[0] * 2 if "convtr" in name and shape[1] > 1 else math.prod(shape[1:])
        return torch.empty(shape).normal_(generator=self._generator).mul_(fan_in**-0.5)


class Published:
    """Maps the elements of a module's parameters to the published tensors."""

    def __init__(self, build: Build) -> None:
        numbers = Initial(0, numbered=True)
        module = build(numbers)
        self._tensors = numbers.tensors
        self._places = {
            name: parameter.detach().round().long()
            for name, parameter in module.named_parameters()
            if DERIVED not in name
        }
        self._tied = {name for name, places in self._places.items() if len(places.unique()) < places.numel()}

    @torch.no_grad()
    def tie_gradients(self, module: nn.Module) -> None:
        """Sums the gradients of copies of one published element; zeroes those of elements that are not published."""
        for name in self._tied:
            gradient, places = module.get_parameter(name).grad, self._places[name]
            if gradient is not None:
                _, which = places.unique(return_inverse=True)
                sums = torch.zeros(int(which.max()) + 1).index_add_(0, which.flatten(), gradient.flatten())
                gradient.copy_(torch.where(places == 0, 0.0, sums[which]))

    @torch.no_grad()
    def tensors(self, module: nn.Module) -> dict[str, Tensor]:
        """The module's parameters as published tensors."""
        values = torch.zeros(sum(tensor.numel() for tensor in self._tensors.values()) + 1)
        for name, places in self._places.items():
            values[places.flatten()] = module.get_parameter(name).detach().float().flatten()
        return {
            name: torch.ones_like(numbers) if name.endswith(_CONSTANT) else values[numbers.long()].clone()
            for name, numbers in self._tensors.items()
        }


def save(path: Path, tensors: dict[str, Tensor]) -> None:
    """Writes a safetensors file atomically."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file(tensors, path.with_suffix(".new"))
    path.with_suffix(".new").replace(path)


def load(path: Path) -> dict[str, Tensor]:
    """Reads what `save` wrote, in float32.

    Raises:
        AntiphonError: the file is missing or not a safetensors file.
    """
    try:
        return {name: tensor.float() for name, tensor in load_file(path).items()}
    except OSError as error:
        reason = error.strerror or "no such file"
        raise AntiphonError(f"{path}: cannot be read ({reason}); run the stage that makes it") from error
    except SafetensorError as error:
        raise AntiphonError(f"{path}: not a whole safetensors file ({error})") from error


def encoder_file(folder: Path) -> Path:
    """The file with the encoder and the codebooks: that of the encoder's stage, or that of a packed model."""
    trained = folder / "encoder.safetensors"
    return trained if trained.exists() else folder / "mimi.safetensors"


def load_encoder(folder: Path, config: MimiConfig) -> Encoder:
    """The trained encoder.

    Raises:
        CheckpointError: its file is missing, or of another model.
    """
    with Checkpoint(encoder_file(folder)) as weights:
        return Encoder(weights, config).eval()
