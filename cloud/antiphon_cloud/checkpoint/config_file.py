"""config.json, read and checked key by key.

A key that Antiphon does not know, or a value that asks for something it does not do, is an error that names it:
a model that runs with one of its settings ignored is a different model.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import msgspec

from antiphon.spec import Sampling
from antiphon_cloud.checkpoint.other_formats import LFS_ADVICE, LFS_POINTER, PYTORCH
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.config import MAX_TOP_K, LMConfig, ModelConfig

_ONLY: dict[str, tuple[Any, ...]] = {  # keys with one way that Antiphon runs
    "conditioners": (None, {}),
    "cross_attention": (None, False),
    "kv_repeat": (1,),
    "norm_emb": (None, False),
    "demux_second_text_stream": (None, False),
    "demux_second_stream": (None, False),
    "gating": ("silu",),
    "positional_embedding": ("rope",),
    "positional_scale": (1,),
    "layer_scale": (None,),
    "bias_proj": (None, False),
    "skip_self_attn": (None, False),
    "causal": (True,),
    "depformer_cross_attention": (None, False),
    "depformer_kv_repeat": (1,),
    "depformer_gating": ("silu",),
    "depformer_layer_scale": (None,),
    "depformer_multi_linear": (True,),
    "depformer_norm": (None,),
    "depformer_pos_emb": ("none",),
    "depformer_weights_per_step": (True,),
}
_NO_EFFECT = {  # on inference, whatever the value
    "betas",
    "depformer_causal",
    "depformer_context",
    "depformer_max_period",
    "gradient_checkpointing",
}
_ELSEWHERE = {  # keys that only other programs' configurations of the same models have
    "architectures": "the transformers library",
    "transformers_version": "the transformers library",
    "lm_config": "candle",
}
_MOST = {  # far above any published model; beyond, even to count the bytes would take all of them
    "dim": 2**17,
    "num_heads": 2**10,
    "num_layers": 2**9,
    "hidden_scale": 2**6,
    "context": 2**24,
    "n_q": 2**7,
    "card": 2**20,
    "text_card": 2**22,
    "depformer_dim": 2**17,
    "depformer_num_heads": 2**10,
    "depformer_num_layers": 2**7,
    "depformer_low_rank_embeddings": 2**17,
    "extra_heads_num_heads": 2**7,
    "extra_heads_dim": 2**17,
}
_STT_KEYS = {"audio_delay_seconds", "audio_silence_prefix_seconds"}
_MOST_SILENCE_S = 30  # beyond any model's; edges refuse what is far more
_LM_KEYS = {f.name for f in fields(LMConfig)}
_OUTER_KEYS = {f.name for f in fields(ModelConfig)} - {"lm", "sampling"}
_GENERATION_KEYS = {
    "temp": "audio_temperature",
    "temp_text": "text_temperature",
    "top_k": "audio_top_k",
    "top_k_text": "text_top_k",
}


def read_config(path: Path) -> ModelConfig:
    """Reads a config.json.

    Raises:
        ConfigError: it cannot be read, is no JSON object, or `parse_config` refuses it.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from error
    if data.startswith(LFS_POINTER):
        raise ConfigError(f"{path}: {LFS_ADVICE}")
    try:
        raw = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not JSON ({error})") from error
    if not isinstance(raw, dict):
        raise ConfigError(f"{path}: expected a JSON object, got {type(raw).__name__}")
    return parse_config(raw, str(path))


