"""PortAudio, tamed: found or explained, kept quiet, its devices chosen by name and opened as they allow."""

from __future__ import annotations

import ctypes
import logging
import os
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal

from antiphon_edge.errors import AudioDeviceError

logger = logging.getLogger(__name__)

Direction = Literal["input", "output"]
Callback = Callable[[bytes | None, int, Any, int], tuple[bytes | None, int]]
Attach = Callable[[int, int], Callback]
"""Makes the callback for a device that was opened at this rate in Hz and with so many channels."""

CALLBACK_MS = 20  # a quarter of a frame; with whole frames an echo takes twice as long to come round
MAX_CHANNELS = 8
WORDS = {"input": "microphone", "output": "speaker"}

# PortAudio's error codes that we answer to; the user reads the rest in PortAudio's words.
INVALID_SAMPLE_RATE = -9997
INVALID_CHANNEL_COUNT = -9998
UNAVAILABLE = -9985

ALSA_HANDLER = ctypes.CFUNCTYPE(None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p)
_ignore = ALSA_HANDLER(lambda *message: None)  # must outlive every stream

_lock = threading.Lock()  # Pa_Initialize and Pa_OpenStream are not thread-safe, nor is file descriptor 2


@dataclass(frozen=True, slots=True)
class AudioDevice:
    """A sound device as PortAudio sees it. Indices hold until devices come or go."""

    index: int
    name: str
    input_channels: int
    output_channels: int
    default_rate_hz: int
    is_default_input: bool
    is_default_output: bool

    def channels(self, direction: Direction) -> int:
        """How many channels it has in `direction`; 0 where it has no such side."""
        return self.input_channels if direction == "input" else self.output_channels

    def __str__(self) -> str:
        sides = [
            f"{WORDS[direction]} ({channels} ch{', default' if default else ''})"
            for direction, channels, default in (
                ("input", self.input_channels, self.is_default_input),
                ("output", self.output_channels, self.is_default_output),
            )
            if channels
        ]
        return f"{self.index:3d}  {self.name}: {' and '.join(sides)}, {self.default_rate_hz} Hz"


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A running PortAudio stream and what it was opened with. `close` it once."""

    device: AudioDevice
    rate_hz: int
    channels: int
    latency_s: float  # between the callback and the air, as the driver tells it
    _stream: Any
    _portaudio: Any

    def close(self) -> None:
        """Stops the stream without playing what is pending, and lets PortAudio go. No callback runs after it."""
        with quiet():
            try:
                self._stream.close()
            except OSError as error:  # the device went away first
                logger.debug("closing %s: %s", self.device.name, error)
            finally:
                self._portaudio.terminate()


def list_devices() -> list[AudioDevice]:
    """Every sound device, in PortAudio's order.

    Raises:
        AudioDeviceError: PyAudio is not installed.
    """
    pyaudio = _import_pyaudio()
    with quiet():
        portaudio = pyaudio.PyAudio()
        try:
            return _devices(portaudio)
        finally:
            portaudio.terminate()


def choose_device(devices: list[AudioDevice], direction: Direction, choice: int | str | None) -> AudioDevice:
    """The device that `choice` means: an index, a part of its name in any case, or None for the system's default.

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
        wanted = choice.casefold()
        found = [device for device in usable if device.name.casefold() == wanted]
        found = found or [device for device in usable if wanted in device.name.casefold()]
    if not found:
        raise AudioDeviceError(f"there is no {word} {choice!r}: choose one of {_names(usable)}")
    if len(found) > 1:
        raise AudioDeviceError(f"several {word}s are called {choice!r}: choose one of {_names(found)}")
    return found[0]


def open_stream(
    direction: Direction, choice: int | str | None, rate_hz: int, attach: Attach, channel: int = 1
) -> OpenStream:
    """Opens and starts a float32 callback stream, at `rate_hz` if the device allows it, else at what it does.

    Args:
        direction: "input" for a microphone, "output" for a speaker.
        choice: as in `choose_device`.
        rate_hz: the wanted rate; a device that refuses it is opened at its own default rate.
        attach: makes the callback once rate and channels are known; called for every attempt.
        channel: of a microphone, from 1: the stream has at least as many.

    Raises:
        AudioDeviceError: PyAudio is missing, there is no such device or channel, or it refuses.
    """
    pyaudio = _import_pyaudio()
    with quiet():
        portaudio = pyaudio.PyAudio()
        try:
            device = choose_device(_devices(portaudio), direction, choice)
            counts = channel_counts(device, direction, channel)
            stream = _open_somehow(portaudio, pyaudio.paFloat32, direction, device, rate_hz, counts, attach)
        except BaseException:
            portaudio.terminate()
            raise
        _hush_alsa()
        return stream


