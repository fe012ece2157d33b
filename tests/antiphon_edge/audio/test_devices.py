"""Microphone and speaker, against real ones: PortAudio over ALSA over a private PulseAudio with null sinks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from antiphon.errors import AntiphonError
from antiphon_edge.audio.microphone import Microphone
from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.speaker import Speaker
from antiphon_edge.errors import AudioDeviceError
from tests.support.fake_device import FakeDevice, install
from tools import ROOT
from tools.talk.sound_server import SoundServer

RATE_HZ = 24_000
FRAME_SAMPLES = 1920
PIECE_SAMPLES = RATE_HZ // 4
PROGRAM = ROOT / "tests/support/live_audio.py"


@contextmanager
def program(env: dict[str, str], *arguments: object) -> Iterator[subprocess.Popen[str]]:
    """Runs live_audio.py; the body begins once its device is open."""
    command = [sys.executable, "-W", "error", str(PROGRAM), *map(str, arguments)]
    with subprocess.Popen(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            yield process
        finally:
            process.kill()


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """What the program printed last; nothing may be on standard error, where PortAudio's probes make their noise."""
    out, err = process.communicate(timeout=60)
    assert err == ""
    assert process.returncode == 0
    values: dict[str, Any] = json.loads(out.splitlines()[-1])
    return values


