"""Splices: where a sound goes on, and what is silence."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.audio.jitter.splice import Splicer
from tests.support.playing import largest_jump, tone

SPLICER = Splicer(24.0)


def test_a_sine_goes_on_a_period_later() -> None:
    lag, likeness = SPLICER.best_lag(tone(2000), 0, 60, 100)
    assert lag == 80
    assert likeness == pytest.approx(1.0)


@pytest.mark.parametrize("hz", [90.0, 137.0, 441.0, 1500.0, 5000.0])
@pytest.mark.parametrize("back", [False, True])
def test_a_splice_of_a_sine_makes_no_click(hz: float, back: bool) -> None:
    sound, here = tone(3000, hz=hz), 1500
    span = (-SPLICER.longest, -SPLICER.shortest) if back else (SPLICER.shortest, SPLICER.longest)
    lag, _ = SPLICER.best_lag(sound, here, *span)
    heard = np.concatenate((sound[:here], SPLICER.splice(sound, here, lag)))
    assert len(heard) == len(sound) - lag
    assert largest_jump(heard, hz) < 0.02


def test_noise_is_like_nothing_else() -> None:
    noise = np.random.default_rng(0).standard_normal(3000).astype(np.float32)
    assert SPLICER.best_lag(noise, 0, SPLICER.shortest, SPLICER.longest)[1] < 0.5


def test_a_fade_is_as_long_as_there_is_sound_for_it() -> None:
    new = np.zeros(1000, np.float32)
    faded = SPLICER.fade(np.ones(100, np.float32), new)
    assert np.all(np.diff(faded[:101]) < 0)
    assert not faded[100:].any()
    assert not new.any()


@pytest.mark.parametrize(("quiet_ms", "silent_ms"), [(0, 0), (4, 0), (20, 20), (33, 30)])
def test_silence_is_found_in_steps(quiet_ms: int, silent_ms: int) -> None:
    sound = np.concatenate((tone(quiet_ms * 24) * 1e-3, tone(2000)))
    assert SPLICER.silence(sound) == silent_ms * 24


def test_digital_silence_is_silence_to_its_end() -> None:
    assert SPLICER.silence(np.zeros(1200, np.float32)) == 1200
