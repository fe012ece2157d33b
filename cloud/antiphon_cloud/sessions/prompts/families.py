"""Which strategy a model's prompts have."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from antiphon.spec import ModelSpec
from antiphon_cloud.sessions.prompts.personaplex import PersonaPlexPrompts, VoiceFacts
from antiphon_cloud.sessions.prompts.prompt import Strategy, no_prompt


def strategy(model: ModelSpec, encode: Callable[[str], Sequence[int]], voices: Sequence[VoiceFacts] = ()) -> Strategy:
    """The strategy of the model's family.

    Args:
        model: whose prompts they are.
        encode: from text to tokens, of its tokenizer.
        voices: that the worker has.

    Raises:
        ConfigError: the model is of a family that takes prompts, and of a shape that none are known for.
    """
    if model.model_type == "personaplex":
        return PersonaPlexPrompts(model, encode, {voice.name: voice for voice in voices})
    return no_prompt
