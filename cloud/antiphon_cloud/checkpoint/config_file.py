"""Reads config.json: the keys that Antiphon knows, and what they mean together."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from torch import nn

from antiphon.spec import Sampling
from antiphon_cloud.checkpoint.families import PERSONAPLEX, TTS, personaplex
from antiphon_cloud.checkpoint.files.other_formats import PYTORCH
from antiphon_cloud.checkpoint.json_file import (
    LONGEST_SHOWN,
    as_object,
    convert,
    demand_only,
    is_same,
    read_object,
    shown,
)
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.config import MAX_TOP_K, LMConfig, ModelConfig

_ONLY: dict[str, tuple[Any, ...]] = {  # keys with one supported value
    "kv_repeat": (1,),
    "norm_emb": (None, False),
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
_ELSEWHERE = {  # keys of other programs' configurations of the same models
    "architectures": "the transformers library",
    "transformers_version": "the transformers library",
    "lm_config": "candle",
}
DEMUX = "demux_second_text_stream"  # what some files call demux_second_stream
_LM_KEYS = {f.name for f in fields(LMConfig)} - {"silent_codebooks"}
_MAY_BE_NULL = ("conditioners", "fuser", "cross_attention", "demux_second_stream")  # as if they were not there
_OUTER_KEYS = {f.name for f in fields(ModelConfig)} - {"lm", "sampling", "published"}
_KNOWN = {*_ONLY, *_NO_EFFECT, *_LM_KEYS, *_OUTER_KEYS, DEMUX, "text_card_out", "lm_gen_config"}
_GENERATION_KEYS = {
    "temp": "audio_temperature",
    "temp_text": "text_temperature",
    "top_k": "audio_top_k",
    "top_k_text": "text_top_k",
}


def read_config(path: Path) -> ModelConfig:
    """Reads a config.json.

    Raises:
        ConfigError: it cannot be read, is not a JSON object, or `parse_config` refuses it.
    """
    return parse_config(read_object(path), str(path))


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
    demand_only(raw, _ONLY, where)
    text_card_out = raw.get("text_card_out")
    if text_card_out not in (None, raw.get("text_card", LMConfig.text_card)):
        raise ConfigError(f"{where}: text_card_out: {shown(text_card_out)} is not supported; only text_card's value")
    for key in raw:
        if key == "version" and raw.get("model_type") == PERSONAPLEX:
            continue
        if key not in _KNOWN:
            raise ConfigError(f"{where}: unknown key {key}: this version of Antiphon cannot run the model")
    sizes = {key: value for key, value in raw.items() if key in _LM_KEYS}
    if DEMUX in raw:
        sizes.setdefault("demux_second_stream", raw[DEMUX])
    for key in _MAY_BE_NULL:
        if sizes.get(key, key) is None:
            del sizes[key]
    if isinstance(sizes.get("fuser"), dict):
        sizes["fuser"] = {key: value for key, value in sizes["fuser"].items() if value is not None}
    lm = convert(sizes, LMConfig, where)
    published = None
    if raw.get("model_type") == PERSONAPLEX:
        lm, published = personaplex(raw, lm)
    _check_lm(lm, where)
    _check_conditioners(lm, where)
    config = convert({key: value for key, value in raw.items() if key in _OUTER_KEYS}, ModelConfig, where)
    if config.lora and config.quantize:
        raise ConfigError(f"{where}: lora: an adapter on int8 weights is not supported; take the bf16 checkpoint")
    if config.lora_name and not config.lora:
        raise ConfigError(f"{where}: lora_name is set but lora is not true; set lora to true, or remove lora_name")
    if config.lora and config.lora_rank <= 0:
        raise ConfigError(f"{where}: lora_rank: expected a positive number, got {config.lora_rank}")
    if config.model_type == TTS and config.tts_config.multistream:
        raise ConfigError(f"{where}: tts_config: multistream: true is not supported; Antiphon runs models with false")
    return replace(config, lm=lm, published=published, sampling=_sampling(raw.get("lm_gen_config"), lm, where))


def _check_lm(lm: LMConfig, where: str) -> None:
    """Checks what types cannot."""

    def demand(holds: bool, key: str, message: str) -> None:
        if not holds:
            raise ConfigError(f"{where}: {key}: {message}")

    demand(lm.dep_q <= lm.n_q, "dep_q", f"expected 0 to n_q ({lm.n_q}), got {lm.dep_q}")
    demand(len(lm.delays) == lm.streams, "delays", f"expected {lm.streams} (text and n_q), got {len(lm.delays)}")
    demand(max(lm.delays) < lm.context, "delays", f"{max(lm.delays)} steps do not fit a context of {lm.context}")
    _check_heads(demand, "dim", lm.dim, lm.num_heads)
    demand(lm.hidden > 0, "hidden_scale", f"{lm.hidden_scale} leaves the feed-forward layers no width")
    demand(lm.dim // lm.num_heads % 2 == 0, "dim", "RoPE needs heads of an even width")
    schedule = lm.depformer_weights_per_step_schedule
    if schedule is not None:
        key = "depformer_weights_per_step_schedule"
        demand(len(schedule) == lm.dep_q, key, f"expected {lm.dep_q} entries, one a codebook, got {len(schedule)}")
        demand(max(schedule, default=0) < lm.n_q, key, f"expected weight sets below n_q ({lm.n_q})")
    if lm.extra_heads_num_heads:
        demand(lm.extra_heads_dim > 0, "extra_heads_dim", "must be positive")
    if not lm.dep_q:
        return
    for key in ("depformer_dim", "depformer_num_heads", "depformer_num_layers"):
        demand(getattr(lm, key) > 0, key, "must be positive")
    _check_heads(demand, "depformer_dim", lm.depformer_dim, lm.depformer_num_heads)
    sizes = lm.depformer_dim_feedforward
    sets = max(lm.weight_sets) + 1
    if isinstance(sizes, tuple):
        demand(len(sizes) == sets, "depformer_dim_feedforward", f"expected {sets} sizes, got {len(sizes)}")
    demand(min(lm.depformer_hidden) > 0, "depformer_dim_feedforward", "must be positive")
    demand(max(lm.depformer_hidden) <= 2**20, "depformer_dim_feedforward", "is larger than any model's")
    demand(lm.depformer_low_rank_embeddings != 0, "depformer_low_rank_embeddings", "must be positive")


def _check_conditioners(lm: LMConfig, where: str) -> None:
    """Checks that what the model can be told reaches it, in a way that Antiphon knows."""
    fuser, known = lm.fuser, lm.conditioners
    if fuser.prepend:
        raise ConfigError(
            f"{where}: fuser: prepend: {shown(fuser.prepend)} is not supported; Antiphon runs models that add what "
            "they are told, or attend to it"
        )
    for name, conditioner in known.items():
        within = f"{where}: conditioners: {name[:LONGEST_SHOWN]}"
        kind = conditioner.lut if conditioner.type == "lut" else conditioner.tensor
        if not name.isidentifier() or len(name) > LONGEST_SHOWN or hasattr(nn.ModuleDict, name):
            raise ConfigError(f"{within}: not a name for a conditioner; take another one, also in the weights")
        if kind is None or (conditioner.lut is not None and conditioner.tensor is not None):
            raise ConfigError(f"{within}: expected one object, {conditioner.type}, as type says")
        if kind.output_dim not in (None, lm.dim):
            raise ConfigError(f"{within}: output_dim: expected dim ({lm.dim}), got {kind.output_dim}")
        if conditioner.lut and len(conditioner.values) > conditioner.lut.n_bins:
            raise ConfigError(f"{within}: possible_values: {len(conditioner.values)} are more than n_bins")
        if name not in (*fuser.sum, *fuser.cross):
            raise ConfigError(f"{where}: fuser: {name}: neither sum nor cross has this conditioner")
    for way, type_ in (("sum", "lut"), ("cross", "tensor")):
        for name in getattr(fuser, way):
            if name not in known:
                raise ConfigError(f"{where}: fuser: {way}: {name}: conditioners has none of this name")
            if known[name].type != type_:
                raise ConfigError(
                    f"{where}: fuser: {way}: {name}: type {known[name].type} is not supported there; Antiphon runs "
                    f"models with {type_}"
                )
    if len(fuser.cross) > 1:
        raise ConfigError(
            f"{where}: fuser: cross: {shown(fuser.cross)} is not supported; Antiphon runs models with one"
        )
    if lm.cross_attention != bool(fuser.cross):
        raise ConfigError(f"{where}: cross_attention: {shown(lm.cross_attention)}, but fuser's cross says otherwise")
    if fuser.cross and lm.dim % 2:
        raise ConfigError(f"{where}: dim: positions of a cross attention need an even width")


def _check_heads(demand: Callable[[bool, str, str], None], key: str, dim: int, heads: int) -> None:
    demand(dim % heads == 0, key, f"{dim} does not divide into {heads} heads")


def _sampling(raw: Any, lm: LMConfig, where: str) -> Sampling:
    """lm_gen_config: the default sampling of a session."""
    where = f"{where}: lm_gen_config"
    raw = {} if raw is None else as_object(raw, where)
    values = {}
    for key, value in raw.items():
        if key == "use_sampling" and isinstance(value, bool):
            continue
        if key == "cfg_coef" and is_same(value, 1):
            continue
        if key not in _GENERATION_KEYS:
            raise ConfigError(f"{where}: {key}: {shown(value)} is not supported")
        values[_GENERATION_KEYS[key]] = value
    sampling = convert(values, Sampling, where)
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
