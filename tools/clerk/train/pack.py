"""Packs the trained parts into a model directory in the published layout, with the codec exported for the edge."""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path

import torch

from antiphon_cloud.codec.model_codec import export_model_codec
from tools.clerk.train.data.text import tokenizer_model
from tools.clerk.train.layout import load, save
from tools.clerk.train.stage import run


def main() -> None:
    """Writes the directory and prints its files."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("codec", type=Path, help="folder with mimi.safetensors, or a packed model")
    parser.add_argument("lm", type=Path, help="folder with model.safetensors")
    parser.add_argument("out", type=Path)
    parser.add_argument("--precision", choices=["fp32", "int8"], default="int8", help="precision of the exported codec")
    arguments = parser.parse_args()
    out: Path = arguments.out
    # Stored in half precision, which is accurate enough at half the size; loading converts them to float32.
    halves = {name: tensor.to(torch.float16) for name, tensor in load(arguments.codec / "mimi.safetensors").items()}
    out.mkdir(parents=True, exist_ok=True)
    for name in ("config.json", "mimi_config.json"):
        shutil.copyfile(Path(__file__).parent / name, out / name)
    save(out / "mimi.safetensors", halves)
    shutil.copyfile(arguments.lm / "model.safetensors", out / "model.safetensors")
    (out / "tokenizer.model").write_bytes(tokenizer_model())
    shutil.rmtree(out / "codec", ignore_errors=True)
    export_model_codec(out, precision=arguments.precision)
    for path in sorted(out.rglob("*")):
        if path.is_file():
            print(f"{path.relative_to(out)}  {path.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    run(main, "pack")
