"""A training stage that a signal ends in the middle of a step."""

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor


class KilledError(Exception):
    """Stands for a signal."""


def kill_at(
    step: int, train: Callable[[], object], module: ModuleType, work: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Trains until the module's function `work`, which every step calls once, raises at this step, counted from 0."""
    function, calls = getattr(module, work), iter(range(step))

    def until(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            raise KilledError
        return function(*arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(module, work, until)
        with pytest.raises(KilledError):
            train()


def same_weights(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    """Whether two files of tensors are the same to the bit."""
    return one.keys() == other.keys() and all(torch.equal(other[name], tensor) for name, tensor in one.items())
