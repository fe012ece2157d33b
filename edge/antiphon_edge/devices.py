"""The live ends of the chain: a microphone to iterate over and a speaker to write to.

    async with Microphone(24_000, 1920) as microphone, Speaker(24_000) as speaker:
        async for frame in microphone:  # [1920]
            speaker.write(frame)

PortAudio calls back from a thread of its own, which does nothing but copy: the microphone's samples go to the event
loop in one line, the speaker's come out of a `PlayoutBuffer`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar

import numpy as np

from antiphon_edge.echo import EchoCanceller
from antiphon_edge.errors import AudioDeviceError
from antiphon_edge.pcm import BlockBuffer, Pcm, Samples, as_pcm, one_channel, resampler
from antiphon_edge.playout import CAPACITY_MS, PREFILL_MS, PlayoutBuffer, PlayoutStats
from antiphon_edge.portaudio import (
    CALLBACK_MS,
    Attach,
    AudioDevice,
    Callback,
    Direction,
    OpenStream,
    list_devices,
    open_stream,
)
from antiphon_edge.stall import LOOK_S, STALL_S, Stall

__all__ = ["AudioDevice", "Microphone", "Speaker", "list_devices"]

QUEUE_FRAMES = 4
SETTLE_S = 0.04  # what the resampler and the callback before last still hold
PLAYED_MS = 400  # of what was played, kept for the echo canceller
CONTINUE, ABORT = 0, 2  # PortAudio's paContinue, paAbort
INPUT_OVERFLOW, OUTPUT_UNDERFLOW = 2, 4  # PortAudio's paInputOverflow, paOutputUnderflow

logger = logging.getLogger(__name__)

T = TypeVar("T")


class Microphone:
    """A microphone as an async iterator of frames [frame_samples], float32; an async context manager.

    A device that falls silent, as after a laptop's sleep, is waited for and then opened once more.

    Args:
        sample_rate_hz: the rate of the frames, whatever the device's.
        frame_samples: samples in a frame.
        device: index or part of the name; None for the system's default.
        channel: which one is heard, from 1; the others are left out.
        queue_frames: frames that wait for a slow reader; full: the oldest is dropped.
        canceller: removes from each frame what `speaker` played; None with headphones.
        speaker: an open speaker; needed with a canceller.

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
        speaker: Speaker | None = None,
    ) -> None:
        if canceller is not None and speaker is None:
            raise AudioDeviceError("canceller: needs a speaker, to know what was played")
        self._rate_hz = sample_rate_hz
        self._frame_samples = frame_samples
        self._choice = device
        self._channel = channel
        self._canceller = canceller
        self._speaker = speaker
        self._queue: asyncio.Queue[Pcm | None] = asyncio.Queue(queue_frames)  # full: drop the oldest frame
        self._stream: OpenStream | None = None
        self._stall: Stall | None = None
        self._reopened = False  # and not heard since
        self.dropped_frames = 0
        """Frames dropped because the reader was slow."""
        self.overflows = 0
        """Times that the driver lost samples because this process was slow."""

    @property
    def device(self) -> AudioDevice:
        """The device in use."""
        return _running(self._stream).device

    @property
    def latency_s(self) -> float:
        """Seconds from the air to the callback, as the driver tells it."""
        return _running(self._stream).latency_s

    async def __aenter__(self) -> Self:
        self._stall = Stall(asyncio.get_running_loop().time)
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self._close()
        finally:
            self._put(None)  # after the last frame: whoever still iterates is done

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Pcm:
        stall = _entered(self._stall)
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

    async def _open(self) -> None:
        attach = partial(self._attach, asyncio.get_running_loop())
        self._stream = await _open("input", self._choice, self._rate_hz, attach, self._channel)
        _entered(self._stall).heard()

    async def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await _to_the_end(stream.close)

    async def _reopen(self) -> None:
        if self._reopened:
            raise AudioDeviceError(
                f"the microphone has sent no sound for {2 * STALL_S:.0f} s: check that it is connected, start again"
            )
        logger.info("the microphone has sent no sound for %.0f s: opening it again", STALL_S)
        self._reopened = True
        await self._close()
        await self._open()

    def _attach(self, loop: asyncio.AbstractEventLoop, rate_hz: int, channels: int) -> Callback:
        resample = resampler(rate_hz, self._rate_hz)
        buffer = BlockBuffer()

        def deliver(data: bytes | None, status: int) -> None:
            assert data is not None, "an input stream brings samples"
            _entered(self._stall).heard()
            self._reopened = False
            self.overflows += bool(status & INPUT_OVERFLOW)
            block = np.frombuffer(data, np.float32).reshape(-1, channels)
            buffer.put(resample(one_channel(block, self._channel)))
            for frame in buffer.frames(self._frame_samples):
                self._put(self._clean(frame))

        def callback(data: bytes | None, samples: int, times: Any, status: int) -> tuple[None, int]:
            try:
                loop.call_soon_threadsafe(deliver, data, status)
            except RuntimeError:  # the loop was closed, and nobody closed the microphone
                return None, ABORT
            return None, CONTINUE

        return callback

    def _clean(self, frame: Pcm) -> Pcm:
        if self._canceller is None or self._speaker is None:
            return frame
        return self._canceller.process(frame, self._speaker.take_played(len(frame)))

    def _put(self, frame: Pcm | None) -> None:
        if self._queue.full():
            self._queue.get_nowait()
            self.dropped_frames += frame is not None
        self._queue.put_nowait(frame)


