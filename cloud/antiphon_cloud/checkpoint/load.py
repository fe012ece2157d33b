"""Weights from safetensors files, checked against the model tensor by tensor before any is read.

Published files differ in how they hold the same matrices (attention projections fused or split, int8 rows or
floats, an adapter beside them); here they all become the parameters or int8 modules of `LanguageModel`.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from antiphon_cloud.backends.cpu.library import library
from antiphon_cloud.backends.cpu.memory import Arena
from antiphon_cloud.backends.cpu.model import accelerated
from antiphon_cloud.backends.int8 import LEVELS, int8_module, multiplies_integers, quantize_rows
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.other_formats import refuse_other_layout
from antiphon_cloud.checkpoint.tensor_file import TensorFile
from antiphon_cloud.errors import CheckpointError, ConfigError
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel

_FLOATS = ("BF16", "F16", "F32")
_PROJECTION = re.compile(r"(.*\.self_attn\.)(in|out)_projs\.(\d+)\.(.*)")


def load_model(
    directory: ModelDirectory, dtype: torch.dtype, device: torch.device, quantize: str | None = None
) -> LanguageModel:
    """The directory's language model, ready for inference.

    Each tensor is read into memory and converted by itself: at no time do two copies of the model exist, and none of it
    is the file's, which may be replaced while the model steps. An adapter is merged, `W + scaling * B A` (Hu et al.,
    "LoRA", 2021), before its matrix is quantized.

    Args:
        directory: the model.
        dtype: of activations, and of weights that are not int8.
        device: where they go.
        quantize: "none", "int8", or None for as the directory holds them. In int8, tables keep the file's dtype; those
            of a file that holds them in int8 too become bfloat16.

    Raises:
        CheckpointError: a file is missing or damaged, or a tensor is missing, unexpected, or of a wrong shape or dtype.
        ConfigError: the directory is int8 and `quantize` is "none".
    """
    config = directory.config
    int8 = is_int8(directory, quantize)
    with torch.device("meta"):
        model = LanguageModel(config.lm)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    linears = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Linear)}
    activations = torch.float32 if int8 and multiplies_integers(device) else dtype
    with ExitStack() as stack:
        file = _Files([stack.enter_context(TensorFile(path)) for path in directory.weight_files], shapes)
        published = (
            {name for name in shapes if name in linears or file.has(f"{name}_scb")} if config.quantize else set()
        )
        sources = {name: file.locate(name, shape, quantized=name in published) for name, shape in shapes.items()}
        file.refuse_rest()
        adapter = None
        if directory.lora is not None:
            lora = _Files([stack.enter_context(TensorFile(directory.lora))], shapes)
            adapter = _Adapter(lora, shapes, linears, config.lora_rank, config.lora_scaling)
        arena = None
        if int8 and device.type == "cpu" and library() is not None:
            arena = Arena(sum(Arena.room(math.prod(shapes[name])) for name in linears))
        for name, source in sources.items():
            module, _, leaf = name.rpartition(".")
            if int8 and name in linears:
                out = None if arena is None else arena.empty(shapes[name])
                if name in published:
                    values, scale = source.read(), source.read("_scb") / LEVELS
                    values = values if out is None else out.copy_(values)
                else:
                    values, scale = quantize_rows(_merged(adapter, name, source.read()), out)
                model.set_submodule(module, int8_module(values, scale, dtype, device))
                del values, scale, out
            else:
                table = int8 and name not in linears and not name.endswith("alpha")
                if name in published:
                    scale = source.read("_scb") / LEVELS
                    value = (source.read() * scale[:, None]).to(torch.bfloat16)
                else:
                    value = source.read() if table else source.read().to(activations)
                value = _merged(adapter, name, value).to(value.dtype)
                if name == "text_emb.weight" and config.model_type == "hibiki":
                    value = _hear_early_end_as_padding(value)
                setattr(model.get_submodule(module), leaf, nn.Parameter(value.to(device), requires_grad=False))
    if int8 and device.type == "cpu" and library() is not None:
        model = accelerated(model)
    return model.eval()


def is_int8(directory: ModelDirectory, quantize: str | None) -> bool:
    """Whether the directory's matrices are to be held in int8; see `load_model`.

    Raises:
        ConfigError: the directory is int8 and `quantize` is "none".
    """
    if directory.config.quantize and quantize == "none":
        raise ConfigError(f"{directory.root}: the weights are int8 already; leave --quantize none out")
    return directory.config.quantize or quantize == "int8"


def _hear_early_end_as_padding(table: Tensor) -> Tensor:
    """As Hibiki's authors do: an early end of text (2) is heard as padding (3)."""
    table = table.clone()
    table[2] = table[3]
    return table


