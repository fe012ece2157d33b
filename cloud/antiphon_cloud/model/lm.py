"""The language model's weights."""

from __future__ import annotations

import torch
from torch import nn

from antiphon_cloud.model.adapters import AdapterRoom, AdapterStore
from antiphon_cloud.model.conditions import ConditionProvider
from antiphon_cloud.model.config import LMConfig
from antiphon_cloud.model.layers import Embedding, Linear, RMSNorm, Transformer


class LanguageModel(nn.Module):
    """Temporal transformer over steps, depformer over a step's codebooks (Défossez et al., "Moshi", 2024).

    Weights only: a step is in `step`, teacher forcing in `forced`. Parameters have the names of published checkpoints
    with split attention projections.
    """

    def __init__(self, config: LMConfig) -> None:
        super().__init__()
        self.config = config
        self.adapters: AdapterStore | None = None
        """What sessions may choose to be stepped with, beside the weights; None for none."""
        dim, eps = config.dim, config.norm_eps
        pairs = config.demux_second_stream
        self.text_emb = Embedding(config.text_card + 1, dim, pairs=pairs)
        self.emb = nn.ModuleList([Embedding(config.card + 1, dim) for _ in range(config.n_q)])
        self.transformer = Transformer(
            config.num_layers, dim, config.num_heads, config.hidden, eps, config.cross_attention
        )
        self.out_norm = RMSNorm(dim, eps)
        self.text_linear = Linear(dim, config.text_card)
        self.extra_heads = nn.ModuleList(
            [Linear(dim, config.extra_heads_dim) for _ in range(config.extra_heads_num_heads)]
        )
        if config.dep_q:
            inner, rank = config.depformer_dim, config.depformer_low_rank_embeddings
            hidden = config.depformer_hidden
            self.depformer_in = nn.ModuleList([Linear(dim, inner) for _ in hidden])
            self.depformer_text_emb = Embedding(config.text_card + 1, inner, rank, pairs)
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
        if config.conditioners:
            self.condition_provider = ConditionProvider(config.conditioners, dim)

    def make_room(self, room: AdapterRoom, dtype: torch.dtype) -> None:
        """Allocates the store of adapters, with factors in `dtype`; the weights are loaded."""
        shapes = adapted_shapes(self.config)
        matrices = {name: self.get_submodule(name) for name in shapes}
        self.adapters = AdapterStore(matrices, shapes, room, dtype, self.text_emb.weight.device)

    @property
    def dtype(self) -> torch.dtype:
        """Of activations; tables and matrices may be held in another."""
        return self.out_norm.alpha.dtype

    def codebook_embedding(self, codebook: int) -> Embedding:
        """Embeds the token before a codebook's code: the text token, then each code."""
        found = self.depformer_emb[codebook - 1] if codebook else self.depformer_text_emb
        assert isinstance(found, Embedding)
        return found


def adapted_shapes(config: LMConfig) -> dict[str, tuple[int, int]]:
    """Shapes [outputs, inputs] of the matrices that an adapter may have factors for: all but those of tables."""
    with torch.device("meta"):
        model = LanguageModel(config)
    return {
        name: (module.weight.shape[0], module.weight.shape[1])
        for name, module in model.named_modules()
        if isinstance(module, Linear) and not name.endswith(".low_rank")
    }
