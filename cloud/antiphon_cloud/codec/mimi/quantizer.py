"""The split residual vector quantizer (RVQ: Zeghidour et al. 2021, arXiv:2107.03312; split: Mimi, arXiv:2410.00037).

Two quantizers code the same latent: `rvq_first` gives the semantic codes, `rvq_rest` the acoustic ones. Each projects
the latent, then codes it level by level: a level picks the centroid nearest to the residual of the levels before it.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from antiphon_cloud.codec.mimi.checkpoint import Weights
from antiphon_cloud.codec.mimi.config import QuantizerConfig

_EPSILON = 1e-5  # the least usage to divide by, for centroids that were never used


class QuantizerEncoder(nn.Module):
    """Latents to codes."""

    def __init__(self, weights: Weights, config: QuantizerConfig, latent_dimension: int, codebooks: int) -> None:
        super().__init__()
        self.first, self.rest = _split(codebooks, config)
        shape = (config.dimension, latent_dimension, 1)
        projections = [weights.take(f"quantizer.{rvq}.input_proj.weight", shape)[..., 0].T for rvq in _RVQS]
        self.input_proj = nn.Parameter(torch.cat(projections, 1))  # [C, 2 · D]
        centroids = load_centroids(weights, config, codebooks)
        for k, table in enumerate(centroids):  # one parameter per codebook, so that each is one constant in the graph
            self.register_parameter(f"centroids_{k}", nn.Parameter(table))  # [cardinality, D]
            self.register_parameter(f"offset_{k}", nn.Parameter(-0.5 * table.square().sum(1)))  # [cardinality]

    def forward(self, x: Tensor) -> Tensor:
        """`x` [*, T, C] to codes [*, T, codebooks] int64."""
        first, rest = (x @ self.input_proj).chunk(2, -1)  # [*, T, D] each
        codes = self._quantize(first, range(self.first)) + self._quantize(
            rest, range(self.first, self.first + self.rest)
        )
        return torch.stack(codes, -1)

    def _quantize(self, residual: Tensor, levels: range) -> list[Tensor]:
        codes = []
        for k in levels:
            centroids, offset = self.get_parameter(f"centroids_{k}"), self.get_parameter(f"offset_{k}")
            # |x − e|² is least where x · e − |e|² / 2 is greatest.
            codes.append(functional.linear(residual, centroids, offset).argmax(-1))
            if k != levels[-1]:
                residual = residual - functional.embedding(codes[-1], centroids)
        return codes


class QuantizerDecoder(nn.Module):
    """Codes to latents."""

    row: Tensor

    def __init__(self, weights: Weights, config: QuantizerConfig, latent_dimension: int, codebooks: int) -> None:
        super().__init__()
        self.first, self.rest = _split(codebooks, config)
        shape = (latent_dimension, config.dimension, 1)
        projections = [weights.take(f"quantizer.{rvq}.output_proj.weight", shape)[..., 0].T for rvq in _RVQS]
        self.output_proj = nn.Parameter(torch.cat(projections))  # [2 · D, C]
        self.centroids = nn.Parameter(torch.cat(load_centroids(weights, config, codebooks)))  # [K · cardinality, D]
        self.register_buffer("row", torch.arange(codebooks, dtype=torch.int32) * config.bins)

    def forward(self, codes: Tensor) -> Tensor:
        """`codes` [*, T, codebooks] to [*, T, C]."""
        vectors = functional.embedding(codes + self.row, self.centroids)  # [*, T, K, D]
        first, rest = torch.split(vectors, [self.first, self.rest], -2)
        return torch.cat([first.sum(-2), rest.sum(-2)], -1) @ self.output_proj


_RVQS = ("rvq_first", "rvq_rest")


def _split(codebooks: int, config: QuantizerConfig) -> tuple[int, int]:
    """The numbers of semantic and of acoustic codebooks in use."""
    return config.n_q_semantic, codebooks - config.n_q_semantic


def load_centroids(weights: Weights, config: QuantizerConfig, codebooks: int) -> list[Tensor]:
    """The centroids [cardinality, D] of the first `codebooks` codebooks; the others are only checked."""
    tables = []
    for k in range(config.n_q):
        semantic = k < config.n_q_semantic
        level = k if semantic else k - config.n_q_semantic
        name = f"quantizer.{_RVQS[not semantic]}.vq.layers.{level}._codebook"
        weights.skip(f"{name}._initialized", (1,))
        if k < codebooks:
            usage = weights.take(f"{name}.cluster_usage", (config.bins,)).clamp(min=_EPSILON)
            tables.append(weights.take(f"{name}.embedding_sum", (config.bins, config.dimension)) / usage[:, None])
        else:
            weights.skip(f"{name}.cluster_usage", (config.bins,))
            weights.skip(f"{name}.embedding_sum", (config.bins, config.dimension))
    return tables
