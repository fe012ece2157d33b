"""The streaming transformer on each side of the quantizer, with a ring KV cache of the last `context` positions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_cloud.codec.mimi.checkpoint import Weights
from antiphon_cloud.codec.mimi.config import TransformerConfig
from antiphon_cloud.codec.mimi.layers import State


@dataclass(frozen=True, slots=True)
class Window:
    """What all layers of one call share: the slots of the new positions, and the attention mask."""

    cos: Tensor  # [T, 1, head_dim]
    sin: Tensor  # [T, 1, head_dim], negative for the first half
    slots: Tensor  # [min(T, context)], ring slots of the last new positions
    bias: Tensor  # [T, 1, S], 0 where a query may see a key, −inf elsewhere


class Transformer(nn.Module):
    """Pre-norm layers with LayerScale and rotary positions (RoPE: Su et al. 2021, arXiv:2104.09864).

    The reference writes all positions of a frame into the ring before it attends. So a frame's first position sees
    `context − positions_per_frame + 1` positions. Here this holds for any number of frames per call: a stream gives the
    same result frame by frame and all at once.

    Args:
        weights: source of the tensors below `{name}.`.
        name: `encoder_transformer` or `decoder_transformer`; also the prefix of the states' names.
        positions_per_frame: positions that are written together.
        fold: multiply the scales, of layers and of scores, into the matrices before them.
    """

    frequencies: Tensor  # [head_dim], negative for the first half of a head

    def __init__(
        self, weights: Weights, name: str, config: TransformerConfig, positions_per_frame: int, fold: bool = True
    ) -> None:
        super().__init__()
        self.config, self.positions_per_frame = config, positions_per_frame
        self.input_proj = self.output_proj = None
        if config.input_dimension != config.d_model:
            self.input_proj = linear(weights, f"{name}.input_proj.weight", config.input_dimension, config.d_model)
        layers = (Layer(weights, f"{name}.transformer.layers.{i}", config, fold) for i in range(config.num_layers))
        self.layers = nn.ModuleList(layers)
        if config.output_dimension != config.d_model:
            self.output_proj = linear(weights, f"{name}.output_projs.0.weight", config.d_model, config.output_dimension)
        exponents = torch.arange(config.head_dim // 2, dtype=torch.float32)
        frequencies = torch.exp(exponents * (-math.log(config.max_period) * 2 / config.head_dim))
        self.register_buffer("frequencies", torch.cat([-frequencies, frequencies]))

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """Empty rings."""
        state: State = {}
        layer: Any
        for layer in self.layers:
            state |= layer.initial_state(batch)
        return state

    def forward(self, x: Tensor, position: Tensor, state: State) -> tuple[Tensor, State]:
        """`x` [*, T, input_dimension], whole frames from `position` [] int64 on, to [*, T, output_dimension]."""
        window = self._window(x.shape[-2], position)
        x = x if self.input_proj is None else x @ self.input_proj  # [*, T, d_model]
        after: State = {}
        for layer in self.layers:
            x, change = layer(x, window, state)
            after |= change
        return x if self.output_proj is None else x @ self.output_proj, after

    def _window(self, length: int, position: Tensor) -> Window:
        config, device = self.config, position.device
        context, new = config.context, torch.arange(length, device=device)
        positions = position + new  # [T]
        angles = positions.to(torch.float32)[:, None, None] * self.frequencies  # [T, 1, head_dim]
        slots = positions[-context:] % context
        slot = torch.arange(context, device=device)
        if length == self.positions_per_frame:  # keys are the ring after the write
            last = position + length - 1
            keys = last - (last - slot) % context  # the last position that was written to each slot
        else:  # keys are the ring before the write, then the new positions
            keys = torch.cat([position - 1 - (position - 1 - slot) % context, positions])
        visible = (keys >= 0) & (keys <= positions[:, None])  # [T, S]
        if length != self.positions_per_frame:
            last_of_frame = positions + self.positions_per_frame - 1 - new % self.positions_per_frame
            visible &= keys > last_of_frame[:, None] - context
        bias = torch.where(visible, 0.0, -math.inf)
        return Window(angles.cos(), angles.sin(), slots, bias[:, None])


class Layer(nn.Module):
    """Attention and feed-forward, each after a LayerNorm, and scaled before it is added to the residual stream.

    The scales (LayerScale) are part of the matrices before them, where they are folded.
    """

    def __init__(self, weights: Weights, name: str, config: TransformerConfig, fold: bool) -> None:
        super().__init__()
        d_model = config.d_model
        self.attention = Attention(weights, f"{name}.self_attn", config, fold)
        self.norm1, self.norm2 = (LayerNorm(weights, f"{name}.norm{i}", d_model) for i in (1, 2))
        self.linear1 = linear(weights, f"{name}.linear1.weight", d_model, config.dim_feedforward)
        self.linear2 = linear(weights, f"{name}.linear2.weight", config.dim_feedforward, d_model)
        self.scale1 = self.scale2 = None
        if config.layer_scale is not None:
            scales = [weights.take(f"{name}.layer_scale_{i}.scale", (d_model,)) for i in (1, 2)]
            if fold:
                with torch.no_grad():
                    self.attention.out_proj.mul_(scales[0])
                    self.linear2.mul_(scales[1])
            else:
                self.scale1, self.scale2 = (nn.Parameter(scale) for scale in scales)

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """Empty rings."""
        return self.attention.initial_state(batch)

    def forward(self, x: Tensor, window: Window, state: State) -> tuple[Tensor, State]:
        """`x` [*, T, d_model]."""
        y, after = self.attention(self.norm1(x), window, state)
        x = x + (y if self.scale1 is None else self.scale1 * y)
        y = functional.gelu(self.norm2(x) @ self.linear1) @ self.linear2
        return x + (y if self.scale2 is None else self.scale2 * y), after


class LayerNorm(nn.Module):
    """Normalizes the last dimension, eps 1e-5."""

    def __init__(self, weights: Weights, name: str, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(weights.take(f"{name}.weight", (width,)))
        self.bias = nn.Parameter(weights.take(f"{name}.bias", (width,)))

    def forward(self, x: Tensor) -> Tensor:
        """`x` [*, width]."""
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, eps=1e-5)


class Attention(nn.Module):
    """Causal attention over the ring.

    The published model rotates adjacent channels (2i, 2i + 1). Here the query and key columns of a head are stored with
    its even channels first and its odd ones after them: no score changes, and the rotation works on two halves. The
    query columns hold the scale of the scores, too, where it is folded.
    """

    def __init__(self, weights: Weights, name: str, config: TransformerConfig, fold: bool) -> None:
        super().__init__()
        self.keys, self.values = f"{name}.keys", f"{name}.values"
        self.heads, self.head_dim, self.context = config.num_heads, config.head_dim, config.context
        d_model = config.d_model
        published = weights.first_of(f"{name}.in_proj_weight", f"{name}.in_projs.0.weight")
        self.in_proj = linear(weights, published, d_model, 3 * d_model)
        published = weights.first_of(f"{name}.out_proj.weight", f"{name}.out_projs.0.weight")
        self.out_proj = linear(weights, published, d_model, d_model)
        with torch.no_grad():
            columns = torch.unflatten(self.in_proj[:, : 2 * d_model], 1, (2 * self.heads, self.head_dim // 2, 2))
            self.in_proj[:, : 2 * d_model] = columns.transpose(2, 3).flatten(1)
            self.scale = None if fold else self.head_dim**-0.5  # of queries
            if fold:
                self.in_proj[:, :d_model] *= self.head_dim**-0.5

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """Empty rings."""
        shape = (*batch, self.heads, self.context, self.head_dim)
        return {self.keys: self.in_proj.new_zeros(shape), self.values: self.in_proj.new_zeros(shape)}

    def forward(self, x: Tensor, window: Window, state: State) -> tuple[Tensor, State]:
        """`x` [*, T, d_model]."""
        heads = torch.unflatten(x @ self.in_proj, -1, (3 * self.heads, self.head_dim))  # [*, T, 3 · H, D]
        turned, v = torch.split(heads, [2 * self.heads, self.heads], -2)
        even, odd = turned.chunk(2, -1)  # [*, T, 2 · H, D / 2] each
        turned = turned * window.cos + torch.cat([odd, even], -1) * window.sin
        q, k = turned.chunk(2, -2)  # [*, T, H, D] each
        q = q if self.scale is None else q * self.scale
        rings = {
            self.keys: self._write(state[self.keys], k, window),
            self.values: self._write(state[self.values], v, window),
        }
        if window.bias.shape[-1] == self.context:
            y = _attend_by_vectors(q, rings[self.keys], rings[self.values], window.bias)
        else:
            k, v = k.transpose(-3, -2), v.transpose(-3, -2)  # [*, H, T, D] each
            k, v = torch.cat([state[self.keys], k], -2), torch.cat([state[self.values], v], -2)
            scores = q.transpose(-3, -2) @ k.transpose(-2, -1) + window.bias[:, 0]  # [*, H, T, S]
            y = (scores.softmax(-1) @ v).transpose(-3, -2).flatten(-2)  # [*, T, d_model]
        return y @ self.out_proj, rings

    def _write(self, ring: Tensor, new: Tensor, window: Window) -> Tensor:
        """The ring [*, H, context, D] with the last positions of `new` [*, T, H, D] written to their slots."""
        new = new[..., -self.context :, :, :]
        if ring.dim() > 3:
            return ring.index_copy(-2, window.slots, new.transpose(-3, -2))
        # For one stream the exporter makes one ScatterND, which can write in place; it does not support index_copy.
        heads = torch.arange(self.heads, device=ring.device)  # [H]
        return ring.index_put((heads, window.slots[:, None]), new)


def _attend_by_vectors(q: Tensor, keys: Tensor, values: Tensor, bias: Tensor) -> Tensor:
    """Attention of a few queries [*, T, H, D] to rings [*, H, S, D], as products with vectors; [*, T, H · D].

    onnxruntime packs a matrix that is no constant at every call, unless its product has one row or one column; packing
    takes longer than multiplying by a few rows.
    """
    if keys.dim() > 3:
        keys, values = keys.unsqueeze(-4), values.unsqueeze(-4)  # [*, 1, H, S, D] each
    scores = (keys @ q.unsqueeze(-1)).squeeze(-1) + bias  # [*, T, H, S]
    return (scores.softmax(-1).unsqueeze(-2) @ values).flatten(-3)


def linear(weights: Weights, name: str, c_in: int, c_out: int) -> nn.Parameter:
    """The matrix [c_in, c_out] of a published linear layer [c_out, c_in], as a right-hand side."""
    return nn.Parameter(weights.take(name, (c_out, c_in)).T.contiguous())
