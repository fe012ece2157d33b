"""Which strategy a model's prompts have."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from antiphon.spec import ModelSpec
from antiphon_cloud.sessions.prompts.personaplex import PersonaPlexPrompts, VoiceFacts
from antiphon_cloud.sessions.prompts.prompt import Strategy, no_prompt
from antiphon_cloud.sessions.prompts.speakers import SpeakerPrompts


def strategy(
    model: ModelSpec,
    encode: Callable[[str], Sequence[int]],
    voices: Sequence[VoiceFacts] = (),
    speakers: Mapping[str, bytes] | None = None,
) -> Strategy:
    """The strategy of the model's family.

    Args:
        model: whose prompts they are.
        encode: from text to tokens, of its tokenizer.
        voices: that the worker has, for a model that goes on speaking as one.
        speakers: voices that the worker has, for a model that attends to them; see `SpeakerPrompts`.

    Raises:
        ConfigError: the model is of a family that takes prompts, and of a shape that none are known for.
    """
    if model.model_type == "personaplex":
        return PersonaPlexPrompts(model, encode, {voice.name: voice for voice in voices})
    return SpeakerPrompts(model, speakers or {}) if model.takes_voice else no_prompt
