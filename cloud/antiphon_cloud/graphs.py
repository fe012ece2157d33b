"""The step over static buffers, so that a captured CUDA graph can take its place.

For each of a few batch sizes one set of inputs is allocated, once. A batch that is smaller is padded with the state's
last row, which belongs to no session.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from antiphon_cloud.cache import State
from antiphon_cloud.lm import LanguageModel, StepOutput
from antiphon_cloud.transformer import Attend

AttendRing = Callable[[Tensor, Tensor], Callable[[int], Attend]]  # of slots and their steps, [B] each
WARM_UP_STEPS = 3  # before a capture: kernels are compiled and workspaces allocated


@dataclass(slots=True)
class _Static:
    """The buffers of one batch size, and the graph that works on them."""

    slots: Tensor  # int64 [B]
    codes: Tensor  # int64 [B, user_codebooks]
    output: StepOutput | None = None
    graph: torch.cuda.CUDAGraph | None = None


class StaticStep:
    """Steps up to `slots` sessions; see `LanguageModel.step`.

    Args:
        model: the weights.
        state: of one session more than `slots`; padding steps the last.
        attend: to the state's ring; takes slots and steps as tensors.
    """

    def __init__(self, model: LanguageModel, state: State, attend: AttendRing) -> None:
        self._model, self._state, self._attend = model, state, attend
        slots, device = len(state.offsets) - 1, state.offsets.device
        self._spare = slots
        self._static = {
            batch: _Static(
                torch.full((batch,), slots, device=device),
                torch.zeros(batch, model.config.user_codebooks, dtype=torch.int64, device=device),
            )
            for batch in batch_sizes(slots)
        }

    def capture(self) -> None:
        """Captures each batch size's step as a CUDA graph, the largest first, into one memory pool."""
        pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        for static in reversed(self._static.values()):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_STEPS):
                    self._step(static)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                static.output = self._step(static)
            static.graph = graph
        self._state.clear(self._spare)

    def run(self, slots: Sequence[int], codes: npt.NDArray[np.int64]) -> StepOutput:
        """Steps `slots`, with the user's codes [n, user_codebooks]; the output's rows beyond n are padding."""
        batch = next(size for size in self._static if size >= len(slots))
        static = self._static[batch]
        padding = [self._spare] * (batch - len(slots))
        static.slots.copy_(torch.tensor([*slots, *padding]))
        static.codes[: len(slots)].copy_(torch.from_numpy(codes))
        if static.graph is None:
            return self._step(static)
        static.graph.replay()
        assert static.output is not None
        return static.output

    @property
    def tensors(self) -> Sequence[Tensor]:
        """The static inputs."""
        return [tensor for static in self._static.values() for tensor in (static.slots, static.codes)]

    def _step(self, static: _Static) -> StepOutput:
        attend = self._attend(static.slots, self._state.offsets[static.slots])
        return self._model.step(self._state, static.slots, static.codes, attend)


def batch_sizes(slots: int) -> tuple[int, ...]:
    """The batches that a step may compute: powers of two below `slots`, and `slots`."""
    return (*(1 << i for i in range((slots - 1).bit_length())), slots)
