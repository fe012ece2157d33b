"""Writes `tests/golden/hibiki-zero-tiny` anew: a small model in hibiki-zero-3b's layout, and its reference's tokens.

    python -m tools.harness.reference_case OUT

The reference is the package `moshi` (kyutai-labs/moshi), which is no part of Antiphon's environment: make one for it,
with torch, `pip install --no-deps moshi==0.2.13`, and einops, huggingface-hub and sentencepiece. A run with weights in
float64 must give the same tokens, so that an exact match is a fair demand at float32.

To be small, the weights have few values, and rows of tables and classes that no step reads or may draw are zero.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
from pathlib import Path
from typing import Any

os.environ["NO_TORCH_COMPILE"] = os.environ["NO_CUDA_GRAPH"] = "1"  # before the reference is imported

import torch
from moshi.models import loaders
from moshi.models.lm import LMGen
from safetensors.torch import save
from torch import Tensor

STEPS, SEED = 100, 0
HEARD, SPOKEN = 16, 64  # codes that the user says, and that the model may say, of each codebook
LEVELS = 4  # weights are multiples of so small a part of their deviation
SHARED = {  # links to what other cases hold
    "mimi.safetensors": "../mimi-tiny/mimi.safetensors",
    "mimi_config.json": "../mimi-tiny/mimi_config.json",
    "tokenizer_spm_tiny.model": "../moshi-tiny/tokenizer_spm_tiny.model",
}
CONFIG: dict[str, Any] = {  # as hibiki-zero-3b's, but for the sizes: that has 16 codebooks a side and 9 weight sets
    "dim": 32, "num_heads": 4, "kv_repeat": 2, "num_layers": 2, "hidden_scale": 6, "context": 40, "max_period": 20000,
    "positional_embedding": "rope_concat", "card": 2048, "text_card": 256, "n_q": 16, "dep_q": 8,
    "delays": [0, 0, 2, 2, 2, 2, 2, 2, 2, 0, 2, 2, 2, 2, 2, 2, 2], "existing_text_padding_id": 3, "causal": True,
    "layer_scale": None, "gating": "silu", "norm": "rms_norm_f32", "depformer_dim": 16, "depformer_num_heads": 2,
    "depformer_num_layers": 2, "depformer_kv_repeat": 1, "depformer_dim_feedforward": None,
    "depformer_multi_linear": True, "depformer_pos_emb": "none", "depformer_weights_per_step": True,
    "depformer_weights_per_step_schedule": [0, 1, 2, 3, 4, 4, 4, 4], "depformer_norm": "layer_norm",
}  # fmt: skip
META: dict[str, Any] = {
    "model_type": "hibiki", "moshi_name": "model.safetensors", "mimi_name": "mimi.safetensors",
    "mimi_config_name": "mimi_config.json", "tokenizer_name": "tokenizer_spm_tiny.model",
    "lm_gen_config": {"temp": 0.8, "temp_text": 0.8, "top_k": 250, "top_k_text": 50},
}  # fmt: skip


def random_reference() -> Any:
    """The reference's model, of unit gain: every part of it matters to the tokens."""
    model = loaders.get_moshi_lm(None, CONFIG, dtype=torch.float32)
    for name, parameter in model.named_parameters():
        if name.endswith("alpha") or ("norm" in name and name.endswith("weight")):
            values = torch.empty_like(parameter).uniform_(0.7, 1.3)
        elif parameter.dim() > 1:
            levels = (torch.randn_like(parameter) * LEVELS).round() / LEVELS
            values = levels * 1.2 * parameter[0].numel() ** -0.5
        else:
            values = 0.1 * torch.randn_like(parameter)
        parameter.data = values.bfloat16().float()
    for linear in model.linears:
        linear.weight.data[SPOKEN:] = 0
    return model


def tokens_of(model: Any, heard: Tensor) -> tuple[Tensor, dict[int, set[int]]]:
    """The aligned tokens int64 [STEPS - delay, 1 + dep_q] after codes [STEPS, n_q - dep_q], drawn greedily, and which
    tokens of each stream were read or drawn."""
    model.text_emb.weight.data[2] = model.text_emb.weight.data[3]  # as the reference does for `hibiki`
    generated, tokens = LMGen(model, use_sampling=False), []
    streams: dict[int, set[int]] = {stream: {model.card} for stream in range(1 + model.n_q)}
    streams[0] = {model.text_card, 2, 3}
    for stream, codes in enumerate(heard.T.tolist(), start=1 + model.dep_q):
        streams[stream] |= set(codes)
    generated.on_text_hook = lambda drawn: streams[0].update(drawn.tolist())

    def note(drawn: Tensor) -> None:
        for stream, code in enumerate(drawn[0].tolist(), start=1):
            streams[stream].add(code)

    generated.on_audio_hook = note
    with torch.no_grad(), generated.streaming(1):
        for codes in heard:
            step = generated.step(codes[None, :, None])
            if step is not None:
                tokens.append(step[0, :, 0])
    return torch.stack(tokens), streams


def forget_unread(model: Any, streams: dict[int, set[int]]) -> None:
    """Zeros in all rows of tables that no step reads."""
    tables: list[tuple[Any, int]] = [(model.text_emb, 0), (model.depformer_text_emb, 0)]
    tables += [(table, stream) for stream, table in enumerate(model.emb, start=1)]
    tables += [(table, stream) for stream, table in enumerate(model.depformer_emb, start=1)]
    for table, stream in tables:
        unread = torch.ones(len(table.weight), dtype=torch.bool)
        unread[sorted(streams[stream])] = False
        table.weight.data[unread] = 0


def fused(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Attention projections as older checkpoints hold them: those of all weight sets in one tensor."""
    found: dict[str, list[Tensor]] = {}
    for name, value in state.items():
        for kind, other in (("in_projs", "in_proj_weight"), ("out_projs", "out_proj.weight")):
            if f".{kind}." in name:
                name = f"{name.split(kind)[0]}{other}"
        found.setdefault(name, []).append(value)
    return {name: torch.cat(values).contiguous() for name, values in found.items()}


def write(folder: Path) -> None:
    """Writes the case."""
    torch.manual_seed(SEED)
    torch.set_num_threads(1)
    model = random_reference()
    heard = torch.randint(0, HEARD, (STEPS, model.n_q - model.dep_q))
    early_end = model.text_emb.weight.data[2].clone()
    tokens, streams = tokens_of(model, heard)
    forget_unread(model, streams)
    assert torch.equal(tokens_of(model, heard)[0], tokens), "what no step reads changes nothing"
    model.text_emb.weight.data[2] = early_end
    state = {name: value.bfloat16() for name, value in model.state_dict().items()}
    assert torch.equal(tokens_of(model.double(), heard)[0], tokens), "the tokens depend on rounding: take another seed"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(CONFIG | META, indent=1) + "\n")
    (folder / "model.safetensors.xz").write_bytes(lzma.compress(save(fused(state)), preset=9 | lzma.PRESET_EXTREME))
    expected = {"user_codes": heard.to(torch.int32), "tokens": tokens.to(torch.int32)}
    (folder / "expected.safetensors").write_bytes(save(expected))
    for name, target in SHARED.items():
        (folder / name).unlink(missing_ok=True)
        (folder / name).symlink_to(target)
    print(f"{len(tokens)} frames; distinct tokens of each stream: {[len(each.unique()) for each in tokens.T]}")


def main() -> None:
    """Writes the case into the folder that the argument names."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    write(parser.parse_args().out)


if __name__ == "__main__":
    main()