def parse_config(raw: Mapping[str, Any], where: str) -> ModelConfig:
    """The configuration that `raw` describes; absent keys take the 7B model's values.

    Args:
        raw: config.json's object.
        where: the file's name, for messages.

    Raises:
        ConfigError: a key is unknown, unsupported, of a wrong type, or contradicts another.
    """
    for key, program in _ELSEWHERE.items():
        if key in raw:
            raise ConfigError(f"{where}: {key}: a configuration of {program}; {PYTORCH}")
    lm_keys, outer_keys = {}, {}
    for key, value in raw.items():
        if key in _ONLY:
            if not any(_same(value, accepted) for accepted in _ONLY[key]):
                wanted = " or ".join(msgspec.json.encode(accepted).decode() for accepted in _ONLY[key])
                raise ConfigError(
                    f"{where}: {key}: {_shown(value)} is not supported; Antiphon runs models with {wanted}"
                )
        elif key == "fuser":
            if value is not None and not _fuses_nothing(value):
                raise ConfigError(f"{where}: fuser: models with conditioners are not supported")
        elif key == "text_card_out":
            if value not in (None, raw.get("text_card", LMConfig.text_card)):
                raise ConfigError(f"{where}: text_card_out: {_shown(value)} is not supported; only text_card's value")
        elif key in _LM_KEYS:
            lm_keys[key] = value
        elif key in _OUTER_KEYS:
            outer_keys[key] = value
        elif key != "lm_gen_config" and key not in _NO_EFFECT:
            raise ConfigError(f"{where}: unknown key {key}: this version of Antiphon cannot run the model")
    lm = _convert(lm_keys, LMConfig, where)
    _check_lm(lm, where)
    config: ModelConfig = _convert(outer_keys, ModelConfig, where)
    if config.lora and config.quantize:
        raise ConfigError(f"{where}: lora: an adapter on int8 weights is not supported; take the bf16 checkpoint")
    if config.lora_name and not config.lora:
        raise ConfigError(f"{where}: lora_name is set but lora is not true; set lora to true, or remove lora_name")
    if config.lora and not (config.lora_rank > 0 and math.isfinite(config.lora_scaling)):
        raise ConfigError(f"{where}: lora_rank must be positive and lora_scaling finite")
    _check_stt(config.stt_config, f"{where}: stt_config")
    return replace(config, lm=lm, sampling=_sampling(raw.get("lm_gen_config"), lm, where))


