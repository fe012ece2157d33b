"""The choice of how a model is held and stepped: made here, once, while it is loaded."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from antiphon_cloud.backends import fbgemm
from antiphon_cloud.backends.cpu import library as compiled
from antiphon_cloud.backends.cpu.linear import CompiledLinear
from antiphon_cloud.backends.cpu.memory import Arena
from antiphon_cloud.backends.cpu.ops import CpuOps
from antiphon_cloud.backends.cuda.ops import CudaOps
from antiphon_cloud.backends.cuda.products import TritonLinear
from antiphon_cloud.backends.int8 import Int8Linear
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.ops import Ops

MOST_WEIGHTS = 2**31  # of a matrix: a GPU's kernels count them in 32 bits


def _no_memory(shapes: Sequence[tuple[int, ...]]) -> None:
    """Each matrix is allocated by itself."""


def _torch_threads(count: int) -> None:
    compiled.set_threads(None)
    torch.set_num_threads(count)


def _compiled_threads(count: int) -> None:
    """The compiled step has threads of its own, which wait for nobody. What is left to torch is small: there threads
    would only wait for each other, on a busy machine a hundred times as long as they work."""
    compiled.set_threads(count)
    torch.set_num_threads(1)


@dataclass(frozen=True, slots=True)
class Backend:
    """How a model is held on a device, and what steps it."""

    name: str  # of its products, for people
    device: torch.device
    dtype: torch.dtype  # of activations
    int8: bool  # whether matrices are in int8
    ops: Callable[[LanguageModel], Ops] = Ops  # the executor of a loaded model
    matrix: Callable[[Tensor, Tensor], nn.Module] = Int8Linear  # of int8 [outputs, inputs] and scales [outputs]
    memory: Callable[[Sequence[tuple[int, ...]]], Arena | None] = _no_memory  # for int8 matrices of these shapes
    use_threads: Callable[[int], None] = _torch_threads  # shares this process's steps among so many
    factors: torch.dtype | None = None  # of adapters; None for the activations'

    @property
    def adapter_dtype(self) -> torch.dtype:
        """What the factors of adapters are held in."""
        return self.factors or self.dtype


def select(device: torch.device, dtype: torch.dtype, int8: bool) -> Backend:
    """How a model is held and stepped on a device.

    Args:
        device: of the model.
        dtype: of activations. Where a CPU multiplies integers they are float32, and this says how much of them counts.
        int8: whether matrices are held in int8.
    """
    precise = dtype == torch.float32
    factors = torch.int8 if int8 and not precise else None
    if device.type == "cuda":
        name = "Triton" if int8 else "torch"
        return Backend(name, device, dtype, int8, CudaOps, _cuda_matrix(device), factors=factors)
    if int8 and device.type == "cpu":
        library = compiled.library()
        if library is not None:

            def ops(model: LanguageModel) -> Ops:
                return CpuOps(model, library)

            def matrix(weight: Tensor, scale: Tensor) -> nn.Module:
                return CompiledLinear(weight, scale, 2 if precise else 1, library)

            return Backend(
                "the compiled library", device, torch.float32, int8, ops, matrix, Arena.of, _compiled_threads, factors
            )
        if fbgemm.is_supported():

            def packed(weight: Tensor, scale: Tensor) -> nn.Module:
                return fbgemm.PackedLinear(weight, scale, 3 if precise else 2)

            return Backend("torch", device, torch.float32, int8, matrix=packed, factors=factors)
    return Backend("torch", device, dtype, int8)


def _cuda_matrix(device: torch.device) -> Callable[[Tensor, Tensor], nn.Module]:
    def matrix(weight: Tensor, scale: Tensor) -> nn.Module:
        if weight.numel() >= MOST_WEIGHTS:
            raise ConfigError(
                f"a matrix of {weight.numel()} weights is more than a GPU's kernels address; use --device cpu"
            )
        return TritonLinear(weight.to(device), scale.to(device))

    return matrix
