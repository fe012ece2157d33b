"""Weights from safetensors files, checked against the model tensor by tensor before any is read.

Published files differ in how they hold the same matrices (attention projections fused or split, int8 rows or
floats, an adapter beside them); here they all become the parameters of `LanguageModel`.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.lm import LanguageModel
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.transformer import Linear

_FLOATS = ("BF16", "F16", "F32")
_PROJECTION = re.compile(r"(.*\.self_attn\.)(in|out)_projs\.(\d+)\.(.*)")


def load_model(directory: ModelDirectory, dtype: torch.dtype, device: torch.device) -> LanguageModel:
    """The directory's language model, ready for inference; see `load_state`."""
    with torch.device("meta"):
        model = LanguageModel(directory.config.lm)
    model.load_state_dict(load_state(directory, model, dtype, device), assign=True)
    return model.requires_grad_(False).eval()


def load_state(
    directory: ModelDirectory, model: LanguageModel, dtype: torch.dtype, device: torch.device
) -> dict[str, Tensor]:
    """The directory's weights under the model's names, in `dtype` on `device`.

    Files are mapped into memory: a tensor that needs no conversion is not copied, and at no time do two copies of the
    model exist. int8 rows become floats, `int8 * scb / 127`; an adapter is merged, `W + scaling * B A` (Hu et al.,
    "LoRA", 2021).

    Raises:
        CheckpointError: a file is missing or damaged, or a tensor is missing, unexpected, or of a wrong shape or dtype.
    """
    config = directory.config
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    linears = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Linear)}
    state = {}
    with _opened(directory.weights, shapes) as file:
        quantized = linears if config.quantize else set()
        sources = {name: file.locate(name, shape, quantized=name in quantized) for name, shape in shapes.items()}
        file.refuse_rest()
        for name, source in sources.items():
            value = source.dequantized() if name in quantized else source.read()
            state[name] = value.to(device, dtype)
    if directory.lora is not None:
        with _opened(directory.lora, shapes) as file:
            _merge_adapter(file, state, shapes, linears, config.lora_rank, config.lora_scaling)
    if config.model_type == "hibiki":  # as its authors do: an early end of text (2) is heard as padding (3)
        state["text_emb.weight"] = state["text_emb.weight"].clone()
        state["text_emb.weight"][2] = state["text_emb.weight"][3]
    return state


def _merge_adapter(
    file: _File,
    state: dict[str, Tensor],
    shapes: Mapping[str, tuple[int, ...]],
    linears: set[str],
    rank: int,
    scaling: float,
) -> None:
    """Adds the adapter's products to the matrices in `state`; whole tensors in its file replace the model's."""
    merges = []
    for name in linears:
        prefix = name.removesuffix("weight")
        outputs, inputs = shapes[name]
        names = f"{prefix}lora_A.weight", f"{prefix}lora_B.weight"
        if any(file.has(part) for part in names):
            down = file.locate(names[0], (rank, inputs))
            merges.append((name, down, file.locate(names[1], (outputs, rank))))
    replaced = [(name, file.locate(name, shape)) for name, shape in shapes.items() if file.has(name)]
    file.refuse_rest()
    for name, source in replaced:
        state[name] = source.read().to(state[name])
    for name, down, up in merges:
        weight = state[name].float().addmm(up.read().float().to(state[name].device),
                                           down.read().float().to(state[name].device), alpha=scaling)  # fmt: skip
        state[name] = weight.to(state[name].dtype)


@contextmanager
def _opened(path: Path, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[_File]:
    try:
        with safe_open(path, framework="pt") as file:
            yield _File(path, file, shapes)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path}: not a whole safetensors file ({error}); download it again") from error


@dataclass(frozen=True, slots=True)
class _Source:
    """A tensor of the file, or one of the equal parts that it stacks."""

    file: Any
    name: str
    part: int = 0
    parts: int = 1

    def read(self, suffix: str = "") -> Tensor:
        whole: Tensor = self.file.get_tensor(self.name + suffix)
        return whole.chunk(self.parts)[self.part]

    def dequantized(self) -> Tensor:
        """Float32 rows; the scale is each row's absolute maximum."""
        return self.read().float() * (self.read("_scb")[:, None] / 127)


class _File:
    """An open safetensors file whose tensors are asked for by the model's names."""

    def __init__(self, path: Path, file: Any, shapes: Mapping[str, tuple[int, ...]]) -> None:
        self._path = path
        self._file = file
        self._names = set(file.keys())
        self._used: set[str] = set()
        self._sets = Counter(match[1] for name in shapes if (match := _PROJECTION.fullmatch(name)) and match[2] == "in")

    def has(self, name: str) -> bool:
        """Whether the file holds the tensor, by itself or within a fused one."""
        return self._place(name).name in self._names

    def locate(self, name: str, shape: tuple[int, ...], quantized: bool = False) -> _Source:
        """Where the tensor is.

        Raises:
            CheckpointError: it is not there, or not of that shape, or neither float nor, if `quantized`, int8.
        """
        source = self._place(name)
        rows = shape[0] * source.parts
        self._check(source.name, (rows, *shape[1:]), ("I8",) if quantized else _FLOATS)
        if quantized:
            self._check(source.name + "_scb", (rows,), ("F32",))
        return source

    def refuse_rest(self) -> None:
        """Raises CheckpointError if the file holds a tensor that nothing asked for."""
        rest = sorted(self._names - self._used)
        if rest:
            more = f" (and {len(rest) - 1} more)" if len(rest) > 1 else ""
            raise CheckpointError(
                f"{self._path}: {rest[0]}: unexpected{more}; config.json describes a model without it"
            )

    def _place(self, name: str) -> _Source:
        """The tensor under its own name, or its part of a fused attention projection."""
        match = _PROJECTION.fullmatch(name)
        if match and name not in self._names:
            prefix, kind, part, rest = match.groups()
            for fused in (f"{prefix}{kind}_proj.{rest}", f"{prefix}{kind}_proj_{rest}"):
                if fused in self._names:
                    return _Source(self._file, fused, int(part), self._sets[prefix])
        return _Source(self._file, name)

    def _check(self, name: str, shape: tuple[int, ...], dtypes: tuple[str, ...]) -> None:
        if name not in self._names:
            raise CheckpointError(f"{self._path}: {name}: missing; expected {_shown(shape)} of {' or '.join(dtypes)}")
        header = self._file.get_slice(name)
        found = tuple(header.get_shape())
        if found != shape:
            raise CheckpointError(f"{self._path}: {name}: expected shape {_shown(shape)}, found {_shown(found)}")
        if header.get_dtype() not in dtypes:
            raise CheckpointError(
                f"{self._path}: {name}: expected {' or '.join(dtypes)}, found {header.get_dtype()}; "
                "is quantize in config.json right?"
            )
        self._used.add(name)


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
