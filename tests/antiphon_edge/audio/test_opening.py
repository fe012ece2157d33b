"""Which device is meant by an index or a name, and how it is opened, whatever hardware it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from antiphon_edge.audio import portaudio
from antiphon_edge.audio.devices import AudioDevice, Direction, channel_counts, choose_device
from antiphon_edge.audio.portaudio import list_devices
from antiphon_edge.audio.speaker import Speaker
from antiphon_edge.errors import AudioDeviceError

DEVICES = [
    AudioDevice(0, "HDA Intel PCH: ALC257 (hw:0,0)", 0, 2, 44_100, False, False),
    AudioDevice(1, "USB Audio: - (hw:1,0)", 1, 0, 48_000, False, False),
    AudioDevice(2, "USB Headset: - (hw:2,0)", 1, 2, 48_000, False, False),
    AudioDevice(3, "default", 32, 32, 44_100, True, True),
    AudioDevice(4, "default null", 32, 32, 44_100, False, False),
]


@pytest.mark.parametrize(
    ("choice", "index"), [(None, 3), (2, 2), ("2", 2), ("headset", 2), ("USB AUDIO", 1), ("Default", 3), ("null", 4)]
)
def test_a_device_is_chosen_by_index_or_part_of_its_name(choice: int | str | None, index: int) -> None:
    assert choose_device(DEVICES, "input", choice).index == index


@pytest.mark.parametrize(
    ("devices", "choice", "reason"),
    [
        (DEVICES, "usb", r"several microphones are called 'usb': choose one of 1 \(USB Audio.*2 \(USB Headset"),
        (DEVICES, 0, r"there is no microphone 0: choose one of 1 \("),
        (DEVICES, 17, "there is no microphone 17"),
        (DEVICES, "sennheiser", "there is no microphone 'sennheiser'"),
        (DEVICES[:3], None, r"no default microphone: choose one of 1 \("),
        (DEVICES[:1], None, "this machine has no microphone"),
    ],
)
def test_a_choice_that_fits_nothing_is_explained(
    devices: list[AudioDevice], choice: int | str | None, reason: str
) -> None:
    with pytest.raises(AudioDeviceError, match=reason):
        choose_device(devices, "input", choice)


@pytest.mark.parametrize(
    ("index", "direction", "channel", "counts"),
    [
        (1, "input", 1, [1]),
        (3, "input", 1, [2, 8, 1, 32]),  # with one the system would average what the device has
        (3, "input", 2, [2, 8, 32]),
        (3, "input", 6, [6, 8, 32]),
        (3, "input", 12, [12, 32]),
        (3, "output", 1, [1, 2, 8, 32]),  # hardware may allow no other count than its own
    ],
)
def test_a_microphone_is_opened_with_channels_enough_to_choose_from(
    index: int, direction: Direction, channel: int, counts: list[int]
) -> None:
    assert channel_counts(DEVICES[index], direction, channel) == counts


@pytest.mark.parametrize(("index", "channel", "count"), [(2, 2, "1 channel"), (3, 33, "32 channels")])
def test_a_channel_that_a_microphone_has_not_is_explained(index: int, channel: int, count: str) -> None:
    with pytest.raises(AudioDeviceError, match=f"microphone '.*' has {count}: there is no channel {channel}"):
        channel_counts(DEVICES[index], "input", channel)


SERVED = [
    *DEVICES,
    AudioDevice(5, "USB Headset Mono", 1, 0, 48_000, False, False, "alsa_input.usb-acme-00.mono"),
    AudioDevice(6, "Monitor of Speakers", 2, 0, 48_000, False, False, "alsa_output.pci.monitor"),
]


@pytest.mark.parametrize(
    ("choice", "index"),
    [
        ("alsa_input.usb-acme-00.mono", 5),  # the server's own name
        ("acme", 5),
        ("headset", 5),  # the server has the hardware in use
        ("USB Headset: - (hw:2,0)", 2),  # a whole name means that device and no other
        ("usb headset: - (hw:3,0)", 2),  # the card has another number since it is back
        ("USB Audio: -", 1),
    ],
)
def test_a_device_of_a_sound_servers_is_chosen_before_the_same_hardware(choice: str, index: int) -> None:
    assert choose_device(SERVED, "input", choice).index == index


def test_a_device_that_comes_back_is_known_by_its_lasting_name() -> None:
    for device in SERVED[1:]:
        assert choose_device(SERVED, "input", device.lasting_name) == device


class Hardware:
    """Stands for PyAudio: one device that takes one rate and one number of channels, or is busy."""

    paFloat32 = 1  # noqa: N815 -- PyAudio's

    def __init__(self, rate_hz: int, channels: int, error: int | None = None) -> None:
        self.rate_hz, self.channels, self.error = rate_hz, channels, error
        self.tried: list[tuple[int, int]] = []
        self.terminated = 0

    def __call__(self) -> Hardware:
        return self

    def get_default_input_device_info(self) -> dict[str, Any]:
        return self.get_device_info_by_index(0)

    get_default_output_device_info = get_default_input_device_info

    def get_device_count(self) -> int:
        return 1

    def get_device_info_by_index(self, index: int) -> dict[str, Any]:
        channels = {"maxInputChannels": 10, "maxOutputChannels": 10}
        return {"index": index, "name": "Array: - (hw:1,0)", "defaultSampleRate": 44_100.0, **channels}

    def open(self, *, rate: int, channels: int, **options: Any) -> Hardware:
        self.tried.append((rate, channels))
        if self.error is not None:
            raise OSError(self.error, "Device unavailable")
        if rate != self.rate_hz:
            raise OSError(-9997, "Invalid sample rate")
        if channels != self.channels:
            raise OSError(-9999, "Unanticipated host error")  # as some drivers call it
        return self

    def get_input_latency(self) -> float:
        return 0.02

    get_output_latency = get_input_latency

    def close(self) -> None:
        return

    def terminate(self) -> None:
        self.terminated += 1

    PyAudio = property(lambda self: self)
    pa = SimpleNamespace(__file__="")


@pytest.fixture
def plug(monkeypatch: pytest.MonkeyPatch) -> Callable[[Hardware], Hardware]:
    def plug(hardware: Hardware) -> Hardware:
        monkeypatch.setitem(sys.modules, "pyaudio", cast("Any", hardware))
        monkeypatch.setattr(portaudio, "hush", lambda extension: None)
        return hardware

    return plug


@pytest.mark.parametrize("rate_hz", [24_000, 44_100, 48_000, 16_000, 96_000, 8_000])
@pytest.mark.parametrize("channels", [1, 2, 8, 10])
@pytest.mark.parametrize("direction", ["input", "output"])
def test_hardware_is_opened_at_the_rate_and_with_the_channels_that_it_takes(
    plug: Callable[[Hardware], Hardware], direction: Direction, rate_hz: int, channels: int
) -> None:
    hardware = plug(Hardware(rate_hz, channels))
    attached: list[tuple[int, int]] = []

    def attach(*opened: int) -> Any:
        attached.append(opened)  # type: ignore[arg-type]
        return lambda *arguments: (None, 0)

    stream = portaudio.open_stream(direction, None, 24_000, attach)
    assert (stream.rate_hz, stream.channels) == attached[-1] == (rate_hz, channels)
    stream.close()
    assert hardware.terminated == 1


def test_a_device_that_another_program_has_is_told_at_once(plug: Callable[[Hardware], Hardware]) -> None:
    hardware = plug(Hardware(48_000, 2, error=-9985))
    with pytest.raises(AudioDeviceError, match=r"'Array: - .* is busy or gone: close the program that uses it"):
        portaudio.check_device("output", "array")
    assert len(hardware.tried) == 1
    assert hardware.terminated == 1


def test_a_device_that_takes_nothing_is_told_with_its_first_reason(plug: Callable[[Hardware], Hardware]) -> None:
    plug(Hardware(1, 1))
    with pytest.raises(AudioDeviceError, match=r"speaker 'Array: - .* cannot be opened \(Invalid sample rate\)"):
        portaudio.check_device("output", "array")


def test_without_portaudio_the_error_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    package = tmp_path / "pyaudio.py"
    package.write_text("print('noise')\nraise ImportError('libportaudio.so.2: cannot open shared object file')\n")
    monkeypatch.delitem(sys.modules, "pyaudio", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(AudioDeviceError, match=r"live audio needs PortAudio.*: sudo apt-get install libportaudio2"):
        list_devices()
    assert capsys.readouterr().out == ""


async def test_without_pyaudio_the_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyaudio", None)
    with pytest.raises(AudioDeviceError, match=r"pip install 'antiphon\[audio\]'"):
        list_devices()
    with pytest.raises(AudioDeviceError, match="portaudio19-dev python3-dev gcc"):
        async with Speaker(24_000):
            pass
