"""report_int8.py MODEL_DIR...: what int8 costs in accuracy, against float32 weights and keys and values.

Weights: teacher-forced on one random conversation, the share of positions whose likeliest token stays the same, and
the logits' error relative to float32's (root mean square of the difference over that of the logits), for text and
codes. Keys and values: the same for the text logits of single steps, each taken from float32's own tokens.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from antiphon.spec import GREEDY
from antiphon_cloud.checkpoint import load_model
from antiphon_cloud.model_directory import ModelDirectory
from antiphon_cloud.runner import Runner, model_spec

CPU = torch.device("cpu")


def main() -> None:
    """Parses the arguments."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", type=Path, nargs="+")
    parser.add_argument("--steps", type=int, default=100)
    args = parser.parse_args()
    torch.set_grad_enabled(False)
    for path in args.models:
        directory = ModelDirectory.open(path)
        weights(directory, args.steps)
        caches(directory, args.steps)


def weights(directory: ModelDirectory, steps: int) -> None:
    """Prints the lines of int8 weights, with activations of 14 and of 20 bits, and of bfloat16 for comparison."""
    config = directory.config.lm
    generator = torch.Generator().manual_seed(0)
    text = torch.randint(config.text_card, (1, 1, steps), generator=generator)
    tokens = torch.cat((text, torch.randint(config.card, (1, config.n_q, steps), generator=generator)), 1)
    wanted = load_model(directory, torch.float32, CPU)(tokens)
    for name, dtype, quantize in (
        ("int8, 14-bit activations", torch.bfloat16, "int8"),
        ("int8, 20-bit activations", torch.float32, "int8"),
        ("bfloat16", torch.bfloat16, None),
    ):
        found = load_model(directory, dtype, CPU, quantize)(tokens)
        mask = wanted.audio_mask
        print(f"{directory.name}, weights in {name}: {compared(found.text_logits, wanted.text_logits)} text; "
              f"{compared(found.audio_logits[mask], wanted.audio_logits[mask])} codes", flush=True)  # fmt: skip


def caches(directory: ModelDirectory, steps: int) -> None:
    """Prints the lines of keys and values in int8 and in bfloat16."""
    config = directory.config.lm
    model, spec = load_model(directory, torch.float32, CPU), model_spec(directory, torch.float32)
    runners = [Runner(model, 1, spec, cache) for cache in (torch.float32, torch.int8, torch.bfloat16)]
    for runner in runners:
        runner.reset(0, 0, GREEDY)
    logits: list[list[Tensor]] = [[], [], []]
    for frame in np.random.default_rng(0).integers(0, config.card, (steps, 1, config.user_codebooks), np.int32):
        for runner, rows in zip(runners, logits, strict=True):
            runner.step([0], frame)
            rows.append(torch.from_numpy(runner.text_logits[0]))
            with torch.inference_mode():
                runner._state.tokens.copy_(runners[0]._state.tokens)  # teacher forcing
    wanted, int8, bfloat16 = (torch.stack(rows) for rows in logits)
    for name, found in (("int8", int8), ("bfloat16", bfloat16)):
        print(f"{directory.name}, keys and values in {name}: {compared(found, wanted)} text", flush=True)


def compared(found: Tensor, wanted: Tensor) -> str:
    """Agreement of the likeliest token, and relative error, of logits [..., V]."""
    agreement = (found.argmax(-1) == wanted.argmax(-1)).float().mean()
    error = (found.float() - wanted).norm() / wanted.norm()
    return f"top-1 {float(agreement):.3f}, error {float(error):.4f}"


if __name__ == "__main__":
    main()
