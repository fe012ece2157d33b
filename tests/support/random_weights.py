"""A Mimi of random weights, in any sizes."""

import math

import torch
from torch import Tensor


class RandomWeights:
    """Weights of unit gain, so that every part of the network matters; `tensors` is the checkpoint that holds them."""

    def __init__(self, seed: int = 0) -> None:
        self.tensors: dict[str, Tensor] = {}
        self._generator = torch.Generator().manual_seed(seed)

    def take(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name not in self.tensors:
            self.tensors[name] = self._make(name, shape)
        return self.tensors[name]

    def skip(self, name: str, shape: tuple[int, ...]) -> None:
        self.tensors[name] = torch.zeros(shape)

    def first_of(self, *names: str) -> str:
        return names[0]

    def _make(self, name: str, shape: tuple[int, ...]) -> Tensor:
        if name.endswith(("norm1.weight", "norm2.weight", "cluster_usage")):
            return torch.ones(shape)
        tensor = torch.empty(shape).normal_(generator=self._generator)
        if name.endswith(".scale"):
            return tensor.mul_(0.1).add_(0.4)
        if name.endswith("embedding_sum"):
            return tensor.mul_(0.5)
        if len(shape) == 1:
            return tensor.mul_(0.1)
        fan_in = shape[0] * 2 if "convtr" in name and shape[1] > 1 else math.prod(shape[1:])
        return tensor.mul_(1.3 * fan_in**-0.5)
