"""The sound devices of a machine, and which of them somebody means by an index or a name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from antiphon_edge.errors import AudioDeviceError

Direction = Literal["input", "output"]

WORDS: dict[Direction, str] = {"input": "microphone", "output": "speaker"}
MAX_CHANNELS = 8
USUAL_RATES_HZ = (48_000, 44_100, 16_000, 32_000, 96_000, 8_000)
CARRIERS = ("pulse", "pipewire", "default")
"""PortAudio's devices that lead to the sound server, the surest first."""
HARDWARE = re.compile(r" \(hw:\d+,\d+\)$")  # ALSA counts cards in the order in which they come


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """A sound device, as PortAudio sees it or as the sound server does. Indices hold until devices come or go."""

    index: int
    name: str
    input_channels: int
    output_channels: int
    default_rate_hz: int
    is_default_input: bool
    is_default_output: bool
    server_name: str | None = None
    """What the sound server calls it, where it is one of the server's, which PortAudio cannot see."""

    def channels(self, direction: Direction) -> int:
        """How many channels it has in `direction`; 0 where it has no such side."""
        return self.input_channels if direction == "input" else self.output_channels

    @property
    def lasting_name(self) -> str:
        """What to call it by when it has been away: its index may have changed by then."""
        return self.server_name or self.name

    @property
    def on_server(self) -> bool:
        """Whether a sound server may stand behind it."""
        return self.server_name is not None or self.name in CARRIERS

    def is_called(self, name: str) -> bool:
        """Whether this is the device's whole name, in any case, whatever the number of its card."""
        names = {self.name, self.server_name or self.name}
        return _plain(name) in map(_plain, names)

    def __str__(self) -> str:
        both: tuple[tuple[Direction, bool], ...] = (
            ("input", self.is_default_input),
            ("output", self.is_default_output),
        )
        sides = [
            f"{WORDS[direction]} ({self.channels(direction)} ch{', default' if default else ''})"
            for direction, default in both
            if self.channels(direction)
        ]
        name = self.name if self.server_name in (None, self.name) else f"{self.name} ({self.server_name})"
        return f"{self.index:3d}  {name}: {' and '.join(sides)}, {self.default_rate_hz} Hz"


def choose_device(devices: list[AudioDevice], direction: Direction, choice: int | str | None) -> AudioDevice:
    """The device that `choice` means: an index, a name or a part of one in any case, or None for the system's default.

    A whole name goes before a part of one. A part of a name may fit a device of the sound server's and the same one as
    PortAudio sees it: the server has it in use, so it is asked for it.

    Raises:
        AudioDeviceError: there is none, or the name fits several.
    """
    word = WORDS[direction]
    usable = [device for device in devices if device.channels(direction)]
    if not usable:
        raise AudioDeviceError(f"this machine has no {word}: connect one, or use a wav file")
    if choice is None:
        defaults = [d for d in usable if (d.is_default_input if direction == "input" else d.is_default_output)]
        if not defaults:
            raise AudioDeviceError(f"this machine has no default {word}: choose one of {_names(usable)}")
        return defaults[0]
    if isinstance(choice, int) or choice.isdecimal():
        found = [device for device in usable if device.index == int(choice)]
    else:
        found = _called(usable, choice)
    if not found:
        raise AudioDeviceError(f"there is no {word} {choice!r}: choose one of {_names(usable)}")
    if len(found) > 1:
        raise AudioDeviceError(f"several {word}s are called {choice!r}: choose one of {_names(found)}")
    return found[0]


def _called(devices: list[AudioDevice], choice: str) -> list[AudioDevice]:
    wanted = choice.casefold()
    parts = [d for d in devices if wanted in d.name.casefold() or wanted in (d.server_name or "").casefold()]
    return (
        [device for device in devices if wanted in (device.name.casefold(), device.server_name)]
        or [device for device in devices if device.is_called(choice)]
        or [device for device in parts if device.server_name is not None]
        or parts
    )


def channel_counts(device: AudioDevice, direction: Direction, channel: int) -> list[int]:
    """How many channels to open the device with, in the order of preference.

    A speaker is opened with one, where it allows it. A microphone is not: the system would then average its channels.
    Hardware without a sound server may allow no other count than its own.

    Raises:
        AudioDeviceError: the device has fewer channels.
    """
    has = device.channels(direction)
    if not 1 <= channel <= has:
        count = "1 channel" if has == 1 else f"{has} channels"
        raise AudioDeviceError(f"{WORDS[direction]} {device.name!r} has {count}: there is no channel {channel}")
    most = max(channel, min(has, MAX_CHANNELS))
    two = max(channel, min(2, most))
    counts = (1, two, most, has) if direction == "output" else (two, most, channel, has)
    return list(dict.fromkeys(counts))


def rates(device: AudioDevice, wanted_hz: int) -> list[int]:
    """The rates in Hz to try a device with: the wanted one, its own, and those that hardware has."""
    return list(dict.fromkeys((wanted_hz, device.default_rate_hz, *USUAL_RATES_HZ)))


def _plain(name: str) -> str:
    return HARDWARE.sub("", name).casefold()


def _names(devices: list[AudioDevice]) -> str:
    return ", ".join(f"{device.index} ({device.name})" for device in devices)
