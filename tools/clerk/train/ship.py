"""Makes the package's model from a packed one: the language model in int8 and the exported codec, without floats.

    python -m tools.clerk.train.ship $W/number-clerk clerk/antiphon_number_clerk/number-clerk

Matrices are quantized as by `--quantize int8` and stored in the published int8 layout: `NAME` int8 [outputs, inputs]
and `NAME_scb` float32 [outputs], the largest magnitude of each row. Unlike in published files, embeddings are int8 too.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor

from antiphon_cloud.backends.int8 import LEVELS, quantize_rows
from antiphon_cloud.checkpoint.config_file import read_config
from antiphon_cloud.model.layers import Embedding, Linear
from antiphon_cloud.model.lm import LanguageModel
from tools.clerk.train.layout import save
from tools.clerk.train.stage import run

WEIGHTS = "model.q8.safetensors"


def int8_tensors(model: Path) -> dict[str, Tensor]:
    """The weights of a model directory, converted from floats to the int8 layout."""
    config = read_config(model / "config.json")
    with torch.device("meta"):
        modules = LanguageModel(config.lm).named_modules()
    rows = {f"{name}.weight" for name, module in modules if isinstance(module, Linear | Embedding)}
    tensors: dict[str, Tensor] = {}
    for name, value in load_file(model / config.moshi_name).items():
        if name in rows or "_proj" in name:  # the file has attention's projections fused
            values, scale = quantize_rows(value)
            tensors |= {name: values, f"{name}_scb": scale * LEVELS}
        else:
            tensors[name] = value
    return tensors


def main() -> None:
    """Writes the directory over its old files."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="directory that train.pack wrote")
    parser.add_argument("out", type=Path, help="the package's model directory; its README.md stays")
    arguments = parser.parse_args()
    model, out = arguments.model, arguments.out
    out.mkdir(parents=True, exist_ok=True)
    for old in (out / "model.safetensors", out / "mimi.safetensors"):
        old.unlink(missing_ok=True)
    shutil.copytree(model / "codec", out / "codec", dirs_exist_ok=True)
    for name in ("mimi_config.json", "tokenizer.model"):
        shutil.copyfile(model / name, out / name)
    save(out / WEIGHTS, int8_tensors(model))
    (out / WEIGHTS).chmod(0o644)
    config = json.loads((model / "config.json").read_text())
    (out / "config.json").write_text(json.dumps(config | {"moshi_name": WEIGHTS, "quantize": True}, indent=1))


if __name__ == "__main__":
    run(main, "ship")
