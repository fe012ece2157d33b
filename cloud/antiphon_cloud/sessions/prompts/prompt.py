"""A prompt: steps that a session has taken before its first frame, from what `Open.prompt` asks for.

A strategy turns one into the other; each family that takes prompts has its own. To every other room a prompt is the
beginning of a history. Its steps are counted in the model and in memory, and never on the wire.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

import numpy as np

from antiphon.errors import PreconditionError
from antiphon.history import HistoryTokens
from antiphon.spec import shown
from antiphon.v1 import dialogue_pb2 as pb
from antiphon_cloud.runner.settings import SessionSettings


@dataclass(frozen=True, slots=True)
class Prompt:
    """What a session begins with."""

    rows: HistoryTokens  # from the session's start; what belongs to the frames of `voices` is known to the stepper
    sha256: bytes  # of what the rows stand for
    voices: tuple[str, ...] = ()

    @property
    def steps(self) -> int:
        """Steps that it takes."""
        return self.rows.steps

    @property
    def settings(self) -> SessionSettings:
        """What the model is told of it."""
        return SessionSettings(voices=self.voices, prompt_steps=self.steps, prompt_sha256=self.sha256)

    def before(self, history: HistoryTokens | None) -> HistoryTokens:
        """The session's tokens, the prompt's steps counted in: those of the prompt too, where the history reaches back
        to the first frame."""
        if history is None:
            return self.rows
        steps = self.steps + history.steps
        if history.first:
            return replace(history, steps=steps)
        joined = (
            np.concatenate(parts)
            for parts in (
                (self.rows.user, history.user),
                (self.rows.text, history.text),
                (self.rows.codes, history.codes),
            )
        )
        user, text, codes = joined
        return replace(history, steps=steps, user=user, text=text, codes=codes)


Strategy = Callable[[pb.Prompt], Prompt | None]
"""From what is asked for to what a session begins with; None for nothing.

Raises:
    ProtocolError: what is asked for is damaged.
    PreconditionError: this model, or this worker, cannot begin with it.
"""


def no_prompt(asked: pb.Prompt) -> None:
    """The strategy of models that take none."""
    if asked.voices or asked.voice_codes or asked.text.strip():
        raise PreconditionError("open.prompt: this worker's model takes no prompt: leave voice and persona out")


def prompt_of(strategy: Strategy, asked: pb.Prompt) -> Prompt | None:
    """What a session begins with.

    Raises:
        PreconditionError: it began with another prompt on the worker that it comes from, or see `Strategy`.
        ProtocolError: see `Strategy`.
    """
    prompt = strategy(asked)
    sha256 = b"" if prompt is None else prompt.sha256
    if asked.sha256 and asked.sha256 != sha256:
        name = f"the voice {asked.voices[0][:64]}" if asked.voices else "the prompt"
        raise PreconditionError(
            f"open.prompt.sha256: the session began with another prompt ({shown(asked.sha256)}, here it is "
            f"{shown(sha256)}): {name} is not the same on this worker; connect to another one"
        )
    return prompt


def hashed(parts: Iterable[bytes]) -> bytes:
    """The SHA-256 of several parts, whose borders count."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8) + part)
    return digest.digest()
