"""torch's side of a process that steps: its dtype and its threads."""

from __future__ import annotations

import torch

from antiphon_cloud.backends.select import select
from antiphon_cloud.errors import ConfigError


def torch_setup(device: str, dtype: str | None, threads: int, int8: bool = False) -> torch.dtype:
    """Chooses the dtype and the threads of this process' steps.

    Args:
        device: "cpu" or "cuda".
        dtype: its name; None for float32 on a CPU with float weights, and bfloat16 elsewhere.
        threads: that a step is shared among.
        int8: whether the weights are held in int8.

    Raises:
        ConfigError: there is no such device here.
    """
    if device == "cuda" and not torch.cuda.is_available():
        raise ConfigError("--device cuda: PyTorch finds no NVIDIA GPU here; install a driver, or use --device cpu")
    set_step_threads(threads, device, int8)
    return named_dtype(dtype or ("float32" if device == "cpu" and not int8 else "bfloat16"))


def set_step_threads(count: int, device: str, int8: bool) -> None:
    """Shares the steps on `device` of a model in floats or in int8 among `count` threads."""
    select(torch.device(device), torch.float32, int8).use_threads(count)


def named_dtype(name: str) -> torch.dtype:
    """torch's dtype of that name."""
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found
