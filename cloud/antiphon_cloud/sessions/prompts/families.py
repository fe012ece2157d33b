"""Which strategy a model's prompts have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from antiphon.spec import ModelSpec
from antiphon_cloud.sessions.prompts.listening import ListeningPrompts
from antiphon_cloud.sessions.prompts.personaplex import PersonaPlexPrompts, VoiceFacts
from antiphon_cloud.sessions.prompts.prompt import Strategy, no_prompt


def strategy(
    model: ModelSpec,
    encode: Callable[[str], Sequence[int]],
    voices: Sequence[VoiceFacts] = (),
    silence: Sequence[Sequence[int]] = (),
) -> Strategy:
    """The strategy of the model's family.

    Args:
        model: whose prompts they are.
        encode: from text to tokens, of its tokenizer.
        voices: that the worker has.
        silence: its codes from a stream's first frame on, for a model that listens; none where they are not known.

    Raises:
        ConfigError: the model is of a family that takes prompts, and of a shape that none are known for.
    """
    if model.model_type == "personaplex":
        return PersonaPlexPrompts(model, encode, {voice.name: voice for voice in voices})
    if model.model_type == "stt":
        codes = np.array(silence, np.int32).reshape(-1, model.user_codebooks)
        return ListeningPrompts(model, encode, codes)
    return no_prompt
