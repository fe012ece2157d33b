"""The step: every session of a batch one frame further.

A step is one function of (weights, state, user codes, forced tokens): no host synchronisation, no shape that depends on
data, no state allocated. Sessions in a batch stand at different offsets.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from antiphon_cloud.model.conditions import RowConditions
from antiphon_cloud.model.config import MAX_TOP_K
from antiphon_cloud.model.kv_ring import Kv, StaticKv
from antiphon_cloud.model.ops import Drawn, Ops
from antiphon_cloud.model.state import BatchState
from antiphon_cloud.model.tokens import FORCED_TEXT


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a step makes of B slots."""

    tokens: Tensor  # [B, 1 + dep_q] aligned text and codes; −2 where held back
    fed: Tensor  # [B] the text token that the step put into its stream, before any delay
    drawn_text: Tensor  # [B] the token that was drawn for it
    finite: Tensor  # [B] whether all logits are numbers
    text_logits: Tensor  # [B, text_card]
    audio_logits: Tensor  # [B, dep_q, card], each after the codes before it
    extra_heads: Tensor  # [B, heads, classes] probabilities


def step(
    ops: Ops,
    state: BatchState,
    slots: Tensor,
    user_codes: Tensor,
    kv: Kv | None = None,
    forced: Tensor | None = None,
    max_top_k: int = MAX_TOP_K,
) -> StepOutput:
    """Advances B sessions by one frame, in place.

    Args:
        ops: what computes it, with the weights.
        state: of all sessions.
        slots: rows of the state that step, distinct, int64 [B]. The others keep every bit.
        user_codes: the frame's codes, int64 [B, user_codebooks]; `ZERO` where nothing is said.
        kv: the slots' keys and values in the state's ring; None for `StaticKv`.
        forced: tokens that the model's streams get instead of drawn ones, int64 [B, FORCED_TEXT + dep_q]: of the text
            as `forced_or_drawn` has them, then one code a codebook. `UNGENERATED` is drawn; None: all are.
        max_top_k: the most candidates that any slot may ask for.
    """
    model = ops.model
    forced_text, forced_codes = (None, None) if forced is None else (forced[:, :FORCED_TEXT], forced[:, FORCED_TEXT:])
    if model.adapters is not None:
        ops = ops.adapted(state.adapters[slots])
    given = ops.begin(state, slots, user_codes)
    steps, sampling, keys = given.steps, given.sampling, given.keys
    kv, conditions = kv or StaticKv(state.ring, slots, steps), state.conditions.rows(slots)
    hidden = ops.temporal(given.tokens[..., None], steps[:, None], kv, conditions)
    text_logits = ops.logits(model.text_linear, hidden)
    text, drawn_text = ops.draw_text(
        text_logits, keys[:, 0], sampling.text_temperature, sampling.text_top_k, max_top_k, forced_text
    )  # [B]
    codes, audio_logits = ops.codes(text, hidden, keys[:, 1:], state.depformer_kv, sampling, max_top_k, forced_codes)
    drawn = Drawn(text, codes, text_logits, audio_logits)
    output, finite = ops.finish(state, slots, steps, drawn)
    return StepOutput(output, text, drawn_text, finite, text_logits, audio_logits, _extra_heads(ops, hidden))


def prefill(ops: Ops, inputs: Tensor, steps: Tensor, kv: Kv, conditions: RowConditions) -> None:
    """Leaves the keys and values of T steps of one session, whose inputs are known, with `kv`.

    Args:
        ops: what computes it, with the weights.
        inputs: what the streams hold at each step, int64 [T, streams]; or the sum of their embeddings, [T, dim].
        steps: their numbers, one after the other, int64 [T].
        kv: as for `step`; each of its rows is a step.
        conditions: what the session was told, for each of the rows.
    """
    if inputs.is_floating_point():
        ops.hidden(inputs[:, None], steps[:, None], kv, conditions)
    else:
        ops.temporal(inputs[..., None], steps[:, None], kv, conditions)


def _extra_heads(ops: Ops, hidden: Tensor) -> Tensor:
    model = ops.model
    if not len(model.extra_heads):
        return hidden.new_zeros(len(hidden), 0, model.config.extra_heads_dim)
    return torch.stack([ops.product(head, hidden)[:, 0] for head in model.extra_heads], 1).float().softmax(-1)
