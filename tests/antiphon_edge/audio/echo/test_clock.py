"""A device's clock is found in callbacks that come late, and never early."""

import numpy as np
import pytest

from antiphon_edge.audio.echo.clock import BIN_S, JUMP_S, DeviceClock

RATE_HZ = 24_000
CALLBACK = 2_400  # samples


def run(clock: DeviceClock, seconds: float, *, ppm: float = 0.0, late_s: float = 0.002, begin_s: float = 0.0) -> None:
    """Callbacks of a device whose samples last longer by `ppm`, each late by chance."""
    rng = np.random.default_rng(1)
    before = clock.samples
    for number in range(1, round(seconds * RATE_HZ / CALLBACK) + 1):
        time_s = begin_s + number * CALLBACK / RATE_HZ * (1 + ppm * 1e-6)
        clock.passed(CALLBACK, time_s + rng.exponential(late_s))
    assert clock.samples - before == pytest.approx(seconds * RATE_HZ)


@pytest.mark.parametrize("ppm", [300.0, -300.0, 0.0])
def test_a_rate_is_known_to_some_millionths_after_two_minutes(ppm: float) -> None:
    clock = DeviceClock(RATE_HZ)
    run(clock, 120, ppm=ppm)
    assert clock.skew * 1e6 == pytest.approx(ppm, abs=8)


def test_a_rate_is_taken_for_usual_until_callbacks_say_more() -> None:
    clock = DeviceClock(RATE_HZ)
    run(clock, 1, late_s=0.01)
    assert abs(clock.skew) < 3e-4


def test_a_sample_has_a_time_and_a_time_a_sample() -> None:
    clock = DeviceClock(RATE_HZ)
    run(clock, 60, ppm=100)
    assert clock.sample_at(clock.time_of(123_456.5)) == pytest.approx(123_456.5)
    assert clock.time_of(48 * RATE_HZ) == pytest.approx(48 * (1 + 1e-4), abs=0.001)


def test_samples_that_were_lost_move_the_line_and_leave_its_slope() -> None:
    clock = DeviceClock(RATE_HZ)
    run(clock, 60, ppm=100)
    skew = clock.skew
    lost_s = 0.03
    run(clock, 1, ppm=100, begin_s=60 * (1 + 1e-4) + lost_s)
    assert clock.jumps == 1
    assert clock.skew == pytest.approx(skew, abs=1e-5)
    assert clock.time_of(61 * RATE_HZ) == pytest.approx(61 * (1 + 1e-4) + lost_s, abs=0.001)


def test_a_machine_that_was_busy_once_has_lost_nothing() -> None:
    clock = DeviceClock(RATE_HZ)
    run(clock, 10)
    before_s = clock.time_of(11 * RATE_HZ)
    for late_s in (0.2, 0.1, 0.0, 0.0, 0.0):
        clock.passed(CALLBACK, clock.samples / RATE_HZ + CALLBACK / RATE_HZ + late_s)
    assert clock.jumps == 0
    assert clock.time_of(11 * RATE_HZ) == pytest.approx(before_s, abs=0.001)


def test_bins_of_which_none_is_like_another_leave_the_line_as_it_was() -> None:
    clock = DeviceClock(1000.0)
    samples = 1000 * BIN_S
    for number, late_s in enumerate((0.0, JUMP_S * 1.25, JUMP_S * 7.5), 1):  # the machine stood still, and again
        clock.passed(samples, number * BIN_S + late_s)
    assert clock.skew == 0.0
    assert clock.time_of(clock.samples) == 3 * BIN_S
