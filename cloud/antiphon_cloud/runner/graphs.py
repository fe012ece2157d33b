"""The step over static buffers, so that a captured CUDA graph can take its place.

For each of a few batch sizes one set of inputs is allocated, once. A batch that is smaller is padded with the state's
last row, which belongs to no session and stays at its first step. The host hands over all inputs in one copy and gets
all results in another, through memory that a GPU reaches by itself: a step is put into its queue whole, and only `told`
waits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from antiphon_cloud.model.layers import Attend
from antiphon_cloud.model.lm import LanguageModel, StepOutput
from antiphon_cloud.model.state import State

AttendRing = Callable[[Tensor, Tensor], Callable[[int], Attend]]  # of slots and their steps, [B] each
WARM_UP_STEPS = 3  # before a capture: kernels are compiled and workspaces allocated


class _Static:
    """The buffers of one batch size B with U user codebooks, and the graph that works on them."""

    def __init__(self, batch: int, user_codebooks: int, results: int, spare: int, device: torch.device) -> None:
        pinned = device.type == "cuda"
        staged = torch.zeros(batch * (1 + user_codebooks), dtype=torch.int64, pin_memory=pinned)
        staged[:batch] = spare
        self.staged = staged  # on the host: what `inputs` become
        self.inputs = staged.to(device, copy=True)  # [B * (1 + U)]: slots, then codes
        self.slots, self.codes = self.inputs[:batch], self.inputs[batch:].view(batch, user_codebooks)
        self.told = torch.zeros(batch, results, dtype=torch.int32, pin_memory=pinned)  # on the host
        self.captured: _Captured | None = None


@dataclass(frozen=True, slots=True)
class _Captured:
    """A graph, and where its replay leaves the output."""

    graph: torch.cuda.CUDAGraph
    output: StepOutput
    results: Tensor


class StaticStep:
    """Steps up to `slots` sessions; see `LanguageModel.step`.

    Args:
        model: the weights.
        state: of one session more than `slots`; padding steps the last.
        attend: to the state's ring; takes slots and steps as tensors.
    """

    def __init__(self, model: LanguageModel, state: State, attend: AttendRing) -> None:
        self._model, self._state, self._attend = model, state, attend
        self._spare, device, config = len(state.offsets) - 1, state.offsets.device, model.config
        self._static = {
            batch: _Static(batch, config.user_codebooks, 2 + config.dep_q, self._spare, device)
            for batch in batch_sizes(self._spare)
        }
        self._done = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._told: Tensor | None = None

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
                output, results = self._step(static)
            static.captured = _Captured(graph, output, results)

    @property
    def captured(self) -> bool:
        """Whether every batch size has its graph."""
        return all(static.captured for static in self._static.values())

    def run(self, slots: Sequence[int], codes: npt.NDArray[np.int64]) -> StepOutput:
        """Puts a step of `slots` into the device's queue, without waiting for anything; `told` must follow.

        Args:
            slots: distinct rows of the state, at least one.
            codes: the user's, [n, user_codebooks].

        Returns:
            What the step makes; rows beyond n are padding.
        """
        count = len(slots)
        batch = next(size for size in self._static if size >= count)
        static = self._static[batch]
        staged = static.staged.numpy()  # free to write: `told` has waited for the step that read it last
        staged[:batch] = [*slots, *[self._spare] * (batch - count)]
        staged[batch:].reshape(batch, -1)[:count] = codes
        static.inputs.copy_(static.staged, non_blocking=True)
        if static.captured is None:
            output, results = self._step(static)
        else:
            static.captured.graph.replay()
            output, results = static.captured.output, static.captured.results
        static.told.copy_(results, non_blocking=True)
        if self._done is not None:
            self._done.record()
        self._told = static.told[:count]
        return output

    def told(self) -> npt.NDArray[np.int32]:
        """Waits for the last step: `results` of its slots, [n, 2 + dep_q]."""
        assert self._told is not None, "no step was taken"
        if self._done is not None:
            self._done.synchronize()
        told: npt.NDArray[np.int32] = self._told.numpy().copy()  # the next step writes over it
        return told

    @property
    def tensors(self) -> Sequence[Tensor]:
        """The static inputs, and what the host reads and writes."""
        return [tensor for static in self._static.values() for tensor in (static.inputs, static.staged, static.told)]

    def _step(self, static: _Static) -> tuple[StepOutput, Tensor]:
        attend = self._attend(static.slots, self._state.offsets[static.slots])
        output = self._model.step(self._state, static.slots, static.codes, attend)
        self._state.offsets[self._spare].zero_()  # padding stays at its first step, and attends to no more than that
        return output, results(output)


def results(output: StepOutput) -> Tensor:
    """What the host must know of each row: its tokens, then whether it is finite, int32 [B, 2 + dep_q]."""
    return torch.cat((output.tokens, output.finite[:, None]), 1).to(torch.int32)


def batch_sizes(slots: int) -> tuple[int, ...]:
    """The batches that a step may compute: powers of two below `slots`, and `slots`."""
    return (*(1 << i for i in range((slots - 1).bit_length())), slots)
