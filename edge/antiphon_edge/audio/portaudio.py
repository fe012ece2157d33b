"""PortAudio, tamed: found or explained, kept quiet, its devices opened as they allow."""

from __future__ import annotations

import io
import logging
import threading
from collections.abc import Callable
from contextlib import redirect_stdout
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

from antiphon_edge.audio import sound_server
from antiphon_edge.audio.devices import CARRIERS, WORDS, AudioDevice, Direction, channel_counts, choose_device, rates
from antiphon_edge.audio.driver_noise import hush
from antiphon_edge.errors import AudioDeviceError

logger = logging.getLogger(__name__)

Callback = Callable[[bytes | None, int, Any, int], tuple[bytes | None, int]]
Attach = Callable[[int, int], Callback]
"""Makes the callback for a device that was opened at this rate in Hz and with so many channels."""

CALLBACK_MS: dict[Direction, int] = {"input": 40, "output": 10}
"""Of sound in a callback; a device holds two of them. A microphone's frame of 80 ms is whole with one of its callbacks
anyway, and a rarer one wakes fewer threads."""

# PortAudio's error codes that we answer to; the user reads the rest in PortAudio's words.
UNAVAILABLE = -9985

_lock = threading.Lock()  # Pa_Initialize and Pa_OpenStream are not thread-safe, nor is the environment


@dataclass(frozen=True, slots=True)
class OpenStream:
    """A running PortAudio stream and what it was opened with. `close` it once."""

    device: AudioDevice
    rate_hz: int
    channels: int
    latency_s: float  # between the callback and the air, as the driver tells it
    _stream: Any
    _portaudio: Any

    @property
    def alive(self) -> bool:
        """False once the driver has given the stream up; one that is only silent is alive."""
        try:
            return bool(self._stream.is_active())
        except OSError:
            return False

    def close(self) -> None:
        """Stops the stream without playing what is pending, and lets PortAudio go. No callback runs after it."""
        with _lock:
            try:
                self._stream.close()
            except OSError as error:  # the device went away first
                logger.debug("closing %s: %s", self.device.name, error)
            finally:
                self._portaudio.terminate()


def list_devices() -> list[AudioDevice]:
    """Every sound device: PortAudio's, in its order, and after them the sound server's own.

    Raises:
        AudioDeviceError: PyAudio is not installed.
    """
    pyaudio = _import_pyaudio()
    with _lock:
        portaudio = pyaudio.PyAudio()
        try:
            return _devices(portaudio)
        finally:
            portaudio.terminate()


def check_device(direction: Direction, choice: int | str | None, channel: int = 1) -> AudioDevice:
    """The device that `choice` means, which is there and can be opened: it was, for a moment.

    Raises:
        AudioDeviceError: as `open_stream`.
    """
    stream = open_stream(direction, choice, 24_000, lambda rate_hz, channels: _silent(channels), channel)
    stream.close()
    return stream.device


def open_stream(
    direction: Direction,
    choice: int | str | None,
    rate_hz: int,
    attach: Attach,
    channel: int = 1,
    callback_ms: int | None = None,
) -> OpenStream:
    """Opens and starts a float32 callback stream, at `rate_hz` if the device allows it, else at what it does.

    Args:
        direction: "input" for a microphone, "output" for a speaker.
        choice: as in `choose_device`.
        rate_hz: the wanted rate; a device that refuses it is opened at its own, or at the first that it takes.
        attach: makes the callback once rate and channels are known; called for every attempt.
        channel: of a microphone, from 1: the stream has at least as many.
        callback_ms: how much sound a callback takes or brings; `CALLBACK_MS` where absent.

    Raises:
        AudioDeviceError: PyAudio is missing, there is no such device or channel, or it refuses.
    """
    pyaudio = _import_pyaudio()
    with _lock:
        portaudio = pyaudio.PyAudio()
        try:
            devices = _devices(portaudio)
            device = choose_device(devices, direction, choice)
            counts = channel_counts(device, direction, channel)
            carrier = device if device.server_name is None else _carrier(devices, direction, device)
            with sound_server.choosing(direction, device.server_name):
                block_ms = callback_ms or CALLBACK_MS[direction]
                opened = _open_somehow(
                    portaudio, pyaudio.paFloat32, direction, carrier, rate_hz, counts, attach, block_ms
                )
        except BaseException:
            portaudio.terminate()
            raise
        return replace(opened, device=device)


