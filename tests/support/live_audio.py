"""A program that uses the live devices, run by test_devices.py in the environment of the private sound server.

live_audio.py devices | record OUT.npy FRAMES | play IN.npy | duplex IN.npy OUT.npz | watch [MICROPHONE]
    [--only RATE_HZ CHANNELS]

Prints "ready" once the device is open and a line of JSON at the end; `watch` plays a tone and prints what becomes of
both devices, and how loud each half a second of the microphone is, until SIGINT. With --only the devices refuse all but
one rate and channel count, as hardware does and PulseAudio never would.
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

from antiphon_edge import DeviceChange, Microphone, Speaker, list_devices
from antiphon_edge.audio.echo.far_end import FarEnd
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.errors import AudioDeviceError

RATE_HZ = 24_000
FRAME_SAMPLES = 1920
TONE = 0.5 * np.sin(np.arange(FRAME_SAMPLES) * 2 * np.pi * 500 / RATE_HZ).astype(np.float32)


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

    timing = None

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


async def watch(microphone_name: str | None) -> dict[str, Any]:
    ended = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGINT, ended.set)

    def tell(change: DeviceChange) -> None:
        say(json.dumps({"direction": change.direction, "state": change.state, "device": change.device}))

    async with (
        Speaker(RATE_HZ, on_change=tell) as speaker,
        Microphone(RATE_HZ, FRAME_SAMPLES, microphone_name, on_change=tell) as microphone,
    ):
        say("ready")

        async def converse() -> None:
            peaks: list[float] = []
            async for frame in microphone:
                speaker.write(TONE)
                peaks.append(float(np.abs(frame).max()))
                if len(peaks) == 6:
                    say(json.dumps({"peak": max(peaks)}))
                    peaks.clear()

        task = asyncio.create_task(converse())
        await ended.wait()
        task.cancel()
        await asyncio.wait({task})
        return {
            "outages": [microphone.outages, speaker.outages],
            "waiting_ms": speaker.stats.level_ms,
            "device": microphone.device.server_name,
        }


async def main() -> dict[str, Any]:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whoever runs the tests in the background ignores it
    parser = argparse.ArgumentParser()
    parser.add_argument("what", choices=["devices", "record", "play", "duplex", "watch"])
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
        case "watch", names:
            return await watch(*(names or [None]))
    return {"devices": [asdict(device) for device in list_devices()], "lines": [str(d) for d in list_devices()]}


if __name__ == "__main__":
    try:
        say(json.dumps(asyncio.run(main())))
    except AudioDeviceError as error:
        say(json.dumps({"error": str(error)}))
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)
