"""The language model: streams of tokens in, the next text token and codes out.

A step is one function of (weights, state, user codes): no host synchronisation, no shape that depends on data, no
state allocated. Sessions in a batch stand at different offsets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812

from antiphon_cloud.model.config import MAX_TOP_K, LMConfig
from antiphon_cloud.model.layers import Attend, Linear, RMSNorm, Transformer, attention, rope
from antiphon_cloud.model.sampling import SlotSampling, noise_keys, sample
from antiphon_cloud.model.state import UNGENERATED, BatchState, DepformerAttend, DepformerKv

ZERO = -1  # the token that embeds to a vector of zeros


@dataclass(frozen=True, slots=True)
class StepOutput:
    """What a step makes of B slots."""

    tokens: Tensor  # [B, 1 + dep_q] aligned text and codes; −2 where held back
    finite: Tensor  # [B] whether all logits are numbers
    text_logits: Tensor  # [B, text_card]
    audio_logits: Tensor  # [B, dep_q, card], each after the codes before it
    extra_heads: Tensor  # [B, heads, classes] probabilities


@dataclass(frozen=True, slots=True)
class ForcedOutput:
    """Logits of a whole conversation, aligned with the tokens that they predict. Unmasked entries are not valid."""

    text_logits: Tensor  # [B, T, text_card]
    text_mask: Tensor  # [B, T]
    audio_logits: Tensor  # [B, dep_q, T, card]
    audio_mask: Tensor  # [B, dep_q, T]


class Embedding(nn.Module):
    """A table of vectors, one a token; `ZERO` is none of them. A low rank keeps narrow vectors and widens them."""

    def __init__(self, tokens: int, dim: int, low_rank: int | None = None) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(tokens, low_rank or dim))
        self.low_rank = Linear(low_rank, dim) if low_rank else None

    def forward(self, tokens: Tensor) -> Tensor:
        """Vectors [..., dim] of tokens [...]."""
        y = F.embedding(tokens.clamp(min=0), self.weight)
        y = y.masked_fill((tokens == ZERO)[..., None], 0.0)
        return y if self.low_rank is None else self.low_rank(y)


class LanguageModel(nn.Module):
    """Temporal transformer over steps, depformer over a step's codebooks (Défossez et al., "Moshi", 2024).

    Parameters have the names of published checkpoints with split attention projections.
    """

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.config = config
        dim, eps = config.dim, config.norm_eps
        self.text_emb = Embedding(config.text_card + 1, dim)
        self.emb = nn.ModuleList([Embedding(config.card + 1, dim) for _ in range(config.n_q)])
        self.transformer = Transformer(config.num_layers, dim, config.num_heads, config.hidden, eps)
        self.out_norm = RMSNorm(dim, eps)
        self.text_linear = Linear(dim, config.text_card)
        self.extra_heads = nn.ModuleList(
            [Linear(dim, config.extra_heads_dim) for _ in range(config.extra_heads_num_heads)]
        )
        if config.dep_q:
            inner, rank = config.depformer_dim, config.depformer_low_rank_embeddings
            hidden = config.depformer_hidden
            self.depformer_in = nn.ModuleList([Linear(dim, inner) for _ in hidden])
            self.depformer_text_emb = Embedding(config.text_card + 1, inner, rank)
            self.depformer_emb = nn.ModuleList(
                [Embedding(config.card + 1, inner, rank) for _ in range(config.dep_q - 1)]
            )
            self.depformer = Transformer(
                config.depformer_num_layers,
                inner,
                config.depformer_num_heads,
                hidden,
                eps,
            )
            self.linears = nn.ModuleList([Linear(inner, config.card) for _ in range(config.dep_q)])

    @property
    def dtype(self) -> torch.dtype:
        """Of activations; tables and matrices may be held in another."""
        return self.out_norm.alpha.dtype

    def step(
        self,
        state: BatchState,
        slots: Tensor,
        user_codes: Tensor,
        attend: Callable[[int], Attend] | None = None,
        max_top_k: int = MAX_TOP_K,
    ) -> StepOutput:
        """Advances B sessions by one frame, in place.

        Args:
            state: of all sessions.
            slots: rows of the state that step, distinct, int64 [B]. The others keep every bit.
            user_codes: the frame's codes, int64 [B, user_codebooks].
            attend: to the state's ring, layer by layer; None for `Ring.static`.
            max_top_k: the most candidates that any slot may ask for.
        """
        first_user = 1 + self.config.dep_q
        steps, sampling = state.offsets[slots], state.sampling.take(slots)
        tokens = state.tokens[slots]  # [B, streams, ring]
        ring = tokens.shape[-1]
        t = steps[:, None]  # [B, 1]
        tokens[:, first_user:].scatter_(2, ((t + state.delays[first_user:]) % ring)[..., None], user_codes[..., None])
        held = tokens.gather(2, (t % ring)[..., None].expand(-1, self.config.streams, 1))[..., 0]
        inputs = torch.where(t <= state.delays, state.initial, held)  # [B, streams]

        hidden = self._temporal_step(inputs, steps, attend or state.ring.static(slots, steps))  # [B, 1, dim]
        text_logits = self.text_linear(hidden)[:, 0].float()
        streams = torch.arange(first_user, device=steps.device)
        keys = noise_keys(sampling.seeds[:, None], t, streams)  # [B, 1 + dep_q]
        text = self._draw(text_logits, keys[:, 0], sampling.text_temperature, sampling.text_top_k, max_top_k)  # [B]
        codes, audio_logits = self._depformer_step(text, hidden, keys[:, 1:], state.depformer_kv, sampling, max_top_k)
        finite = text_logits.isfinite().all(-1) & audio_logits.isfinite().flatten(1).all(-1)  # [B]

        t = t + 1
        generated = torch.cat((text[:, None], codes), 1)  # [B, 1 + dep_q]
        tokens[:, :first_user].scatter_(2, (t % ring)[..., None].expand(-1, first_user, 1), generated[..., None])
        aligned = ((t - self.config.max_delay + state.delays[:first_user]) % ring)[..., None]
        output = tokens[:, :first_user].gather(2, aligned)[..., 0]
        state.tokens[slots] = tokens
        state.offsets[slots] = steps + 1
        output = torch.where(t > self.config.max_delay, output, UNGENERATED)
        return StepOutput(output, finite, text_logits, audio_logits, self._extra_heads(hidden))

    def prefill(self, inputs: Tensor, steps: Tensor, attend: Callable[[int], Attend]) -> None:
        """Leaves the keys and values of T steps of one session, whose tokens are known, with `attend`.

        Args:
            inputs: what the streams hold at each step, int64 [T, streams].
            steps: their numbers, one after the other, int64 [T].
            attend: as for `step`; each of its rows is a step.
        """
        self._temporal_step(inputs, steps, attend)

    def forward(self, tokens: Tensor) -> ForcedOutput:
        """Teacher forcing: the logits that predict each token of a conversation from all before it.

        Args:
            tokens: undelayed, int64 [B, streams, T]; `ZERO` where a stream says nothing.
        """
        config = self.config
        text_logits, audio_logits = self.forced(self.delayed(tokens))
        text_logits, text_mask = undelay(text_logits[:, None], config.delays[:1])
        audio_logits, audio_mask = undelay(audio_logits, config.delays[1 : 1 + config.dep_q])
        return ForcedOutput(
            text_logits[:, 0],
            text_mask[0] & (tokens[:, 0] != ZERO),
            audio_logits,
            audio_mask & (tokens[:, 1 : 1 + config.dep_q] != ZERO),
        )

    def delayed(self, tokens: Tensor) -> Tensor:
        """Undelayed tokens [B, streams, T] as the steps see them, [B, streams, T + 1]: initial tokens come first."""
        config = self.config
        initial = tokens.new_tensor([config.text_card] + [config.card] * config.n_q)[:, None]  # [streams, 1]
        at = torch.arange(tokens.shape[2] + 1, device=tokens.device) - 1
        at = at - tokens.new_tensor(config.delays)[:, None]  # [streams, T + 1]
        delayed = tokens.gather(2, at.clamp(min=0).expand(len(tokens), -1, -1))
        return torch.where(at < 0, initial, delayed)

    def forced(self, delayed: Tensor, audio_steps: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """What each step predicts of the next entry of delayed tokens [B, streams, T + 1].

        Args:
            delayed: of `delayed`.
            audio_steps: the steps whose codes are wanted, [B, N]; None for all. Training looks at some.

        Returns:
            Text logits [B, T, text_card] and audio logits [B, dep_q, N, card].
        """
        hidden, following = self._temporal(delayed[..., :-1]), delayed[..., 1:]  # [B, T, dim], [B, streams, T]
        text_logits: Tensor = self.text_linear(hidden)
        if audio_steps is not None:
            hidden = hidden.gather(1, audio_steps[..., None].expand(-1, -1, hidden.shape[2]))
            following = following.gather(2, audio_steps[:, None].expand(-1, following.shape[1], -1))
        return text_logits, self._depformer(following, hidden)

    def _embed(self, tokens: Tensor) -> Tensor:
        """Sum of the streams' embeddings [B, T, dim] of tokens [B, streams, T]."""
        total = self.text_emb(tokens[:, 0]).to(self.dtype)
        for stream, embedding in enumerate(self.emb, start=1):
            total = total + embedding(tokens[:, stream]).to(self.dtype)
        return total  # type: ignore[no-any-return]

    def _temporal_step(self, inputs: Tensor, steps: Tensor, attend: Callable[[int], Attend]) -> Tensor:
        """Hidden states [B, 1, dim] of the input tokens [B, streams] of the sessions' steps [B]."""
        config = self.config
        rotation = rope(steps[:, None], config.dim // config.num_heads, config.max_period)
        return self.out_norm(self.transformer(self._embed(inputs[..., None]), (0,), rotation, attend))  # type: ignore[no-any-return]

    def _temporal(self, tokens: Tensor) -> Tensor:
        """Final hidden states [B, T, dim] of a whole sequence [B, streams, T]."""
        config = self.config
        steps = torch.arange(tokens.shape[2], device=tokens.device)
        age = steps[:, None] - steps  # [T, S]
        x = self._embed(tokens)
        hidden_from = (age < 0) | (age >= config.context)
        bias = torch.zeros_like(age, dtype=x.dtype).masked_fill(hidden_from, -torch.inf)
        rotation = rope(steps[None], config.dim // config.num_heads, config.max_period)
        return self.out_norm(self.transformer(x, (0,), rotation, _whole_sequence(bias)))  # type: ignore[no-any-return]

    def _draw(self, logits: Tensor, keys: Tensor, temperature: Tensor, top_k: Tensor, max_top_k: int) -> Tensor:
        """See `sample`."""
        return sample(logits, keys, temperature, top_k, max_top_k)

    def _depformer_step(
        self,
        text: Tensor,
        hidden: Tensor,
        keys: Tensor,
        depformer_kv: DepformerKv,
        sampling: SlotSampling,
        max_top_k: int,
    ) -> tuple[Tensor, Tensor]:
        """Draws one code after the other: codes [B, dep_q], and the logits [B, dep_q, card] they are drawn from."""
        previous = text
        codes: list[Tensor] = []
        all_logits: list[Tensor] = []
        for k, weight_set in enumerate(self.config.weight_sets):
            embedded = self._depformer_embedding(k)(previous[:, None]).to(self.dtype)
            x = self.depformer_in[weight_set](hidden) + embedded  # [B, 1, inner]
            x = self.depformer(x, (weight_set,), None, DepformerAttend(depformer_kv, k, len(text)))
            logits = self.linears[k](x)[:, 0].float()  # [B, card]
            previous = self._draw(logits, keys[:, k], sampling.audio_temperature, sampling.audio_top_k, max_top_k)
            codes.append(previous)
            all_logits.append(logits)
        if not codes:
            return text.new_empty(len(text), 0), hidden.new_empty(len(text), 0, self.config.card)
        return torch.stack(codes, 1), torch.stack(all_logits, 1)

    def _depformer(self, tokens: Tensor, hidden: Tensor) -> Tensor:
        """Logits [B, dep_q, T, card] of the codes in tokens [B, streams, T], after the hidden states [B, T, dim]."""
        sets = self.config.weight_sets
        batch, steps, _ = hidden.shape
        if not sets:
            return hidden.new_zeros(batch, 0, steps, self.config.card)
        inputs = [
            self.depformer_in[weight_set](hidden) + self._depformer_embedding(k)(tokens[:, k]).to(self.dtype)
            for k, weight_set in enumerate(sets)
        ]
        x = torch.stack(inputs, 2).flatten(0, 1)  # [B * T, dep_q, inner]
        later = torch.ones(len(sets), len(sets), dtype=torch.bool, device=x.device).triu(1)
        bias = torch.zeros_like(later, dtype=x.dtype).masked_fill(later, -torch.inf)
        x = self.depformer(x, sets, None, _whole_sequence(bias))
        logits = torch.stack([linear(x[:, k]) for k, linear in enumerate(self.linears)])  # [dep_q, B * T, card]
        return logits.view(len(sets), batch, steps, -1).transpose(0, 1)

    def _depformer_embedding(self, k: int) -> nn.Module:
        """Embeds the token before codebook k: the text token, then each codebook."""
        return self.depformer_emb[k - 1] if k else self.depformer_text_emb

    def _extra_heads(self, hidden: Tensor) -> Tensor:
        if not len(self.extra_heads):
            return hidden.new_zeros(len(hidden), 0, self.config.extra_heads_dim)
        return torch.stack([head(hidden)[:, 0] for head in self.extra_heads], 1).float().softmax(-1)


def _whole_sequence(bias: Tensor) -> Callable[[int], Attend]:
    """Every layer attends within the sequence, with `bias` [T, T] added to the scores."""
    return lambda layer: partial(attention, mask=bias)


def undelay(logits: Tensor, delays: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Moves each stream's logits [B, K, T, V] back by its delay; also which [K, T] are then valid."""
    steps = logits.shape[2]
    at = (
        torch.arange(steps, device=logits.device)
        + torch.tensor(delays, device=logits.device, dtype=torch.int64)[:, None]
    )
    rows = torch.arange(len(delays), device=logits.device)[:, None]
    return logits[:, rows, at.clamp(max=steps - 1)], at < steps
