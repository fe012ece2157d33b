"""What this device is: processor, memory in use, and the microphone and speaker that `talk` would use."""

from __future__ import annotations

import os
import platform
from dataclasses import dataclass
from pathlib import Path

import onnxruntime as ort

from antiphon_edge.audio.devices import AudioDevice, Direction, choose_device
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
    """Its name."""
    speaker: str | None
    missing: str | None
    """What stands in the way, and what to do; None where nothing does."""


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


def find_live_audio(input_device: str | None = None, output_device: str | None = None) -> LiveAudio:
    """The devices that `talk` would use, given these, or why it cannot."""
    try:
        devices = list_devices()
    except AudioDeviceError as error:
        return LiveAudio(None, None, str(error))
    return choose_devices(devices, input_device, output_device)


def choose_devices(
    devices: list[AudioDevice], input_device: str | None = None, output_device: str | None = None
) -> LiveAudio:
    """The microphone and the speaker that are meant among `devices`; the defaults for None."""
    if not devices:
        return LiveAudio(None, None, "this machine has no microphone and no speaker: connect them, or use wav files")
    chosen: dict[Direction, str | None] = {}
    problems = []
    choices: tuple[tuple[Direction, str | None], ...] = (("input", input_device), ("output", output_device))
    for direction, choice in choices:
        try:
            chosen[direction] = choose_device(devices, direction, choice).name
        except AudioDeviceError as error:
            chosen[direction] = None
            problems.append(str(error))
    return LiveAudio(chosen["input"], chosen["output"], "; ".join(problems) or None)


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
