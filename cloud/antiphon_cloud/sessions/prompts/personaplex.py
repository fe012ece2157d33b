"""PersonaPlex's prompt: the voice, half a second of silence, the persona, half a second of silence.

In all of it the user's side is a steady tone. The voice is speech of the model's own, with a silent inner monologue;
the persona is one token of text a step, while the model's side is silent.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from antiphon.codes import Codes
from antiphon.errors import CodesError, PreconditionError, ProtocolError
from antiphon.history import HistoryTokens, Tokens
from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.errors import ConfigError
from antiphon_cloud.sessions.prompts.prompt import Prompt, hashed
from antiphon_cloud.timing import FRAME_S

SINE = (430, 1268, 381, 1611, 1095, 1495, 56, 472)  # Mimi's codes of it
SILENCE = (948, 243, 1178, 546, 1736, 1030, 1978, 2008)
SILENT_STEPS = 6  # after the voice, and after the persona
TAG = "<system>"
ROOM = 10  # one part of so many of the context is left for the conversation
LONGEST_TOKEN = 64  # characters: what is longer than so many for each token is too long, whatever the tokenizer says
NAMED = 12  # voices that a refusal lists


@dataclass(frozen=True, slots=True)
class VoiceFacts:
    """What is known of a voice without its embeddings."""

    name: str
    sha256: bytes  # of its file
    frames: int
    last_tokens: list[list[int]]  # [R, 1 + model_codebooks]: text and codes of its last frames


class PersonaPlexPrompts:
    """The strategy of PersonaPlex, which begins no session without a prompt.

    Args:
        model: whose prompts they are.
        encode: from text to tokens.
        voices: that the worker has, by name.

    Raises:
        ConfigError: the model's codes are not Mimi's: nobody knows its silence.
    """

    def __init__(
        self, model: ModelSpec, encode: Callable[[str], Sequence[int]], voices: Mapping[str, VoiceFacts]
    ) -> None:
        codebooks = model.model_codebooks
        if max(codebooks, model.user_codebooks) > len(SILENCE) or model.cardinality <= max(*SINE, *SILENCE):
            raise ConfigError(
                f"{model.name}: {codebooks} codebooks of {model.cardinality}; PersonaPlex's prompts are known for "
                f"{len(SILENCE)} of 2048 only"
            )
        self._model, self._encode, self._voices = model, encode, voices
        self._sine = np.array(SINE[: model.user_codebooks], np.int32)
        self._silence = np.array(SILENCE[:codebooks], np.int32)
        self._longest = model.context_steps - model.context_steps // ROOM - 2 * SILENT_STEPS

    def __call__(self, asked: pb.Prompt) -> Prompt:
        """See `Strategy`."""
        voice = self._voice(asked)
        codes, text = self._spoken(asked, voice)
        persona = wrapped(asked.text)
        tokens = self._tokens(persona, len(codes))
        pause = (np.tile(self._silence, (SILENT_STEPS, 1)), self._padding(SILENT_STEPS))
        parts = [(codes, text), pause, (np.tile(self._silence, (len(tokens), 1)), tokens), pause]
        model_codes, model_text = (np.concatenate(part) for part in zip(*parts, strict=True))
        steps = len(model_text)
        rows = HistoryTokens(steps, np.tile(self._sine, (steps, 1)), model_text, model_codes)
        sha256 = b"" if voice is None else voice.sha256
        names = () if voice is None else (voice.name,)
        return Prompt(rows, hashed((b"personaplex", sha256, asked.voice_codes, persona.encode())), names)

    def _padding(self, steps: int) -> Tokens:
        return np.full(steps, self._model.text_padding_token, np.int32)

    def _voice(self, asked: pb.Prompt) -> VoiceFacts | None:
        if not asked.voices:
            return None
        if asked.voice_codes:
            raise ProtocolError("open.prompt: voices and voice_codes are two voices: give one")
        if len(asked.voices) > 1:
            raise PreconditionError(
                f"open.prompt.voices: {len(asked.voices)} voices, where this model has one: name one"
            )
        name = asked.voices[0]
        if (voice := self._voices.get(name)) is None:
            there = ", ".join(list(self._voices)[:NAMED]) + (", …" if len(self._voices) > NAMED else "")
            raise PreconditionError(
                f"open.prompt.voices: there is no voice {name[:64]!r} here; "
                + (f"there are {there}" if there else "this worker has none: leave the voice out, or give one as a wav")
            )
        return voice

    def _spoken(self, asked: pb.Prompt, voice: VoiceFacts | None) -> tuple[Codes, Tokens]:
        """The voice's frames: codes [T, model_codebooks] and text [T]; of one with a name only the last are here."""
        if voice is not None:
            self._check_length("voices", voice.frames)
            last = np.array(voice.last_tokens, np.int32)[-voice.frames :]
            frames = np.zeros((voice.frames, last.shape[1]), np.int32)
            frames[-len(last) :] = last
            return frames[:, 1:], frames[:, 0]
        packer, data = self._model.model_packer, asked.voice_codes
        frames_of, rest = divmod(len(data), packer.size_bytes)
        if rest:
            raise CodesError(
                f"open.prompt.voice_codes: {len(data)} bytes are no whole number of frames of {packer.size_bytes}"
            )
        self._check_length("voice_codes", frames_of)
        try:
            codes = packer.unpack_frames(np.frombuffer(data, np.uint8).reshape(frames_of, -1)) if data else None
        except CodesError as error:
            raise CodesError(f"open.prompt.voice_{error}") from None
        return np.zeros((0, self._model.model_codebooks), np.int32) if codes is None else codes, self._padding(
            frames_of
        )

    def _check_length(self, field: str, frames: int) -> None:
        if frames > self._longest:
            raise PreconditionError(
                f"open.prompt.{field}: a voice of {frames * FRAME_S:.0f} s, where this model remembers "
                f"{self._longest * FRAME_S:.0f}: give a shorter one"
            )

    def _tokens(self, persona: str, voice_frames: int) -> Tokens:
        """The persona's tokens, where they fit beside the voice."""
        most = self._longest - voice_frames
        tokens = self._encode(persona) if persona and len(persona) <= most * LONGEST_TOKEN else []
        if len(persona) > most * LONGEST_TOKEN or len(tokens) > most:
            each = len(persona) / len(tokens) if tokens else 4
            beside = " beside this voice" if voice_frames else ""
            length = f"{len(tokens)} tokens" if tokens else f"{len(persona)} characters"
            raise PreconditionError(
                f"open.prompt.text: the persona has {length}, where this model takes {max(most, 0)} tokens{beside}, "
                f"about {int(max(most, 0) * each)} characters: shorten it"
            )
        return np.array(tokens, np.int32)


def wrapped(text: str) -> str:
    """The persona between the tags that the model was trained with; empty where there is none."""
    text = text.strip()
    if not text or (text.startswith(TAG) and text.endswith(TAG)):
        return text
    return f"{TAG} {text} {TAG}"
