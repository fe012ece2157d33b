"""What one captured step of a GPU launches, counted without one: the step runs on tensors that have no memory.

Kernels of ours say what they read and write (`backends.cuda.launch`); of torch's own the tensors do. What a multi-part
product leaves for its last program stays in the caches and is not counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from antiphon_cloud.backends.cuda.launch import Launch, recording
from antiphon_cloud.backends.cuda.ops import CudaOps
from antiphon_cloud.backends.cuda.products import TritonLinear
from antiphon_cloud.model.adapters import AdapterRoom
from antiphon_cloud.model.conditions import RowConditions
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.kv_ring import PAGE, Kv, Paging
from antiphon_cloud.model.layers import Linear
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.ops import Drawn, StepInputs
from antiphon_cloud.model.sampling import SlotSampling
from antiphon_cloud.model.state import BatchState, DepformerKv
from antiphon_cloud.runner.graphs import GraphRunner

PARTS = ("embedding", "temporal", "depformer", "draws", "glue")

META = torch.device("meta")


@dataclass(frozen=True, slots=True)
class PartLaunch:
    """A launch, and the part of the step that it belongs to."""

    part: str
    launch: Launch


def step_launches(
    config: LMConfig,
    dtype: torch.dtype,
    batch: int,
    *,
    int8: bool,
    kv_dtype: torch.dtype | None,
    room: AdapterRoom | None = None,
) -> list[PartLaunch]:
    """The launches of a step of `batch` sessions, in order.

    Args:
        config: the model's shape.
        dtype: of activations, and of weights that are not int8.
        batch: rows of the step.
        int8: whether matrices are in int8.
        kv_dtype: of keys and values; None for `dtype`.
        room: for adapters, of which each session then has another; None for none.
    """
    with torch.inference_mode(), recording() as launches:
        ops = _PartedOps(_model(config, dtype, int8, room), launches)
        page = min(PAGE, config.context)
        paging = Paging((batch + 1) * -(-config.context // page), page)
        runner = GraphRunner(ops, BatchState.allocate(config, batch + 1, dtype, META, kv_dtype, paging))
        with _TorchLaunches(launches):
            runner.trace(batch)
        return ops.parted()


def _model(config: LMConfig, dtype: torch.dtype, int8: bool, room: AdapterRoom | None) -> LanguageModel:
    with META:
        model = LanguageModel(config).to(dtype).requires_grad_(False)
        for name, module in [*model.named_modules()] if int8 else ():
            if isinstance(module, Linear):
                weight = torch.empty(module.weight.shape, dtype=torch.int8)
                model.set_submodule(name, TritonLinear(weight, torch.empty(len(weight))))
    if room is not None:
        model.make_room(room, torch.int8 if int8 else dtype)
    return model


class _TorchLaunches(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Writes down torch's own kernels: whatever makes a tensor that is no view, or changes one."""

    def __init__(self, launches: list[Launch]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._launches = launches

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.name().removeprefix("aten::")
        given = [each for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)]
        known = {each.untyped_storage()._cdata for each in given}
        made = [each for each in tree_leaves(result) if isinstance(each, Tensor) and each.numel()]
        if not func._schema.is_mutable:
            made = [each for each in made if each.untyped_storage()._cdata not in known]
        if made and "empty" not in name:
            self._launches.append(Launch(name, sum(each.nbytes for each in given), sum(each.nbytes for each in made)))
        return result


class _PartedOps(CudaOps):
    """Remembers which launches belong to which part."""

    def __init__(self, model: LanguageModel, launches: list[Launch]) -> None:
        super().__init__(model)
        self._launches = launches
        self._spans: list[tuple[int, int, str]] = []  # inner ones first

    def parted(self) -> list[PartLaunch]:
        """The launches with their parts; what belongs to none is glue."""
        parts = ["glue"] * len(self._launches)
        for first, end, part in reversed(self._spans):
            parts[first:end] = [part] * (end - first)
        return [PartLaunch(part, launch) for part, launch in zip(parts, self._launches, strict=True)]

    @contextmanager
    def _part(self, part: str) -> Iterator[None]:
        first = len(self._launches)
        yield
        self._spans.append((first, len(self._launches), part))

    def begin(self, state: BatchState, slots: Tensor, user_codes: Tensor) -> StepInputs:
        """See `Ops.begin`."""
        with self._part("glue"):
            return super().begin(state, slots, user_codes)

    def embed(self, tokens: Tensor) -> Tensor:
        """See `Ops.embed`."""
        with self._part("embedding"):
            return super().embed(tokens)

    def temporal(self, tokens: Tensor, steps: Tensor, kv: Kv, conditions: RowConditions | None = None) -> Tensor:
        """See `Ops.temporal`."""
        with self._part("temporal"):
            return super().temporal(tokens, steps, kv, conditions)

    def logits(self, linear: nn.Module, x: Tensor) -> Tensor:
        """See `Ops.logits`."""
        with self._part("temporal"):
            return super().logits(linear, x)

    def draw_into(
        self,
        tokens: Tensor,
        logits: Tensor,
        keys: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        forced: Tensor | None = None,
        drawn: Tensor | None = None,
    ) -> None:
        """See `CudaOps.draw_into`."""
        with self._part("draws"):
            super().draw_into(tokens, logits, keys, temperature, top_k, forced, drawn)

    def codes(
        self,
        text: Tensor,
        hidden: Tensor,
        keys: Tensor,
        kv: DepformerKv,
        sampling: SlotSampling,
        max_top_k: int,
        forced: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """See `Ops.codes`."""
        with self._part("depformer"):
            return super().codes(text, hidden, keys, kv, sampling, max_top_k, forced)

    def finish(self, state: BatchState, slots: Tensor, steps: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """See `Ops.finish`."""
        with self._part("glue"):
            return super().finish(state, slots, steps, drawn)
