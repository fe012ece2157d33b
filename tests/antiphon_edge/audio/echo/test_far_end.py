"""The speaker's sound stands beside the microphone's, whatever the two clocks do."""

import tracemalloc
from dataclasses import dataclass

import numpy as np
import pytest

from antiphon_edge.audio.echo.far_end import FarEnd
from antiphon_edge.audio.echo.interpolation import interpolate
from antiphon_edge.audio.pcm import Pcm

RATE_HZ = 2_400  # low, so that minutes pass soon
CALLBACK = 192  # samples of the microphone
PLAYED = 48  # samples that the speaker takes
CALLBACK_S = CALLBACK / RATE_HZ
SLOPE = 1e-3  # of the ramp that is played: its value tells which sample it is
PERIOD = 1_600  # samples, after which it begins again


@dataclass
class Devices:
    """A microphone and a speaker with a clock each; the speaker plays a ramp."""

    ppm: float = 0.0
    """By how much faster the speaker's clock is."""
    far_end: FarEnd = None  # type: ignore[assignment]
    callbacks: int = 0
    played: int = 0
    lost_s: float = 0.0

    def __post_init__(self) -> None:
        self.far_end = FarEnd(RATE_HZ)
        self._late = np.random.default_rng(2)
        self.far_end.microphone_began()
        self.far_end.speaker_began()

    def pass_frame(self) -> Pcm:
        """80 ms of both; the far end of them."""
        self.callbacks += 1
        self.far_end.heard(CALLBACK_S, self.callbacks * CALLBACK_S + self._late.exponential(0.001))
        while self._next_s() < self.callbacks * CALLBACK_S:
            time_s = self._next_s() + min(0.008, self._late.exponential(0.001))
            ramp = (self.played + np.arange(PLAYED)) % PERIOD * SLOPE
            self.played += PLAYED
            self.far_end.played([ramp.astype(np.float32)], PLAYED / RATE_HZ, time_s)
        return self.far_end.take(CALLBACK)

    def _next_s(self) -> float:
        return (self.played + PLAYED) / RATE_HZ / (1 + self.ppm * 1e-6) + self.lost_s

    def early_s(self, far: Pcm) -> float:
        """How long before the frame of the microphone the speaker was given what stands beside it."""
        straight = [at for at in (20, 90, 160) if np.ptp(np.diff(far[at - 20 : at + 20])) < SLOPE / 10]
        at = straight[0]  # not where the ramp begins again
        since_s = (self.callbacks - 1) * CALLBACK_S + at / RATE_HZ - self.lost_s
        there = since_s * (1 + self.ppm * 1e-6) * RATE_HZ
        return float((there - float(far[at]) / SLOPE + PERIOD / 2) % PERIOD - PERIOD / 2) / RATE_HZ


def minutes(devices: Devices, count: float) -> list[float]:
    return [devices.early_s(devices.pass_frame()) for _ in range(round(count * 60 / CALLBACK_S))]


@pytest.mark.parametrize("ppm", [300.0, -300.0])
def test_clocks_that_drift_never_part_the_two_by_5_ms(ppm: float) -> None:
    devices = Devices(ppm)
    early_s = np.array(minutes(devices, 15))[25:]
    assert np.ptp(early_s) < 0.005
    assert devices.far_end.recentred == 0
    assert devices.far_end.drift_ppm == pytest.approx(ppm, abs=5)


def test_what_an_underflow_shifted_is_put_right_within_a_second() -> None:
    devices = Devices(100.0)
    before_s = minutes(devices, 1)[-1]
    devices.lost_s = 0.03
    after_s = minutes(devices, 0.05)
    assert after_s[13] == pytest.approx(before_s, abs=0.002)
    assert devices.far_end.recentred == 1


def test_a_device_that_begins_anew_is_beside_the_other_again() -> None:
    devices = Devices()
    before_s = minutes(devices, 0.5)[-1]
    devices.far_end.heard(0.03, devices.callbacks * CALLBACK_S + 0.03)  # and goes away, with no whole frame
    devices.far_end.microphone_began()
    devices.callbacks += 12
    after_s = minutes(devices, 0.1)
    assert after_s[-1] == pytest.approx(before_s, abs=0.002)


def test_before_anything_is_played_the_far_end_is_silent() -> None:
    far_end = FarEnd(RATE_HZ)
    far_end.heard(CALLBACK_S, 0.08)
    assert not far_end.take(CALLBACK).any()
    far_end.played([np.ones(CALLBACK, np.float32)], CALLBACK_S, 0.09)
    assert len(far_end.take(CALLBACK)) == CALLBACK


def test_between_two_samples_a_tone_goes_on() -> None:
    tone = np.sin(np.arange(2_000) * 0.8).astype(np.float32)
    positions = 100.25 + 1.0001 * np.arange(1_000, dtype=np.float64)
    right = np.sin(positions * 0.8)
    assert np.abs(interpolate(tone, positions) - right).max() < 0.002


def test_a_whole_position_gives_the_sample_as_it_is() -> None:
    samples = np.random.default_rng(0).standard_normal(100).astype(np.float32)
    assert interpolate(samples, np.arange(100.0)) == pytest.approx(samples, abs=1e-6)
    assert not interpolate(samples, np.arange(200.0, 210.0)).any()


def test_a_speaker_that_plays_while_no_microphone_is_there_leaves_no_more_than_seconds_behind() -> None:
    far_end = FarEnd(RATE_HZ)
    far_end.speaker_began()
    block = np.zeros(CALLBACK, np.float32)
    held = []
    tracemalloc.start()
    for number in range(1, 10_001):
        far_end.played([block.copy()], CALLBACK_S, number * CALLBACK_S)
        if number in (5_000, 10_000):
            held.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()
    assert held[1] - held[0] < 500 * block.nbytes  # of 5,000 blocks
