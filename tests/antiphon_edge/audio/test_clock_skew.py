"""An hour of a talk whose speaker and microphone have clocks that differ."""

from __future__ import annotations

import numpy as np
import pytest

from antiphon_edge.audio.playout import PlayoutBuffer
from tests.support.playing import FRAME_MS, FRAME_SAMPLES, play, tone

HOUR = 45_000  # frames
SPEECH = [tone(FRAME_SAMPLES, number * FRAME_SAMPLES) for number in range(5)]  # over and over, without a seam


@pytest.mark.parametrize("skew_ppm", [500, -500])
def test_clocks_half_a_thousandth_apart_cause_neither_gap_nor_loss_nor_delay(skew_ppm: int) -> None:
    jitter_ms = np.random.default_rng(0).uniform(0, 10, HOUR)
    buffer = PlayoutBuffer(24_000)
    arrivals_ms = FRAME_MS * (1 + skew_ppm * 1e-6) * np.arange(HOUR) + jitter_ms
    levels_ms = play(arrivals_ms, buffer, frame=lambda number: SPEECH[number % 5]).levels_ms
    stats = buffer.stats
    assert (stats.underruns, stats.late_frames, stats.dropped_samples) == (0, 0, 0)
    assert max(levels_ms[100:]) < 45
    assert stats.stretched_ms == pytest.approx(-3.6 * skew_ppm, abs=60)
