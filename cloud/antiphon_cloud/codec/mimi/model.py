"""The encoder (samples to codes) and the decoder (codes to samples), for any whole number of frames per call."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from antiphon_cloud.codec.mimi.checkpoint import Checkpoint, Weights
from antiphon_cloud.codec.mimi.config import MimiConfig
from antiphon_cloud.codec.mimi.layers import Conv, DepthwiseUpsample, State
from antiphon_cloud.codec.mimi.quantizer import QuantizerDecoder, QuantizerEncoder
from antiphon_cloud.codec.mimi.seanet import seanet_decoder, seanet_encoder
from antiphon_cloud.codec.mimi.transformer import Transformer
from antiphon_cloud.errors import ConfigError

POSITION = "position"
"""The state with the number of transformer positions so far; [] int64."""


class Encoder(nn.Module):
    """`codes, state = encoder(pcm, state)`.

    Args:
        weights: where the tensors come from.
        codebooks: how many of the checkpoint's codebooks to use.
        fold: multiply scales into the matrices beside them; not for training, where parameters are those of the file.

    Raises:
        CheckpointError: a tensor is missing or has another shape.
        ConfigError: `codebooks` is less than the number of semantic ones, or more than the model has.
    """

    def __init__(self, weights: Weights, config: MimiConfig, codebooks: int = 8, *, fold: bool = True) -> None:
        super().__init__()
        _check_codebooks(config, codebooks)
        self.config = config
        dimension, stride = config.seanet.dimension, config.positions_per_frame
        self.seanet = seanet_encoder(weights, config.seanet)
        self.transformer = Transformer(weights, "encoder_transformer", config.transformer, stride, fold)
        self.downsample = None
        if stride > 1:
            self.downsample = Conv(
                weights,
                "downsample",
                dimension,
                dimension,
                2 * stride,
                stride=stride,
                bias=False,
                inner="conv.conv.conv",
            )
        self.quantizer = QuantizerEncoder(weights, config.quantizer, dimension, codebooks)

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """The state before the first frame, all zeros; `batch` streams side by side, in step."""
        state = {POSITION: torch.zeros((), dtype=torch.int64)}
        state |= self.seanet.initial_state(batch) | self.transformer.initial_state(batch)
        return state if self.downsample is None else state | self.downsample.initial_state(batch)

    def forward(self, pcm: Tensor, state: State) -> tuple[Tensor, State]:
        """`pcm` [*, T · frame_samples] in [−1, 1] to codes [*, T, codebooks] int64."""
        latent, after = self.latent(pcm, state)
        return self.quantizer(latent), after

    def latent(self, pcm: Tensor, state: State) -> tuple[Tensor, State]:
        """The quantizer's input, [*, T, dimension]; differentiable."""
        position = state[POSITION]
        x, after = self.seanet(pcm.unsqueeze(-1), state)  # [*, T · positions_per_frame, dimension]
        x, rings = self.transformer(x, position, state)
        after |= rings | {POSITION: position + x.shape[-2]}
        if self.downsample is not None:
            # No input precedes the first frame: it is padded with its own first position.
            name = self.downsample.name
            past = torch.where(position == 0, x[..., :1, :], state[name])  # [*, positions_per_frame, dimension]
            x, change = self.downsample(x, {name: past})
            after |= change
        return x, after


class Decoder(nn.Module):
    """`pcm, state = decoder(codes, state)`; arguments and errors as for `Encoder`."""

    def __init__(self, weights: Weights, config: MimiConfig, codebooks: int = 8, *, fold: bool = True) -> None:
        super().__init__()
        _check_codebooks(config, codebooks)
        self.config = config
        dimension, stride = config.seanet.dimension, config.positions_per_frame
        self.quantizer = QuantizerDecoder(weights, config.quantizer, dimension, codebooks)
        self.upsample = None
        if stride > 1:
            self.upsample = DepthwiseUpsample(weights, "upsample", dimension, stride, inner="convtr.convtr.convtr")
        self.transformer = Transformer(weights, "decoder_transformer", config.transformer, stride, fold)
        self.seanet = seanet_decoder(weights, config.seanet)

    def initial_state(self, batch: tuple[int, ...] = ()) -> State:
        """The state before the first frame, all zeros; `batch` streams side by side, in step."""
        state = {POSITION: torch.zeros((), dtype=torch.int64)}
        state |= self.seanet.initial_state(batch) | self.transformer.initial_state(batch)
        return state if self.upsample is None else state | self.upsample.initial_state(batch)

    def forward(self, codes: Tensor, state: State) -> tuple[Tensor, State]:
        """`codes` [*, T, codebooks] to samples [*, T · frame_samples]."""
        return self.from_latent(self.quantizer(codes), state)

    def from_latent(self, latent: Tensor, state: State) -> tuple[Tensor, State]:
        """A quantized latent [*, T, dimension] to samples; differentiable."""
        position, x = state[POSITION], latent
        after: State = {}
        if self.upsample is not None:
            x, after = self.upsample(x, state)  # [*, T · positions_per_frame, dimension]
        x, rings = self.transformer(x, position, state)
        after |= rings | {POSITION: position + x.shape[-2]}
        x, change = self.seanet(x, state)  # [*, T · frame_samples, 1]
        return x.squeeze(-1), after | change


@dataclass(frozen=True, slots=True)
class Mimi:
    """Both halves of one checkpoint."""

    config: MimiConfig
    encoder: Encoder
    decoder: Decoder

    @classmethod
    def load(cls, checkpoint: Path, config: Path | None = None, codebooks: int = 8) -> Mimi:
        """Loads a published checkpoint; without a config file, expects the published sizes.

        Raises:
            CheckpointError: the file is unreadable, or a tensor is missing, has another shape or is unused.
            ConfigError: the config is unreadable or not supported, or has fewer codebooks.
        """
        sizes = MimiConfig.load(config)
        with Checkpoint(checkpoint) as weights:
            mimi = cls(sizes, Encoder(weights, sizes, codebooks), Decoder(weights, sizes, codebooks))
            weights.check_all_used()
        return mimi


def _check_codebooks(config: MimiConfig, codebooks: int) -> None:
    low, high = config.quantizer.n_q_semantic, config.quantizer.n_q
    if not low <= codebooks <= high:
        raise ConfigError(f"{codebooks} codebooks asked for, the codec has {low} to {high}")
