"""What this gateway tells of itself when asked to describe."""

from __future__ import annotations

from collections.abc import Sequence

from wyoming.info import AsrModel, AsrProgram, Attribution, Info, TtsProgram, TtsVoice

from antiphon import __version__
from antiphon_gateway.doors.gateway import Gateway

NAME = "antiphon"
ATTRIBUTION = Attribution("Antiphon", "")
DEFAULT_VOICE = "default"
"""Of a model that speaks with one voice alone."""


def info(gateway: Gateway, languages: Sequence[str]) -> Info:
    """The models whose workers have answered.

    Args:
        gateway: knows the workers.
        languages: of all of them: a model does not say.
    """
    told = Info()
    if (ears := gateway.transcription) is not None:
        model = AsrModel(ears.model.name, ATTRIBUTION, True, None, __version__, list(languages))
        told.asr = [
            AsrProgram(
                NAME,
                ATTRIBUTION,
                True,
                "Speech to text by Antiphon",
                __version__,
                [model],
                supports_transcript_streaming=True,
            )
        ]
    if (mouth := gateway.speech) is not None:
        voices = [
            TtsVoice(name, ATTRIBUTION, True, None, __version__, list(languages))
            for name in mouth.voices or (DEFAULT_VOICE,)
        ]
        told.tts = [
            TtsProgram(
                NAME,
                ATTRIBUTION,
                True,
                "Text to speech by Antiphon",
                __version__,
                voices,
                supports_synthesize_streaming=True,
            )
        ]
    return told
