"""Causal SEANet: the convolutional ends of the codec (Tagliasacchi et al. 2020, arXiv:2009.02095).

The numbers in the layers' names are their indices in the published model, which counts activations too.
"""

from __future__ import annotations

from torch import nn

from antiphon_cloud.codec.mimi.checkpoint import Weights
from antiphon_cloud.codec.mimi.config import SeanetConfig
from antiphon_cloud.codec.mimi.layers import Chain, Conv, ConvTranspose, Elu


def seanet_encoder(weights: Weights, config: SeanetConfig) -> Chain:
    """Samples [*, T · hop, 1] to latents [*, T, dimension]."""
    name = "encoder.model"
    width = config.n_filters
    layers: list[nn.Module] = [Conv(weights, f"{name}.0", 1, width, config.kernel_size)]
    for ratio in reversed(config.ratios):
        layers += _residual_blocks(weights, name, len(layers), width, config)
        layers.append(Elu())
        layers.append(Conv(weights, f"{name}.{len(layers)}", width, 2 * width, 2 * ratio, stride=ratio))
        width *= 2
    layers.append(Elu())
    layers.append(Conv(weights, f"{name}.{len(layers)}", width, config.dimension, config.last_kernel_size))
    return Chain(layers)


def seanet_decoder(weights: Weights, config: SeanetConfig) -> Chain:
    """Latents [*, T, dimension] to samples [*, T · hop, 1]."""
    name = "decoder.model"
    width = config.n_filters * 2 ** len(config.ratios)
    layers: list[nn.Module] = [Conv(weights, f"{name}.0", config.dimension, width, config.kernel_size)]
    for ratio in config.ratios:
        layers.append(Elu())
        layers.append(ConvTranspose(weights, f"{name}.{len(layers)}", width, width // 2, ratio))
        width //= 2
        layers += _residual_blocks(weights, name, len(layers), width, config)
    layers.append(Elu())
    layers.append(Conv(weights, f"{name}.{len(layers)}", width, 1, config.last_kernel_size))
    return Chain(layers)


def _residual_blocks(weights: Weights, name: str, first: int, width: int, config: SeanetConfig) -> list[Chain]:
    narrow = width // config.compress
    blocks = []
    for i in range(config.n_residual_layers):
        block, kernel, dilation = f"{name}.{first + i}.block", config.residual_kernel_size, config.dilation_base**i
        convs = [
            Elu(),
            Conv(weights, f"{block}.1", width, narrow, kernel, dilation=dilation),
            Elu(),
            Conv(weights, f"{block}.3", narrow, width, 1),
        ]
        blocks.append(Chain(convs, residual=True))
    return blocks
