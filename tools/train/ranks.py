"""Sharing a stage between processes, one a core: each draws its own batches, and their gradients are averaged."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import distributed, nn


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--rank` and `--ranks`."""
    parser.add_argument("--rank", type=int, default=0, help="of this process (default: %(default)s)")
    parser.add_argument("--ranks", type=int, default=1, help="processes that share the work (default: %(default)s)")


def meet(file: Path, rank: int, ranks: int) -> None:
    """Waits for the other processes; `file` must not exist before the first comes."""
    torch.set_num_threads(1)
    distributed.init_process_group("gloo", init_method=f"file://{file.absolute()}", rank=rank, world_size=ranks)


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Over the processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
