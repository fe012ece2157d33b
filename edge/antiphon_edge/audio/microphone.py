"""A microphone to iterate over.

async with Microphone(24_000, 1920) as microphone:
    async for frame in microphone: ...  # [1920]
"""

from __future__ import annotations

import asyncio
import time
from types import TracebackType
from typing import Any, Self

import numpy as np

from antiphon_edge.audio.changes import DeviceChange, OnDeviceChange, State, ignore
from antiphon_edge.audio.crossing import HandOver
from antiphon_edge.audio.devices import AudioDevice
from antiphon_edge.audio.digital_silence import SILENT_S, DigitalSilence
from antiphon_edge.audio.echo.canceller import EchoCanceller
from antiphon_edge.audio.echo.far_end import FarEnd
from antiphon_edge.audio.pcm import BlockBuffer, Pcm, one_channel, resampler
from antiphon_edge.audio.portaudio import Callback
from antiphon_edge.audio.streams import DeviceStream

QUEUE_FRAMES = 4
INPUT_OVERFLOW = 2  # PortAudio's paInputOverflow


class Microphone:
    """A microphone as an async iterator of frames [frame_samples], float32; an async context manager.

    A device that goes away, or falls silent as after a laptop's sleep, is opened again by its name as soon as it is
    back; until then frames of silence come at their pace, so that the conversation goes on.

    Args:
        sample_rate_hz: the rate of the frames, whatever the device's.
        frame_samples: samples in a frame.
        device: index or part of the name; None for the system's default.
        channel: which one is heard, from 1; the others are left out.
        queue_frames: frames that wait for a slow reader; full: the oldest is dropped.
        canceller: removes from each frame what the speaker played.
        far_end: what the speaker played; a speaker that is given the same one writes to it.
        on_change: called when the device is lost, back, another one, silent or heard again.

    Raises:
        AudioDeviceError: PyAudio is missing, no such device or channel, it refuses, or there is none but the monitor of
            the speaker.
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
        on_change: OnDeviceChange = ignore,
    ) -> None:
        self._rate_hz = sample_rate_hz
        self._frame_samples = frame_samples
        self._channel = channel
        self._canceller = canceller
        self._far_end = far_end or FarEnd(sample_rate_hz)
        self._queue: asyncio.Queue[Pcm | None] = asyncio.Queue(queue_frames)  # full: drop the oldest frame
        self._stream = DeviceStream("input", device, sample_rate_hz, self._attach, channel, on_change)
        self._on_change = on_change
        self._due_s = 0.0  # when a frame of silence is, should the device be lost by then
        self.dropped_frames = 0
        """Frames dropped because the reader was slow."""
        self.overflows = 0
        """Times that the driver lost samples because this process was slow."""

    @property
    def device(self) -> AudioDevice:
        """The device in use."""
        return self._stream.device

    @property
    def lost(self) -> bool:
        """Whether the device is waited for."""
        return self._stream.lost

    @property
    def outages(self) -> int:
        """Times that the device was lost."""
        return self._stream.outages

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
        frame = await self._next()
        if frame is None:
            self._put(None)
            raise StopAsyncIteration
        return frame

    async def _next(self) -> Pcm | None:
        """The next frame, or None after the last; while the device is lost a frame of silence when one is due."""
        self._stream.check_open()
        clock, frame_s = asyncio.get_running_loop().time, self._frame_samples / self._rate_hz
        while True:
            try:
                async with asyncio.timeout_at(max(self._due_s, clock())):
                    frame = await self._queue.get()
            except TimeoutError:
                late = self._due_s < clock() - frame_s
                self._due_s = frame_s + (clock() if late else self._due_s)
                if self._stream.lost:
                    return np.zeros(self._frame_samples, np.float32)
            else:
                self._due_s = clock() + 2 * frame_s
                return frame

    def _attach(self, hand_over: HandOver, rate_hz: int, channels: int) -> Callback:
        resample = resampler(rate_hz, self._rate_hz)
        buffer = BlockBuffer()
        silence = DigitalSilence(rate_hz)
        begun = False

        def deliver(data: bytes | None, status: int, at_s: float) -> None:
            nonlocal begun
            assert data is not None, "an input stream brings samples"
            self._stream.heard()
            if self._stream.misled:
                return
            self.overflows += bool(status & INPUT_OVERFLOW)
            block = np.frombuffer(data, np.float32).reshape(-1, channels)
            if not begun:
                self._far_end.microphone_began()
                begun = True
            self._far_end.heard(len(block) / rate_hz, at_s)
            heard = one_channel(block, self._channel)
            if silence.put(heard):
                self._tell_silence(silence.silent)
            buffer.put(resample(heard))
            for frame in buffer.frames(self._frame_samples):
                self._put(self._clean(frame))

        def callback(data: bytes | None, samples: int, times: Any, status: int) -> tuple[None, int]:
            return None, hand_over(deliver, data, status, time.monotonic())

        return callback

    def _tell_silence(self, silent: bool) -> None:
        state: State = "silent" if silent else "heard"
        self._on_change(DeviceChange("input", state, self.device.name, after_s=SILENT_S))

    def _clean(self, frame: Pcm) -> Pcm:
        if self._canceller is None:
            return frame
        near = self._canceller.process(frame, self._far_end.take(len(frame)))
        if self._canceller.timing is not None:
            self._far_end.heard_echo(self._canceller.timing)
        return near

    def _put(self, frame: Pcm | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self.dropped_frames += frame is not None
        self._queue.put_nowait(frame)
