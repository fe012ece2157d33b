"""Random low-rank adapters of small models, as files and in a model's store."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.lm import LanguageModel, adapted_shapes

Tensors = dict[str, Tensor]


def adapter_tensors(config: LMConfig, rank: int, seed: int = 0, only: str = "") -> Tensors:
    """Factors beside every matrix whose name begins so: their products are about half as large as the weights."""
    generator = torch.Generator().manual_seed(seed)
    tensors: Tensors = {}
    for name, (outputs, inputs) in adapted_shapes(config).items():
        if name.startswith(only):
            tensors[f"{name}.lora_A.weight"] = torch.randn(rank, inputs, generator=generator) * inputs**-0.5
            tensors[f"{name}.lora_B.weight"] = torch.randn(outputs, rank, generator=generator) * 0.25 * rank**-0.5
    return tensors


def save_adapter(path: Path, tensors: Tensors, metadata: Mapping[str, str] | None = None, **settings: object) -> Path:
    """Writes NAME.safetensors, and its settings beside it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in tensors.items()}, path, dict(metadata or {}))
    if settings:
        path.with_suffix(".json").write_text(json.dumps(settings))
    return path


def merge(model: LanguageModel, tensors: Tensors, scaling: float = 2.0) -> LanguageModel:
    """The model of floats with an adapter's products added to its matrices."""
    for name in adapted_shapes(model.config):
        if f"{name}.lora_A.weight" in tensors:
            up, down = tensors[f"{name}.lora_B.weight"], tensors[f"{name}.lora_A.weight"]
            model.get_parameter(f"{name}.weight").data += scaling * (up @ down)
    return model


def fill(model: LanguageModel, room: AdapterRoom, adapters: Mapping[int, Tensors], scaling: float = 2.0) -> None:
    """Gives the model a store with adapters in some of its places."""
    if model.adapters is None:
        model.make_room(room, torch.float32)
    assert model.adapters is not None
    for place, tensors in adapters.items():
        for name, factors in model.adapters.by_name.items():
            down, up = tensors.get(f"{name}.lora_A.weight"), tensors.get(f"{name}.lora_B.weight")
            factors.put(place, down, None if up is None else scaling * up.t())