def _check_lm(lm: LMConfig, where: str) -> None:
    """What the types do not say."""

    def demand(holds: bool, key: str, message: str) -> None:
        if not holds:
            raise ConfigError(f"{where}: {key}: {message}")

    depformer_sizes = ("depformer_dim", "depformer_num_heads", "depformer_num_layers") if lm.dep_q else ()
    extra_sizes = ("extra_heads_dim",) if lm.extra_heads_num_heads else ()
    for key in (
        "dim",
        "num_heads",
        "num_layers",
        "context",
        "n_q",
        "card",
        "text_card",
        *depformer_sizes,
        *extra_sizes,
    ):
        demand(getattr(lm, key) > 0, key, f"expected a positive number, got {getattr(lm, key)}")
    for key in ("hidden_scale", "max_period"):
        value = getattr(lm, key)
        demand(math.isfinite(value) and value > 0, key, f"expected a positive number, got {value}")
    for key, most in _MOST.items():
        demand((getattr(lm, key) or 0) <= most, key, f"{getattr(lm, key)} is more than the {most} that any model has")
    demand(
        lm.norm in ("rms_norm_f32", "rms_norm"), "norm", f"{lm.norm} is not supported; only rms_norm_f32 and rms_norm"
    )
    demand(0 <= lm.dep_q <= lm.n_q, "dep_q", f"expected 0 to n_q ({lm.n_q}), got {lm.dep_q}")
    demand(
        lm.dep_q < lm.n_q,
        "dep_q",
        f"all {lm.n_q} codebooks are generated; models without a user's stream are not supported",
    )
    demand(lm.extra_heads_num_heads >= 0, "extra_heads_num_heads", "must not be negative")
    demand(len(lm.delays) == lm.streams, "delays", f"expected {lm.streams} (text and n_q), got {len(lm.delays)}")
    demand(min(lm.delays) >= 0, "delays", "must not be negative")
    demand(max(lm.delays) < lm.context, "delays", f"{max(lm.delays)} steps do not fit a context of {lm.context}")
    _check_heads(demand, "dim", lm.dim, lm.num_heads)
    demand(lm.hidden > 0, "hidden_scale", f"{lm.hidden_scale} leaves the feed-forward layers no width")
    demand(lm.dim // lm.num_heads % 2 == 0, "dim", "RoPE needs heads of an even width")
    schedule = lm.depformer_weights_per_step_schedule
    if schedule is not None:
        key = "depformer_weights_per_step_schedule"
        demand(len(schedule) == lm.dep_q, key, f"expected {lm.dep_q} entries, one a codebook, got {len(schedule)}")
        demand(min(schedule, default=0) >= 0, key, "must not be negative")
        demand(max(schedule, default=0) < lm.n_q, key, f"expected weight sets below n_q ({lm.n_q})")
    if not lm.dep_q:
        return
    _check_heads(demand, "depformer_dim", lm.depformer_dim, lm.depformer_num_heads)
    sizes = lm.depformer_dim_feedforward
    sets = max(lm.weight_sets) + 1
    if isinstance(sizes, tuple):
        demand(len(sizes) == sets, "depformer_dim_feedforward", f"expected {sets} sizes, got {len(sizes)}")
    demand(min(lm.depformer_hidden) > 0, "depformer_dim_feedforward", "must be positive")
    demand(max(lm.depformer_hidden) <= 2**20, "depformer_dim_feedforward", "is larger than any model's")
    rank = lm.depformer_low_rank_embeddings
    demand(rank is None or rank > 0, "depformer_low_rank_embeddings", f"expected a positive number, got {rank}")


def _check_stt(stt: Mapping[str, Any], where: str) -> None:
    for key, value in stt.items():
        if key not in _STT_KEYS:
            raise ConfigError(f"{where}: unknown key {key}: this version of Antiphon cannot run the model")
        seconds = isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= _MOST_SILENCE_S
        if not seconds:
            raise ConfigError(f"{where}: {key}: expected 0 to {_MOST_SILENCE_S} seconds, got {_shown(value)}")


def _check_heads(demand: Callable[[bool, str, str], None], key: str, dim: int, heads: int) -> None:
    demand(dim % heads == 0, key, f"{dim} does not divide into {heads} heads")


def _sampling(raw: Any, lm: LMConfig, where: str) -> Sampling:
    """lm_gen_config: the sampling that a session gets unless it asks for another."""
    where = f"{where}: lm_gen_config"
    raw = {} if raw is None else raw
    if not isinstance(raw, dict):
        raise ConfigError(f"{where}: expected an object, got {type(raw).__name__}")
    values = {}
    for key, value in raw.items():
        if key == "use_sampling" and isinstance(value, bool):
            continue
        if key == "cfg_coef" and _same(value, 1):
            continue
        if key not in _GENERATION_KEYS:
            raise ConfigError(f"{where}: {key}: {_shown(value)} is not supported")
        values[_GENERATION_KEYS[key]] = value
    sampling: Sampling = _convert(values, Sampling, where)
    if raw.get("use_sampling") is False:
        sampling = replace(sampling, text_temperature=0.0, audio_temperature=0.0)
    for name in ("text_temperature", "audio_temperature"):
        value = getattr(sampling, name)
        if not (math.isfinite(value) and value >= 0):
            raise ConfigError(f"{where}: a temperature must be 0 or more, got {value}")
    text_top_k = _top_k(sampling.text_top_k, lm.text_card, where)
    audio_top_k = _top_k(sampling.audio_top_k, lm.card, where)
    return replace(sampling, text_top_k=text_top_k, audio_top_k=audio_top_k)


def _top_k(top_k: int, cardinality: int, where: str) -> int:
    """Resolves 0, which means all tokens."""
    candidates = min(top_k or cardinality, cardinality)
    if not 0 < candidates <= MAX_TOP_K:
        raise ConfigError(f"{where}: a top-k of {top_k} is not supported; take 1 to {MAX_TOP_K}")
    return candidates


def _fuses_nothing(fuser: Any) -> bool:
    return isinstance(fuser, dict) and all(fuser.get(method) in (None, []) for method in ("sum", "cross", "prepend"))


def _same(value: Any, accepted: Any) -> bool:
    """Equality that keeps booleans and numbers apart."""
    return bool(value == accepted) and isinstance(value, bool) == isinstance(accepted, bool)


def _shown(value: Any) -> str:
    text = msgspec.json.encode(value).decode()
    return text if len(text) <= 60 else text[:57] + "..."


def _convert(values: dict[str, Any], kind: type[Any], where: str) -> Any:
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        message, _, at = str(error).partition(" - at `$.")
        raise ConfigError(f"{where}: {at.rstrip('`')}: {message[:1].lower()}{message[1:]}") from error
