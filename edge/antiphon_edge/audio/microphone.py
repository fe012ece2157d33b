"""A microphone to iterate over.

async with Microphone(24_000, 1920) as microphone:
    async for frame in microphone: ...  # [1920]
"""

from __future__ import annotations

import asyncio
import logging
import time
from types import TracebackType
from typing import Any, Self

import numpy as np

from antiphon_edge.audio.echo import EchoCanceller
from antiphon_edge.audio.far_end import FarEnd
from antiphon_edge.audio.pcm import BlockBuffer, Pcm, one_channel, resampler
from antiphon_edge.audio.portaudio import AudioDevice, Callback
from antiphon_edge.audio.stall import LOOK_S, STALL_S
from antiphon_edge.audio.streams import DeviceStream, HandOver
from antiphon_edge.errors import AudioDeviceError

QUEUE_FRAMES = 4
INPUT_OVERFLOW = 2  # PortAudio's paInputOverflow

logger = logging.getLogger(__name__)


class Microphone:
    """A microphone as an async iterator of frames [frame_samples], float32; an async context manager.

    A device that falls silent, as after a laptop's sleep, is waited for and then opened once more.

    Args:
        sample_rate_hz: the rate of the frames, whatever the device's.
        frame_samples: samples in a frame.
        device: index or part of the name; None for the system's default.
        channel: which one is heard, from 1; the others are left out.
        queue_frames: frames that wait for a slow reader; full: the oldest is dropped.
        canceller: removes from each frame what the speaker played.
        far_end: what the speaker played, where one plays.

    Raises:
        AudioDeviceError: PyAudio is missing, no such device or channel, it refuses, or (while iterating) it went away.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        frame_samples: int,
        device: int | str | None = None,
        *,
        channel: int = 1,
        queue_frames: int = QUEUE_FRAMES,
        canceller: EchoCanceller | None = None,
        far_end: FarEnd | None = None,
    ) -> None:
        self._rate_hz = sample_rate_hz
        self._frame_samples = frame_samples
        self._channel = channel
        self._canceller = canceller
        self._far_end = far_end or FarEnd(sample_rate_hz)
        self._queue: asyncio.Queue[Pcm | None] = asyncio.Queue(queue_frames)  # full: drop the oldest frame
        self._stream = DeviceStream("input", device, sample_rate_hz, self._attach, channel)
        self._reopened = False  # and not heard since
        self.dropped_frames = 0
        """Frames dropped because the reader was slow."""
        self.overflows = 0
        """Times that the driver lost samples because this process was slow."""

    @property
    def device(self) -> AudioDevice:
        """The device in use."""
        return self._stream.device

    @property
    def latency_s(self) -> float:
        """Seconds from the air to the callback, as the driver tells it."""
        return self._stream.latency_s

    async def __aenter__(self) -> Self:
        await self._stream.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._stream.close()
        finally:
            self._put(None)  # after the last frame: ends the iteration

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Pcm:
        stall = self._stream.stall
        while True:
            try:
                async with asyncio.timeout(LOOK_S):
                    frame = await self._queue.get()
                break
            except TimeoutError:
                if stall.look() >= STALL_S:
                    await self._reopen()
        if frame is None:
            self._put(None)
            raise StopAsyncIteration
        return frame

    async def _reopen(self) -> None:
        if self._reopened:
            raise AudioDeviceError(
                f"the microphone has sent no sound for {2 * STALL_S:.0f} s: check that it is connected, start again"
            )
        logger.info("the microphone has sent no sound for %.0f s: opening it again", STALL_S)
        self._reopened = True
        await self._stream.reopen()

    def _attach(self, hand_over: HandOver, rate_hz: int, channels: int) -> Callback:
        resample = resampler(rate_hz, self._rate_hz)
        buffer = BlockBuffer()

        def deliver(data: bytes | None, status: int, at_s: float) -> None:
            assert data is not None, "an input stream brings samples"
            self._stream.stall.heard()
            self._reopened = False
            self.overflows += bool(status & INPUT_OVERFLOW)
            block = np.frombuffer(data, np.float32).reshape(-1, channels)
            buffer.put(resample(one_channel(block, self._channel)))
            self._far_end.heard(len(block) / rate_hz, at_s)
            for frame in buffer.frames(self._frame_samples):
                self._put(self._clean(frame))

        def callback(data: bytes | None, samples: int, times: Any, status: int) -> tuple[None, int]:
            return None, hand_over(deliver, data, status, time.monotonic())

        return callback

    def _clean(self, frame: Pcm) -> Pcm:
        if self._canceller is None:
            return frame
        return self._canceller.process(frame, self._far_end.take(len(frame)))

    def _put(self, frame: Pcm | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self.dropped_frames += frame is not None
        self._queue.put_nowait(frame)