def channel_counts(device: AudioDevice, direction: Direction, channel: int) -> list[int]:
    """How many channels to open the device with, in the order of preference.

    A speaker is opened with one, where it allows it. A microphone is not: the system would then average its channels.

    Raises:
        AudioDeviceError: the device has fewer channels.
    """
    has = device.channels(direction)
    if not 1 <= channel <= has:
        count = "1 channel" if has == 1 else f"{has} channels"
        raise AudioDeviceError(f"{WORDS[direction]} {device.name!r} has {count}: there is no channel {channel}")
    most = max(channel, min(has, MAX_CHANNELS))
    two = max(channel, min(2, most))
    counts = (1, two, most) if direction == "output" else (two, most, channel)
    return list(dict.fromkeys(counts))


def _open_somehow(
    portaudio: Any,
    sample_format: int,
    direction: Direction,
    device: AudioDevice,
    rate_hz: int,
    counts: list[int],
    attach: Attach,
) -> OpenStream:
    reason: OSError | None = None
    for rate in dict.fromkeys((rate_hz, device.default_rate_hz)):
        for channels in counts:
            try:
                stream = portaudio.open(
                    rate=rate,
                    channels=channels,
                    format=sample_format,
                    frames_per_buffer=rate * CALLBACK_MS // 1000,
                    stream_callback=attach(rate, channels),
                    **{direction: True, f"{direction}_device_index": device.index},
                )
            except OSError as error:
                reason = error
                if error.args[0] not in (INVALID_SAMPLE_RATE, INVALID_CHANNEL_COUNT):
                    break
                continue
            latency = stream.get_input_latency() if direction == "input" else stream.get_output_latency()
            logger.debug("opened %s %s: %d Hz, %d channels", WORDS[direction], device.name, rate, channels)
            return OpenStream(device, rate, channels, latency, stream, portaudio)
    assert reason is not None
    raise _refused(direction, device, reason)


def _refused(direction: Direction, device: AudioDevice, reason: OSError) -> AudioDeviceError:
    what = f"{WORDS[direction]} {device.name!r}"
    if reason.args[0] == UNAVAILABLE:
        return AudioDeviceError(f"{what} is busy or gone: close the program that uses it, or choose another device")
    return AudioDeviceError(f"{what} cannot be opened ({reason.args[-1]}): choose another device")


def _devices(portaudio: Any) -> list[AudioDevice]:
    default_input = _default(portaudio.get_default_input_device_info)
    default_output = _default(portaudio.get_default_output_device_info)
    infos = [portaudio.get_device_info_by_index(index) for index in range(portaudio.get_device_count())]
    return [
        AudioDevice(
            index=info["index"],
            name=str(info["name"]),
            input_channels=info["maxInputChannels"],
            output_channels=info["maxOutputChannels"],
            default_rate_hz=round(info["defaultSampleRate"]),
            is_default_input=info["index"] == default_input,
            is_default_output=info["index"] == default_output,
        )
        for info in infos
    ]


def _default(ask: Callable[[], dict[str, Any]]) -> int | None:
    try:
        return int(ask()["index"])
    except OSError:  # there is none
        return None


def _names(devices: list[AudioDevice]) -> str:
    return ", ".join(f"{device.index} ({device.name})" for device in devices)


def _import_pyaudio() -> ModuleType:
    try:
        import pyaudio
    except ImportError as error:
        raise AudioDeviceError(
            f"live audio needs PyAudio, which is not here ({error}): pip install 'antiphon[edge,audio]', on Debian "
            "after apt-get install portaudio19-dev python3-dev gcc; or use wav files"
        ) from None
    return pyaudio  # type: ignore[no-any-return, unused-ignore]


def _hush_alsa() -> None:
    """Keeps ALSA from printing each overrun while a stream runs: we count them (PortAudio's status flags)."""
    if sys.platform == "linux":
        try:
            ctypes.CDLL("libasound.so.2").snd_lib_error_set_handler(_ignore)
        except OSError:  # PortAudio was built without ALSA
            return


@contextmanager
def quiet() -> Iterator[None]:
    """Keeps what ALSA and JACK print on standard error from the user; it goes to the log, at level DEBUG.

    They write to file descriptor 2 while PortAudio tries every device that a configuration file has ever heard of. So
    for that moment the descriptor leads to a temporary file, for the whole process: what another thread prints
    meanwhile ends in the log too. One thread at a time.
    """
    with _lock:
        try:
            saved = os.dup(2)
        except OSError:  # no standard error: nobody to keep it from
            yield
            return
        with tempfile.TemporaryFile() as noise:
            os.dup2(noise.fileno(), 2)
            try:
                yield
            finally:
                os.dup2(saved, 2)
                os.close(saved)
                noise.seek(0)
                if text := noise.read().decode(errors="replace").strip():
                    logger.debug("PortAudio said:\n%s", text)
