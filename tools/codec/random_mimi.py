"""Makes a full-size Mimi checkpoint with random weights whose codes vary.

    python -m tools.codec.random_mimi IN.safetensors OUT_DIR

IN gives the names and shapes. A checkpoint with default initialization, made for timing only, gives the same codes for
every frame, and its LayerScale of 0.01 hides the transformers. Here every part affects the result, and the centroids
are drawn from each codebook's input on a stretch of speech.
"""

from __future__ import annotations

import math
import tempfile
from pathlib import Path

import click
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from antiphon_cloud.codec.mimi import Mimi, MimiConfig
from tools.codec.compare import CHECKPOINT, speech


@click.command()
@click.argument("checkpoint", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option("--frames", default=300, show_default=True, help="Frames of speech that the centroids are drawn from.")
def main(checkpoint: Path, out: Path, frames: int) -> None:
    """Writes to OUT the tensors of CHECKPOINT with random values."""
    torch.manual_seed(0)
    tensors = load_file(checkpoint)
    for name, tensor in tensors.items():
        randomize(name, tensor)
    out.mkdir(parents=True, exist_ok=True)
    save_file(tensors, out / CHECKPOINT)
    draw_centroids(tensors, Mimi.load(out / CHECKPOINT), frames)
    save_file(tensors, out / CHECKPOINT)


def randomize(name: str, tensor: Tensor) -> None:
    """Draws a tensor with about unit gain."""
    if name.endswith(("norm1.weight", "norm2.weight")):
        tensor.uniform_(0.7, 1.3)
    elif name.endswith(".scale"):
        tensor.uniform_(0.2, 0.6)
    elif name.endswith(("cluster_usage", "_initialized")):
        tensor.fill_(1)
    elif tensor.dim() == 1:
        tensor.normal_().mul_(0.05)
    else:
        fan_in = tensor.shape[0] * 2 if "convtr" in name and tensor.shape[1] > 1 else math.prod(tensor.shape[1:])
        tensor.normal_().mul_(1.3 * fan_in**-0.5)


@torch.no_grad()
def draw_centroids(tensors: dict[str, Tensor], mimi: Mimi, frames: int) -> None:
    """Sets each codebook's centroids to noisy residuals of speech; the next codebook codes the remaining residual."""
    config: MimiConfig = mimi.config
    with tempfile.TemporaryDirectory() as scratch:
        pcm = speech(Path(scratch) / "speech.wav", frames * config.frame_samples, config.sample_rate)
    latent, _ = mimi.encoder.latent(torch.from_numpy(pcm), mimi.encoder.initial_state())  # [T, C]
    projected = (latent @ mimi.encoder.quantizer.input_proj).chunk(2, -1)  # [T, D] each
    for rvq, residual in zip(("rvq_first", "rvq_rest"), projected, strict=True):
        levels = config.quantizer.n_q_semantic
        levels = levels if rvq == "rvq_first" else config.quantizer.n_q - levels
        for level in range(levels):
            table = tensors[f"quantizer.{rvq}.vq.layers.{level}._codebook.embedding_sum"]  # [cardinality, D]
            table.copy_(residual[torch.randint(frames, (len(table),))])
            table.add_(torch.randn_like(table) * 0.5 * residual.std(0))
            residual = residual - table[torch.cdist(residual, table).argmin(-1)]


if __name__ == "__main__":
    main()
