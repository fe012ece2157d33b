"""A training stage that a signal ends in the middle of a step."""

from types import ModuleType
from typing import Any

import pytest


class KilledError(Exception):
    """Stands for a signal."""


def kill_at(step: int, module: ModuleType, work: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The module's function `work`, which every step calls once, raises at this step, counted from 0."""
    function, calls = getattr(module, work), iter(range(step))

    def until(*arguments: Any, **options: Any) -> Any:
        if next(calls, None) is None:
            raise KilledError
        return function(*arguments, **options)

    monkeypatch.setattr(module, work, until)
