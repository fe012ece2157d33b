"""Sharing a stage between processes, one a core: each draws its own batches, and their gradients are averaged."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import distributed, nn

from antiphon.errors import AntiphonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """`--rank`, `--ranks` and `--port`."""
    parser.add_argument("--rank", type=int, default=0, help="of this process (default: %(default)s)")
    parser.add_argument("--ranks", type=int, default=1, help="processes that share the work (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=29_400, help="where they meet; each shared stage its own (default: %(default)s)"
    )


@contextmanager
def meeting(arguments: argparse.Namespace) -> Iterator[None]:
    """Waits for the other processes, and leaves them at the end.

    They meet at a port: unlike a file, it outlives no process that is killed.

    Raises:
        AntiphonError: the rank is none of them, or they cannot meet at the port.
    """
    if not 0 <= arguments.rank < arguments.ranks:
        raise AntiphonError(f"--rank {arguments.rank}: the last of {arguments.ranks} is {arguments.ranks - 1}")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    port = arguments.port if arguments.ranks > 1 else 0  # any
    address = f"tcp://127.0.0.1:{port}"
    try:
        distributed.init_process_group("gloo", address, rank=arguments.rank, world_size=arguments.ranks)
    except distributed.DistError as error:
        reason = str(error).splitlines()[0]
        raise AntiphonError(f"the processes do not meet at port {port} ({reason}); give all another --port") from error
    try:
        yield
    finally:
        distributed.destroy_process_group()
        torch.set_num_threads(threads)


def draws(seed: int, rank: int, step: int) -> np.random.Generator:
    """For what one step draws, torch's generator too: a stage that goes on draws what it would have drawn."""
    rng = np.random.default_rng([seed, rank, step])
    torch.manual_seed(int(rng.integers(1 << 63)))
    return rng


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Over the processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
