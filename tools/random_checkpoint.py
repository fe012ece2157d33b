"""random_checkpoint.py OUT [--config FILE]: a random-weight language model in the published layout.

Never more than one tensor is in memory: the 7B (the default; 15.4 GB) is written where it would not fit.
For timing and for comparing one way of computing it with another; it says nothing.
"""

from __future__ import annotations

import argparse
import json
import struct
from collections.abc import Iterator
from math import prod
from pathlib import Path

import torch

from antiphon_cloud.config import LMConfig
from antiphon_cloud.config_file import parse_config
from antiphon_cloud.lm import LanguageModel

POOL = 1 << 24  # normals that all tensors are cut from, each from a place of its own: drawing 7.7e9 takes minutes


def write(folder: Path, config: dict[str, object], seed: int = 0) -> None:
    """Writes config.json and model.safetensors (bfloat16) of a model of unit gain."""
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
    """The tensors' values, flat, in order; the norms' are ones."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.randn(POOL, generator=generator)
    for name, shape in shapes.items():
        count = prod(shape)
        if name.endswith("alpha"):
            yield torch.ones(count, dtype=torch.bfloat16)
            continue
        start = int(torch.randint(POOL, (), generator=generator))
        turned = torch.cat((pool[start : start + count], pool[: max(0, min(count, POOL) - POOL + start)]))
        scaled = (turned * shape[-1] ** -0.5).bfloat16()
        yield scaled.repeat(-(-count // len(scaled)))[:count]


def main() -> None:
    """Parses the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--config", type=Path, help="a config.json; the 7B's where absent")
    args = parser.parse_args()
    write(args.out, json.loads(args.config.read_text()) if args.config else {"model_type": "moshi"})


if __name__ == "__main__":
    main()