def speech(seconds: float) -> Pcm:
    """Noise below 3.5 kHz that swells like syllables, between stretches of silence: no two moments are alike."""
    samples = round(seconds * RATE_HZ)
    spectrum = np.fft.rfft(np.random.default_rng(0).standard_normal(samples))
    spectrum[np.fft.rfftfreq(samples, 1 / RATE_HZ) > 3_500] = 0
    noise = np.fft.irfft(spectrum, samples)
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * 3 * np.arange(samples) / RATE_HZ)
    silence = np.zeros(RATE_HZ // 4)
    return np.concatenate((silence, 0.3 * swell * noise / np.abs(noise).max(), silence)).astype(np.float32)


def align(heard: Pcm, said: Pcm) -> tuple[float, float]:
    """The lag in samples at which `heard` is most like `said`, and the correlation there: medians over quarter seconds.

    A sound server on a busy machine loses or repeats some milliseconds, which no driver counts. That spoils the pieces
    in which it happens; what the program itself does wrong is in all of them.
    """
    starts = range(PIECE_SAMPLES, len(said) - 2 * PIECE_SAMPLES + 1, PIECE_SAMPLES)  # silence stands before and after
    found = np.array([_align_piece(heard, said[start : start + PIECE_SAMPLES]) for start in starts])
    return float(np.median(found[:, 0] - np.array(starts))), float(np.median(found[:, 1]))


def _align_piece(heard: Pcm, piece: Pcm) -> tuple[float, float]:
    """Where in `heard` the piece stands, and the correlation there.

    To an eighth of a sample, for resamplers delay by fractions: half a sample alone costs 0.03 of correlation.
    """
    size = 1 << (len(heard) + len(piece)).bit_length()
    spectrum = np.conj(np.fft.rfft(piece, size)) * np.fft.rfft(heard, size)
    best = (0.0, 0.0)
    for fraction in np.arange(-4, 4) / 8:
        product = np.fft.irfft(spectrum * np.exp(2j * np.pi * np.fft.rfftfreq(size) * fraction), size)
        start = int(product[: len(heard) - len(piece) + 1].argmax())
        energy = float(np.sum(heard[start : start + len(piece)] ** 2) * np.sum(piece**2))
        best = max(best, (float(product[start]) / np.sqrt(energy + 1e-12), start + fraction))
    return best[1], best[0]


def undisturbed(attempt: Callable[[], float]) -> float:
    """The likeness of an attempt; what a busy machine may have spoilt is made again."""
    for _ in range(6):
        likeness = attempt()
        if likeness > 0.99:
            break
    return likeness


@pytest.mark.parametrize(
    ("bus", "source", "only"),
    [("micbus", "mic", ()), ("micbus16", "mic16", (16_000, 1)), ("micbus", "mic", (48_000, 2))],
    ids=["24kHz", "16kHz", "48kHz-stereo"],
)
def test_the_microphone_hears_what_was_said(
    sound: SoundServer, tmp_path: Path, bus: str, source: str, only: tuple[int, ...]
) -> None:
    said = speech(1)
    out = tmp_path / "heard.npy"
    options = ["--only", *only] if only else []

    def attempt() -> float:
        with program(sound.child_env(source=source), "record", out, 24, *options) as process:
            sound.say(bus, said, RATE_HZ)
            assert result(process)["dropped"] == 0
        return align(np.load(out), said)[1]

    assert undisturbed(attempt) > 0.99


@pytest.mark.parametrize(
    ("sink", "only"),
    [("speaker", ()), ("speaker48", (48_000, 2)), ("speaker", (16_000, 1))],
    ids=["24kHz", "48kHz-stereo", "16kHz"],
)
def test_the_speaker_plays_what_was_written(
    sound: SoundServer, tmp_path: Path, sink: str, only: tuple[int, ...]
) -> None:
    said = speech(1)
    source = tmp_path / "said.npy"
    np.save(source, said)
    options = ["--only", *only] if only else []

    def attempt() -> float:
        with (
            sound.hear(sink, RATE_HZ) as heard,
            program(sound.child_env(sink=sink), "play", source, *options) as process,
        ):
            stats = result(process)
        assert stats["underruns"] == 0
        assert stats["dropped_samples"] == 0
        return align(np.fromfile(heard, np.float32), said)[1]

    assert undisturbed(attempt) > 0.99


def test_the_far_end_stands_beside_the_microphone_at_a_constant_delay(sound: SoundServer, tmp_path: Path) -> None:
    source, out = tmp_path / "said.npy", tmp_path / "heard.npz"
    np.save(source, speech(2))

    def attempt() -> float:
        with program(sound.child_env(), "duplex", source, out) as process:
            result(process)
        with np.load(out) as arrays:
            mic, far = arrays["mic"], arrays["far"]
        assert len(mic) == len(far)
        lag, likeness = align(mic, far[: len(far) - RATE_HZ // 2])  # the echo of the end is still on its way
        return likeness if 0 < lag < RATE_HZ // 2 else 0.0

    echo = sound.control("load-module", "module-loopback", "source=speaker.monitor", "sink=micbus", "adjust_time=0")
    try:
        assert undisturbed(attempt) > 0.99
    finally:
        sound.control("unload-module", echo)


def test_ctrl_c_stops_the_microphone_at_once(sound: SoundServer, tmp_path: Path) -> None:
    with program(sound.child_env(), "record", tmp_path / "never.npy", 10_000) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGINT
    assert err == ""


def test_devices_are_listed_without_noise(sound: SoundServer) -> None:
    command = [sys.executable, "-W", "error", str(PROGRAM), "devices"]
    run = subprocess.run(command, env=sound.child_env(), capture_output=True, text=True, timeout=30, check=True)
    assert run.stderr == ""
    values = json.loads(run.stdout)
    assert any(device["is_default_input"] and device["is_default_output"] for device in values["devices"])
    assert any("default" in line and "microphone" in line and "speaker" in line for line in values["lines"])


def test_a_machine_without_sound_says_so(sound: SoundServer, tmp_path: Path) -> None:
    env = {**sound.env, "HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    command = [sys.executable, "-W", "error", str(PROGRAM), "play", "nothing.npy"]
    run = subprocess.run(command, env=env, capture_output=True, text=True, timeout=30, check=True)
    assert run.stderr == ""
    assert json.loads(run.stdout) == {"error": "this machine has no speaker: connect one, or use a wav file"}


@pytest.mark.parametrize("channel", [1, 2])
async def test_one_channel_of_a_microphone_is_heard(monkeypatch: pytest.MonkeyPatch, channel: int) -> None:
    install(monkeypatch, device := FakeDevice(channels=2))
    said = speech(1)[RATE_HZ // 2 :][:FRAME_SAMPLES]
    async with Microphone(RATE_HZ, FRAME_SAMPLES, channel=channel) as microphone:
        device.record(np.stack((said, -said / 2), 1))
        np.testing.assert_array_equal(await anext(microphone), said if channel == 1 else -said / 2)


async def test_a_device_that_was_not_opened_says_so() -> None:
    with pytest.raises(AudioDeviceError, match="inside `async with` only"):
        await anext(Microphone(RATE_HZ, FRAME_SAMPLES))
    with pytest.raises(AudioDeviceError, match="inside `async with` only"):
        Speaker(RATE_HZ).write(np.zeros(FRAME_SAMPLES, np.float32))
    with pytest.raises(AntiphonError, match="capacity_ms: 50 must be more than prefill_ms, 80"):
        Speaker(RATE_HZ, prefill_ms=80, capacity_ms=50)
