"""Sound devices that a test drives, on a clock that it drives too."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

import numpy as np
import pytest

from antiphon_edge import AudioDevice
from antiphon_edge.audio import streams
from antiphon_edge.audio.devices import Direction
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.portaudio import Attach, Callback, OpenStream
from antiphon_edge.errors import AudioDeviceError

STEP_S = 0.08
FAKE = AudioDevice(0, "fake", 2, 2, 24_000, True, True)


@dataclass
class FakeDevice:
    """Stands for PortAudio in `audio.streams`; every opening counts, and the last one's callback is used."""

    channels: int = 1
    opened: int = 0
    closed: int = 0
    callback: Callback = field(init=False)
    device: AudioDevice = FAKE
    latency_s: float = 0.0
    alive: bool = True
    there: bool = True
    choices: list[object] = field(default_factory=list)

    def open(self, direction: Direction, choice: object, rate_hz: int, attach: Attach, channel: int) -> FakeDevice:
        self.choices.append(choice)
        if not self.there:
            raise AudioDeviceError("there is no such device")
        self.opened += 1
        self.alive = True
        self.callback = attach(rate_hz, self.channels)
        return self

    def close(self) -> None:
        self.closed += 1

    def unplug(self) -> None:
        """The driver gives the stream up, and nothing can be opened until `there`."""
        self.alive = self.there = False

    def record(self, block: Pcm) -> None:
        """A microphone's samples [N, channels]."""
        self.callback(block.astype(np.float32).tobytes(), len(block), None, 0)

    def play(self, samples: int) -> Pcm:
        """What a speaker is given, [N, channels]."""
        data, _ = self.callback(None, samples, None, 0)
        assert data is not None
        return np.frombuffer(data, np.float32).reshape(-1, self.channels)


class FakeTime:
    """The running loop's clock: it stands still until the test lets time pass."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        loop = asyncio.get_running_loop()
        self._now_s = loop.time()
        monkeypatch.setattr(loop, "time", lambda: self._now_s)

    async def sleep_at_once(self, seconds: float) -> None:
        """The machine is suspended: all of it passes before anything else happens."""
        self._now_s += seconds
        await self.settle()

    async def watch(self, seconds: float) -> None:
        """Passes in steps as small as a frame."""
        for _ in range(round(seconds / STEP_S)):
            await self.sleep_at_once(STEP_S)

    async def settle(self) -> None:
        """Lets everything that is ready run."""
        for _ in range(20):
            await asyncio.sleep(0)


def install(monkeypatch: pytest.MonkeyPatch, device: FakeDevice) -> None:
    """Makes the device the only one there is."""
    monkeypatch.setattr(streams, "open_stream", device.open)
    monkeypatch.setattr(OpenStream, "close", lambda stream: stream.close())
