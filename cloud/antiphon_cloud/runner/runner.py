"""The batch: numpy in, one step of the model, numpy out. Driven by one thread."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from antiphon.history import PastTokens
from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.fingerprint import model_fingerprint
from antiphon_cloud.checkpoint.load import is_int8, load_model
from antiphon_cloud.model.config import MAX_TOP_K
from antiphon_cloud.model.layers import Attend
from antiphon_cloud.model.lm import LanguageModel, StepOutput
from antiphon_cloud.model.state import BatchState, rows_on
from antiphon_cloud.runner.footprint import check_fits, footprint
from antiphon_cloud.runner.graphs import GraphRunner, pack_outputs
from antiphon_cloud.runner.prefill import Rebuild


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step's aligned output, one row for each slot that stepped; −2 while the delays hold it back."""

    text: npt.NDArray[np.int32]  # [n]
    codes: npt.NDArray[np.int32]  # [n, model_codebooks]
    finite: npt.NDArray[np.bool_]  # [n]: whether the logits were numbers; if not, the row means nothing


class ModelRunner:
    """Steps the sessions of a fixed number of slots.

    All state lives in tensors that are allocated here, once: a step only writes into them.

    Args:
        model: the weights, on the device that will step them.
        slots: sessions at most.
        spec: what the sessions are told of the model.
        kv_dtype: what keys and values are held in, int8 included; None for the activations' dtype.
        graphs: on a GPU, whether steps are captured and replayed.
    """

    def __init__(
        self,
        model: LanguageModel,
        slots: int,
        spec: ModelSpec,
        kv_dtype: torch.dtype | None = None,
        graphs: bool = True,
    ) -> None:
        self.slots = slots
        self.spec = spec
        self.model = model
        self._steps = [0] * slots  # that each session has taken
        self._static: GraphRunner | None = None
        device = model.text_emb.weight.device
        with torch.inference_mode():
            self._state = BatchState.allocate(model.config, rows_on(device, slots), model.dtype, device, kv_dtype)
            if device.type == "cuda":
                self._static = cuda_step(model, self._state, graphs)
        self._last: tuple[int, StepOutput] | None = None

    @classmethod
    def load(
        cls,
        directory: ModelDirectory,
        slots: int,
        dtype: torch.dtype,
        device: torch.device | str,
        *,
        quantize: str | None = None,
        kv_dtype: torch.dtype | None = None,
        graphs: bool = True,
    ) -> ModelRunner:
        """A runner for the directory's model; see `load_model` for `dtype` and `quantize`.

        Raises:
            CheckpointError: the weights are missing, damaged, or another model's.
            ConfigError: `quantize` contradicts the directory, or the model and its slots do not fit in memory.
        """
        device = torch.device(device)
        directory.require_weights()
        int8 = is_int8(directory, quantize)
        kv_dtype = kv_dtype or dtype  # where integers are multiplied, activations are float32 whatever the dtype
        check_fits(footprint(directory.config.lm, dtype, device, int8=int8, kv_dtype=kv_dtype), slots, device)
        spec = model_spec(directory, torch.int8 if int8 else dtype)
        spec = replace(spec, fingerprint=model_fingerprint(directory, int8))
        return cls(load_model(directory, dtype, device, quantize), slots, spec, kv_dtype, graphs)

    def reset(self, slot: int, seed: int, sampling: Sampling) -> None:
        """Starts a new session in `slot`; nothing of the last one remains in sight.

        Args:
            slot: row of the batch.
            seed: the session's tokens are a function of it, of the sampling and of the user's codes.
            sampling: temperatures, and top-ks of 1 to `MAX_TOP_K`.
        """
        assert 0 <= slot < self.slots
        assert 0 < sampling.text_top_k <= MAX_TOP_K
        assert 0 < sampling.audio_top_k <= MAX_TOP_K
        self._steps[slot] = 0
        with torch.inference_mode():
            self._state.clear(slot)
            self._state.sampling.set(slot, seed, sampling)

    def rebuild(self, slot: int, seed: int, sampling: Sampling, past: PastTokens) -> Rebuild:
        """Resets `slot` and says how to bring it to where the session of these tokens stood; see `reset`."""
        self.reset(slot, seed, sampling)
        return Rebuild(self, slot, past)

    def place(self, slot: int, step: int, steps: range, tokens: npt.NDArray[np.int32]) -> None:
        """Puts the slot's session before `step`, with what its streams hold at the steps around, [streams, T]."""
        self._steps[slot] = step
        with torch.inference_mode():
            self._state.offsets[slot] = step
            self._state.place(slot, steps, torch.from_numpy(tokens.astype(np.int64)).to(self._state.tokens.device))

    def prefill(self, slot: int, inputs: npt.NDArray[np.int32], steps: range, first: int) -> None:
        """Writes the keys and values of steps whose tokens are known.

        Args:
            slot: row of the batch.
            inputs: what the streams hold at each step, [streams, T].
            steps: one after the other, at most the model's context.
            first: the earliest step of which the slot holds keys and values, or `steps.start`.
        """
        ring, device = self._state.ring, self._state.tokens.device
        attend: Callable[[int], Attend]
        with torch.inference_mode():
            if device.type == "cpu" and self.model.dtype == torch.float32:  # to the bit what steps would leave
                attend = ring.ragged([slot] * len(steps), steps, first)
            else:
                attend = ring.consecutive(slot, steps, first)
            tokens = torch.from_numpy(inputs.T.astype(np.int64)).to(device)
            self.model.prefill(tokens, torch.tensor(steps, device=device), attend)
        if device.type == "cuda":  # whoever measures the chunk measures all of it
            torch.cuda.current_stream(device).synchronize()

    def step(self, slots: Sequence[int], user_codes: npt.NDArray[np.int32]) -> StepResult:
        """Advances `slots` by one frame each; the others do not change.

        Args:
            slots: distinct rows of the batch, at least one.
            user_codes: [n, user_codebooks], row i for `slots[i]`.
        """
        rows = list(slots)
        assert len(set(rows)) == len(rows) == len(user_codes)
        with torch.inference_mode():
            output, packed = self._run(rows, user_codes.astype(np.int64))
        for slot in rows:
            self._steps[slot] += 1
        self._last = len(rows), output
        return StepResult(packed[:, 0], packed[:, 1:-1], packed[:, -1].astype(np.bool_))

    @property
    def text_logits(self) -> npt.NDArray[np.float32]:
        """The last step's text logits [n, text_card], in the order of its slots."""
        return self._tap("text_logits")

    @property
    def audio_logits(self) -> npt.NDArray[np.float32]:
        """The last step's logits of the codes [n, model_codebooks, cardinality]."""
        return self._tap("audio_logits")

    @property
    def extra_heads(self) -> npt.NDArray[np.float32]:
        """The last step's extra heads [n, heads, classes]: probabilities."""
        return self._tap("extra_heads")

    @property
    def tensors(self) -> Sequence[Tensor]:
        """All that steps read and write beside the weights; none ever moves."""
        return (*self._state.tensors, *(self._static.tensors if self._static else ()))

    def _run(self, rows: list[int], codes: npt.NDArray[np.int64]) -> tuple[StepOutput, npt.NDArray[np.int32]]:
        """One step of the rows, and its `pack_outputs`; on a GPU, over static buffers, waiting for it once."""
        if self._static is not None:
            return self._static.run(rows, codes), self._static.wait()
        attend = self._state.ring.ragged(rows, [self._steps[slot] for slot in rows])
        output = self.model.step(self._state, torch.tensor(rows), torch.from_numpy(codes), attend)
        return output, pack_outputs(output).numpy()

    def _tap(self, name: str) -> npt.NDArray[np.float32]:
        assert self._last is not None, "no step was taken"
        count, output = self._last
        value: Tensor = getattr(output, name)
        tapped: npt.NDArray[np.float32] = value.cpu().numpy()[:count]
        return tapped


def cuda_step(model: LanguageModel, state: BatchState, graphs: bool) -> GraphRunner:
    """The step of a model on a GPU, captured unless `graphs` is false."""
    from antiphon_cloud.backends.cuda import ring_attention

    step = GraphRunner(model, state, partial(ring_attention.attend, state.ring))
    if graphs:
        step.capture()
    return step


def model_spec(directory: ModelDirectory, dtype: torch.dtype, random_weights: bool = False) -> ModelSpec:
    """What sessions are told of the directory's model when its weights are held in `dtype`."""
    config = directory.config
    return ModelSpec(
        name=directory.name,
        model_type=config.model_type,
        user_codebooks=config.lm.user_codebooks,
        model_codebooks=config.lm.dep_q,
        cardinality=config.lm.card,
        text_cardinality=config.lm.text_card,
        delay_steps=config.lm.max_delay,
        context_steps=config.lm.context,
        sampling=config.sampling,
        weights=str(dtype).removeprefix("torch."),
        random_weights=random_weights,
        text_padding_token=config.lm.existing_text_padding_id,
        silence_before_ms=round(1000 * config.silence_before_s),
        silence_after_ms=round(1000 * config.silence_after_s),
    )
