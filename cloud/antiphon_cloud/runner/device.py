"""What steps run on, as the command line names it."""

from __future__ import annotations

import torch

from antiphon_cloud.errors import ConfigError
from antiphon_cloud.runner.card import require_card


def step_dtype(device: str, dtype: str | None, int8: bool = False) -> torch.dtype:
    """The dtype of activations on a device that is there.

    Args:
        device: "cpu" or "cuda".
        dtype: its name; None for float32 on a CPU with float weights, and bfloat16 elsewhere.
        int8: whether the weights are held in int8.

    Raises:
        ConfigError: there is no such device here, or none that steps can run on.
    """
    if device == "cuda":
        if dtype == "float32":
            raise ConfigError(
                "--dtype float32: a GPU steps in bfloat16, or in float16; leave it out, or use --device cpu"
            )
        require_card()
    return named_dtype(dtype or ("float32" if device == "cpu" and not int8 else "bfloat16"))


def named_dtype(name: str) -> torch.dtype:
    """torch's dtype of that name."""
    found = getattr(torch, name)
    assert isinstance(found, torch.dtype)
    return found
