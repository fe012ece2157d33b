"""Runs a conversation through a worker, with the times that it would have live."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from antiphon.spec import CodecSpec
from antiphon_edge import Codec, Reply, connect
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.talk.conversation import talk
from antiphon_edge.talk.sources import paced


@dataclass(frozen=True)
class Heard:
    """What the person at the edge hears and reads.

    The times are those of a network, a playout and steps that take no time: a reply starts with the frame after the one
    that it answers.
    """

    samples: Pcm  # [n], from the time of the person's first sample
    words: list[tuple[float, str]]  # start of its audio in s, and the word
    sample_rate_hz: int

    def between(self, start_s: float, end_s: float) -> Pcm:
        """The samples between two times."""
        return self.samples[int(start_s * self.sample_rate_hz) : int(end_s * self.sample_rate_hz)]

    def text_between(self, start_s: float, end_s: float) -> str:
        """The words between two times."""
        return " ".join(word for at_s, word in self.words if start_s <= at_s < end_s)


class Listener:
    """Collects the words and the audio of a session."""

    def __init__(self, codec: CodecSpec, delay_steps: int) -> None:
        self._codec = codec
        self._audio = [np.zeros(codec.frame_samples * (delay_steps + 1), np.float32)]
        self.words: list[tuple[float, str]] = []

    def on_reply(self, reply: Reply) -> None:
        """Adds the reply's word."""
        # The reply to a frame comes after the frame's end: its audio starts with the next frame.
        if reply.text.strip():
            self.words.append(((reply.sequence + 1) * self._codec.frame_s, reply.text.strip()))

    def on_audio(self, pcm: Pcm) -> None:
        """Adds a decoded frame."""
        self._audio.append(pcm)

    def heard(self) -> Heard:
        """Everything collected so far."""
        return Heard(np.concatenate(self._audio), self.words, self._codec.sample_rate_hz)


async def converse(address: str, codec: Codec, samples: Pcm) -> Heard:
    """Plays samples [n] to the worker at `address` as fast as possible.

    Raises:
        AntiphonError: the session ended with an error.
    """
    spec = codec.spec
    async with connect(address, spec, seed=0) as session:
        listener = Listener(spec, session.model.delay_steps)
        frames = paced(frames_of(samples, spec.frame_samples), 0.0)
        await talk(session, codec, frames, listener.on_audio, listener.on_reply)
    return listener.heard()


def frames_of(samples: Pcm, frame_samples: int) -> Iterator[Pcm]:
    """Splits samples into frames; the last one is padded with silence."""
    padded = np.pad(samples.astype(np.float32), (0, -len(samples) % frame_samples))
    yield from padded.reshape(-1, frame_samples)


async def converse_all(address: str, codec: Codec, scenes: list[Pcm], at_once: int) -> list[Heard]:
    """Runs many conversations, `at_once` at a time; the results are in order."""
    room = asyncio.Semaphore(at_once)

    async def one(samples: Pcm) -> Heard:
        async with room:
            return await converse(address, codec, samples)

    return list(await asyncio.gather(*(one(samples) for samples in scenes)))
