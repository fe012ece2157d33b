"""What a model is: the values of config.json that Antiphon acts on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from antiphon.spec import Sampling
from antiphon_cloud.model.conditioners import Conditioner, Fuser
from antiphon_cloud.timing import FRAME_MS

PAUSE_HEAD = 2  # of the extra heads, the one whose first class the published clients take for a pause
MAX_TOP_K = 512  # candidates that a sampling step ranks; the batch's shape is fixed, so this is too

SEVEN_B_DELAYS = (0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1)


# Bounds far above any published model. Beyond them, even to count the bytes would take all of them.
Width = Annotated[int, Meta(gt=0, le=2**17)]
Heads = Annotated[int, Meta(gt=0, le=2**10)]
Layers = Annotated[int, Meta(gt=0, le=2**9)]
FeedForward = Annotated[int, Meta(ge=0, le=2**20)]
Index = Annotated[int, Meta(ge=0)]
Seconds = Annotated[float, Meta(ge=0, le=30)]  # of silence, or of delay


@dataclass(frozen=True)
class LMConfig:
    """The language model's shape; the defaults are Moshi 7B's. Field names are config.json's keys."""

    dim: Width = 4096
    num_heads: Heads = 32
    num_layers: Layers = 32
    hidden_scale: Annotated[float, Meta(gt=0, le=64)] = 4.125
    context: Annotated[int, Meta(gt=0, le=2**24)] = 3000
    max_period: Annotated[float, Meta(gt=0, le=1e12)] = 10_000.0
    norm: Literal["rms_norm_f32", "rms_norm"] = "rms_norm_f32"
    n_q: Annotated[int, Meta(gt=0, le=128)] = 16
    dep_q: Annotated[int, Meta(ge=0)] = 8
    card: Annotated[int, Meta(gt=0, le=2**20)] = 2048
    text_card: Annotated[int, Meta(gt=0, le=2**22)] = 32_000
    existing_text_padding_id: int = 3
    existing_text_end_padding_id: int = 0
    delays: tuple[Index, ...] = SEVEN_B_DELAYS
    # The sizes of a part that a model does not have may be 0.
    depformer_dim: Annotated[int, Meta(ge=0, le=2**17)] = 1024
    depformer_num_heads: Annotated[int, Meta(ge=0, le=2**10)] = 16
    depformer_num_layers: Annotated[int, Meta(ge=0, le=2**7)] = 6
    depformer_dim_feedforward: FeedForward | tuple[FeedForward, ...] | None = 4224
    depformer_weights_per_step_schedule: tuple[Index, ...] | None = None
    depformer_low_rank_embeddings: Annotated[int, Meta(ge=0, le=2**17)] | None = None
    extra_heads_num_heads: Annotated[int, Meta(ge=0, le=128)] = 0
    extra_heads_dim: Annotated[int, Meta(ge=0, le=2**17)] = 6
    conditioners: Annotated[Mapping[str, Conditioner], Meta(max_length=16)] = field(default_factory=dict, hash=False)
    fuser: Fuser = field(default_factory=Fuser)
    cross_attention: bool = False
    demux_second_stream: bool = False  # whether a text token is two, of which the second may be none
    silent_codebooks: int = 0  # the last ones, which hold `ZERO`: of a model that generates fewer than it could

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
        return self.n_q - self.dep_q - self.silent_codebooks

    @property
    def codec_codebooks(self) -> int:
        """Codebooks of the codec that the model's sides need."""
        return max(self.dep_q, self.user_codebooks)

    @property
    def text_tokens(self) -> int:
        """Tokens that the text stream may hold, beside the initial one: all pairs where each is two."""
        tokens = self.text_card + 1
        return tokens * (tokens + 1) if self.demux_second_stream else self.text_card

    @property
    def hears_pauses(self) -> bool:
        """Whether an extra head tells when the person has come to a pause."""
        return self.extra_heads_num_heads > PAUSE_HEAD and self.extra_heads_dim > 0

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


class SpeechToText(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model that listens is fed."""

    audio_delay_seconds: Seconds = 0.0
    audio_silence_prefix_seconds: Seconds = 0.0


class TextToSpeech(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How a model that speaks a script is fed."""

    audio_delay: Seconds = 0.0  # from a text token to its sound
    second_stream_ahead: Annotated[int, Meta(ge=0, le=64)] = 0  # words that the second of two text tokens is ahead
    multistream: bool = False  # whether each speaker has streams of its own


@dataclass(frozen=True)
class ModelConfig:
    """All of config.json: the language model and what lies around it."""

    lm: LMConfig = field(default_factory=LMConfig)
    sampling: Sampling = field(default_factory=Sampling)  # lm_gen_config
    published: LMConfig | None = None  # the model that the files hold, where less of it is run
    moshi_name: str = "model.safetensors"
    mimi_name: str = "tokenizer-e351c8d8-checkpoint125.safetensors"
    mimi_config_name: str | None = None
    tokenizer_name: str = "tokenizer_spm_32k_3.model"
    lora_name: str | None = None
    model_type: str = "moshi"
    quantize: bool = False
    lora: bool = False
    lora_rank: int = 128
    lora_scaling: Annotated[float, Meta(ge=-1e6, le=1e6)] = 2.0
    stt_config: SpeechToText = field(default_factory=SpeechToText)
    tts_config: TextToSpeech = field(default_factory=TextToSpeech)
    model_id: Mapping[str, Any] = field(default_factory=dict)

    @property
    def sound_delay_steps(self) -> int:
        """Steps from a text token to its sound, in a model that speaks a script."""
        return int(self.tts_config.audio_delay * (1000 / FRAME_MS)) if self.model_type == "tts" else 0

    @property
    def speakers(self) -> int:
        """Speakers that a script may have; 0 for a model that speaks none."""
        return (2 if self.lm.fuser.cross else 1) if self.model_type == "tts" else 0

    @property
    def silence_before_s(self) -> float:
        """Silence that a speech-to-text model needs before the first sound."""
        return self.stt_config.audio_silence_prefix_seconds if self.model_type == "stt" else 0.0

    @property
    def silence_after_s(self) -> float:
        """Silence after the last sound: as much as its text is late, and a second, or its last words never come."""
        return self.text_delay_s + 1 if self.model_type == "stt" else 0.0

    @property
    def text_delay_s(self) -> float:
        """From a sound to its text, in a speech-to-text model."""
        return self.stt_config.audio_delay_seconds if self.model_type == "stt" else 0.0


def swiglu_hidden(dim: int, feed_forward: int) -> int:
    """Width between a gated feed-forward layer's two matrices: about two thirds of the ungated layer's."""
    return 21 * dim // 8 if feed_forward == 4 * dim else 2 * feed_forward // 3