def _open_somehow(
    portaudio: Any,
    sample_format: int,
    direction: Direction,
    device: AudioDevice,
    rate_hz: int,
    counts: list[int],
    attach: Attach,
    callback_ms: int,
) -> OpenStream:
    reason: OSError | None = None
    for rate in rates(device, rate_hz):
        for channels in counts:
            try:
                stream = portaudio.open(
                    rate=rate,
                    channels=channels,
                    format=sample_format,
                    frames_per_buffer=rate * callback_ms // 1000,
                    stream_callback=attach(rate, channels),
                    **{direction: True, f"{direction}_device_index": device.index},
                )
            except OSError as error:
                reason = reason or error  # the first: what the device says to the rate that it should take
                if error.args[0] == UNAVAILABLE:
                    raise _refused(direction, device, error) from None
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


def _silent(channels: int) -> Callback:
    def callback(data: bytes | None, samples: int, times: Any, status: int) -> tuple[bytes | None, int]:
        return (bytes(4 * samples * channels) if data is None else None), 0

    return callback


def _devices(portaudio: Any) -> list[AudioDevice]:
    default_input = _default(portaudio.get_default_input_device_info)
    default_output = _default(portaudio.get_default_output_device_info)
    infos = [portaudio.get_device_info_by_index(index) for index in range(portaudio.get_device_count())]
    found = [
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
    if any(device.on_server for device in found):
        found += _server_devices(len(found))
    return found


def _server_devices(index: int) -> list[AudioDevice]:
    microphones, speakers = sound_server.endpoints("input"), sound_server.endpoints("output")
    return [
        AudioDevice(
            index=number,
            name=endpoint.description,
            input_channels=endpoint.channels if endpoint in microphones else 0,
            output_channels=0 if endpoint in microphones else endpoint.channels,
            default_rate_hz=endpoint.rate_hz,
            is_default_input=False,
            is_default_output=False,
            server_name=endpoint.name,
        )
        for number, endpoint in enumerate((*microphones, *speakers), index)
    ]


def _carrier(devices: list[AudioDevice], direction: Direction, wanted: AudioDevice) -> AudioDevice:
    """The device of PortAudio's that leads to the sound server."""
    for name in CARRIERS:
        for device in devices:
            if device.name == name and device.server_name is None and device.channels(direction):
                return device
    raise AudioDeviceError(
        f"{WORDS[direction]} {wanted.name!r} is the sound server's, and ALSA has no way to it: "
        "apt-get install libasound2-plugins, or choose another device"
    )


def _default(ask: Callable[[], dict[str, Any]]) -> int | None:
    try:
        return int(ask()["index"])
    except OSError:  # there is none
        return None


def _import_pyaudio() -> ModuleType:
    try:
        with redirect_stdout(io.StringIO()):  # where PyAudio prints that it has no PortAudio
            import pyaudio
    except ImportError as error:
        if "libportaudio" in str(error):
            raise AudioDeviceError(
                f"live audio needs PortAudio, which is not here ({error}): sudo apt-get install libportaudio2, or use "
                "wav files"
            ) from None
        raise AudioDeviceError(
            f"live audio needs PyAudio, which is not here ({error}): sudo apt-get install portaudio19-dev python3-dev "
            "gcc && pip install 'antiphon[audio]', or use wav files"
        ) from None
    hush(pyaudio.pa.__file__)
    return pyaudio  # type: ignore[no-any-return, unused-ignore]
