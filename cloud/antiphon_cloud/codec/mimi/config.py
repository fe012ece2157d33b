"""Mimi's sizes, read from `mimi_config.json`; the defaults are the published sizes, for models without that file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta

from antiphon_cloud.checkpoint.json_file import as_object, convert, demand_only, read_object, shown
from antiphon_cloud.errors import ConfigError

# Bounds far above any published codec.
Size = Annotated[int, Meta(gt=0, le=2**16)]
Layers = Annotated[int, Meta(gt=0, le=2**9)]
Positive = Annotated[float, Meta(gt=0, le=1e12)]


@dataclass(frozen=True, slots=True)
class SeanetConfig:
    """The convolutional encoder and decoder (SEANet: Tagliasacchi et al. 2020, arXiv:2009.02095)."""

    dimension: Size = 512
    n_filters: Size = 64
    n_residual_layers: Layers = 1
    ratios: Annotated[tuple[Size, ...], Meta(min_length=1, max_length=16)] = (8, 6, 5, 4)
    """Strides in the decoder's order; the encoder takes them in reverse."""
    kernel_size: Size = 7
    residual_kernel_size: Size = 3
    last_kernel_size: Size = 3
    dilation_base: Size = 2
    compress: Size = 2
    """Width of a stage over the inner width of its residual blocks."""

    @property
    def hop_samples(self) -> int:
        """Samples per position of the latent."""
        return math.prod(self.ratios)


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """The transformer on each side of the quantizer."""

    d_model: Size = 512
    num_heads: Size = 8
    num_layers: Layers = 8
    dim_feedforward: Size = 2048
    context: Size = 250
    """Positions that attention sees: the size of the ring KV cache."""
    max_period: Positive = 10_000
    layer_scale: Positive | None = 0.01
    """Initial value of LayerScale; None for a model without it."""
    input_dimension: Size = 512
    output_dimension: Size = 512

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.d_model // self.num_heads


@dataclass(frozen=True, slots=True)
class QuantizerConfig:
    """The split residual vector quantizer."""

    dimension: Size = 256
    n_q: Layers = 32
    n_q_semantic: Size = 1
    bins: Size = 2048


@dataclass(frozen=True, slots=True)
class MimiConfig:
    """All sizes that determine the shapes of a Mimi checkpoint."""

    sample_rate: Annotated[int, Meta(gt=0, le=192_000)] = 24_000
    frame_rate: Annotated[float, Meta(gt=0, le=1000)] = 12.5
    seanet: SeanetConfig = field(default_factory=SeanetConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)

    @property
    def frame_samples(self) -> int:
        """Samples per frame."""
        return round(self.sample_rate / self.frame_rate)

    @property
    def positions_per_frame(self) -> int:
        """Positions of the transformers per frame: the stride of the resampling next to the quantizer."""
        return self.frame_samples // self.seanet.hop_samples

    def canonical_json(self) -> str:
        """The same text for equal configs, whichever file they came from: whole numbers have no decimals."""
        return json.dumps(_plain(asdict(self)), sort_keys=True, separators=(",", ":"))

    @classmethod
    def load(cls, path: Path | None) -> MimiConfig:
        """Reads `mimi_config.json`; without a path, returns the published sizes.

        Raises:
            ConfigError: the file is missing or malformed, or has a key or a value that Antiphon does not support.
        """
        return cls() if path is None else cls.parse(read_object(path), str(path))

    @classmethod
    def parse(cls, raw: Mapping[str, Any], where: str) -> MimiConfig:
        """Parses the object in `mimi_config.json`; every size is required.

        Args:
            raw: the object.
            where: the file's name, for messages.

        Raises:
            ConfigError: a key is missing or unknown, or has an unsupported value.
        """
        values = _sizes(raw, cls, "", where)
        for name, kind in _PARTS.items():
            values[name] = _sizes(values[name], kind, name, where)
        outputs = values["transformer"].pop("output_dimensions")
        if not isinstance(outputs, list) or len(outputs) != 1:
            raise ConfigError(f"{where}: transformer.output_dimensions: expected one number, got {shown(outputs)}")
        config = convert(values | {"transformer": values["transformer"] | {"output_dimension": outputs[0]}}, cls, where)
        around = {"input_dimension": (config.seanet.dimension,), "output_dimension": (config.seanet.dimension,)}
        demand_only(raw["quantizer"], around, where, "quantizer.")
        config.check(where)
        return config

    def check(self, where: str = "mimi_config.json") -> None:
        """Checks that the keys fit each other.

        Args:
            where: the file's name, for messages.

        Raises:
            ConfigError: names the keys that do not fit each other.
        """

        def demand(holds: bool, message: str) -> None:
            if not holds:
                raise ConfigError(f"{where}: {message}")

        seanet, transformer, quantizer = self.seanet, self.transformer, self.quantizer
        hop = seanet.hop_samples
        demand(
            self.frame_samples * self.frame_rate == self.sample_rate and self.frame_samples % hop == 0,
            f"frame_rate: {self.frame_rate} at a sample_rate of {self.sample_rate} is not a whole number of hops of "
            f"{hop} samples (the product of seanet.ratios)",
        )
        demand(
            transformer.d_model % (2 * transformer.num_heads) == 0,
            "transformer.num_heads: d_model must be an even multiple of it",
        )
        for name in ("input_dimension", "output_dimension"):
            demand(getattr(transformer, name) == seanet.dimension, f"transformer.{name}: must equal seanet.dimension")
        demand(
            transformer.context >= self.positions_per_frame,
            f"transformer.context: must hold a frame of {self.positions_per_frame} positions",
        )
        demand(quantizer.n_q > quantizer.n_q_semantic, "quantizer.n_q: must be more than n_q_semantic")
        demand(seanet.n_filters >= seanet.compress, "seanet.compress: must be at most n_filters")


