"""Data-parallel training, one process per core: each draws its own batches, and the gradients are averaged."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch
from torch import distributed, nn

from antiphon.errors import AntiphonError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds `--rank`, `--ranks` and `--port`."""
    parser.add_argument("--rank", type=int, default=0, help="rank of this process (default: %(default)s)")
    parser.add_argument("--ranks", type=int, default=1, help="processes that share the work (default: %(default)s)")
    parser.add_argument(
        "--port", type=int, default=29_400, help="port of this stage's process group (default: %(default)s)"
    )


@contextmanager
def meeting(arguments: argparse.Namespace) -> Iterator[None]:
    """Joins the process group, and leaves it at the end.

    The processes meet at a port: unlike a file, it does not outlive a process that is killed.

    Raises:
        AntiphonError: the rank is out of range, or the processes cannot meet at the port.
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
    """Random numbers of one step; also seeds torch. A continued stage draws the numbers of an uninterrupted one."""
    rng = np.random.default_rng([seed, rank, step])
    torch.manual_seed(int(rng.integers(1 << 63)))
    return rng


def average_gradients(parameters: list[nn.Parameter]) -> None:
    """Averages the gradients over all processes."""
    gradients = [p.grad for p in parameters if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    distributed.all_reduce(flat)
    flat /= distributed.get_world_size()
    for gradient, part in zip(gradients, flat.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))
