"""The batch: numpy in, one step of the model, numpy out. Driven by one thread."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from antiphon.spec import ModelSpec, Sampling
from antiphon_cloud.cache import State
from antiphon_cloud.checkpoint import load_model
from antiphon_cloud.config import MAX_TOP_K
from antiphon_cloud.lm import LanguageModel, StepOutput
from antiphon_cloud.model_directory import ModelDirectory


@dataclass(frozen=True, slots=True)
class StepResult:
    """A step's aligned output, one row for each slot that stepped; −2 while the delays hold it back."""

    text: npt.NDArray[np.int32]  # [n]
    codes: npt.NDArray[np.int32]  # [n, model_codebooks]


class Runner:
    """Steps the sessions of a fixed number of slots.

    All state and every input lives in tensors that are allocated here, once: a step only writes into them.

    Args:
        model: the weights, on the device that will step them.
        slots: sessions at most.
        spec: what the sessions are told of the model.
    """

    def __init__(self, model: LanguageModel, slots: int, spec: ModelSpec) -> None:
        self.slots = slots
        self.spec = spec
        self.model = model
        weight = model.text_emb.weight
        with torch.inference_mode():
            self._state = State.allocate(model.config, slots, weight.dtype, weight.device)
            codes = torch.zeros(slots, model.config.user_codebooks, dtype=torch.int64, device=weight.device)
            mask = torch.zeros(slots, dtype=torch.bool, device=weight.device)
            self._inputs = {b: (self._state.rows(b), codes[:b], mask[:b]) for b in batch_sizes(slots)}
        self._last: tuple[list[int], StepOutput] | None = None

    @classmethod
    def load(cls, directory: ModelDirectory, slots: int, dtype: torch.dtype, device: torch.device | str) -> Runner:
        """A runner for the directory's model, its weights in `dtype`.

        Raises:
            CheckpointError: the weights are missing, damaged, or another model's.
        """
        return cls(load_model(directory, dtype, torch.device(device)), slots, model_spec(directory, dtype))

    def reset(self, slot: int, seed: int, sampling: Sampling) -> None:
        """Starts a new session in `slot`; nothing of the last one remains.

        Args:
            slot: row of the batch.
            seed: the session's tokens are a function of it, of the sampling and of the user's codes.
            sampling: temperatures, and top-ks of 1 to `MAX_TOP_K`.
        """
        assert 0 <= slot < self.slots
        assert 0 < sampling.text_top_k <= MAX_TOP_K
        assert 0 < sampling.audio_top_k <= MAX_TOP_K
        with torch.inference_mode():
            self._state.clear(slot)
            self._state.sampling.set(slot, seed, sampling)

    def step(self, slots: Sequence[int], user_codes: npt.NDArray[np.int32]) -> StepResult:
        """Advances `slots` by one frame each; the others do not change.

        Args:
            slots: distinct rows of the batch, at least one.
            user_codes: [n, user_codebooks], row i for `slots[i]`.
        """
        rows = list(slots)
        assert len(set(rows)) == len(rows) == len(user_codes)
        batch = next(b for b in self._inputs if b > max(rows))
        with torch.inference_mode():
            output = self._run(batch, *self._gather(batch, rows, user_codes))
            tokens = output.tokens.to("cpu", torch.int32).numpy()[rows]  # waits for the device
        self._last = rows, output
        return StepResult(tokens[:, 0], tokens[:, 1:])

    @property
    def text_logits(self) -> npt.NDArray[np.float32]:
        """The last step's text logits [n, text_card], in the order of its slots."""
        return self._tap("text_logits")

    @property
    def extra_heads(self) -> npt.NDArray[np.float32]:
        """The last step's extra heads [n, heads, classes]: probabilities."""
        return self._tap("extra_heads")

    def _gather(self, batch: int, rows: list[int], user_codes: npt.NDArray[np.int32]) -> tuple[Tensor, Tensor]:
        codes = np.zeros((batch, self.spec.user_codebooks), np.int64)
        codes[rows] = user_codes
        mask = np.zeros(batch, np.bool_)
        mask[rows] = True
        return torch.from_numpy(codes), torch.from_numpy(mask)

    def _run(self, batch: int, codes: Tensor, mask: Tensor) -> StepOutput:
        """One step of the first rows. Reads and writes static tensors only, so that a graph can take its place."""
        state, static_codes, static_mask = self._inputs[batch]
        static_codes.copy_(codes)
        static_mask.copy_(mask)
        return self.model.step(state, static_codes, static_mask)

    def _tap(self, name: str) -> npt.NDArray[np.float32]:
        assert self._last is not None, "no step was taken"
        rows, output = self._last
        value: Tensor = getattr(output, name)
        tapped: npt.NDArray[np.float32] = value.cpu().numpy()[rows]
        return tapped


def batch_sizes(slots: int) -> tuple[int, ...]:
    """The rows that a step may compute: powers of two below `slots`, and `slots`."""
    return (*(1 << i for i in range((slots - 1).bit_length())), slots)


def model_spec(directory: ModelDirectory, dtype: torch.dtype, random_weights: bool = False) -> ModelSpec:
    """What sessions are told of the directory's model when it runs in `dtype`."""
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
    )
