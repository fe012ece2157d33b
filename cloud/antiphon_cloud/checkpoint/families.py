"""What is special to members of the family, beside the sizes in config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from antiphon_cloud.errors import ConfigError
from antiphon_cloud.model.config import LMConfig, ModelConfig

PERSONAPLEX, HIBIKI, TTS = "personaplex", "hibiki", "tts"  # as config.json's model_type names them


def personaplex(raw: Mapping[str, Any], lm: LMConfig) -> tuple[LMConfig, LMConfig | None]:
    """The model that is run of what PersonaPlex's config.json describes.

    PersonaPlex generates the user's codebooks too, after its own, and replaces them by what the user said: no weight
    set of theirs changes what is heard. Its reference looks back to one step less than the context: it takes the oldest
    entry of a full ring for one that is still to come.

    Args:
        raw: config.json's object, which need not say any size.
        lm: its language model.

    Returns:
        The model without the user's codebooks, and the one that its files hold, if they hold those.
    """
    lm = replace(lm, context=lm.context - 1)
    generated = raw.get("dep_q", lm.n_q)
    if generated != lm.n_q or lm.depformer_weights_per_step_schedule is not None:
        return lm, None
    return replace(lm, dep_q=lm.n_q // 2), replace(lm, dep_q=lm.n_q)


def with_fewer_codebooks(config: ModelConfig, codebooks: int) -> ModelConfig:
    """The model that generates only its first codebooks: fewer are faster, and sound worse. The others are silent.

    Args:
        config: a model that hears nobody.
        codebooks: to generate.

    Raises:
        ConfigError: the model hears somebody, or does not generate so many.
    """
    lm = config.lm
    if lm.user_codebooks or not 0 < codebooks <= lm.dep_q:
        can = f"generates {lm.dep_q}" if lm.user_codebooks else f"takes 1 to {lm.dep_q}"
        raise ConfigError(f"--codebooks {codebooks}: a model of type {config.model_type} {can}; leave the option out")
    if codebooks == lm.dep_q:
        return config
    schedule = lm.depformer_weights_per_step_schedule
    fewer = replace(
        lm,
        dep_q=codebooks,
        silent_codebooks=lm.n_q - codebooks,
        depformer_weights_per_step_schedule=schedule and schedule[:codebooks],
        depformer_dim_feedforward=_feed_forward(lm, codebooks),
    )
    return replace(config, lm=fewer, published=config.published or lm)


def unused_matrices(published: LMConfig) -> dict[str, tuple[int, ...]]:
    """Matrices that a model's files hold and that no step uses, by name, with their shapes."""
    if not (published.demux_second_stream and published.depformer_low_rank_embeddings and published.dep_q):
        return {}
    return {
        "depformer_text_emb.low_rank.weight": (published.depformer_dim, published.depformer_low_rank_embeddings)
    }  # the text's two tokens have matrices of their own


def hear_early_end_as_padding(table: Tensor) -> Tensor:
    """Hibiki's table of text, with padding (3) in place of an early end (2), as its authors do."""
    table = table.clone()
    table[2] = table[3]
    return table


def _feed_forward(lm: LMConfig, codebooks: int) -> int | tuple[int, ...] | None:
    """Widths of the weight sets that the first codebooks take."""
    sizes = lm.depformer_dim_feedforward
    return sizes[: max(lm.weight_sets[:codebooks]) + 1] if isinstance(sizes, tuple) else sizes
