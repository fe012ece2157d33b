"""Mimi's sizes, as `mimi_config.json` gives them; the defaults are those of a model without that file."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from antiphon_cloud.errors import ConfigError


@dataclass(frozen=True, slots=True)
class SeanetConfig:
    """The convolutional encoder and decoder (SEANet: Tagliasacchi et al. 2020, arXiv:2009.02095)."""

    dimension: int = 512
    n_filters: int = 64
    n_residual_layers: int = 1
    ratios: tuple[int, ...] = (8, 6, 5, 4)
    """Strides in the decoder's order; the encoder takes them in reverse."""
    kernel_size: int = 7
    residual_kernel_size: int = 3
    last_kernel_size: int = 3
    dilation_base: int = 2
    compress: int = 2
    """How much narrower than its stage a residual block is inside."""

    @property
    def hop_samples(self) -> int:
        """Samples of one position of the latent."""
        return math.prod(self.ratios)


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """The transformer on each side of the quantizer."""

    d_model: int = 512
    num_heads: int = 8
    num_layers: int = 8
    dim_feedforward: int = 2048
    context: int = 250
    """Positions that attention sees, and that the ring of keys and values holds."""
    max_period: float = 10_000
    layer_scale: float | None = 0.01
    """Initial value of LayerScale; None for a model without."""
    input_dimension: int = 512
    output_dimension: int = 512

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.d_model // self.num_heads


@dataclass(frozen=True, slots=True)
class QuantizerConfig:
    """The split residual vector quantizer."""

    dimension: int = 256
    n_q: int = 32
    n_q_semantic: int = 1
    bins: int = 2048


@dataclass(frozen=True, slots=True)
class MimiConfig:
    """Everything that fixes the shapes of a Mimi checkpoint."""

    sample_rate: int = 24_000
    frame_rate: float = 12.5
    seanet: SeanetConfig = field(default_factory=SeanetConfig)
    transformer: TransformerConfig = field(default_factory=TransformerConfig)
    quantizer: QuantizerConfig = field(default_factory=QuantizerConfig)

    @property
    def frame_samples(self) -> int:
        """Samples of one frame."""
        return round(self.sample_rate / self.frame_rate)

    @property
    def positions_per_frame(self) -> int:
        """Positions of the transformers in one frame: the stride of the resampling beside the quantizer."""
        return self.frame_samples // self.seanet.hop_samples

    def canonical_json(self) -> str:
        """One spelling for equal configs, whatever file they came from."""
        return json.dumps(asdict(self), sort_keys=True, separators=(",", ":"))

    @classmethod
    def load(cls, path: Path | None) -> MimiConfig:
        """Reads `mimi_config.json`; without a path, the published sizes.

        Raises:
            ConfigError: the file is missing or malformed, or has a key or a value that Antiphon does not support.
        """
        if path is None:
            return cls()
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{path}: not a JSON file ({error})") from error
        try:
            return cls.parse(values)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def parse(cls, values: object) -> MimiConfig:
        """The config that a parsed `mimi_config.json` describes.

        Raises:
            ConfigError: names the key that is missing, unknown or has a value that is not supported.
        """
        root = _Section("", values)
        seanet = _Section("seanet", root.take("seanet"))
        transformer = _Section("transformer", root.take("transformer"))
        quantizer = _Section("quantizer", root.take("quantizer"))
        config = cls(
            sample_rate=root.positive_int("sample_rate"),
            frame_rate=root.positive("frame_rate"),
            seanet=SeanetConfig(
                ratios=seanet.ratios("ratios"),
                **{name: seanet.positive_int(name) for name in _names(SeanetConfig) if name != "ratios"},
            ),
            transformer=TransformerConfig(
                max_period=transformer.positive("max_period"),
                layer_scale=transformer.positive_or_none("layer_scale"),
                output_dimension=transformer.only_int("output_dimensions"),
                **{name: transformer.positive_int(name) for name in _TRANSFORMER_INTS},
            ),
            quantizer=QuantizerConfig(
                dimension=quantizer.positive_int("dimension"),
                n_q=quantizer.positive_int("n_q"),
                bins=quantizer.positive_int("bins"),
                n_q_semantic=quantizer.positive_int("n_q_semantic", 1),
            ),
        )
        root.fixed(channels=1)
        seanet.fixed(**_SEANET_FIXED)
        transformer.fixed(**_TRANSFORMER_FIXED)
        quantizer.fixed(input_dimension=config.seanet.dimension, output_dimension=config.seanet.dimension)
        for section in (seanet, transformer, quantizer, root):
            section.close()
        config.check()
        return config

    def check(self) -> None:
        """Checks what the keys mean together.

        Raises:
            ConfigError: names the keys that do not fit each other.
        """
        transformer, quantizer = self.transformer, self.quantizer
        hop = self.seanet.hop_samples
        if self.frame_samples * self.frame_rate != self.sample_rate or self.frame_samples % hop:
            raise ConfigError(
                f"`frame_rate` {self.frame_rate} at `sample_rate` {self.sample_rate} "
                f"is not a whole number of hops of {hop} samples (the product of `seanet.ratios`)"
            )
        if transformer.d_model % (2 * transformer.num_heads):
            raise ConfigError("`transformer.d_model` must be an even multiple of `transformer.num_heads`")
        if (transformer.input_dimension, transformer.output_dimension) != (self.seanet.dimension,) * 2:
            raise ConfigError(
                "`transformer.input_dimension` and `transformer.output_dimensions` must equal `seanet.dimension`"
            )
        if transformer.context < self.positions_per_frame:
            raise ConfigError(f"`transformer.context` must hold a frame of {self.positions_per_frame} positions")
        if quantizer.n_q <= quantizer.n_q_semantic:
            raise ConfigError("`quantizer.n_q` must be more than `quantizer.n_q_semantic`")
        if self.seanet.n_filters < self.seanet.compress:
            raise ConfigError("`seanet.compress` must be at most `seanet.n_filters`")


