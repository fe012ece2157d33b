"""Teacher forcing: the logits of a whole conversation at once, for training and for tests."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.delays import delayed, undelayed
from antiphon_cloud.model.layers import attention
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.ops import Ops
from antiphon_cloud.model.tokens import ZERO


@dataclass(frozen=True, slots=True)
class ForcedOutput:
    """Logits of a whole conversation, aligned with the tokens that they predict. Unmasked entries are not valid."""

    text_logits: Tensor  # [B, T, text_card]
    text_mask: Tensor  # [B, T]
    audio_logits: Tensor  # [B, dep_q, T, card]
    audio_mask: Tensor  # [B, dep_q, T]


@dataclass(frozen=True, slots=True)
class SequenceKv:
    """Keys and values of a whole sequence, which are held nowhere; a `Kv`."""

    bias: Tensor  # [T, T], added to the scores

    def view(self) -> None:
        """Nothing is written."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """See `Kv.attend`."""
        return attention(q, k, v, self.bias)


def forced_output(model: LanguageModel, tokens: Tensor) -> ForcedOutput:
    """The logits that predict each token of a conversation from all before it.

    Args:
        model: the weights.
        tokens: undelayed, int64 [B, streams, T]; `ZERO` where a stream says nothing.
    """
    config = model.config
    text_logits, audio_logits = forced_logits(model, delayed_streams(config, tokens))
    text_logits, text_mask = undelayed(text_logits[:, None], config.delays[:1])
    audio_logits, audio_mask = undelayed(audio_logits, config.delays[1 : 1 + config.dep_q])
    return ForcedOutput(
        text_logits[:, 0],
        text_mask[0] & (tokens[:, 0] != ZERO),
        audio_logits,
        audio_mask & (tokens[:, 1 : 1 + config.dep_q] != ZERO),
    )


def delayed_streams(config: LMConfig, tokens: Tensor) -> Tensor:
    """Undelayed tokens [B, streams, T] as the steps see them, [B, streams, T + 1]: initial tokens come first."""
    return delayed(tokens, config.delays, config.initial_tokens, range(tokens.shape[2] + 1))


def forced_logits(model: LanguageModel, delayed: Tensor, audio_steps: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """What each step predicts of the next entry of delayed tokens [B, streams, T + 1].

    Args:
        model: the weights.
        delayed: of `delayed_streams`.
        audio_steps: the steps whose codes are wanted, [B, N]; None for all. Training looks at some.

    Returns:
        Text logits [B, T, text_card] and audio logits [B, dep_q, N, card].
    """
    ops = Ops(model)
    inputs, following = delayed[..., :-1], delayed[..., 1:]  # [B, streams, T]
    steps = torch.arange(inputs.shape[2], device=inputs.device)
    age = steps[:, None] - steps  # [T, S]
    hidden_from = (age < 0) | (age >= model.config.context)
    bias = torch.zeros_like(age, dtype=model.dtype).masked_fill(hidden_from, -torch.inf)
    hidden = ops.temporal(inputs, steps[None], SequenceKv(bias))  # [B, T, dim]
    text_logits: Tensor = model.text_linear(hidden)
    if audio_steps is not None:
        hidden = hidden.gather(1, audio_steps[..., None].expand(-1, -1, hidden.shape[2]))
        following = following.gather(2, audio_steps[:, None].expand(-1, following.shape[1], -1))
    return text_logits, _audio_logits(ops, following, hidden)


def _audio_logits(ops: Ops, tokens: Tensor, hidden: Tensor) -> Tensor:
    """Logits [B, dep_q, T, card] of the codes in tokens [B, streams, T], after the hidden states [B, T, dim]."""
    model, sets = ops.model, ops.model.config.weight_sets
    batch, steps, _ = hidden.shape
    if not sets:
        return hidden.new_zeros(batch, 0, steps, model.config.card)
    inputs = []
    for k, weight_set in enumerate(sets):
        embedded = model.codebook_embedding(k)(tokens[:, k], model.dtype)
        inputs.append(ops.linear_add(model.depformer_in, hidden, (weight_set,), embedded))
    x = torch.stack(inputs, 2).flatten(0, 1)  # [B * T, dep_q, inner]
    later = torch.ones(len(sets), len(sets), dtype=torch.bool, device=x.device).triu(1)
    bias = torch.zeros_like(later, dtype=x.dtype).masked_fill(later, -torch.inf)
    x = ops.layers(model.depformer, x, sets, None, SequenceKv(bias))
    logits = torch.stack([linear(x[:, k]) for k, linear in enumerate(model.linears)])  # [dep_q, B * T, card]
    return logits.view(len(sets), batch, steps, -1).transpose(0, 1)
