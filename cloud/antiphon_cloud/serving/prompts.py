"""What a conversation offline begins with, and what a worker's event loop knows of the voices."""

from __future__ import annotations

from antiphon.spec import ModelSpec
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.checkpoint.directory import ModelDirectory
from antiphon_cloud.checkpoint.tokenizer import Tokenizer
from antiphon_cloud.checkpoint.voices import Voice, read_voices
from antiphon_cloud.sessions.prompts.families import strategy
from antiphon_cloud.sessions.prompts.personaplex import VoiceFacts
from antiphon_cloud.sessions.prompts.prompt import Prompt, no_prompt, prompt_of


def facts_of(voice: Voice) -> VoiceFacts:
    """The voice without its embeddings."""
    return VoiceFacts(voice.name, voice.sha256, voice.frames, voice.last_tokens.tolist())


def offline_prompt(directory: ModelDirectory, model: ModelSpec, asked: pb.Prompt) -> Prompt | None:
    """What the directory's model begins with; None for nothing.

    Raises:
        CheckpointError: a voice or the tokenizer is missing or damaged.
        AntiphonError: as `Strategy`.
    """
    if not model.takes_voice and not model.takes_text:
        return prompt_of(no_prompt, asked)
    voices = read_voices(directory.root, directory.config.lm) if model.takes_voice else {}
    encode = Tokenizer(directory.tokenizer).encode
    return prompt_of(strategy(model, encode, [facts_of(voice) for voice in voices.values()]), asked)
