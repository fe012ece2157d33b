"""Small random models that are told something, in the layout of Hibiki's and Kyutai TTS's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor

from antiphon_cloud.checkpoint.config_file import parse_config
from antiphon_cloud.model.lm import LanguageModel

SIZES: dict[str, Any] = {
    "dim": 16, "num_heads": 2, "num_layers": 2, "context": 12, "card": 24, "text_card": 20, "depformer_dim": 8,
    "depformer_num_heads": 2, "depformer_num_layers": 1, "depformer_dim_feedforward": 24,
    "lm_gen_config": {"temp": 0.8, "temp_text": 0.7, "top_k": 12, "top_k_text": 5},
}  # fmt: skip
DESCRIPTION = {"n_bins": 31, "dim": 4, "tokenizer": "noop", "possible_values": ["very_bad", "good", "very_good"]}
HIBIKI = SIZES | {
    "model_type": "hibiki", "n_q": 4, "dep_q": 2, "delays": [0, 0, 2, 0, 2],
    "conditioners": {"description": {"type": "lut", "lut": DESCRIPTION}},
    "fuser": {"sum": ["description"], "prepend": [], "cross": []},
}  # fmt: skip
CFG = {"n_bins": 7, "dim": 4, "tokenizer": "noop", "possible_values": ["1.0", "2.0", "4.0"]}
TTS = SIZES | {
    "model_type": "tts", "n_q": 5, "dep_q": 5, "delays": [0, 0, 2, 2, 2, 2], "demux_second_stream": True,
    "depformer_weights_per_step_schedule": [0, 1, 2, 2, 2], "depformer_low_rank_embeddings": 4,
    "cross_attention": True, "model_id": {"sig": "ab12", "epoch": 7},
    "tts_config": {"audio_delay": 0.24, "second_stream_ahead": 2},
    "conditioners": {
        "speaker_wavs": {"type": "tensor", "tensor": {"dim": 6}}, "cfg": {"type": "lut", "lut": CFG},
        "control": {"type": "lut", "lut": CFG | {"n_bins": 1, "possible_values": ["ok"]}},
    },
    "fuser": {
        "sum": ["control", "cfg"], "prepend": [], "cross": ["speaker_wavs"], "cross_attention_pos_emb": True,
        "cross_attention_pos_emb_scale": 1,
    },
}  # fmt: skip


def write_model(folder: Path, config: dict[str, Any]) -> dict[str, Tensor]:
    """Writes the model as it is published: projections fused, and a matrix that no step uses; returns its tensors by
    the model's own names."""
    folder.mkdir(parents=True, exist_ok=True)
    generator = torch.Generator().manual_seed(0)
    model = LanguageModel(parse_config(config, "").lm)
    tensors = {
        name: torch.randn(value.shape, generator=generator) * (value.shape[-1] ** -0.5 if value.dim() > 1 else 1)
        for name, value in model.state_dict().items()
    }
    files = {name: value for name, value in tensors.items() if ".self_attn." not in name and ".cross_" not in name}
    for prefix in {name.split("_projs.")[0].rpartition(".")[0] for name in tensors if ".self_attn." in name}:
        for kind, fused in (("in", "in_proj_weight"), ("out", "out_proj.weight")):
            files[f"{prefix}.{fused}"] = torch.cat(
                [value for name, value in tensors.items() if name.startswith(f"{prefix}.{kind}_projs.")]
            )
    for prefix in {name.partition(".cross_attention.")[0] for name in tensors if ".cross_attention." in name}:
        cross = f"{prefix}.cross_attention"
        files[f"{cross}.in_proj_weight"] = torch.cat([tensors[f"{cross}.{each}_proj.weight"] for each in "qkv"])
        files[f"{cross}.out_proj.weight"] = tensors[f"{cross}.out_projs.0.weight"]
    if config.get("demux_second_stream"):
        files["depformer_text_emb.low_rank.weight"] = torch.randn(8, 4, generator=generator)
    save_file(files, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))
    return tensors


def write_voice(folder: Path, name: str, steps: int = 3, dim: int = 6, seed: int = 1) -> None:
    """Writes a voice of the model in the folder, as it is published."""
    path = folder / "voices" / f"{name}.wav.ab12@7.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({"speaker_wavs": torch.randn(1, dim, steps, generator=torch.Generator().manual_seed(seed))}, path)
