"""What is special to members of the family, beside the sizes in config.json."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from torch import Tensor

from antiphon_cloud.model.config import LMConfig

PERSONAPLEX, HIBIKI = "personaplex", "hibiki"  # as config.json's model_type names them


def personaplex(raw: Mapping[str, Any], lm: LMConfig) -> tuple[LMConfig, int]:
    """The model that is run of what PersonaPlex's config.json describes.

    PersonaPlex generates the user's codebooks too, after its own, and replaces them by what the user said: no weight
    set of theirs changes what is heard. Its reference looks back to one step less than the context: it takes the oldest
    entry of a full ring for one that is still to come.

    Args:
        raw: config.json's object, which need not say any size.
        lm: its language model.

    Returns:
        The model without the user's codebooks, and how many weight sets its files hold for them.
    """
    lm = replace(lm, context=lm.context - 1)
    generated = raw.get("dep_q", lm.n_q)
    if generated != lm.n_q or lm.depformer_weights_per_step_schedule is not None:
        return lm, 0
    own = lm.n_q // 2
    return replace(lm, dep_q=own), lm.n_q - own


def hear_early_end_as_padding(table: Tensor) -> Tensor:
    """Hibiki's table of text, with padding (3) in place of an early end (2), as its authors do."""
    table = table.clone()
    table[2] = table[3]
    return table
