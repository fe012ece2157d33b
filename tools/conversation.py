"""One conversation through a worker, on the clock of whoever had it live."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from antiphon_edge import client
from antiphon_edge.client import Reply
from antiphon_edge.codec import Codec
from antiphon_edge.pcm import Pcm
from antiphon_edge.talk import paced, talk


@dataclass(frozen=True)
class Heard:
    """What the person at the edge hears and reads, if every step takes no time."""

    samples: Pcm  # [n], from the moment when the person's first sample was spoken
    words: list[tuple[float, str]]  # when its audio starts, in s, and the word
    sample_rate_hz: int

    @property
    def text(self) -> str:
        """All words."""
        return " ".join(word for _, word in self.words)

    def between(self, start_s: float, end_s: float) -> Pcm:
        """The samples from one moment to another."""
        return self.samples[int(start_s * self.sample_rate_hz) : int(end_s * self.sample_rate_hz)]

    def text_between(self, start_s: float, end_s: float) -> str:
        """The words from one moment to another."""
        return " ".join(word for at_s, word in self.words if start_s <= at_s < end_s)


async def converse(address: str, codec: Codec, samples: Pcm, seed: int = 0, frame_s: float = 0.0) -> Heard:
    """Plays samples [n] to the worker at `address` as fast as it goes; with `frame_s`, a frame every so many seconds.

    Raises:
        AntiphonError: whatever ended the session.
    """
    spec = codec.spec
    frames = frames_of(samples, spec.frame_samples)
    audio: list[Pcm] = []
    words: list[tuple[float, str]] = []
    length_s = spec.frame_samples / spec.sample_rate_hz

    def on_reply(reply: Reply) -> None:
        # A frame is answered when all of it has been spoken: its answer is heard from the next one on.
        if reply.text.strip():
            words.append(((reply.sequence + 1) * length_s, reply.text.strip()))

    async with client.connect(address, spec, seed=seed) as session:
        delay = session.model.delay_steps
        await talk(session, codec, paced(frames, frame_s), audio.append, on_reply)
    silence = np.zeros(spec.frame_samples * (delay + 1), np.float32)
    return Heard(np.concatenate([silence, *audio]), words, spec.sample_rate_hz)


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
