"""The model of a directory as sessions see it."""

from __future__ import annotations

import torch

from antiphon.spec import ModelSpec
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.families import PERSONAPLEX


def model_spec(directory: ModelDirectory, dtype: torch.dtype, random_weights: bool = False) -> ModelSpec:
    """The directory's model as sessions see it, with weights held in `dtype`."""
    config = directory.config
    personaplex = config.model_type == PERSONAPLEX
    return ModelSpec(
        name=directory.name,
        model_type=config.model_type,
        user_codebooks=config.lm.user_codebooks,
        model_codebooks=config.lm.dep_q,
        cardinality=config.lm.card,
        text_cardinality=config.lm.text_card,
        delay_steps=0 if personaplex else config.lm.max_delay,  # a prompt has come before the first frame, always
        context_steps=config.lm.context,
        sampling=config.sampling,
        weights=str(dtype).removeprefix("torch."),
        random_weights=random_weights,
        text_padding_token=config.lm.existing_text_padding_id,
        silence_before_ms=round(1000 * config.silence_before_s),
        silence_after_ms=round(1000 * config.silence_after_s),
        text_delay_ms=round(1000 * config.text_delay_s),
        hears_pauses=config.lm.hears_pauses,
        sound_delay_steps=config.sound_delay_steps,
        speakers=config.speakers,
        takes_voice=personaplex or bool(config.lm.fuser.cross),
        takes_text=personaplex or config.model_type == "stt",
    )
