"""A speaker to write to.

async with Speaker(24_000) as speaker:
    speaker.write(frame)  # [N]
    await speaker.drain()
"""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import numpy as np

from antiphon_edge.audio.changes import OnDeviceChange, ignore
from antiphon_edge.audio.crossing import HandOver
from antiphon_edge.audio.devices import AudioDevice
from antiphon_edge.audio.echo.far_end import FarEnd
from antiphon_edge.audio.jitter.underflows import Underflows
from antiphon_edge.audio.pcm import BlockBuffer, Pcm, Samples, as_pcm, resampler
from antiphon_edge.audio.playout import CAPACITY_MS, PREFILL_MS, TICK_MS, PlayoutBuffer, PlayoutStats
from antiphon_edge.audio.portaudio import CALLBACK_MS, Callback
from antiphon_edge.audio.stall import LOOK_S, STALL_S, Stall
from antiphon_edge.audio.streams import DeviceStream

SETTLE_S = 0.04  # what the resampler and the callback before last still hold
OUTPUT_UNDERFLOW = 4  # PortAudio's paOutputUnderflow


class Speaker:
    """A speaker that plays what is written to it, through a playout buffer; an async context manager.

    A device that goes away, or stops playing as after a laptop's sleep, is opened again by its name as soon as it is
    back; what is written meanwhile is not heard. One that often runs dry because this process is slow is opened again
    with a larger buffer.

    Args:
        sample_rate_hz: the rate of what is written, whatever the device's.
        device: index or part of the name; None for the system's default.
        prefill_ms: how much must wait before playing starts, until it is known how late the frames come.
        capacity_ms: how much may wait; full: the oldest is dropped.
        exact: play what is written sample for sample, as a measurement needs it; else what waits too long is made
            shorter, in silences first.
        far_end: told what is played, for an echo canceller.
        on_change: called when the device is lost, back, or another one.

    Raises:
        AudioDeviceError: PyAudio is missing, no such device, or it refuses.
    """

    def __init__(
        self,
        sample_rate_hz: int,
        device: int | str | None = None,
        *,
        prefill_ms: float = PREFILL_MS,
        capacity_ms: float = CAPACITY_MS,
        exact: bool = False,
        far_end: FarEnd | None = None,
        on_change: OnDeviceChange = ignore,
    ) -> None:
        self.rate_hz = sample_rate_hz
        """Of what is written."""
        self._playout = PlayoutBuffer(sample_rate_hz, prefill_ms=prefill_ms, capacity_ms=capacity_ms, exact=exact)
        self._far_end = far_end
        self._idle = asyncio.Event()
        self._stream = DeviceStream("output", device, sample_rate_hz, self._attach, on_change=on_change)
        self._many_underflows: Underflows | None = None
        self._reopening: asyncio.Task[None] | None = None
        self.underflows = 0
        """Times that the driver ran out of samples because this process was slow; the network's are in `stats`."""

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
        """Seconds from the playout buffer to the air, as the driver tells it."""
        return self._stream.latency_s

    @property
    def stats(self) -> PlayoutStats:
        """Underruns, dropped samples and the level of the playout buffer."""
        return self._playout.stats

    async def __aenter__(self) -> Self:
        await self._stream.open()
        self._many_underflows = Underflows(CALLBACK_MS["output"], asyncio.get_running_loop().time)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reopening is not None:
            await self._reopening
        await self._stream.close()

    def write(self, pcm: Samples) -> None:
        """Hands `pcm` [N] to the playout buffer and returns at once; while the device is lost, it is left out.

        Raises:
            AntiphonError: no samples; see `as_pcm`.
        """
        self._stream.check_open()
        samples = as_pcm(pcm, math.inf)
        if not self._stream.lost:
            self._idle.clear()
            self._playout.write(samples)

    async def drain(self) -> None:
        """Waits until all that was written has been heard, or the device is lost; leaving the context without it cuts
        off the end."""
        self._idle.clear()
        self._playout.flush()
        patience_s = self.stats.level_ms / 1000 + STALL_S
        waited = Stall(asyncio.get_running_loop().time)
        while not self._idle.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._idle.wait()
            if self._stream.lost or waited.look() > patience_s:
                return
        await asyncio.sleep(self.latency_s + SETTLE_S)

    def _underflow(self) -> None:
        self.underflows += 1
        callback_ms = None if self._many_underflows is None else self._many_underflows.another()
        if callback_ms is not None:
            self._reopening = asyncio.create_task(self._stream.reopen(callback_ms))

    def _attach(self, hand_over: HandOver, rate_hz: int, channels: int) -> Callback:
        resample = resampler(self.rate_hz, rate_hz)
        step_samples = self.rate_hz * TICK_MS // 1000
        ready = BlockBuffer()  # at the device's rate
        begun = False

        def played(blocks: list[Pcm], duration_s: float, status: int, at_s: float) -> None:
            nonlocal begun
            self._stream.heard()
            if status & OUTPUT_UNDERFLOW:
                self._underflow()
            if self._far_end is not None:
                if not begun:
                    self._far_end.speaker_began()
                    begun = True
                self._far_end.played(blocks, duration_s, at_s)
            if self._playout.empty:
                self._idle.set()

        def callback(data: bytes | None, samples: int, times: Any, status: int) -> tuple[bytes, int]:
            blocks = []
            while len(ready) < samples:
                blocks.append(self._playout.read(step_samples))
                ready.put(resample(blocks[-1]))
            out = np.repeat(ready.take(samples), channels).tobytes()  # interleaved
            return out, hand_over(played, blocks, samples / rate_hz, status, time.monotonic())

        return callback
