"""A conversation through a loudspeaker, in lockstep: codec, worker, canceller and playout are real, room and time not.

The clocks of the microphone and the speaker are simulated, so that a conversation runs as fast as the machine computes,
and its outcome is the same each time.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from antiphon_edge import Codec, EchoCanceller, connect
from antiphon_edge.audio.echo.far_end import FarEnd
from antiphon_edge.audio.echo.interpolation import TAPS, interpolate
from antiphon_edge.audio.echo.processor import VoiceProcessing, VoiceProcessor
from antiphon_edge.audio.pcm import BlockBuffer, Pcm
from antiphon_edge.audio.playout import PlayoutBuffer
from antiphon_edge.talk.hearing import Hearing
from tools.demo.conversation import Heard, Listener, frames_of
from tools.talk.room import RATE, Echo, Room

CALLBACK = 480  # samples
FRAME = 1920


@dataclass(frozen=True)
class Sounds:
    """What a canceller was given and what it gave, [n] each."""

    person: Pcm
    echo: Pcm
    near: Pcm

    def enhancement_db(self) -> float:
        """The echo return loss enhancement: how much softer the echo is for the model. Only while nobody speaks."""
        return float(10 * np.log10((self.echo**2).sum() / max(1e-12, float((self.near**2).sum()))))


class Box:
    """A microphone beside a loudspeaker, with a canceller, and clocks of their own.

    Args:
        echo: the room.
        canceller: None for none.
        seed: of the room.
    """

    def __init__(self, echo: Echo, canceller: EchoCanceller | None, seed: int = 0) -> None:
        self._room, self._canceller = Room(echo, seed), canceller
        self._rate = 1 + echo.skew_ppm * 1e-6  # samples that the speaker plays in one of the microphone's
        self._far_end = FarEnd(RATE)
        self._playout = PlayoutBuffer(RATE)
        self._played = BlockBuffer()  # at the speaker's rate, from `_position` on
        self._position = 0.0
        self._frames = 0
        self._person: list[Pcm] = []
        self._echo: list[Pcm] = []
        self._near: list[Pcm] = []

    def play(self, pcm: Pcm) -> None:
        """Hands `pcm` [N] to the speaker."""
        self._playout.write(pcm)

    def hear(self, person: Pcm) -> Pcm:
        """What the canceller leaves of a frame [FRAME] in which the person says this."""
        echo = self._room.hear(self._speak())
        mic = np.clip(person + echo, -1, 1)
        for number in range(FRAME // CALLBACK):
            self._far_end.heard(CALLBACK / RATE, (self._frames * FRAME + (number + 1) * CALLBACK) / RATE)
        self._frames += 1
        near: Pcm = mic
        if self._canceller is not None:
            near = self._canceller.process(mic, self._far_end.take(FRAME))
            if self._canceller.timing is not None:
                self._far_end.heard_echo(self._canceller.timing)
        for kept, pcm in ((self._person, person), (self._echo, echo), (self._near, near)):
            kept.append(pcm)
        return near

    @property
    def sounds(self) -> Sounds:
        """All so far."""
        return Sounds(np.concatenate(self._person), np.concatenate(self._echo), np.concatenate(self._near))

    def _speak(self) -> Pcm:
        """What the speaker plays during the microphone's next frame, by the microphone's clock."""
        positions = self._position + self._rate * np.arange(FRAME, dtype=np.float64)
        while len(self._played) < positions[-1] + TAPS:
            block = self._playout.read(CALLBACK)
            self._played.put(block)
            time_s = (self._frames * FRAME + (len(self._played) - self._position - CALLBACK) / self._rate) / RATE
            self._far_end.played([block], CALLBACK / RATE, time_s)
        heard = self._played.take(len(self._played))
        self._played.put(heard)
        air = interpolate(heard, positions)
        after = self._position + self._rate * FRAME
        self._played.take(max(0, int(after) - TAPS))
        self._position = after - max(0, int(after) - TAPS)
        return air


async def converse(
    address: str, codec: Codec, samples: Pcm, echo: Echo, processing: VoiceProcessing | None, seed: int = 0
) -> tuple[Heard, Sounds]:
    """Says samples [n] to the worker at `address`, in a room.

    Args:
        address: of the worker.
        codec: the worker's.
        samples: the person's.
        echo: the room.
        processing: what is done to the microphone's signal; None for nothing.
        seed: of the room.
    """
    box = Box(echo, None if processing is None else VoiceProcessor(RATE, FRAME, processing), seed)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(1) as thread:
        async with connect(address, codec.spec, seed=0) as session:
            listener, decoder = Listener(codec.spec, session.model.delay_steps), codec.decoder()
            hearing = Hearing(codec, session.model)
            for frame in frames_of(samples, FRAME):
                codes = await loop.run_in_executor(thread, lambda frame: hearing.step(box.hear(frame)), frame)
                await session.send(codes)
                reply = await session.receive()
                assert reply is not None, "the worker answers each frame"
                listener.on_reply(reply)
                if reply.codes is not None:
                    pcm = await loop.run_in_executor(thread, decoder.step, reply.codes)
                    listener.on_audio(pcm)
                    box.play(pcm)
    return listener.heard(), box.sounds


async def converse_all(
    address: str,
    codec: Codec,
    tracks: Sequence[Pcm],
    echo: Echo,
    processing: VoiceProcessing | None,
    at_once: int,
) -> list[tuple[Heard, Sounds]]:
    """Runs many conversations, `at_once` at a time, each in a room of its own; the results are in order."""
    room = asyncio.Semaphore(at_once)

    async def one(number: int, samples: Pcm) -> tuple[Heard, Sounds]:
        async with room:
            return await converse(address, codec, samples, echo, processing, number)

    return list(await asyncio.gather(*(one(number, samples) for number, samples in enumerate(tracks))))