class Speaker:
    """A speaker that plays what is written to it, through a playout buffer; an async context manager.

    A device that stops playing, as after a laptop's sleep, is waited for and then opened once more.

    Args:
        sample_rate_hz: the rate of what is written, whatever the device's.
        device: index or part of the name; None for the system's default.
        prefill_ms: how much must wait before playing starts, at first and after each underrun.
        capacity_ms: how much may wait; full: the oldest is dropped.

    Raises:
        AudioDeviceError: PyAudio is missing, no such device, it refuses, or (from `write`) it went away.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        device: int | str | None = None,
        *,
        prefill_ms: float = PREFILL_MS,
        capacity_ms: float = CAPACITY_MS,
    ) -> None:
        self._rate_hz = sample_rate_hz
        self._choice = device
        self._playout = PlayoutBuffer(sample_rate_hz, prefill_ms=prefill_ms, capacity_ms=capacity_ms)
        self._played = BlockBuffer()  # full: drop the oldest samples
        self._taken = False
        self._idle = asyncio.Event()
        self._stall: Stall | None = None
        self._reopening: asyncio.Task[None] | None = None  # the last time
        self._reopened = False  # and nothing was played since
        self._stream: OpenStream | None = None
        self.underflows = 0
        """Times that the driver ran out of samples because this process was slow; the network's are in `stats`."""

    @property
    def device(self) -> AudioDevice:
        """The device in use."""
        return _running(self._stream).device

    @property
    def latency_s(self) -> float:
        """Seconds from the playout buffer to the air, as the driver tells it."""
        return _running(self._stream).latency_s

    @property
    def stats(self) -> PlayoutStats:
        """Underruns, dropped samples and the level of the playout buffer."""
        return self._playout.stats

    async def __aenter__(self) -> Self:
        self._stall = Stall(asyncio.get_running_loop().time)
        await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        await self._close()

    def write(self, pcm: Samples) -> None:
        """Hands `pcm` [N] to the playout buffer and returns at once.

        Raises:
            AntiphonError: no samples; see `as_pcm`.
        """
        if _entered(self._stall).look() >= STALL_S:
            self._reopen()
        self._idle.clear()
        self._playout.write(as_pcm(pcm, math.inf))

    def _reopen(self) -> None:
        """Opens the device again in the background; the second time it has failed."""
        if self._reopening is not None:
            if not self._reopening.done():
                return
            self._reopening.result()  # why it could not be opened
        if self._reopened:
            raise _no_speaker()
        self._reopened = True
        logger.info("the speaker has played nothing for %.0f s: opening it again", STALL_S)

        async def reopen() -> None:
            await self._close()
            await self._open()

        self._reopening = asyncio.create_task(reopen())

    async def _open(self) -> None:
        attach = partial(self._attach, asyncio.get_running_loop())
        self._stream = await _open("output", self._choice, self._rate_hz, attach)
        _entered(self._stall).heard()

    async def _close(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            await _to_the_end(stream.close)

    async def drain(self) -> None:
        """Waits until all that was written has been heard; leaving the context without it cuts off the end."""
        self._idle.clear()
        self._playout.flush()
        patience_s = self.stats.level_ms / 1000 + STALL_S
        waited = Stall(asyncio.get_running_loop().time)
        while not self._idle.is_set():
            try:
                async with asyncio.timeout(LOOK_S):
                    await self._idle.wait()
            except TimeoutError:
                if waited.look() > patience_s:
                    raise _no_speaker() from None
        await asyncio.sleep(self.latency_s + SETTLE_S)

    def take_played(self, samples: int) -> Pcm:
        """The far end of an echo canceller: the next `samples` samples of what went to the device.

        The first call starts at the newest; from then on every sample is handed out once, in order. Where fewer have
        been played, zeros stand before them.
        """
        if not self._taken:
            self._taken = True
            self._forget_played(samples)
        far = self._played.take(min(samples, len(self._played)))
        return np.pad(far, (samples - len(far), 0))

    def _forget_played(self, keep: int) -> None:
        self._played.take(max(0, len(self._played) - keep))

    def _attach(self, loop: asyncio.AbstractEventLoop, rate_hz: int, channels: int) -> Callback:
        resample = resampler(self._rate_hz, rate_hz)
        step_samples = self._rate_hz * CALLBACK_MS // 1000
        ready = BlockBuffer()  # at the device's rate

        def played(blocks: list[Pcm], status: int) -> None:
            _entered(self._stall).heard()
            self._reopened = False
            self.underflows += bool(status & OUTPUT_UNDERFLOW)
            for block in blocks:
                self._played.put(block)
            self._forget_played(self._rate_hz * PLAYED_MS // 1000)
            if self._playout.empty:
                self._idle.set()

        def callback(data: bytes | None, samples: int, times: Any, status: int) -> tuple[bytes, int]:
            blocks = []
            while len(ready) < samples:
                blocks.append(self._playout.read(step_samples))
                ready.put(resample(blocks[-1]))
            out = np.repeat(ready.take(samples), channels).tobytes()  # interleaved
            try:
                loop.call_soon_threadsafe(played, blocks, status)
            except RuntimeError:  # the loop was closed, and nobody closed the speaker
                return out, ABORT
            return out, CONTINUE

        return callback


def _running(stream: OpenStream | None) -> OpenStream:
    if stream is None:
        raise _not_entered()
    return stream


def _entered(stall: Stall | None) -> Stall:
    if stall is None:
        raise _not_entered()
    return stall


def _not_entered() -> AudioDeviceError:
    return AudioDeviceError("a microphone or a speaker is open inside `async with` only: use it there")


def _no_speaker() -> AudioDeviceError:
    return AudioDeviceError(
        f"the speaker has played nothing for {STALL_S:.0f} s: check that it is connected, then start again"
    )


async def _open(
    direction: Direction, choice: int | str | None, rate_hz: int, attach: Attach, channel: int = 1
) -> OpenStream:
    return await _to_the_end(partial(open_stream, direction, choice, rate_hz, attach, channel), undo=OpenStream.close)


async def _to_the_end(work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """Runs `work` in a thread, since drivers take their time. Cancelled, it still waits for the end, and undoes it."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if task.exception() is None and undo is not None:
            undo(task.result())
        raise
