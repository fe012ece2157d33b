"""Which strategy a model's prompts have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from antiphon.spec import ModelSpec
from antiphon_cloud.sessions.prompts.listening import ListeningPrompts
from antiphon_cloud.sessions.prompts.personaplex import PersonaPlexPrompts, VoiceFacts
from antiphon_cloud.sessions.prompts.prompt import Strategy, no_prompt
from antiphon_cloud.sessions.prompts.speakers import SpeakerPrompts


def strategy(
    model: ModelSpec,
    encode: Callable[[str], Sequence[int]],
    voices: Sequence[VoiceFacts] = (),
    speakers: Mapping[str, bytes] | None = None,
    silence: Sequence[Sequence[int]] = (),
) -> Strategy:
    """The strategy of the model's family.

    Args:
        model: whose prompts they are.
        encode: from text to tokens, of its tokenizer.
        voices: that the worker has, for a model that goes on speaking as one.
        speakers: voices that the worker has, for a model that attends to them; see `SpeakerPrompts`.
        silence: its codes from a stream's first frame on, for a model that listens; none where they are not known.

    Raises:
        ConfigError: the model is of a family that takes prompts, and of a shape that none are known for.
    """
    if model.model_type == "personaplex":
        return PersonaPlexPrompts(model, encode, {voice.name: voice for voice in voices})
    if model.model_type == "stt":
        codes = np.array(silence, np.int32).reshape(-1, model.user_codebooks)
        return ListeningPrompts(model, encode, codes)
    return SpeakerPrompts(model, speakers or {}) if model.takes_voice else no_prompt
