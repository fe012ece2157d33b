"""How the doctor measures the way from the speaker to the microphone, in simulated rooms."""

from __future__ import annotations

from types import TracebackType
from typing import Any, Self

import numpy as np
import pytest

from antiphon_edge.audio.pcm import Pcm
from antiphon_edge.audio.playout import PlayoutStats
from antiphon_edge.doctor import sound_check
from antiphon_edge.doctor.echo_path import find_echo, probe
from antiphon_edge.doctor.sound_check import FRAME_SAMPLES, SIGNAL_S, check_sound
from antiphon_edge.errors import AudioDeviceError

RATE_HZ = 24_000
PLAYED = probe(RATE_HZ, SIGNAL_S)
NOISE = 1e-4 * np.random.default_rng(7).standard_normal(round((SIGNAL_S + 1) * RATE_HZ)).astype(np.float32)


def room(delay_ms: float, gain_db: float, skew_ppm: float = 0.0, noise: Pcm = NOISE) -> Pcm:
    """What a microphone hears whose clock runs faster than the speaker's by `skew_ppm`."""
    at = np.arange(len(noise)) * (1 - skew_ppm / 1e6) - delay_ms * RATE_HZ / 1e3
    echo = np.interp(at, np.arange(len(PLAYED)), PLAYED, left=0, right=0)
    heard: Pcm = (10 ** (gain_db / 20) * echo + noise).astype(np.float32)
    return heard


@pytest.mark.parametrize("delay_ms", [0.0, 61.3, 263.0, 700.0])
@pytest.mark.parametrize("gain_db", [6.0, -12.0, -30.0])
def test_delay_and_loudness_are_found(delay_ms: float, gain_db: float) -> None:
    echo = find_echo(room(delay_ms, gain_db), PLAYED, RATE_HZ, float(np.mean(np.square(NOISE))))
    assert echo is not None
    assert echo.delay_ms == pytest.approx(delay_ms, abs=0.1)
    assert echo.gain_db == pytest.approx(gain_db, abs=1.0)


@pytest.mark.parametrize("skew_ppm", [-500.0, -100.0, 0.0, 20.0, 300.0])
def test_the_clocks_are_compared(skew_ppm: float) -> None:
    echo = find_echo(room(120.0, -12.0, skew_ppm), PLAYED, RATE_HZ)
    assert echo is not None
    assert echo.skew_ppm == pytest.approx(skew_ppm, abs=5.0)


@pytest.mark.parametrize("heard", [NOISE, np.zeros_like(NOISE)], ids=["room", "digital silence"])
def test_headphones_make_no_echo(heard: Pcm) -> None:
    assert find_echo(heard, PLAYED, RATE_HZ) is None


def test_a_short_sound_does_not_tell_the_clocks() -> None:
    short = PLAYED[: 2 * RATE_HZ]
    echo = find_echo(np.pad(short, (100, RATE_HZ)), short, RATE_HZ)
    assert echo is not None
    assert echo.skew_ppm is None


class Loop:
    """A speaker and a microphone in one: what is played is heard two frames later."""

    def __init__(self, *arguments: Any) -> None:
        self.frames = [np.zeros(FRAME_SAMPLES, np.float32)] * 2
        self.device = type("Device", (), {"name": "loop"})
        self.overflows = self.dropped_frames = self.underflows = self.outages = 0
        self.stats = PlayoutStats(0, 0, 0.0)

    def write(self, frame: Pcm) -> None:
        self.frames.append(frame)

    async def __anext__(self) -> Pcm:
        return self.frames.pop(0)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        return


@pytest.fixture
def loop(monkeypatch: pytest.MonkeyPatch) -> Loop:
    made = Loop()
    monkeypatch.setattr(sound_check, "Speaker", lambda *arguments: made)
    monkeypatch.setattr(sound_check, "Microphone", lambda *arguments: made)
    return made


async def test_a_sound_check_tells_the_delay_from_playing_to_hearing(loop: Loop) -> None:
    found = await check_sound(None, None)
    assert (found.problem, found.room_dbfs, found.peak_dbfs, found.losses) == (None, None, -20.0, 0)
    assert found.echo is not None
    assert (found.echo.delay_ms, found.echo.gain_db) == (80.0, 0.0)
    assert found.echo.skew_ppm == 0.0


async def test_a_device_that_goes_away_amid_the_check_is_told(loop: Loop) -> None:
    loop.outages = 1
    found = await check_sound(None, None)
    assert found.problem == "a device went away amid the sound check: see its cable, and what else uses it"


async def test_a_device_that_cannot_be_opened_is_a_finding_and_no_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*arguments: object) -> None:
        raise AudioDeviceError("speaker 'x' is busy or gone")

    monkeypatch.setattr(sound_check, "Speaker", refuse)
    assert (await check_sound(None, "x")).problem == "speaker 'x' is busy or gone"
