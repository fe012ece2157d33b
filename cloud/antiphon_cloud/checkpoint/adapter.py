"""An adapter's file, checked against the model that it is to be run beside."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from typing import Annotated, Self

import msgspec
import torch
from msgspec import Meta
from torch import Tensor

from antiphon_cloud.checkpoint.adapter_files import AdapterPaths
from antiphon_cloud.checkpoint.files.tensor_file import TensorFile
from antiphon_cloud.checkpoint.files.weight_files import WeightFiles, WeightSource
from antiphon_cloud.checkpoint.fingerprint import sampled
from antiphon_cloud.checkpoint.json_file import convert, read_object
from antiphon_cloud.errors import CheckpointError
from antiphon_cloud.model.config import ModelConfig
from antiphon_cloud.model.lm import LanguageModel, adapted_shapes

DOWN, UP = "lora_A.weight", "lora_B.weight"


class AdapterSettings(msgspec.Struct, frozen=True):
    """What an adapter's settings say of it, among other things."""

    lora_rank: Annotated[int, Meta(gt=0, le=2**14)] | None = None
    lora_scaling: Annotated[float, Meta(ge=-1e6, le=1e6)] = ModelConfig.lora_scaling


class AdapterFile:
    """The open files of an adapter; a context manager.

    Args:
        paths: of the adapter.
        config: of the model.

    Raises:
        CheckpointError: the file cannot be read, is no whole safetensors file, or not an adapter of this model.
        ConfigError: the settings cannot be read, or mean nothing.
    """

    def __init__(self, paths: AdapterPaths, config: ModelConfig) -> None:
        self._file = TensorFile(paths.weights)
        try:
            self.settings = self._read_settings(paths)
            self._pairs = self._locate(config)
        except BaseException:
            self._file.close()
            raise
        digest = hashlib.sha256(msgspec.json.encode(self.settings.lora_scaling))
        digest.update(sampled([[self._file]]))
        self.sha256 = digest.digest()
        """Of the factors, a sample as of a model's fingerprint, and of the scaling."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    @property
    def rank(self) -> int:
        """Of the factors."""
        assert self.settings.lora_rank is not None, "it was found"
        return self.settings.lora_rank

    @property
    def matrices(self) -> Collection[str]:
        """Names of the matrices that the adapter has factors for."""
        return self._pairs.keys()

    def read(self, matrix: str) -> tuple[Tensor, Tensor]:
        """The factors of a matrix, float32: down [rank, inputs], and up [rank, outputs] with the scaling."""
        down, up = (source.read().float() for source in self._pairs[matrix])
        return down, (up * self.settings.lora_scaling).t()

    def _read_settings(self, paths: AdapterPaths) -> AdapterSettings:
        """From the file beside, or else the metadata; a rank that neither has is the factors'."""
        file, keys = self._file, AdapterSettings.__struct_fields__
        if paths.settings.is_file():
            raw, where = read_object(paths.settings), str(paths.settings)
        else:
            raw = {
                key: msgspec.json.decode(text) for key, text in file.metadata.items() if key in keys and _number(text)
            }
            where = str(file.path)
        settings = convert({key: value for key, value in raw.items() if key in keys}, AdapterSettings, where)
        ranks = [held.shape[0] for name, held in file.tensors.items() if name.endswith(DOWN) and held.shape]
        if not ranks:
            raise CheckpointError(f"{file.path}: holds no *.{DOWN}: no adapter, as moshi-finetune writes them")
        return settings if settings.lora_rank else msgspec.structs.replace(settings, lora_rank=min(ranks))

    def _locate(self, config: ModelConfig) -> dict[str, tuple[WeightSource, WeightSource]]:
        shapes = adapted_shapes(config.lm)
        with torch.device("meta"):  # with the weight sets that nobody loads, whose factors need not be either
            published = LanguageModel(config.published or config.lm)
        known = {name: tuple(value.shape) for name, value in published.state_dict().items()}
        beside = {f"{name}.{leaf}": () for name in adapted_shapes(published.config) for leaf in (DOWN, UP)}
        for tensor in self._file.tensors:
            if tensor in known:
                raise CheckpointError(
                    f"{self._file.path}: replaces {tensor} as a whole, which one of several adapters cannot: merge it "
                    'into a model of its own ("lora": true in config.json)'
                )
        file, pairs = WeightFiles([self._file], known | beside), {}
        for name, (outputs, inputs) in shapes.items():
            down, up = f"{name}.{DOWN}", f"{name}.{UP}"
            if file.has(down) or file.has(up):
                pairs[name] = file.locate(down, (self.rank, inputs)), file.locate(up, (outputs, self.rank))
        file.refuse_rest()
        if not pairs:
            raise CheckpointError(f"{self._file.path}: adapts no matrix of this model")
        return pairs


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
