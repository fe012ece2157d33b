"""The voices of a model that speaks a script: one for each speaker, which it attends to. They take no step."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from antiphon.errors import PreconditionError
from antiphon.history import HistoryTokens
from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.conditions import SOUND, require_voices
from antiphon_cloud.model.conditioners import MAX_VOICES
from antiphon_cloud.sessions.prompts.prompt import Prompt, hashed


class SpeakerPrompts:
    """The strategy of models that attend to voices.

    Args:
        model: whose prompts they are.
        voices: that the worker has, by name, each with the hash of it.
    """

    def __init__(self, model: ModelSpec, voices: Mapping[str, bytes]) -> None:
        self._voices = voices
        shapes = (0, model.user_codebooks), (0,), (0, model.model_codebooks)
        self._no_rows = HistoryTokens(0, *(np.zeros(shape, np.int32) for shape in shapes))

    def __call__(self, asked: pb.Prompt) -> Prompt | None:
        """See `Strategy`."""
        if asked.voice_codes or asked.text.strip():
            raise PreconditionError("open.prompt: this model takes voices by their names only: leave the rest out")
        if not asked.voices:
            return None
        require_voices(asked.voices, tuple(self._voices), MAX_VOICES)
        names = tuple(name.removesuffix(SOUND) for name in asked.voices)
        return Prompt(self._no_rows, hashed((b"speakers", *(self._voices[name] for name in names))), names)
