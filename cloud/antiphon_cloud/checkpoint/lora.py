"""Low-rank adapters, merged into the weights while loading: `W + scaling * B A` (Hu et al., "LoRA", 2021)."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor

from antiphon_cloud.checkpoint.files.weight_files import WeightFiles


class Adapter:
    """A low-rank adapter's file: pairs of matrices to add, and whole tensors that replace the model's."""

    def __init__(
        self, file: WeightFiles, shapes: Mapping[str, tuple[int, ...]], linears: set[str], rank: int, scaling: float
    ) -> None:
        self._scaling = scaling
        self._pairs = {}
        for name in linears:
            prefix = name.removesuffix("weight")
            down, up = f"{prefix}lora_A.weight", f"{prefix}lora_B.weight"
            if file.has(down) or file.has(up):
                outputs, inputs = shapes[name]
                self._pairs[name] = file.locate(down, (rank, inputs)), file.locate(up, (outputs, rank))
        self._replaced = {name: file.locate(name, shape) for name, shape in shapes.items() if file.has(name)}
        file.refuse_rest()

    def merge(self, name: str, value: Tensor) -> Tensor:
        """The adapted tensor; float32 if a product was added to it."""
        if name in self._replaced:
            value = self._replaced[name].read().to(value.dtype)
        if name in self._pairs:
            down, up = (source.read().float() for source in self._pairs[name])
            value = value.float().addmm(up, down, alpha=self._scaling)
        return value
