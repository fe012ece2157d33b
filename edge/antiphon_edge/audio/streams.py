"""What a microphone and a speaker share: the stream of a device that may go away and come back.

PortAudio calls back from a thread of its own, which does nothing but copy: the microphone's samples go to the event
loop in one line, the speaker's come out of a `PlayoutBuffer`. One task watches the stream. Where the driver has given
it up or brings nothing for `STALL_S`, it opens the device again, by name, until it is there.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from weakref import WeakSet

from antiphon_edge.audio.changes import DeviceChange, OnDeviceChange, State, ignore
from antiphon_edge.audio.devices import AudioDevice, Direction
from antiphon_edge.audio.driver_thread import in_driver_thread
from antiphon_edge.audio.placement import Place, Placement
from antiphon_edge.audio.portaudio import Callback, OpenStream, open_stream
from antiphon_edge.audio.sound_server import Watch
from antiphon_edge.audio.stall import LOOK_S, STALL_S, Stall
from antiphon_edge.errors import AudioDeviceError

CONTINUE, ABORT = 0, 2  # PortAudio's paContinue, paAbort
RETRY_S = 1.0  # between two attempts to open a device that is lost
FILL_S = 0.5  # a device that takes nothing yet has its buffer filled all the same
GATHER_S = 0.02  # the sound server's words come in bursts
BLIND_SCAN = 5  # attempts, where the system does not tell whether devices have come

logger = logging.getLogger(__name__)

HandOver = Callable[..., int]
"""Called in PortAudio's thread: has the event loop call a function, and returns PortAudio's next move."""

_open: WeakSet[DeviceStream] = WeakSet()  # of this process: PortAudio looks for devices only when none of them runs


class DeviceStream:
    """The stream of one device, for as long as its `async with` lasts; a `Microphone` or a `Speaker` owns it.

    Args:
        direction: "input" for a microphone, "output" for a speaker.
        device: index or part of the name; None for the system's default.
        rate_hz: the wanted rate; a device that refuses it is opened at its own.
        attach: makes the callback, which crosses to the event loop through the first argument, for a device that was
            opened at a rate in Hz and with so many channels.
        channel: of a microphone, from 1: the stream has at least as many.
        on_change: called when the device is lost, when it is back, and when the sound server has taken another one.
    """

    def __init__(
        self,
        direction: Direction,
        device: int | str | None,
        rate_hz: int,
        attach: Callable[[HandOver, int, int], Callback],
        channel: int = 1,
        on_change: OnDeviceChange = ignore,
    ) -> None:
        self.direction = direction
        self._choice = device
        self._rate_hz = rate_hz
        self._attach = attach
        self._channel = channel
        self._on_change = on_change
        self._stream: OpenStream | None = None
        self._device: AudioDevice | None = None
        self._latency_s = 0.0
        self._stall: Stall | None = None
        self._sign = asyncio.Event()  # of the device, since the last attempt to open it
        self._task: asyncio.Task[None] | None = None
        self._cards: str | None = None  # when PortAudio looked for devices last
        self._placement: Placement | None = None
        self._server: Watch | None = None
        self._server_spoke = asyncio.Event()
        self._place = Place("", "", misled=False)
        self._looked = True
        self._gone = False  # and waited for
        self._lost_s: float | None = None  # since when this is so, or it is misled
        self._paused = False
        self.outages = 0
        """Times that the device was lost."""

    @property
    def device(self) -> AudioDevice:
        """The device in use, or waited for."""
        self.check_open()
        assert self._device is not None
        return self._device

    @property
    def latency_s(self) -> float:
        """Seconds between the callback and the air, as the driver tells it."""
        self.check_open()
        return self._latency_s

    @property
    def lost(self) -> bool:
        """Whether the device is waited for, be it that the sound server gives us something else in its place."""
        return self._lost_s is not None

    @property
    def misled(self) -> bool:
        """Whether what comes from the microphone is what the speaker plays, or may be: nobody has looked yet."""
        return self._place.misled or not self._looked

    def check_open(self) -> None:
        """Returns where it was opened.

        Raises:
            AudioDeviceError: it was not.
        """
        if self._device is None:
            raise AudioDeviceError("a microphone or a speaker is open inside `async with` only: use it there")

    def heard(self) -> None:
        """The device gave a sign."""
        self._sign.set()
        if self._stall is not None:
            self._stall.heard()

    async def open(self) -> None:
        """Opens the device and watches it from then on.

        Raises:
            AudioDeviceError: PyAudio is missing, no such device or channel, it refuses, or there is no microphone but
                the monitor of the speaker.
        """
        self._stall = Stall(asyncio.get_running_loop().time)
        try:
            await self._start()
            if self._place.misled:
                raise AudioDeviceError(
                    f"this machine has no microphone: the sound server gives what the speaker plays "
                    f"({self._place.device}) in its place; connect a microphone, or use a wav file"
                )
        except BaseException:
            await self._stop()
            raise
        if self._choice is not None:  # an index may mean another device later
            self._choice = self.device.lasting_name
        self._task = asyncio.create_task(self._watch())
        _open.add(self)

    async def close(self) -> None:
        """Stops the stream; no callback runs after it."""
        _open.discard(self)
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        await self._stop()

    async def _start(self) -> None:
        loop = asyncio.get_running_loop()
        attach = partial(self._attach, partial(_hand_over, loop))
        self._cards, self._looked = sound_cards(), False
        work = partial(open_stream, self.direction, self._choice, self._rate_hz, attach, self._channel)
        self._stream = stream = await in_driver_thread(work, undo=OpenStream.close)
        self._device, self._latency_s = stream.device, stream.latency_s
        if self._stall is not None:
            self._stall.heard()  # it has its time
        if stream.device.on_server:
            self._placement = self._placement or Placement(self.direction, stream.device.server_name)
            watch = partial(Watch, self.direction, partial(_hand_over, loop, self._server_spoke.set))
            self._server = await in_driver_thread(watch, undo=Watch.close)
            await self._look_at_the_server()
        self._looked = True

    async def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.close()
        stream, self._stream = self._stream, None
        if stream is not None:
            await in_driver_thread(stream.close)

    async def _watch(self) -> None:
        assert self._stall is not None
        while True:
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._server_spoke.wait()
            if self._paused:
                continue
            if self._server_spoke.is_set():
                await asyncio.sleep(GATHER_S)
                self._server_spoke.clear()
                misled = self._place.misled
                await self._look_at_the_server()
                if misled and not self._place.misled:  # with what the speaker played still on its way
                    await self._recover()
            if self._stream is None or not self._stream.alive:
                await self._recover("it was disconnected, or the sound server has stopped")
            elif self._stall.look() >= STALL_S:
                sign = "sent no sound" if self.direction == "input" else "taken no sound"
                await self._recover(f"it has {sign} for {STALL_S:.0f} s")

    async def _recover(self, reason: str = "") -> None:
        """Opens the device again until it gives a sign."""
        self._gone = True
        self._tell_whether_lost(reason)
        before = self.device.name
        attempt = 0
        while not await self._opens_again(attempt):
            attempt += 1
            await asyncio.sleep(RETRY_S)
        self._gone = False
        self._tell_whether_lost()
        if self.device.name != before:
            self._tell("moved", self.device.name)

    async def _opens_again(self, attempt: int) -> bool:
        await self._stop()
        try:
            await (self._rescan() if self._needs_scan(attempt) else self._start())
        except AudioDeviceError as error:
            logger.info("%s", error)
            return False
        await asyncio.sleep(FILL_S)
        self._sign.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(STALL_S):
                await self._sign.wait()
        return self._sign.is_set()

    def _needs_scan(self, attempt: int) -> bool:
        """Whether PortAudio should look for devices anew, for which all of them must be closed for a moment."""
        if not any(other._stream is not None for other in _open):
            return False  # it does so anyway
        cards = sound_cards()
        return attempt % BLIND_SCAN == BLIND_SCAN - 1 if cards is None else cards != self._cards

    async def _rescan(self) -> None:
        others = [other for other in _open if other._stream is not None]
        for other in others:
            other._paused = True
        try:
            for other in others:
                await other._stop()
            await self._start()
        finally:
            for other in others:
                with suppress(AudioDeviceError):  # it is lost as well, and its own task finds out
                    await other._start()
                other._paused = False

    async def _look_at_the_server(self) -> None:
        """Learns which device the sound server has connected the stream to; it may have moved it."""
        assert self._placement is not None
        place = await in_driver_thread(self._placement.look)
        if place is None:  # the server has gone, or is none that we know
            return
        before, self._place = self._place, place
        if self._task is None:
            return
        if place.misled:
            self._tell_whether_lost(f"the sound server gives what the speaker plays, {place.device!r}, in its place")
        if before.name not in ("", place.name) and not self.lost and not before.misled:
            self._tell("moved", place.device)

    def _tell_whether_lost(self, reason: str = "") -> None:
        now_s = asyncio.get_running_loop().time()
        lost = self._gone or self._place.misled
        if lost and self._lost_s is None:
            self._lost_s = now_s
            self.outages += 1
            self._tell("lost", self.device.name, reason)
        elif not lost and self._lost_s is not None:
            after_s, self._lost_s = now_s - self._lost_s, None
            self._tell("back", self.device.name, after_s=after_s)

    def _tell(self, state: State, device: str, reason: str = "", after_s: float = 0.0) -> None:
        change = DeviceChange(self.direction, state, device, reason, after_s)
        logger.info("%s", change)
        self._on_change(change)


def sound_cards() -> str | None:
    """The sound cards as the system numbers them now; None where it does not tell."""
    if sys.platform != "linux":
        return None
    try:
        return Path("/proc/asound/cards").read_text(errors="replace")
    except OSError:  # no card has ever been there
        return ""


def _hand_over(loop: asyncio.AbstractEventLoop, receive: Callable[..., None], *args: object) -> int:
    try:
        loop.call_soon_threadsafe(receive, *args)
    except RuntimeError:  # the loop was closed, and nobody closed the device
        return ABORT
    return CONTINUE
