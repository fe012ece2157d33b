"""Drawing tokens with random numbers that are a function of where they are used, not of when.

The noise of a token is a hash of (seed, step, stream, token id), so that a session draws the same tokens whoever
shares its batch, on any worker, and after it was resumed.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from antiphon.spec import Sampling
from antiphon_cloud.model.tokens import NEW_WORD, UNGENERATED


def _int64(value: int) -> int:
    """The int64 of the same low 64 bits."""
    return (value + (1 << 63)) % (1 << 64) - (1 << 63)


GOLDEN_GAMMA = _int64(0x9E3779B97F4A7C15)
MIX_1 = _int64(0xBF58476D1CE4E5B9)
MIX_2 = _int64(0x94D049BB133111EB)


@dataclass(frozen=True, slots=True)
class SlotSampling:
    """How each slot draws; every tensor is [slots]."""

    seeds: Tensor  # int64
    text_temperature: Tensor  # float32; 0 takes the likeliest token
    text_top_k: Tensor  # int64, at least 1
    audio_temperature: Tensor
    audio_top_k: Tensor

    @classmethod
    def allocate(cls, slots: int, device: torch.device) -> SlotSampling:
        """Greedy slots with seed 0."""

        def column(dtype: torch.dtype, value: int) -> Tensor:
            return torch.full((slots,), value, dtype=dtype, device=device)

        return cls(
            column(torch.int64, 0),
            column(torch.float32, 0),
            column(torch.int64, 1),
            column(torch.float32, 0),
            column(torch.int64, 1),
        )

    def take(self, slots: Tensor) -> SlotSampling:
        """A copy of some slots' rows, [B] each."""
        return SlotSampling(
            self.seeds[slots],
            self.text_temperature[slots],
            self.text_top_k[slots],
            self.audio_temperature[slots],
            self.audio_top_k[slots],
        )

    def set(self, slot: int, seed: int, sampling: Sampling) -> None:
        """Gives a slot its seed, of which the low 64 bits count, and its temperatures and top-ks."""
        self.seeds[slot] = _int64(seed)
        self.text_temperature[slot] = sampling.text_temperature
        self.text_top_k[slot] = sampling.text_top_k
        self.audio_temperature[slot] = sampling.audio_temperature
        self.audio_top_k[slot] = sampling.audio_top_k


def sample(logits: Tensor, keys: Tensor, temperature: Tensor, top_k: Tensor, max_top_k: int) -> Tensor:
    """Draws one token a row from the softmax of the `top_k` largest logits over the temperature.

    Adds Gumbel noise to the logits and takes the largest sum, which draws from their softmax (Gumbel 1954; Maddison,
    Tarlow, Minka, "A* Sampling", 2014).

    Args:
        logits: [B, V].
        keys: what the noise is a function of, int64 [B]; see `noise_keys`.
        temperature: float32 [B]; 0 takes the largest logit.
        top_k: int64 [B], at least 1.
        max_top_k: the most candidates that any row may ask for.

    Returns:
        Tokens [B].
    """
    logits = logits.float()
    values, tokens = logits.topk(min(max_top_k, logits.shape[-1]))  # [B, C] each, largest first
    rank = torch.arange(values.shape[-1], device=logits.device)
    safe = torch.where(temperature > 0, temperature, 1.0)
    scores = values / safe[:, None] + gumbel(keys[:, None], tokens)  # [B, C]
    scores = scores.masked_fill(rank >= top_k[:, None], -torch.inf)
    drawn = tokens.gather(1, scores.argmax(1, keepdim=True))[:, 0]
    return torch.where(temperature > 0, drawn, logits.argmax(1))


def forced_or_drawn(drawn: Tensor, forced: Tensor) -> Tensor:
    """What a stream gets, [B]: the token that is forced, or the one that was drawn.

    A script's next word is known before the step, but not whether the model begins it now: so two tokens are given.

    Args:
        drawn: tokens [B].
        forced: int64 [B, 2]: in place of a drawn `NEW_WORD`, and of any other token. `UNGENERATED` leaves it.
    """
    wanted = torch.where(drawn == NEW_WORD, forced[:, 0], forced[:, 1])
    return torch.where(wanted == UNGENERATED, drawn, wanted)


def noise_keys(seeds: Tensor, steps: Tensor, streams: Tensor) -> Tensor:
    """One int64 for each (seed, step, stream), of int64 tensors that broadcast."""
    return mix(mix(mix(seeds + GOLDEN_GAMMA) + steps * GOLDEN_GAMMA) + streams * GOLDEN_GAMMA)


def gumbel(keys: Tensor, tokens: Tensor) -> Tensor:
    """Standard Gumbel noise, float32, for each (key, token id).

    A token's draw is the output number `token id` of a SplitMix64 generator (Steele, Lea, Flood, "Fast splittable
    pseudorandom number generators", 2014) that starts from the key.
    """
    bits = mix(torch.add(keys + GOLDEN_GAMMA, tokens, alpha=GOLDEN_GAMMA))
    uniform = (_shift(bits, 41).float() + 0.5) * 2.0**-23  # in (0, 1), never at the ends
    return -torch.log(-torch.log(uniform))


def mix(z: Tensor) -> Tensor:
    """SplitMix64's finaliser; int64 products wrap as uint64's do."""
    z = (z ^ _shift(z, 30)) * MIX_1
    z = (z ^ _shift(z, 27)) * MIX_2
    return z ^ _shift(z, 31)


def _shift(z: Tensor, bits: int) -> Tensor:
    """Logical shift right; torch's own repeats the sign."""
    return z >> bits & ((1 << 64 - bits) - 1)
