"""A speaker to write to.

async with Speaker(24_000) as speaker:
    speaker.write(frame)  # [N]
    await speaker.drain()
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from types import TracebackType
from typing import Any, Self

import numpy as np

from antiphon_edge.audio.far_end import FarEnd
from antiphon_edge.audio.pcm import BlockBuffer, Pcm, Samples, as_pcm, resampler
from antiphon_edge.audio.playout import CAPACITY_MS, PREFILL_MS, PlayoutBuffer, PlayoutStats
from antiphon_edge.audio.portaudio import CALLBACK_MS, AudioDevice, Callback
from antiphon_edge.audio.stall import LOOK_S, STALL_S, Stall
from antiphon_edge.audio.streams import DeviceStream, HandOver
from antiphon_edge.errors import AudioDeviceError

SETTLE_S = 0.04  # what the resampler and the callback before last still hold
OUTPUT_UNDERFLOW = 4  # PortAudio's paOutputUnderflow

logger = logging.getLogger(__name__)


class Speaker:
    """A speaker that plays what is written to it, through a playout buffer; an async context manager.

    A device that stops playing, as after a laptop's sleep, is waited for and then opened once more.

    Args:
        sample_rate_hz: the rate of what is written, whatever the device's.
        device: index or part of the name; None for the system's default.
        prefill_ms: how much must wait before playing starts, at first and after each underrun.
        capacity_ms: how much may wait; full: the oldest is dropped.
        far_end: told what is played, for an echo canceller.

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
        far_end: FarEnd | None = None,
    ) -> None:
        self._rate_hz = sample_rate_hz
        self._playout = PlayoutBuffer(sample_rate_hz, prefill_ms=prefill_ms, capacity_ms=capacity_ms)
        self._far_end = far_end
        self._idle = asyncio.Event()
        self._reopening: asyncio.Task[None] | None = None  # the last time
        self._reopened = False  # and nothing was played since
        self._stream = DeviceStream("output", device, sample_rate_hz, self._attach)
        self.underflows = 0
        """Times that the driver ran out of samples because this process was slow; the network's are in `stats`."""

    @property
    def device(self) -> AudioDevice:
        """The device in use."""
        return self._stream.device

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
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._reopening is not None:
            self._reopening.cancel()
            await asyncio.gather(self._reopening, return_exceptions=True)
        await self._stream.close()

    def write(self, pcm: Samples) -> None:
        """Hands `pcm` [N] to the playout buffer and returns at once.

        Raises:
            AntiphonError: no samples; see `as_pcm`.
        """
        if self._stream.stall.look() >= STALL_S:
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
        self._reopening = asyncio.create_task(self._stream.reopen())

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

    def _attach(self, hand_over: HandOver, rate_hz: int, channels: int) -> Callback:
        resample = resampler(self._rate_hz, rate_hz)
        step_samples = self._rate_hz * CALLBACK_MS // 1000
        ready = BlockBuffer()  # at the device's rate

        def played(blocks: list[Pcm], duration_s: float, status: int, at_s: float) -> None:
            self._stream.stall.heard()
            self._reopened = False
            self.underflows += bool(status & OUTPUT_UNDERFLOW)
            if self._far_end is not None:
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


def _no_speaker() -> AudioDeviceError:
    return AudioDeviceError(
        f"the speaker has played nothing for {STALL_S:.0f} s: check that it is connected, then start again"
    )
