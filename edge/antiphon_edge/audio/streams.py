"""What a microphone and a speaker share: a device's stream, opened in a thread, and opened again where it falls silent.

PortAudio calls back from a thread of its own, which does nothing but copy: the microphone's samples go to the event
loop in one line, the speaker's come out of a `PlayoutBuffer`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import TypeVar

from antiphon_edge.audio.portaudio import AudioDevice, Callback, Direction, OpenStream, open_stream
from antiphon_edge.audio.stall import Stall
from antiphon_edge.errors import AudioDeviceError

CONTINUE, ABORT = 0, 2  # PortAudio's paContinue, paAbort

T = TypeVar("T")

HandOver = Callable[..., int]
"""Called in PortAudio's thread: has the event loop call a function, and returns PortAudio's next move."""


class DeviceStream:
    """The stream of one device, for as long as its `async with` lasts; a `Microphone` or a `Speaker` owns it.

    Args:
        direction: "input" for a microphone, "output" for a speaker.
        device: index or part of the name; None for the system's default.
        rate_hz: the wanted rate; a device that refuses it is opened at its own.
        attach: makes the callback, which crosses to the event loop through the first argument, for a device that was
            opened at a rate in Hz and with so many channels.
        channel: of a microphone, from 1: the stream has at least as many.
    """

    def __init__(
        self,
        direction: Direction,
        device: int | str | None,
        rate_hz: int,
        attach: Callable[[HandOver, int, int], Callback],
        channel: int = 1,
    ) -> None:
        self._direction = direction
        self._choice = device
        self._rate_hz = rate_hz
        self._attach = attach
        self._channel = channel
        self._stream: OpenStream | None = None
        self._stall: Stall | None = None

    @property
    def device(self) -> AudioDevice:
        """The device in use."""
        return self._running().device

    @property
    def latency_s(self) -> float:
        """Seconds between the callback and the air, as the driver tells it."""
        return self._running().latency_s

    async def open(self) -> None:
        """Opens the device.

        Raises:
            AudioDeviceError: PyAudio is missing, no such device or channel, or it refuses.
        """
        self._stall = Stall(asyncio.get_running_loop().time)
        await self._start()

    async def reopen(self) -> None:
        """Opens the device again, as the system has it now; errors as in `open`."""
        await self.close()
        await self._start()

    async def _start(self) -> None:
        attach = partial(self._attach, partial(_hand_over, asyncio.get_running_loop()))
        work = partial(open_stream, self._direction, self._choice, self._rate_hz, attach, self._channel)
        self._stream = await _in_thread(work, undo=OpenStream.close)
        self.stall.heard()

    async def close(self) -> None:
        """Stops the stream; no callback runs after it."""
        stream, self._stream = self._stream, None
        if stream is not None:
            await _in_thread(stream.close)

    @property
    def stall(self) -> Stall:
        """How long the device has been silent.

        Raises:
            AudioDeviceError: it was never opened.
        """
        if self._stall is None:
            raise _not_entered()
        return self._stall

    def _running(self) -> OpenStream:
        if self._stream is None:
            raise _not_entered()
        return self._stream


def _not_entered() -> AudioDeviceError:
    return AudioDeviceError("a microphone or a speaker is open inside `async with` only: use it there")


def _hand_over(loop: asyncio.AbstractEventLoop, receive: Callable[..., None], *args: object) -> int:
    try:
        loop.call_soon_threadsafe(receive, *args)
    except RuntimeError:  # the loop was closed, and nobody closed the device
        return ABORT
    return CONTINUE


async def _in_thread(work: Callable[[], T], undo: Callable[[T], None] | None = None) -> T:
    """Runs `work` in a thread, since drivers take their time. Cancelled, it waits for the end and undoes it."""
    task = asyncio.create_task(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait({task})
        if task.exception() is None and undo is not None:
            undo(task.result())
        raise