def _merged(adapter: _Adapter | None, name: str, value: Tensor) -> Tensor:
    return value if adapter is None else adapter.merge(name, value)


class _Adapter:
    """A low-rank adapter's file: pairs of matrices to add, and whole tensors that replace the model's."""

    def __init__(
        self, file: _Files, shapes: Mapping[str, tuple[int, ...]], linears: set[str], rank: int, scaling: float
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
        """The adapted tensor; float32 where a product was added to it."""
        if name in self._replaced:
            value = self._replaced[name].read().to(value.dtype)
        if name in self._pairs:
            down, up = (source.read().float() for source in self._pairs[name])
            value = value.float().addmm(up, down, alpha=self._scaling)
        return value


@dataclass(frozen=True, slots=True)
class _Source:
    """A tensor of the model's files, or one of the equal parts that it stacks."""

    files: Mapping[str, TensorFile]  # by their tensors' names: a companion may be in another one
    name: str
    part: int = 0
    parts: int = 1

    def read(self, suffix: str = "") -> Tensor:
        """The tensor, or its companion whose name ends so, as the file holds it."""
        name = self.name + suffix
        return self.files[name].read(name, self.part, self.parts)


class _Files:
    """Open safetensors files that hold a model together; its tensors are asked for by the model's names."""

    def __init__(self, files: Sequence[TensorFile], shapes: Mapping[str, tuple[int, ...]]) -> None:
        for file in files:
            refuse_other_layout(file.path, file.tensors)
        self._path = files[0].path  # where a tensor that is nowhere would be
        self._files = {name: file for file in files for name in file.tensors}
        self._used: set[str] = set()
        self._sets = Counter(match[1] for name in shapes if (match := _PROJECTION.fullmatch(name)) and match[2] == "in")

    def has(self, name: str) -> bool:
        """Whether a file holds the tensor, by itself or within a fused one."""
        return self._place(name)[0] in self._files

    def locate(self, name: str, shape: tuple[int, ...], quantized: bool = False) -> _Source:
        """Where the tensor is.

        Raises:
            CheckpointError: it is not there, or not of that shape, or neither float nor, if `quantized`, int8.
        """
        found, part, parts = self._place(name)
        rows = shape[0] * parts
        self._check(found, (rows, *shape[1:]), ("I8",) if quantized else _FLOATS)
        if quantized:
            self._check(found + "_scb", (rows,), ("F32",))
        return _Source(self._files, found, part, parts)

    def refuse_rest(self) -> None:
        """Raises CheckpointError if a file holds a tensor that nothing asked for."""
        rest = sorted(self._files.keys() - self._used)
        if rest:
            more = f" (and {len(rest) - 1} more)" if len(rest) > 1 else ""
            path = self._files[rest[0]].path
            raise CheckpointError(f"{path}: {rest[0]}: unexpected{more}; config.json describes a model without it")

    def _place(self, name: str) -> tuple[str, int, int]:
        """The tensor's own name, or a fused attention projection's; and which of how many parts of it."""
        match = _PROJECTION.fullmatch(name)
        if match and name not in self._files:
            prefix, kind, part, rest = match.groups()
            for fused in (f"{prefix}{kind}_proj.{rest}", f"{prefix}{kind}_proj_{rest}"):
                if fused in self._files:
                    return fused, int(part), self._sets[prefix]
        return name, 0, 1

    def _check(self, name: str, shape: tuple[int, ...], dtypes: tuple[str, ...]) -> None:
        file = self._files.get(name)
        if file is None:
            raise CheckpointError(f"{self._path}: {name}: missing; expected {_shown(shape)} of {' or '.join(dtypes)}")
        held = file.tensors[name]
        if held.shape != shape:
            raise CheckpointError(f"{file.path}: {name}: expected shape {_shown(shape)}, found {_shown(held.shape)}")
        if held.dtype not in dtypes:
            raise CheckpointError(
                f"{file.path}: {name}: expected {' or '.join(dtypes)}, found {held.dtype}; "
                "is quantize in config.json right?"
            )
        self._used.add(name)


def _shown(shape: tuple[int, ...]) -> str:
    return f"[{', '.join(map(str, shape))}]"
