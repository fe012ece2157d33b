"""CUDA graphs on the CPU: what a captured step computes is written down, and a replay computes it over the same memory.

As on a GPU, a replay runs no Python: what was read on the host while capturing stays as it was, and only what lies in
the tensors that were there may change.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any
from unittest.mock import MagicMock

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from antiphon.spec import ModelSpec
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.runner.page_pool import PoolShape
from antiphon_cloud.runner.runner import ModelRunner


class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down every operation on tensors."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.operations: list[tuple[Any, Any, Any, Any]] = []  # function, its arguments, by name too, and its result

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        self.operations.append((func, args, kwargs or {}, result))
        return result


class FakeGraph:
    """Stands in for `torch.cuda.CUDAGraph`."""

    def __init__(self) -> None:
        self.recorder = Recorder()

    def replay(self) -> None:
        """Computes all again, into the tensors that the capture left behind."""
        for function, args, kwargs, result in self.recorder.operations:
            again = function(*args, **kwargs)
            for old, new in zip(tree_leaves(result), tree_leaves(again), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


@contextlib.contextmanager
def _graph(graph: FakeGraph, pool: object) -> Iterator[None]:
    assert pool is not None, "graphs share their memory"
    with graph.recorder:
        yield


def fake_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets `GraphRunner.capture` run without a GPU."""
    for name in ("graph_pool_handle", "Stream", "current_stream", "stream"):
        monkeypatch.setattr(torch.cuda, name, MagicMock())
    monkeypatch.setattr(torch.cuda, "CUDAGraph", FakeGraph)
    monkeypatch.setattr(torch.cuda, "graph", _graph)


def static_runner(
    ops: Ops,
    slots: int,
    spec: ModelSpec,
    kv_dtype: torch.dtype | None = None,
    graphs: bool = True,
    pool: PoolShape | None = None,
) -> ModelRunner:
    """A runner on the CPU that steps as one on a GPU does, over static buffers; to capture it needs `fake_cuda`."""
    return ModelRunner(ops, slots, spec, kv_dtype, static=True, graphs=graphs, pool=pool)
