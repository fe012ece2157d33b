"""The step over static buffers, so that a captured CUDA graph can take its place.

For each of a few batch sizes one set of inputs is allocated, once. A batch that is smaller is padded with the state's
last row, which belongs to no session and stays at its first step. The host hands over all inputs in one copy and gets
all results in another, through memory that a GPU reaches by itself: a step is put into its queue whole, and only `wait`
waits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.state import BatchState
from antiphon_cloud.model.step import StepOutput, step
from antiphon_cloud.model.tokens import FORCED_TEXT, UNGENERATED

PACKED_HEAD = 4  # columns of `pack_outputs` before the codes
WARM_UP_STEPS = 3  # before a capture: kernels are compiled and workspaces allocated


class StepBuffers:
    """The buffers of one batch size B with U user codebooks and F forced tokens, and the graph that works on them."""

    def __init__(
        self, batch: int, user_codebooks: int, forced: int, outputs: int, spare: int, device: torch.device
    ) -> None:
        pinned = device.type == "cuda"
        self.sizes = [batch, batch * user_codebooks, batch * forced]
        self.host_in = torch.zeros(sum(self.sizes), dtype=torch.int64, pin_memory=pinned)
        self.host_in[:batch] = spare
        self.host_in[batch + batch * user_codebooks :] = UNGENERATED
        self.inputs = self.host_in.to(device, copy=True)  # slots [B], codes [B, U], forced [B, F]
        self.slots, codes, forced_tokens = torch.split(self.inputs, self.sizes)
        self.codes, self.forced = codes.view(batch, user_codebooks), forced_tokens.view(batch, forced)
        self.host_out = torch.zeros(batch, outputs, dtype=torch.int32, pin_memory=pinned)
        self.captured: CapturedStep | None = None


@dataclass(frozen=True, slots=True)
class CapturedStep:
    """A graph, and where its replay leaves the output."""

    graph: torch.cuda.CUDAGraph
    output: StepOutput
    packed: Tensor


class GraphRunner:
    """Steps up to `slots` sessions; see `step`.

    Args:
        ops: what computes a step, with the weights.
        state: of one session more than `slots`; padding steps the last.
    """

    def __init__(self, ops: Ops, state: BatchState) -> None:
        self._ops, self._state = ops, state
        self._spare, device, config = len(state.offsets) - 1, state.offsets.device, ops.model.config
        outputs = PACKED_HEAD + config.dep_q + config.extra_heads_num_heads
        self._forced = FORCED_TEXT + config.dep_q
        self.buffers = {
            batch: StepBuffers(batch, config.user_codebooks, self._forced, outputs, self._spare, device)
            for batch in batch_sizes(self._spare)
        }
        self._done = torch.cuda.Event() if device.type == "cuda" else None  # type: ignore[no-untyped-call]
        self._host_out: Tensor | None = None

    def capture(self) -> None:
        """Captures each batch size's step as a CUDA graph, the largest first, into one memory pool."""
        pool = torch.cuda.graph_pool_handle()
        stream = torch.cuda.Stream()  # type: ignore[no-untyped-call]
        for buffers in reversed(self.buffers.values()):
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UP_STEPS):
                    self._step(buffers)
            torch.cuda.current_stream().wait_stream(stream)
            graph = torch.cuda.CUDAGraph()
            with torch.cuda.graph(graph, pool=pool):
                output, packed = self._step(buffers)
            buffers.captured = CapturedStep(graph, output, packed)

    @property
    def captured(self) -> bool:
        """Whether every batch size has its graph."""
        return all(buffers.captured for buffers in self.buffers.values())

    def trace(self, batch: int) -> StepOutput:
        """Computes a step over the buffers of one of the batch sizes, as a capture does."""
        return self._step(self.buffers[batch])[0]

    def run(
        self, slots: Sequence[int], codes: npt.NDArray[np.int64], forced: npt.NDArray[np.int64] | None = None
    ) -> StepOutput:
        """Puts a step of `slots` into the device's queue, without waiting for anything; `wait` must follow.

        Args:
            slots: distinct rows of the state, at least one.
            codes: the user's, [n, user_codebooks].
            forced: tokens [n, FORCED_TEXT + dep_q], see `step`; None for none.

        Returns:
            What the step makes; rows beyond n are padding.
        """
        count = len(slots)
        batch = next(size for size in self.buffers if size >= count)
        buffers = self.buffers[batch]
        # Free to write: `wait` has waited for the step that read it last.
        host_slots, host_codes, host_forced = (part.numpy() for part in torch.split(buffers.host_in, buffers.sizes))
        host_slots[:] = [*slots, *[self._spare] * (batch - count)]
        host_codes[: codes.size] = codes.ravel()
        host_forced[: count * self._forced] = UNGENERATED if forced is None else forced.ravel()
        buffers.inputs.copy_(buffers.host_in, non_blocking=True)
        if buffers.captured is None:
            output, packed = self._step(buffers)
        else:
            buffers.captured.graph.replay()
            output, packed = buffers.captured.output, buffers.captured.packed
        buffers.host_out.copy_(packed, non_blocking=True)
        if self._done is not None:
            self._done.record()
        self._host_out = buffers.host_out[:count]
        return output

    def wait(self) -> npt.NDArray[np.int32]:
        """Waits for the last step: `pack_outputs` of its slots."""
        assert self._host_out is not None, "no step was taken"
        if self._done is not None:
            self._done.synchronize()
        packed: npt.NDArray[np.int32] = self._host_out.numpy().copy()  # the next step writes over it
        return packed

    @property
    def tensors(self) -> Sequence[Tensor]:
        """The static inputs, and what the host reads and writes."""
        return [tensor for each in self.buffers.values() for tensor in (each.inputs, each.host_in, each.host_out)]

    def _step(self, buffers: StepBuffers) -> tuple[StepOutput, Tensor]:
        output = step(self._ops, self._state, buffers.slots, buffers.codes, forced=buffers.forced)
        self._state.offsets[self._spare].zero_()  # padding stays at its first step, and attends to no more than that
        return output, pack_outputs(output)


def pack_outputs(output: StepOutput) -> Tensor:
    """What the host must know of each row, int32 [B, PACKED_HEAD + dep_q + heads]: whether it is finite, the text token
    fed and the one drawn, its tokens, and the bits of its extra heads' first probabilities, float32."""
    head = [each[:, None] for each in (output.finite, output.fed, output.drawn_text)]
    tokens = torch.cat((*head, output.tokens), 1).to(torch.int32)
    heads = output.extra_heads[:, :, 0]
    return torch.cat((tokens, heads.contiguous().view(torch.int32)), 1) if heads.shape[1] else tokens


def batch_sizes(slots: int) -> tuple[int, ...]:
    """The batches that a step may compute: powers of two below `slots`, and `slots`."""
    return (*(1 << i for i in range((slots - 1).bit_length())), slots)