# What the published models say and Antiphon takes for granted, also where the key is missing.
_SEANET_FIXED: dict[str, Any] = {
    "channels": 1,
    "causal": True,
    "activation": "ELU",
    "activation_params": {"alpha": 1.0},
    "norm": "none",
    "norm_params": {},
    "pad_mode": "constant",
    "true_skip": True,
    "trim_right_ratio": 1.0,
    "final_activation": None,
}
_TRANSFORMER_FIXED: dict[str, Any] = {
    "causal": True,
    "conv_layout": True,
    "gating": "none",
    "norm": "layer_norm",
    "positional_embedding": "rope",
}
_TRANSFORMER_INTS = ("d_model", "num_heads", "num_layers", "dim_feedforward", "context", "input_dimension")

# Keys that change nothing at inference: which norm is disabled where there is none, and how the codebooks were learned.
_WITHOUT_EFFECT = {
    "seanet": {"disable_norm_outer_blocks"},
    "quantizer": {"q_dropout", "no_quantization_rate", "decay", "threshold_usage_ratio", "replaced_usage_ratio"},
}


def _names(config: type) -> list[str]:
    return [entry.name for entry in fields(config)]


class _Section:
    """One object of the file, emptied key by key, so that what is left over is what we do not know."""

    def __init__(self, name: str, values: object) -> None:
        self.name = name
        if not isinstance(values, Mapping):
            raise ConfigError(f"`{name or 'the file'}` must be an object, got {values!r}")
        self.left = dict(values)

    def key(self, name: str) -> str:
        return f"`{self.name}.{name}`" if self.name else f"`{name}`"

    def take(self, name: str, default: object = MISSING) -> object:
        value = self.left.pop(name, default)
        if value is MISSING:
            raise ConfigError(f"{self.key(name)} is missing")
        return value

    def positive_or_none(self, name: str) -> float | None:
        value = self.take(name)
        return None if value is None else self._positive(name, value)

    def positive(self, name: str) -> float:
        return self._positive(name, self.take(name))

    def positive_int(self, name: str, default: object = MISSING) -> int:
        return self._positive_int(name, self.take(name, default))

    def only_int(self, name: str) -> int:
        value = self.take(name)
        if not isinstance(value, list) or len(value) != 1:
            raise ConfigError(f"{self.key(name)} must hold one number, got {value!r}")
        return self._positive_int(name, value[0])

    def ratios(self, name: str) -> tuple[int, ...]:
        value = self.take(name)
        if not isinstance(value, list) or not value:
            raise ConfigError(f"{self.key(name)} must be a list of strides, got {value!r}")
        return tuple(self._positive_int(name, ratio) for ratio in value)

    def fixed(self, **expected: object) -> None:
        for name, value in expected.items():
            given = self.take(name, value)
            if given != value:
                raise ConfigError(f"{self.key(name)} {given!r} is not supported: expected {value!r}")

    def close(self) -> None:
        for name in self.left:
            if name not in _WITHOUT_EFFECT.get(self.name, set()):
                raise ConfigError(f"{self.key(name)} is not supported")

    def _positive(self, name: str, value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            raise ConfigError(f"{self.key(name)} must be a positive number, got {value!r}")
        return value

    def _positive_int(self, name: str, value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or value <= 0:
            raise ConfigError(f"{self.key(name)} must be a positive whole number, got {value!r}")
        return value
