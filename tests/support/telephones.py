"""Telephones before a gateway: what a caller says at a telephone's rate, what they hear, and what was meant by it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from typing import Any
from unittest import mock

import numpy as np
import soxr

from antiphon_edge.audio.pcm import Pcm
from antiphon_gateway.access.visitor import Visitor
from antiphon_gateway.calls.call import Call
from antiphon_gateway.calls.events import Event, Frame
from antiphon_gateway.doors.gateway import Gateway
from tests.support.gateways import RATE_HZ, Listener, Utterance
from tests.support.time_travel import until

PACKET_S, FRAME_S = 0.02, 0.08
AHEAD_S = 0.24
NARROW_HZ, LOST = 8_000, ("six",)  # whose consonants are above the 4 kHz that such a telephone carries
AT_ONCE = 4
QUIET_S = 1.0  # after an utterance, until the last of the answer is heard


def at_rate(samples: Pcm, rate_hz: int) -> Pcm:
    """Samples [N] at 24 kHz as a telephone of another rate has them."""
    resampled: Pcm = soxr.resample(samples, RATE_HZ, rate_hz).astype(np.float32)
    return resampled


class Caller:
    """Who calls: says an utterance, and hears the answer at the telephone's rate.

    Args:
        utterance: what is said.
        rate_hz: of the telephone.
    """

    def __init__(self, utterance: Utterance, rate_hz: int) -> None:
        self.rate_hz = rate_hz
        self.says = np.concatenate(
            [at_rate(utterance.samples, rate_hz), np.zeros(round(QUIET_S * rate_hz), np.float32)]
        )
        self.heard = Listener()
        self.said = 0
        """Samples."""
        self.frames = 0
        """Of what is said that the model has answered, in words, sound or silence."""
        self._utterance = utterance

    async def packets(self, ahead_s: float = AHEAD_S) -> AsyncIterator[Pcm]:
        """What is said, 20 ms [N] at a time, at most `ahead_s` before the model hears it."""
        samples = round(PACKET_S * self.rate_hz)
        for at in range(0, len(self.says) - samples + 1, samples):
            await until(lambda: self.said / self.rate_hz - self.frames * FRAME_S <= ahead_s)
            self.said += samples
            yield self.says[at : at + samples]

    def hears(self, pcm: Pcm) -> None:
        """Samples [N] at the telephone's rate."""
        self.heard.sound(soxr.resample(pcm, self.rate_hz, RATE_HZ).astype(np.float32))

    @property
    def is_understood(self) -> bool:
        """Whether the model meant to say all digits back."""
        return self.heard.says(self._utterance)

    @property
    def hears_its_digits(self) -> bool:
        """Whether they came back by ear, but for those that an ear does not know by such a telephone."""
        lost = LOST if self.rate_hz <= NARROW_HZ else ()
        heard = self.heard.digits()
        return len(heard) == len(self._utterance.digits) and all(
            found == digit or digit in lost for found, digit in zip(heard, self._utterance.digits, strict=True)
        )


@contextmanager
def overheard(callers: Mapping[str, Caller]) -> Iterator[None]:
    """While it lasts, callers know the words of what the gateway says to them, and where in the sound each is: no
    telephone carries text, and an ear for single digits must be told where one is.

    Args:
        callers: by the name of the gateway's visitor.
    """
    opened, events = Gateway.call, Call.events
    of_call: dict[Call, Caller] = {}

    @asynccontextmanager
    async def known(gateway: Gateway, door: str, visitor: Visitor, *arguments: Any) -> AsyncIterator[Call]:
        async with opened(gateway, door, visitor, *arguments) as call:
            of_call[call] = callers[visitor.name]
            yield call

    async def with_text(call: Call) -> AsyncIterator[Event]:
        caller, samples = of_call[call], 0
        async for event in events(call):
            if isinstance(event, Frame):
                caller.frames += 1
                if event.reply.text.strip():
                    caller.heard.words.append((samples / caller.rate_hz, event.reply.text.strip()))
                caller.heard.text += event.reply.text
                samples += 0 if event.pcm is None else len(event.pcm)
            yield event

    with mock.patch.object(Gateway, "call", known), mock.patch.object(Call, "events", with_text):
        yield


async def all_at_work(works: Sequence[Awaitable[None]]) -> None:
    """Does all of them, `AT_ONCE` at a time."""
    room = asyncio.Semaphore(AT_ONCE)

    async def one(work: Awaitable[None]) -> None:
        async with room:
            await work

    await asyncio.gather(*map(one, works))
