"""The vocabulary of a step: its operations and the two loops over them, in plain torch. This is the definition.

An executor is a subclass that computes some of them better: a GPU's overrides single operations, the CPU's whole loops.
One test holds every executor to this module, operation by operation and step by step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from functools import partial
from typing import Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from antiphon_cloud.model.conditions import RowConditions
from antiphon_cloud.model.kv_ring import Kv
from antiphon_cloud.model.layers import Layer, SwiGLU, Transformer, per_position, rope, rotate
from antiphon_cloud.model.lm import LanguageModel
from antiphon_cloud.model.sampling import SlotSampling, forced_or_drawn, noise_keys, sample
from antiphon_cloud.model.state import BatchState, DepformerKv
from antiphon_cloud.model.tokens import UNGENERATED


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What a step of B slots starts from."""

    tokens: Tensor  # int64 [B, streams]
    steps: Tensor  # int64 [B]: taken before this one
    sampling: SlotSampling  # of the rows
    keys: Tensor  # int64 [B, 1 + dep_q]: of the noise that text and codes are drawn with


@dataclass(frozen=True, slots=True)
class Drawn:
    """What a step of B slots puts into the model's streams, drawn or forced, and the logits."""

    text: Tensor  # int64 [B]
    codes: Tensor  # int64 [B, dep_q]
    text_logits: Tensor  # float32 [B, text_card]
    audio_logits: Tensor  # float32 [B, dep_q, card]


