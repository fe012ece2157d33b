"""Writes a language model with random weights in the published layout.

    python -m tools.harness.random_checkpoint OUT [--size SIZE | --config FILE]

Writes config.json and model.safetensors into OUT, and prints nothing. It holds one tensor in memory at a time, so the
7B (the default; 15.4 GB) can be made on a small machine. The model is for timing and for comparing implementations; its
output has no meaning.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch

from antiphon_cloud.checkpoint.config_file import parse_config
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.lm import LanguageModel

SEVEN_B: dict[str, object] = {  # as published, with every key that the reference implementation needs
    "model_type": "moshi", "dim": 4096, "text_card": 32000, "existing_text_padding_id": 3, "n_q": 16, "dep_q": 8,
    "card": 2048, "num_heads": 32, "num_layers": 32, "hidden_scale": 4.125, "causal": True, "layer_scale": None,
    "context": 3000, "max_period": 10000, "gating": "silu", "norm": "rms_norm_f32", "positional_embedding": "rope",
    "depformer_dim": 1024, "depformer_dim_feedforward": 4224, "depformer_num_heads": 16, "depformer_num_layers": 6,
    "depformer_layer_scale": None, "depformer_multi_linear": True, "depformer_context": 8,
    "depformer_max_period": 10000, "depformer_gating": "silu", "depformer_pos_emb": "none",
    "depformer_weights_per_step": True, "delays": [0, 0, 1, 1, 1, 1, 1, 1, 1, 0, 1, 1, 1, 1, 1, 1, 1],
}  # fmt: skip
CONFIGS = {
    "7b": SEVEN_B,
    "1.3b": SEVEN_B | {
        "dim": 2048, "num_heads": 16, "num_layers": 20, "context": 750, "depformer_dim": 768,
        "depformer_dim_feedforward": 3168, "depformer_num_heads": 12, "depformer_num_layers": 4,
    },
    "444m": SEVEN_B | {
        "dim": 1024, "num_heads": 16, "num_layers": 16, "context": 750, "depformer_dim": 512,
        "depformer_dim_feedforward": 2112, "depformer_num_heads": 8, "depformer_num_layers": 4,
    },
}  # fmt: skip
POOL = 1 << 24  # normal samples; every tensor is a slice at a random offset, as drawing 7.7e9 takes minutes


def write(folder: Path, config: dict[str, object], seed: int = 0) -> None:
    """Writes config.json and model.safetensors (bfloat16) of a model with unit gain."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config))
    lm: LMConfig = parse_config(config, str(folder)).lm
    with torch.device("meta"):
        shapes = {name: tuple(value.shape) for name, value in LanguageModel(lm).state_dict().items()}
    header, end = {}, 0
    for name, shape in shapes.items():
        start, end = end, end + 2 * prod(shape)
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with (folder / "model.safetensors").open("wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for values in tensors(shapes, seed):
            file.write(values.view(torch.uint8).numpy().tobytes())


def tensors(shapes: dict[str, tuple[int, ...]], seed: int) -> Iterator[torch.Tensor]:
    """The tensors' values, flat and in order; those of norms are ones, and zeros."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(POOL, generator=generator)
    for name, shape in shapes.items():
        count = prod(shape)
        if "norm" in name:
            yield torch.full((count,), 0.0 if name.endswith("bias") else 1.0, dtype=torch.bfloat16)
            continue
        start = int(torch.randint(POOL, (), generator=generator))
        turned = torch.cat((pool[start : start + count], pool[: max(0, min(count, POOL) - POOL + start)]))
        scaled = (turned * shape[-1] ** -0.5).bfloat16()
        yield scaled.repeat(-(-count // len(scaled)))[:count]


def main() -> None:
    """Writes the model that the arguments ask for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--size", choices=CONFIGS, default="7b")
    parser.add_argument("--config", type=Path, help="a config.json of another size")
    args = parser.parse_args()
    write(args.out, json.loads(args.config.read_text()) if args.config else CONFIGS[args.size])


if __name__ == "__main__":
    main()
