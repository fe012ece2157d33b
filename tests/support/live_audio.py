"""A program that uses the live devices, run by test_devices.py in the environment of the private sound server.

live_audio.py devices | record OUT.npy FRAMES | play IN.npy | duplex IN.npy OUT.npz   [--only RATE_HZ CHANNELS]

Prints "ready" once the device is open and a line of JSON at the end. With --only the devices refuse all but one rate
and channel count, as hardware does and PulseAudio never would.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import pyaudio

from antiphon_edge import Microphone, Speaker, list_devices
from antiphon_edge.audio.far_end import FarEnd
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.errors import AudioDeviceError

RATE_HZ = 24_000
FRAME_SAMPLES = 1920


def refuse_all_but(rate_hz: int, channels: int) -> None:
    really_open = pyaudio.PyAudio.open
    really_info = pyaudio.PyAudio.get_device_info_by_index

    def info(self: pyaudio.PyAudio, index: int) -> dict[str, Any]:
        return {**really_info(self, index), "defaultSampleRate": float(rate_hz)}

    def only(self: pyaudio.PyAudio, **options: Any) -> Any:
        if options["rate"] != rate_hz:
            raise OSError(-9997, "Invalid sample rate")
        if options["channels"] != channels:
            raise OSError(-9998, "Invalid number of channels")
        return really_open(self, **options)

    pyaudio.PyAudio.get_device_info_by_index = info  # type: ignore[method-assign, unused-ignore]
    pyaudio.PyAudio.open = only  # type: ignore[method-assign, unused-ignore]


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


async def record(out: Path, frames: int) -> dict[str, Any]:
    async with Microphone(RATE_HZ, FRAME_SAMPLES) as microphone:
        say("ready")
        heard = []
        async for frame in microphone:
            heard.append(frame)
            if len(heard) == frames:
                break
        np.save(out, np.concatenate(heard))
    return {"dropped": microphone.dropped_frames, "overflows": microphone.overflows}


async def play(source: Path) -> dict[str, Any]:
    async with Speaker(RATE_HZ, capacity_ms=60_000) as speaker:
        say("ready")
        speaker.write(np.load(source))
        await speaker.drain()
        return {**asdict(speaker.stats), "underflows": speaker.underflows}


class Listener:
    """An echo canceller that cancels nothing and remembers what it was given."""

    def __init__(self) -> None:
        self.mic: list[Pcm] = []
        self.far: list[Pcm] = []

    def process(self, mic: Pcm, far: Pcm) -> Pcm:
        self.mic.append(mic)
        self.far.append(far)
        return mic


async def duplex(source: Path, out: Path) -> dict[str, Any]:
    """Speaks frame by frame as a conversation does: one frame heard, one frame played."""
    pcm = np.load(source)
    listener, far_end = Listener(), FarEnd(RATE_HZ)
    async with (
        Speaker(RATE_HZ, far_end=far_end) as speaker,
        Microphone(RATE_HZ, FRAME_SAMPLES, canceller=listener, far_end=far_end) as microphone,
    ):
        say("ready")
        for start in range(0, len(pcm), FRAME_SAMPLES):
            await anext(microphone)
            speaker.write(pcm[start : start + FRAME_SAMPLES])
        np.savez(out, mic=np.concatenate(listener.mic), far=np.concatenate(listener.far))
        return {"underflows": speaker.underflows, "overflows": microphone.overflows}


async def main() -> dict[str, Any]:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["devices", "record", "play", "duplex"])
    parser.add_argument("files", nargs="*")
    parser.add_argument("--only", nargs=2, type=int)
    arguments = parser.parse_args()
    if arguments.only:
        refuse_all_but(*arguments.only)
    match arguments.what, arguments.files:
        case "record", [out, frames]:
            return await record(Path(out), int(frames))
        case "play", [source]:
            return await play(Path(source))
        case "duplex", [source, out]:
            return await duplex(Path(source), Path(out))
    return {"devices": [asdict(device) for device in list_devices()], "lines": [str(d) for d in list_devices()]}


if __name__ == "__main__":
    try:
        say(json.dumps(asyncio.run(main())))
    except AudioDeviceError as error:
        say(json.dumps({"error": str(error)}))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