class Ops:
    """What computes the steps of one model.

    `sets` [T] names each position's weight set; it is ignored where there is one set. In a step T is 1.

    Args:
        model: the weights.
    """

    def __init__(self, model: LanguageModel) -> None:
        self.model = model
        self._rows: Tensor | None = None  # of a batch: the places of the rows' adapters

    def adapted(self, rows: Tensor) -> Self:
        """The same for a batch whose rows have adapters: the places int64 [B], or `NONE`; [1] where all have the same.

        Where no row has any, as the host knows on a CPU, nothing is added to a step.
        """
        if rows.device.type == "cpu" and not bool((rows >= 0).any()):
            return self
        ops = copy(self)
        ops._rows = rows
        return ops

    def product(self, matrix: nn.Module, x: Tensor) -> Tensor:
        """Product of x [B, ..., inputs] and a matrix, with the rows' adapters."""
        y: Tensor = matrix(x)
        if self._rows is None:
            return y
        assert self.model.adapters is not None, "somebody has chosen one"
        return self.model.adapters.beside[matrix].add(x, self._rows, y)

    def begin(self, state: BatchState, slots: Tensor, user_codes: Tensor) -> StepInputs:
        """Puts the frame's codes [B, user_codebooks] into the slots' streams, and takes what the step starts from."""
        config, rows = self.model.config, slots[:, None]
        first_user, ring = 1 + config.dep_q, state.tokens.shape[-1]
        end_user = first_user + config.user_codebooks
        steps, sampling = state.offsets[slots], state.sampling.take(slots)
        t, streams = steps[:, None], torch.arange(config.streams, device=steps.device)
        user = streams[first_user:end_user]
        state.tokens[rows, user, (t + state.delays[user]) % ring] = user_codes
        held = state.tokens[rows, streams, t % ring]
        inputs = torch.where(t <= state.delays, state.initial, held)  # [B, streams]
        return StepInputs(inputs, steps, sampling, noise_keys(sampling.seeds[:, None], t, streams[:first_user]))

    def finish(self, state: BatchState, slots: Tensor, steps: Tensor, drawn: Drawn) -> tuple[Tensor, Tensor]:
        """Puts what was drawn into the slots' streams, and takes the step's output, [B, 1 + dep_q] as `StepOutput` has
        it, and whether all of a row's logits are numbers, [B]."""
        config, rows, t = self.model.config, slots[:, None], steps[:, None] + 1
        streams, ring = torch.arange(1 + config.dep_q, device=steps.device), state.tokens.shape[-1]
        state.tokens[rows, streams, t % ring] = torch.cat((drawn.text[:, None], drawn.codes), 1)
        output = state.tokens[rows, streams, (t - config.max_delay + state.delays[: len(streams)]) % ring]
        state.offsets[slots] = steps + 1
        finite = drawn.text_logits.isfinite().all(-1) & drawn.audio_logits.isfinite().flatten(1).all(-1)  # [B]
        return torch.where(t > config.max_delay, output, UNGENERATED), finite

    def embed(self, tokens: Tensor) -> Tensor:
        """Sum of the streams' embeddings [B, T, dim] of tokens [B, streams, T]."""
        model = self.model
        total: Tensor = model.text_emb(tokens[:, 0], model.dtype)
        for stream, embedding in enumerate(model.emb, start=1):
            total = total + embedding(tokens[:, stream], model.dtype)
        return total

    def qkv(
        self, layer: Layer, x: Tensor, sets: Sequence[int], rotation: Tensor | None
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Norm, projection, rotation: queries [B, H, T, D], keys and values [B, K, T, D] of x [B, T, dim].

        Args:
            layer: the weights.
            x: the positions' inputs.
            sets: of the positions.
            rotation: of `rope`; None for no position embedding.
        """
        attention = layer.self_attn
        projected = per_position(self._each(attention.in_projs), sets, layer.norm1(x))
        heads, kv_heads = attention.heads, attention.kv_heads
        every = projected.view(*x.shape[:2], heads + 2 * kv_heads, -1).transpose(1, 2)  # [B, H + 2 K, T, D]
        turned, v = torch.split(every, [heads + kv_heads, kv_heads], 1)
        q, k = torch.split(turned if rotation is None else rotate(turned, rotation), [heads, kv_heads], 1)
        return q, k, v

    def attend(self, kv: Kv, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Writes keys and values [B, K, T, D] where they belong, and attends to all that the queries may see."""
        return kv.attend(layer, q, k, v)

    def linear_add(self, matrices: nn.ModuleList, x: Tensor, sets: Sequence[int], residual: Tensor) -> Tensor:
        """Product of x [B, T, inputs] and the matrix of each position's weight set, plus the residual."""
        return residual + per_position(self._each(matrices), sets, x)

    def gated(self, layer: Layer, x: Tensor, sets: Sequence[int]) -> Tensor:
        """x [B, T, dim] plus its feed-forward: norm, gates and values, SiLU, product."""
        functions = [partial(self._feed_forward, gating) for gating in layer.gatings]
        return x + per_position(functions, sets, layer.norm2(x))

    def draw(
        self,
        logits: Tensor,
        keys: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        max_top_k: int,
        forced: Tensor | None = None,
    ) -> Tensor:
        """Tokens [B] drawn from logits [B, V], or forced; see `sample` and `forced_or_drawn`."""
        drawn = sample(logits, keys, temperature, top_k, max_top_k)
        return drawn if forced is None else forced_or_drawn(drawn, forced)

    def draw_text(
        self,
        logits: Tensor,
        keys: Tensor,
        temperature: Tensor,
        top_k: Tensor,
        max_top_k: int,
        forced: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """`draw` for the text stream: the tokens [B], and what was drawn where they were forced [B]."""
        drawn = self.draw(logits, keys, temperature, top_k, max_top_k)
        return drawn if forced is None else forced_or_drawn(drawn, forced), drawn

    def self_attention(
        self, layer: Layer, index: int, x: Tensor, sets: Sequence[int], rotation: Tensor | None, kv: Kv
    ) -> Tensor:
        """`qkv` and `attend` of the layer of that number: [B, T, dim]."""
        out = self.attend(kv, index, *self.qkv(layer, x, sets, rotation))  # [B, H, T, D]
        return out.transpose(1, 2).flatten(2)

    def cross_attention(self, layer: Layer, index: int, x: Tensor, conditions: RowConditions) -> Tensor:
        """x [B, T, dim] plus its attention to what the rows' sessions were told, in the layer of that number."""
        cross = layer.cross_attention
        assert cross is not None
        q = cross.q_proj(layer.norm_cross(x)).unflatten(2, (cross.heads, -1)).transpose(1, 2)  # [B, H, T, D]
        out = conditions.attend(index, q).transpose(1, 2).flatten(2)
        return self.linear_add(cross.out_projs, out, (0,), x)

    def layers(
        self,
        stack: Transformer,
        x: Tensor,
        sets: Sequence[int],
        rotation: Tensor | None,
        kv: Kv,
        conditions: RowConditions | None = None,
    ) -> Tensor:
        """Runs all layers of a stack on x [B, T, dim]; a stack with cross attention needs the rows' conditions."""
        for index, layer in enumerate(stack.layers):
            assert isinstance(layer, Layer)
            out = self.self_attention(layer, index, x, sets, rotation, kv)
            x = self.linear_add(layer.self_attn.out_projs, out, sets, x)
            if stack.cross:
                assert conditions is not None
                x = self.cross_attention(layer, index, x, conditions)
            x = self.gated(layer, x, sets)
        return x

    def logits(self, linear: nn.Module, x: Tensor) -> Tensor:
        """Logits [B, V], in float32, of x [B, 1, dim]."""
        return self.product(linear, x)[:, 0].float()

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
        """Draws a frame's codes [B, dep_q], each after the one before, from the logits [B, dep_q, card].

        Args:
            text: tokens of the text stream [B].
            hidden: of the temporal transformer, [B, 1, dim].
            keys: of the noise, int64 [B, dep_q].
            kv: of the depformer.
            sampling: of the rows.
            max_top_k: the most candidates that any row may ask for.
            forced: codes to take instead, int64 [B, dep_q]; `UNGENERATED` for none.
        """
        model, previous = self.model, text
        codes: list[Tensor] = []
        all_logits: list[Tensor] = []
        for k, weight_set in enumerate(model.config.weight_sets):
            embedded = model.codebook_embedding(k)(previous[:, None], model.dtype)
            x = self.linear_add(model.depformer_in, hidden, (weight_set,), embedded)  # [B, 1, inner]
            x = self.layers(model.depformer, x, (weight_set,), None, kv.at(k, len(text)))
            logits = self.logits(model.linears[k], model.depformer_norms[k](x))  # [B, card]
            wanted = None if forced is None else forced[:, k : k + 1].expand(-1, 2)
            previous = self.draw(
                logits, keys[:, k], sampling.audio_temperature, sampling.audio_top_k, max_top_k, wanted
            )
            codes.append(previous)
            all_logits.append(logits)
        if not codes:
            return text.new_empty(len(text), 0), hidden.new_empty(len(text), 0, model.config.card)
        return torch.stack(codes, 1), torch.stack(all_logits, 1)

    def temporal(self, tokens: Tensor, steps: Tensor, kv: Kv, conditions: RowConditions | None = None) -> Tensor:
        """Final hidden states [B, T, dim] of tokens [B, streams, T] at the sessions' steps [B, T] (or [1, T]), which
        were told `conditions`; None for nothing."""
        return self.hidden(self.embed(tokens), steps, kv, conditions)

    def hidden(self, x: Tensor, steps: Tensor, kv: Kv, conditions: RowConditions | None = None) -> Tensor:
        """As `temporal`, of inputs [B, T, dim] that `embed` made."""
        model, config = self.model, self.model.config
        rotation = rope(steps, config.dim // config.num_heads, config.max_period)
        if conditions is not None:
            x = conditions.add_to(x)
        return model.out_norm(self.layers(model.transformer, x, (0,), rotation, kv, conditions))  # type: ignore[no-any-return]

    def _each(self, matrices: nn.ModuleList) -> list[Callable[[Tensor], Tensor]]:
        return [partial(self.product, matrix) for matrix in matrices]

    def _feed_forward(self, gating: nn.Module, x: Tensor) -> Tensor:
        assert isinstance(gating, SwiGLU)
        gate, value = self.product(gating.linear_in, x).chunk(2, -1)
        return self.product(gating.linear_out, F.silu(gate) * value)
