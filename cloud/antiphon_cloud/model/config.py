"""What a model is: the values of config.json that Antiphon acts on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from antiphon.spec import Sampling

MAX_TOP_K = 512  # candidates that a sampling step ranks; the batch's shape is fixed, so this is too

SEVEN_B_DELAYS = (0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1)


@dataclass(frozen=True)
class LMConfig:
    """The language model's shape; the defaults are Moshi 7B's. Field names are config.json's keys."""

    dim: int = 4096
    num_heads: int = 32
    num_layers: int = 32
    hidden_scale: float = 4.125
    context: int = 3000
    max_period: float = 10_000.0
    norm: str = "rms_norm_f32"
    n_q: int = 16
    dep_q: int = 8
    card: int = 2048
    text_card: int = 32_000
    existing_text_padding_id: int = 3
    existing_text_end_padding_id: int = 0
    delays: tuple[int, ...] = SEVEN_B_DELAYS
    depformer_dim: int = 1024
    depformer_num_heads: int = 16
    depformer_num_layers: int = 6
    depformer_dim_feedforward: int | tuple[int, ...] | None = 4224
    depformer_weights_per_step_schedule: tuple[int, ...] | None = None
    depformer_low_rank_embeddings: int | None = None
    extra_heads_num_heads: int = 0
    extra_heads_dim: int = 6

    @property
    def streams(self) -> int:
        """Token rows of a step: text, the model's codebooks, the user's."""
        return 1 + self.n_q

    @property
    def initial_tokens(self) -> tuple[int, ...]:
        """What each stream holds before its first frame."""
        return (self.text_card, *[self.card] * self.n_q)

    @property
    def user_codebooks(self) -> int:
        """Codebooks that the user's side fills."""
        return self.n_q - self.dep_q

    @property
    def max_delay(self) -> int:
        """Steps that the output lags behind the input."""
        return max(self.delays)

    @property
    def norm_eps(self) -> float:
        """Added to the mean square under the root."""
        return 1e-8 if self.norm == "rms_norm_f32" else 1e-5

    @property
    def hidden(self) -> int:
        """Width of the temporal transformer's feed-forward layers."""
        return swiglu_hidden(self.dim, int(self.hidden_scale * self.dim))

    @cached_property
    def weight_sets(self) -> tuple[int, ...]:
        """The depformer weight set of each generated codebook."""
        return self.depformer_weights_per_step_schedule or tuple(range(self.dep_q))

    @cached_property
    def depformer_hidden(self) -> tuple[int, ...]:
        """Width of the depformer's feed-forward layers, one for each weight set."""
        sets = max(self.weight_sets, default=-1) + 1
        sizes = self.depformer_dim_feedforward
        if sizes is None:
            sizes = int(self.hidden_scale * self.depformer_dim)
        if isinstance(sizes, int):
            sizes = (sizes,) * sets
        return tuple(swiglu_hidden(self.depformer_dim, size) for size in sizes)


@dataclass(frozen=True)
class ModelConfig:
    """All of config.json: the language model and what lies around it."""

    lm: LMConfig = field(default_factory=LMConfig)
    sampling: Sampling = field(default_factory=Sampling)  # lm_gen_config
    moshi_name: str = "model.safetensors"
    mimi_name: str = "tokenizer-e351c8d8-checkpoint125.safetensors"
    mimi_config_name: str | None = None
    tokenizer_name: str = "tokenizer_spm_32k_3.model"
    lora_name: str | None = None
    model_type: str = "moshi"
    quantize: bool = False
    lora: bool = False
    lora_rank: int = 128
    lora_scaling: float = 2.0
    stt_config: Mapping[str, Any] = field(default_factory=dict)
    tts_config: Mapping[str, Any] = field(default_factory=dict)
    model_id: Mapping[str, Any] = field(default_factory=dict)

    @property
    def silence_before_s(self) -> float:
        """Silence that a speech-to-text model needs before the first sound."""
        return float(self.stt_config.get("audio_silence_prefix_seconds", 0)) if self.model_type == "stt" else 0.0

    @property
    def silence_after_s(self) -> float:
        """Silence after the last sound: as much as its text is late, and a second, or its last words never come."""
        return float(self.stt_config.get("audio_delay_seconds", 0)) + 1 if self.model_type == "stt" else 0.0


def swiglu_hidden(dim: int, feed_forward: int) -> int:
    """Width between a gated feed-forward layer's two matrices: about two thirds of the ungated layer's."""
    return 21 * dim // 8 if feed_forward == 4 * dim else 2 * feed_forward // 3
