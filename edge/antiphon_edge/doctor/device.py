"""What this device is: processor, memory in use, and the microphone and speaker that `talk` would use."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from antiphon_edge.audio.devices import AudioDevice
from antiphon_edge.audio.portaudio import list_devices
from antiphon_edge.errors import AudioDeviceError


@dataclass(frozen=True, slots=True)
class Device:
    """What was measured on."""

    name: str
    """The processor's, after the board's where the system tells it."""
    cores: int
    """Those that this process may use."""
    system: str
    python: str
    onnxruntime: str


@dataclass(frozen=True, slots=True)
class LiveAudio:
    """Whether `talk` can use a microphone and a speaker here."""

    microphone: str | None
    """The default's name."""
    speaker: str | None
    missing: str | None
    """What stands in the way; None where nothing does."""


def find_device() -> Device:
    """This device, as the system describes it."""
    board = _text("/proc/device-tree/model").rstrip("\0")  # a Raspberry Pi says here which one it is
    cpu = _field("/proc/cpuinfo", "model name") or platform.processor() or platform.machine()
    return Device(
        name=f"{board}, {cpu}" if board else cpu,
        cores=len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1,
        system=f"{platform.system()} {platform.machine()}",
        python=platform.python_version(),
        onnxruntime=ort.__version__,
    )


def find_live_audio() -> LiveAudio:
    """The devices that `talk` would use, or why it cannot."""
    try:
        devices = list_devices()
    except AudioDeviceError as error:
        return LiveAudio(None, None, str(error))
    return choose_defaults(devices)


def choose_defaults(devices: list[AudioDevice]) -> LiveAudio:
    """The default microphone and speaker among `devices`."""
    microphone = next((device.name for device in devices if device.is_default_input), None)
    speaker = next((device.name for device in devices if device.is_default_output), None)
    names = {"microphone": microphone, "speaker": speaker}
    absent = " and no ".join(f"default {word}" for word, name in names.items() if name is None)
    return LiveAudio(microphone, speaker, f"there is no {absent}" if absent else None)


def peak_memory_bytes() -> int | None:
    """The most memory that this process has ever had in use, where Linux tells it.

    `getrusage` would also count what the parent had when it forked us.
    """
    kib = _field("/proc/self/status", "VmHWM").removesuffix(" kB")
    return int(kib) * 1024 if kib else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(errors="replace")
    except OSError:
        return ""


def _field(path: str, name: str) -> str:
    """The first value of `name` in a file of `name: value` lines; empty where there is none."""
    lines = (line.partition(":") for line in _text(path).splitlines())
    return next((value.strip() for key, _, value in lines if key.strip() == name), "")
