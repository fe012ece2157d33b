"""One conversation through a worker, on the clock of whoever had it live."""

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
    """What the person at the edge hears and reads, if network, playout and every step took no time: a reply starts
    with the frame after the one that it answers, and what these add in real life is not in its times."""

    samples: Pcm  # [n], from the moment when the person's first sample was spoken
    words: list[tuple[float, str]]  # when its audio starts, in s, and the word
    sample_rate_hz: int

    def between(self, start_s: float, end_s: float) -> Pcm:
        """The samples from one moment to another."""
        return self.samples[int(start_s * self.sample_rate_hz) : int(end_s * self.sample_rate_hz)]

    def text_between(self, start_s: float, end_s: float) -> str:
        """The words from one moment to another."""
        return " ".join(word for at_s, word in self.words if start_s <= at_s < end_s)


class Listener:
    """Gathers what a session says."""

    def __init__(self, codec: CodecSpec, delay_steps: int) -> None:
        self._codec = codec
        self._audio = [np.zeros(codec.frame_samples * (delay_steps + 1), np.float32)]
        self.words: list[tuple[float, str]] = []

    def on_reply(self, reply: Reply) -> None:
        """Takes the reply's word."""
        # A frame is answered when all of it has been spoken: its answer is heard from the next one on.
        if reply.text.strip():
            self.words.append(((reply.sequence + 1) * self._codec.frame_s, reply.text.strip()))

    def on_audio(self, pcm: Pcm) -> None:
        """Takes a decoded frame."""
        self._audio.append(pcm)

    def heard(self) -> Heard:
        """All of it."""
        return Heard(np.concatenate(self._audio), self.words, self._codec.sample_rate_hz)


async def converse(address: str, codec: Codec, samples: Pcm) -> Heard:
    """Plays samples [n] to the worker at `address` as fast as it goes.

    Raises:
        AntiphonError: whatever ended the session.
    """
    spec = codec.spec
    async with connect(address, spec, seed=0) as session:
        listener = Listener(spec, session.model.delay_steps)
        frames = paced(frames_of(samples, spec.frame_samples), 0.0)
        await talk(session, codec, frames, listener.on_audio, listener.on_reply)
    return listener.heard()


def frames_of(samples: Pcm, frame_samples: int) -> Iterator[Pcm]:
    """Whole frames; the last one is filled with silence."""
    padded = np.pad(samples.astype(np.float32), (0, -len(samples) % frame_samples))
    yield from padded.reshape(-1, frame_samples)


async def converse_all(address: str, codec: Codec, scenes: list[Pcm], at_once: int) -> list[Heard]:
    """Many conversations, `at_once` of them side by side, in order."""
    room = asyncio.Semaphore(at_once)

    async def one(samples: Pcm) -> Heard:
        async with room:
            return await converse(address, codec, samples)

    return list(await asyncio.gather(*(one(samples) for samples in scenes)))