_PARTS = {"seanet": SeanetConfig, "transformer": TransformerConfig, "quantizer": QuantizerConfig}
_ONLY: dict[str, dict[str, tuple[Any, ...]]] = {  # keys with one supported value, the published one; also the default
    "": {"channels": (1,)},
    "seanet": {
        "channels": (1,),
        "causal": (True,),
        "activation": ("ELU",),
        "activation_params": ({"alpha": 1.0},),
        "norm": ("none",),
        "norm_params": ({},),
        "pad_mode": ("constant",),
        "true_skip": (True,),
        "trim_right_ratio": (1.0,),
        "final_activation": (None,),
    },
    "transformer": {
        "causal": (True,),
        "conv_layout": (True,),
        "gating": ("none",),
        "norm": ("layer_norm",),
        "positional_embedding": ("rope",),
    },
    "quantizer": {},
}
_OTHERS = {  # keys that are checked elsewhere, or have no effect on inference
    "seanet": {"disable_norm_outer_blocks"},
    "transformer": {"output_dimensions"},
    "quantizer": {
        "input_dimension",
        "output_dimension",
        "q_dropout",
        "no_quantization_rate",
        "decay",
        "threshold_usage_ratio",
        "replaced_usage_ratio",
    },
}
_OPTIONAL = {"n_q_semantic"}


def _sizes(raw: Any, kind: type[Any], name: str, where: str) -> dict[str, Any]:
    """The sizes of `kind` in one object of the file, unchecked; checks all other keys.

    Raises:
        ConfigError: a size is missing, or another key is unknown or has an unsupported value.
    """
    values = as_object(raw, f"{where}: {name}" if name else where)
    within = f"{name}." if name else ""
    demand_only(values, _ONLY[name], where, within)
    sizes = {size.name for size in fields(kind)}
    if name == "transformer":
        sizes = sizes - {"output_dimension"} | {"output_dimensions"}  # the file has a list of one
    for key in values:
        if key not in sizes | _ONLY[name].keys() | _OTHERS.get(name, set()):
            raise ConfigError(f"{where}: unknown key {within}{key}: this version of Antiphon cannot run the codec")
    for key in sorted(sizes - _OPTIONAL):
        if key not in values:
            raise ConfigError(f"{where}: {within}{key}: is missing")
    return {key: value for key, value in values.items() if key in sizes}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    return int(value) if isinstance(value, float) and value.is_integer() else value
