"""Loads weights from safetensors files; checks every tensor against the model before reading any.

Published files hold the same matrices in different ways (attention projections fused or split, int8 rows or
floats, an adapter beside them). All become parameters or int8 modules of `LanguageModel`.
"""

from __future__ import annotations

from contextlib import ExitStack

import torch
from torch import Tensor, nn

from antiphon_cloud.backends.int8 import LEVELS, quantize_rows
from antiphon_cloud.backends.select import Backend
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.families import HIBIKI, hear_early_end_as_padding, unused_matrices
from antiphon_cloud.checkpoint.files.tensor_file import TensorFile
from antiphon_cloud.checkpoint.files.weight_files import WeightFiles
from antiphon_cloud.checkpoint.lora import Adapter
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel

CONDITIONERS = "condition_provider."  # float32 in every model


def load_model(directory: ModelDirectory, backend: Backend, room: AdapterRoom | None = None) -> LanguageModel:
    """The directory's language model, ready for inference.

    Reads and converts one tensor at a time, so that two copies of the model never exist. The model does not map the
    file, which may be replaced while it runs. An adapter is merged before its matrix is quantized. In int8, tables
    keep the file's dtype; int8 tables become bfloat16.

    Args:
        directory: the model.
        backend: its dtypes and device.
        room: for adapters that sessions choose; None for none.

    Raises:
        CheckpointError: a file is missing or damaged, or a tensor is missing, unexpected, or of a wrong shape or dtype.
    """
    config, device, int8 = directory.config, backend.device, backend.int8
    assert int8 or not config.quantize, "no matrix of a directory in int8 is turned back"
    with torch.device("meta"):
        model = LanguageModel(config.lm)
        published_model = LanguageModel(config.published or config.lm)
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    held = {name: tuple(value.shape) for name, value in published_model.state_dict().items()}
    held |= unused_matrices(published_model.config)
    linears = {f"{name}.weight" for name, module in model.named_modules() if isinstance(module, Linear)}
    with ExitStack() as stack:
        file = WeightFiles([stack.enter_context(TensorFile(path)) for path in directory.weight_files], held)
        published = (
            {name for name in shapes if name in linears or file.has(f"{name}_scb")} if config.quantize else set()
        )
        sources = {name: file.locate(name, shape, quantized=name in published) for name, shape in shapes.items()}
        file.refuse_rest()
        adapter = None
        if directory.lora is not None:
            lora = WeightFiles([stack.enter_context(TensorFile(directory.lora))], shapes)
            adapter = Adapter(lora, shapes, linears, config.lora_rank, config.lora_scaling)
        arena = backend.memory([shapes[name] for name in linears]) if int8 else None
        for name, source in sources.items():
            module, _, leaf = name.rpartition(".")
            if int8 and name in linears:
                out = None if arena is None else arena.empty(shapes[name])
                if name in published:
                    values, scale = source.read(), source.read("_scb") / LEVELS
                    values = values if out is None else out.copy_(values)
                else:
                    values, scale = quantize_rows(_merged(adapter, name, source.read()), out)
                model.set_submodule(module, backend.matrix(values, scale))
                del values, scale, out
            else:
                if name in published:
                    scale = source.read("_scb") / LEVELS
                    value = (source.read() * scale[:, None]).to(torch.bfloat16)
                else:
                    value = source.read()
                if name.startswith(CONDITIONERS):
                    value = value.float()
                elif not int8 or name in linears or "norm" in name:
                    value = value.to(backend.dtype)
                value = _merged(adapter, name, value).to(value.dtype)
                if name == "text_emb.weight" and config.model_type == HIBIKI:
                    value = hear_early_end_as_padding(value)
                setattr(model.get_submodule(module), leaf, nn.Parameter(value.to(device), requires_grad=False))
    if room is not None:
        model.make_room(room, backend.adapter_dtype)
    return model.eval()


def is_int8(directory: ModelDirectory, quantize: str | None) -> bool:
    """Whether the directory's matrices are loaded as int8.

    Args:
        directory: the model.
        quantize: "none", "int8", or None to keep the directory's form.

    Raises:
        ConfigError: the directory is int8 and `quantize` is "none".
    """
    if directory.config.quantize and quantize == "none":
        raise ConfigError(f"{directory.root}: the weights are int8 already; leave --quantize none out")
    return directory.config.quantize or quantize == "int8"


def _merged(adapter: Adapter | None, name: str, value: Tensor) -> Tensor:
    return value if adapter is None else adapter.merge(name, value)
